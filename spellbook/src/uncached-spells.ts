import type { Cache, ReadResult } from 'cacheaside'
import type { Spell, SpellChange, SpellFields, Wizard, WizardEntry, WizardFields } from './api.ts'
import { type Condition, changesIn } from './changes.ts'
import type { Database, Queryable } from './database/database.ts'
import { type SpellTable, spellTable } from './spell-table.ts'
import { type Added, type WizardTable, wizardTable } from './wizard-table.ts'

/**
 * The operations on spells and wizards, and how they work straight on the tables, without a cache. `spells.ts` does the same
 * with one.
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
export type Answer<T> = Pick<ReadResult<T>, 'from' | 'kept' | 'joined' | 'ageMs' | 'ttlMs' | 'timings'> & {
  readonly value: T
  readonly why: ReadResult<T>['why'] | 'off'
}

/** The result of a change. */
export interface Written<T> {
  readonly value: T
  /** Whether the cache was told. `none`: nothing was changed, so nothing in it ends. `off`: there is no cache. */
  readonly invalidation: 'applied' | 'queued' | 'none' | 'off'
  /** Milliseconds: of the whole, of what the cache did before and after the change, and of the change. */
  readonly timings: ReadResult<T>['timings']
}

/** The operations on spells, with or without a cache. */
export interface Spells {
  /** The cache, for operators. Left out: there is none. */
  readonly cache?: Cache
  /** The operations on wizards. */
  readonly wizards: Wizards
  /** @param signal - Aborts when nobody waits for the answer any more: then the call rejects, and sends no statement. */
  find(id: string, signal?: AbortSignal): Promise<Answer<Spell | undefined>>
  /**
   * At most `limit` spells with an id greater than `after`. Shows every write that was done before it was called, here or by
   * another process on the same Redis.
   *
   * @param signal - See `find`.
   */
  page(after: string, limit: number, signal?: AbortSignal): Promise<Answer<Page>>
  create(fields: SpellFields): Promise<Written<Spell>>
  /**
   * The changed spell, or `undefined` if there is none.
   *
   * @param condition - Of the spell as it is when it is changed. Left out: there is none.
   * @throws ConditionError if it does not hold.
   */
  update(id: string, change: SpellChange, condition?: Condition<Spell>): Promise<Written<Spell | undefined>>
  /** Whether there was one. The condition is as for `update`. */
  delete(id: string, condition?: Condition<Spell>): Promise<Written<boolean>>
  /** Lets reads and writes that are under way finish, those of wizards too. */
  close(): Promise<void>
}

/** The operations on wizards and their books, with or without a cache. Otherwise as {@link Spells}. */
export interface Wizards {
  find(id: string, signal?: AbortSignal): Promise<Answer<Wizard | undefined>>
  page(after: string, limit: number, signal?: AbortSignal): Promise<Answer<WizardPage>>
  create(fields: WizardFields): Promise<Written<WizardEntry>>
  /** Conditions are of the wizard with all that is in the book, also for what changes only the book. */
  update(
    id: string,
    fields: WizardFields,
    condition?: Condition<Wizard>,
  ): Promise<Written<WizardEntry | undefined>>
  delete(id: string, condition?: Condition<Wizard>): Promise<Written<boolean>>
  /** Adds a spell to a book. */
  add(id: string, spellId: string, condition?: Condition<Wizard>): Promise<Written<Added>>
  /** Removes a spell from a book. Whether it was there. */
  remove(id: string, spellId: string, condition?: Condition<Wizard>): Promise<Written<boolean>>
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
    create: fields => changed(() => table.insert(fields)),
    update: (id, change, condition) =>
      changed(() => within(database, condition, at => changesIn(at).updateSpell(id, change, condition))),
    delete: (id, condition) =>
      changed(() => within(database, condition, at => changesIn(at).deleteSpell(id, condition))),
    close: async () => {},
  }
}

function uncachedWizards(database: Database): Wizards {
  const table = wizardTable(database)
  return {
    find: (id, signal) => measured(() => table.find(id, signal)),
    page: (after, limit, signal) => measured(() => wizardPage(table, after, limit, signal)),
    create: fields => changed(() => table.insert(fields)),
    update: (id, fields, condition) =>
      changed(() => within(database, condition, at => changesIn(at).updateWizard(id, fields, condition))),
    delete: (id, condition) =>
      changed(() => within(database, condition, at => changesIn(at).deleteWizard(id, condition))),
    add: (...change) => changed(() => database.transaction(at => changesIn(at).addToBook(...change))),
    remove: (id, spellId, condition) =>
      changed(() => within(database, condition, at => changesIn(at).removeFromBook(id, spellId, condition))),
  }
}

/** Without a condition a change is one statement, which needs no transaction. */
const within = <T>(
  database: Database,
  condition: unknown,
  change: (at: Queryable) => Promise<T>,
): Promise<T> => (condition === undefined ? change(database) : database.transaction(change))

/** An answer that came straight from the database. */
async function measured<T>(load: () => Promise<T>): Promise<Answer<T>> {
  const { value, timings } = await changed(load)
  const nowhere = { kept: false, joined: false, ageMs: undefined, ttlMs: undefined }
  return { value, from: 'origin', why: 'off', ...nowhere, timings }
}

/** A change that was made straight in the database. */
async function changed<T>(change: () => Promise<T>): Promise<Written<T>> {
  const began = performance.now()
  const value = await change()
  const loadMs = performance.now() - began
  return { value, invalidation: 'off', timings: { totalMs: loadMs, sharedMs: 0, loadMs } }
}
