import { randomUUID } from 'node:crypto'
import {
  type Cache,
  type CacheEvent,
  commitInDoubt,
  createCache,
  type FeedRow,
  type Key,
  type LoadContext,
  type Logger,
  type ReadResult,
  rollsBack,
  type SharedStore,
} from 'cacheaside'
import { postgresFeed } from 'cacheaside/postgres'
import { type Spell, type SpellChange, type SpellFields, spell } from './api.ts'
import type { CacheConfig } from './config.ts'
import { type Database, DatabaseAwayError } from './database.ts'
import { type SpellTable, spellTable } from './spell-table.ts'

/**
 * The spells, with a cache beside the table. This is the page to copy from: everything that Spellbook does with the
 * cache is here, and nothing else is.
 *
 * | use | what is cached, and what ends it |
 * |---|---|
 * | find one | `spell:{id}`: the row, or that there is none; ended by any write of that id |
 * | list a page | `spell-page:{version}:{after}:{limit}`; all pages are ended at once, by ending the version |
 * | create | guards the version, and inside the transaction the new id, which somebody may have asked for before |
 * | update | guards the row and the version; may put the new row in the cache as it releases the guard |
 * | delete | guards the row and the version |
 * | a change by anybody else | the feed ends the row and the version, soon after its commit |
 */

/** Some of the spells, in the order of their ids. */
export interface Page {
  readonly spells: readonly Spell[]
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
  /** Lets reads and writes that are under way finish. */
  close(): Promise<void>
}

/** What a page is kept under: the version of the list that it was loaded under, `after` and `limit`. */
export type PageId = readonly [version: string, after: string, limit: number]

/** The one id of the keyspace that holds the list's version. */
export const VERSION = 'version'

/** What is cached, and how it is loaded. Also what an audit compares it by (`verify.config.ts`). */
export function keyspaceOptions(table: SpellTable, ttlMs: number) {
  const spells = {
    load: (id: string, { signal }: LoadContext) => table.find(id, signal),
    loadMany: async (ids: readonly string[], { signal }: LoadContext) => {
      const found = await table.findMany(ids, signal)
      return found.map(row => [String(row.id), row] as const)
    },
    schema: spell,
    ttlMs,
  }

  // A page is changed by writes of rows that it does not hold, so no write can name the pages it changes. Instead every
  // page is kept under the list's version, a random token that is drawn when it is read and not there, and every write
  // ends the version. A page that is found is right, because
  // 1. the version that it is kept under was drawn before the page was loaded;
  // 2. the version is guarded, and so gone, before any transaction that changes the list commits;
  // 3. so a reader that asks for the version after that gets another one, and finds no older page under it;
  // 4. and a page that was loaded from before the commit is kept, if at all, under a version that nobody gets again.
  // Old pages need not be removed: they expire, or make room.
  const list = { load: (_version: typeof VERSION): string => randomUUID(), ttlMs }
  const pages = {
    load: ([_version, after, limit]: PageId, { signal }: LoadContext) =>
      loadPage(table, after, limit, signal),
    ttlMs,
  }
  return { spells, list, pages }
}

function keyspacesOf(cache: Cache, table: SpellTable, ttlMs: number) {
  const { spells, list, pages } = keyspaceOptions(table, ttlMs)
  return {
    spells: cache.keyspace('spell', spells),
    list: cache.keyspace('spell-list', list),
    pages: cache.keyspace('spell-page', pages),
  }
}

/** What is cached of a row: the spell, or that there was none, and through the version all pages. */
export function feedTables(
  keyspaces: () => {
    readonly spells: { key(id: string): Key }
    readonly list: { key(id: typeof VERSION): Key }
  },
) {
  return {
    spell: {
      keys: (row: FeedRow) => [keyspaces().spells.key(row.id), keyspaces().list.key(VERSION)],
      keyspaces: ['spell', 'spell-list'],
    },
  }
}

/** One row more than is asked for tells whether there are more. */
async function loadPage(
  table: SpellTable,
  after: string,
  limit: number,
  signal?: AbortSignal,
): Promise<Page> {
  const rows = await table.page(after, limit + 1, signal)
  return { spells: rows.slice(0, limit), more: rows.length > limit }
}

