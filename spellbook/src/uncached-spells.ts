import type { Cache, ReadResult } from 'cacheaside'
import type { Spell, SpellChange, SpellFields, Wizard, WizardEntry, WizardFields } from './api.ts'
import type { Database } from './database.ts'
import { type SpellTable, spellTable } from './spell-table.ts'
import { type Added, type WizardTable, wizardTable } from './wizard-table.ts'

/**
 * What can be done with spells and wizards, and how it is done straight from the tables, without a cache.
 * `spells.ts` does the same with one.
 */

/** Some of the spells, in the order of their ids. */
export interface Page {
  readonly spells: readonly Spell[]
  /** Whether there are more after the last. */
  readonly more: boolean
}

/** Some of the wizards, in the order of their ids. */
export interface WizardPage {
  readonly wizards: readonly WizardEntry[]
  /** Whether there are more after the last. */
  readonly more: boolean
}

/** A value, and how it came to be found. `off`: there is no cache. */
export type Answer<T> = Pick<ReadResult<T>, 'from' | 'kept' | 'joined' | 'ttlMs' | 'timings'> & {
  readonly value: T
  readonly why: ReadResult<T>['why'] | 'off'
}

/** What can be done with spells, cached or not. */
export interface Spells {
  /** The cache, for operators. Left out: there is none. */
  readonly cache?: Cache
  /** What can be done with those who cast them. */
  readonly wizards: Wizards
  /** @param signal - Aborts when nobody wants the answer any more: then it rejects, and no statement is sent for it. */
  find(id: string, signal?: AbortSignal): Promise<Answer<Spell | undefined>>
  /**
   * At most `limit` spells with an id greater than `after`. Shows every write that was done before it was called.
   *
   * @param signal - See `find`.
   */
  page(after: string, limit: number, signal?: AbortSignal): Promise<Answer<Page>>
  create(fields: SpellFields): Promise<Spell>
  /** The changed spell, or `undefined` if there is none. */
  update(id: string, change: SpellChange): Promise<Spell | undefined>
  /** Whether there was one. */
  delete(id: string): Promise<boolean>
  /** Lets reads and writes that are under way finish, those of wizards too. */
  close(): Promise<void>
}

/** What can be done with wizards and their books, cached or not. What is not said here is as for {@link Spells}. */
export interface Wizards {
  find(id: string, signal?: AbortSignal): Promise<Answer<Wizard | undefined>>
  page(after: string, limit: number, signal?: AbortSignal): Promise<Answer<WizardPage>>
  create(fields: WizardFields): Promise<WizardEntry>
  update(id: string, fields: WizardFields): Promise<WizardEntry | undefined>
  delete(id: string): Promise<boolean>
  /** Adds a spell to a book. */
  add(id: string, spellId: string): Promise<Added>
  /** Removes a spell from a book. Whether it was there. */
  remove(id: string, spellId: string): Promise<boolean>
}

/** One row more than is asked for tells whether there are more. */
export async function spellPage(
  table: SpellTable,
  after: string,
  limit: number,
  signal?: AbortSignal,
): Promise<Page> {
  const rows = await table.page(after, limit + 1, signal)
  return { spells: rows.slice(0, limit), more: rows.length > limit }
}

/** As {@link spellPage}. */
export async function wizardPage(
  table: WizardTable,
  after: string,
  limit: number,
  signal?: AbortSignal,
): Promise<WizardPage> {
  const rows = await table.page(after, limit + 1, signal)
  return { wizards: rows.slice(0, limit), more: rows.length > limit }
}

/** The spells and the wizards straight from the tables: what everything else can be measured against. */
export function uncachedSpells(database: Database): Spells {
  const table = spellTable(database)
  return {
    wizards: uncachedWizards(database),
    find: (id, signal) => measured(() => table.find(id, signal)),
    page: (after, limit, signal) => measured(() => spellPage(table, after, limit, signal)),
    create: fields =>
      database.transaction(async transaction => {
        const inside = spellTable(transaction)
        return inside.insert(await inside.nextId(), fields)
      }),
    update: (id, change) => table.update(id, change),
    delete: id => table.delete(id),
    close: async () => {},
  }
}

function uncachedWizards(database: Database): Wizards {
  const table = wizardTable(database)
  return {
    find: (id, signal) => measured(() => table.find(id, signal)),
    page: (after, limit, signal) => measured(() => wizardPage(table, after, limit, signal)),
    create: fields =>
      database.transaction(async transaction => {
        const inside = wizardTable(transaction)
        return inside.insert(await inside.nextId(), fields)
      }),
    update: (id, fields) => table.update(id, fields),
    delete: id => table.delete(id),
    add: (id, spellId) => database.transaction(transaction => wizardTable(transaction).add(id, spellId)),
    remove: (id, spellId) => table.remove(id, spellId),
  }
}

/** An answer that came straight from the database. */
async function measured<T>(load: () => Promise<T>): Promise<Answer<T>> {
  const began = performance.now()
  const value = await load()
  const loadMs = performance.now() - began
  const timings = { totalMs: loadMs, sharedMs: 0, loadMs }
  return { value, from: 'origin', why: 'off', kept: false, joined: false, ttlMs: undefined, timings }
}