/**
 * The spells behind a cache of their own.
 *
 * @param shared - Where what is cached is kept: in this process, or on Redis for many. Its connections end with the last cache on it.
 * @param onEvent - Told of everything that the cache does.
 * @param logger - Told of what somebody should know. Left out: it goes to stderr.
 */
export async function cachedSpells(
  database: Database,
  shared: SharedStore,
  config: CacheConfig,
  onEvent: (event: CacheEvent) => void = () => {},
  logger?: Logger,
): Promise<Spells> {
  const table = spellTable(database)
  const feed = postgresFeed({ ...database.feedSource, tables: feedTables(() => keyspaces) })
  const cache = createCache({
    shared,
    ...(config.localMaxBytes === undefined ? {} : { local: { maxBytes: config.localMaxBytes } }),
    ...(config.feed ? { feed } : {}),
    fill: config.fill,
    onEvent,
    ...(logger === undefined ? {} : { logger }),
    // Without a connection nothing was sent, so nothing was committed: the guards can go at once.
    commitInDoubt: error =>
      error instanceof DatabaseAwayError && !error.sent ? false : commitInDoubt(error),
  })
  const keyspaces = keyspacesOf(cache, table, config.ttlMs)
  const { spells, list, pages } = keyspaces
  if (config.flushOnStart) await Promise.all([spells, list, pages].map(keyspace => keyspace.invalidateAll()))

  return {
    find: (id, signal) => spells.read(id, within(signal)),

    async page(after, limit, signal) {
      // Strong, because the list is to show every write that was done before, and the writer may be another process: a
      // default read may be answered from L1, or join a flight of this process, and then be as old as `localMaxStaleMs`
      // if a broadcast was lost. It costs one round trip, L1 or not. The page itself needs no such care: whatever is
      // found under the version of this moment, in L1 too, is right.
      const version = await list.read(VERSION, { consistency: 'strong', ...within(signal) })
      // A version that was not kept is nobody else's: while a writer is at work, or the cache is away, a page kept
      // under it would never be found.
      if (!version.kept) return measured(version.why, () => loadPage(table, after, limit, signal))
      const page = await pages.read([version.value!, after, limit], within(signal))
      return { ...page, value: page.value!, timings: together(version.timings, page.timings) }
    },

    async create(fields) {
      const { value } = await cache.write([list.key(VERSION)], ({ guard }) =>
        // Whatever is thrown inside comes before the COMMIT: the guards go at once.
        database.transaction(
          rollsBack(async transaction => {
            const inside = spellTable(transaction)
            const id = await inside.nextId()
            // Somebody may have asked for this id already, and the cache remembers that there was no such spell.
            await guard(spells.key(id))
            return inside.insert(id, fields)
          }),
        ),
      )
      return value
    },

    async update(id, change) {
      const { value } = await cache.write(
        [spells.key(id), list.key(VERSION)],
        () => table.update(id, change),
        config.writeThrough ? { writeThrough: row => [spells.entry(id, row)] } : {},
      )
      return value
    },

    async delete(id) {
      const { value } = await cache.write([spells.key(id), list.key(VERSION)], () => table.delete(id))
      return value
    },

    close: () => cache.close(),
  }
}

/** The same spells straight from the table: what everything else can be measured against. */
export function uncachedSpells(database: Database): Spells {
  const table = spellTable(database)
  return {
    find: (id, signal) => measured('off', () => table.find(id, signal)),
    page: (after, limit, signal) => measured('off', () => loadPage(table, after, limit, signal)),
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

/** An option that is left out is not given as `undefined`. */
const within = (signal: AbortSignal | undefined) => (signal === undefined ? {} : { signal })

type Timings = ReadResult<unknown>['timings']

/** An answer that came straight from the database. */
async function measured<T>(why: Answer<T>['why'], load: () => Promise<T>): Promise<Answer<T>> {
  const began = performance.now()
  const value = await load()
  const loadMs = performance.now() - began
  return {
    value,
    from: 'origin',
    why,
    kept: false,
    joined: false,
    ttlMs: undefined,
    timings: { totalMs: loadMs, sharedMs: 0, loadMs },
  }
}

const together = (first: Timings, second: Timings): Timings => ({
  totalMs: first.totalMs + second.totalMs,
  sharedMs: first.sharedMs + second.sharedMs,
  loadMs: first.loadMs + second.loadMs,
})
