/**
 * The spells and the wizards, with a cache beside the tables. This is the page to copy from: everything that Spellbook does
 * with the cache is here, and nothing else is.
 *
 * | use | what is cached | what ends it |
 * |---|---|---|
 * | find a spell | `spell:{id}`: one row, or that there is none | a change of that row |
 * | list spells | `spell-page:{after}:{limit}`: many rows | a change of any spell, also of one that it does not show: the tag `list:spells` |
 * | find a wizard | `wizard:{id}`: a row, and the spells of the book | a change of that row or that book; and of a spell in it: the tag `shown:{spell}` |
 * | list wizards | `wizard-page:{after}:{limit}`: many rows | a change of any wizard: the tag `list:wizards` |
 *
 * A write changes rows in a transaction, guards what that ends, and commits; the guards stand until after the commit. A change
 * by anybody else reaches the cache through the feed, soon after its commit. What a change ends is said once for both, in `endsOf`.
 */
import {
  type Cache,
  type CacheEvent,
  type ChangeFeed,
  commitInDoubt,
  createCache,
  type FeedRow,
  type Key,
  type Keyspace,
  type LoadContext,
  type Logger,
  rollsBack,
  type SharedStore,
  type Tag,
  type WriteContext,
  type WriteOptions,
} from 'cacheaside'
import { postgresFeed } from 'cacheaside/postgres'
import { spell, type Wizard, wizard } from './api.ts'
import { changesIn } from './changes.ts'
import type { CacheConfig } from './config.ts'
import { type Database, DatabaseAwayError, type Queryable, type Transaction } from './database/database.ts'
import { spellTable } from './spell-table.ts'
import {
  type Answer,
  type Spells,
  spellPage,
  type Wizards,
  type Written,
  wizardPage,
} from './uncached-spells.ts'
import { wizardTable } from './wizard-table.ts'

export {
  type Answer,
  type Page,
  type Spells,
  uncachedSpells,
  type WizardPage,
  type Wizards,
  type Written,
} from './uncached-spells.ts'

/** The id of a page. */
export type PageId = readonly [after: string, limit: number]

/**
 * The tags: names on which cached values depend. `tags` names those that are known before the load, `tagsOf` those that only
 * the value tells.
 */
export function tagsIn(cache: Pick<Cache, 'tags'>) {
  return {
    /** Everything that shows a part of a list. */
    lists: cache.tags<'spells' | 'wizards'>('list'),
    /** Everything that shows a spell besides `spell:{id}`. */
    shown: cache.tags<string | number>('shown'),
  }
}

type Tags = ReturnType<typeof tagsIn>

/** What is cached, and how it is loaded. Also what an audit compares it by (`verify.config.ts`). */
export function keyspaceOptions(at: Queryable, { lists, shown }: Tags, ttlMs: number) {
  const [spells, wizards] = [spellTable(at), wizardTable(at)]
  return {
    spells: {
      load: (id: string, { signal }: LoadContext) => spells.find(id, signal),
      loadMany: async (ids: readonly string[], { signal }: LoadContext) => {
        const found = await spells.findMany(ids, signal)
        return found.map(row => [String(row.id), row] as const)
      },
      schema: spell,
      ttlMs,
    },
    spellPages: {
      load: ([after, limit]: PageId, { signal }: LoadContext) => spellPage(spells, after, limit, signal),
      // A page is changed by writes of rows that it does not hold: a new spell, or one that moves up.
      tags: () => [lists.key('spells')],
      ttlMs,
    },
    wizards: {
      load: (id: string, { signal }: LoadContext) => wizards.find(id, signal),
      // The spells of a book are known only once it has been read. A spell that is added later is a change of the book.
      tagsOf: (found: Wizard | undefined) => (found?.spells ?? []).map(({ id }) => shown.key(id)),
      schema: wizard,
      ttlMs,
    },
    wizardPages: {
      load: ([after, limit]: PageId, { signal }: LoadContext) => wizardPage(wizards, after, limit, signal),
      tags: () => [lists.key('wizards')],
      ttlMs,
    },
  }
}

function keyspacesIn(cache: Cache, at: Queryable, ttlMs: number) {
  const tags = tagsIn(cache)
  const options = keyspaceOptions(at, tags, ttlMs)
  const keyspaces = {
    spells: cache.keyspace('spell', options.spells),
    spellPages: cache.keyspace('spell-page', options.spellPages),
    wizards: cache.keyspace('wizard', options.wizards),
    wizardPages: cache.keyspace('wizard-page', options.wizardPages),
  }
  return { ...keyspaces, lists: tags.lists, ends: endsOf(keyspaces, tags) }
}

/** Something with a `key` function: keyspaces, tags, and the names for caches elsewhere (`cache-groups.ts`). */
interface Naming<Id, Name> {
  key(id: Id): Name
}

/** What a change of a row by anyone ends: for writers and for the feed. */
export function endsOf<K, T>(
  { spells, wizards }: { readonly [Name in 'spells' | 'wizards']: Naming<string, K> },
  { lists, shown }: { readonly lists: Naming<'spells' | 'wizards', T>; readonly shown: Naming<string, T> },
) {
  return {
    spell: (id: string) => [spells.key(id), shown.key(id), lists.key('spells')],
    wizard: (id: string) => [wizards.key(id), lists.key('wizards')],
    book: (wizardId: string) => [wizards.key(wizardId)],
  }
}

/** For the feed: what the change of a row ends, and what ends when the rows are not known. */
export function feedTables(ends: () => ReturnType<typeof endsOf<Key, Tag>>) {
  return {
    spell: { keys: (row: FeedRow) => ends().spell(row.id), keyspaces: ['spell', 'shown', 'list'] },
    wizard: { keys: (row: FeedRow) => ends().wizard(row.id), keyspaces: ['wizard', 'list'] },
    wizard_spell: { keys: (row: FeedRow) => ends().book(row.wizard_id), keyspaces: ['wizard'] },
  }
}

/** Wraps the feed of a cache, for the laboratory. */
export type FeedThrough = (feed: ChangeFeed) => ChangeFeed

/**
 * The spells and the wizards behind a cache of their own.
 *
 * @param shared - The shared store: in this process, or on Redis for many. Its connections end with the last cache on it.
 * @param onEvent - Told of everything that the cache does.
 * @param logger - Gets the cache's warnings. Left out: they go to stderr.
 * @param feedThrough - Wraps the cache's feed. Left out: the feed is used as it is.
 */
export async function cachedSpells(
  database: Database,
  shared: SharedStore,
  config: CacheConfig,
  onEvent: (event: CacheEvent) => void = () => {},
  logger?: Logger,
  feedThrough: FeedThrough = feed => feed,
): Promise<Spells> {
  const feed = postgresFeed({ ...database.feedSource, tables: feedTables(() => keyspaces.ends) })
  const cache = createCache({
    shared,
    ...(config.localMaxBytes === undefined ? {} : { local: { maxBytes: config.localMaxBytes } }),
    ...(config.feed ? { feed: feedThrough(feed) } : {}),
    fill: config.fill,
    onEvent,
    ...(logger === undefined ? {} : { logger }),
    // Without a connection nothing was sent, so nothing was committed: the guards can go at once.
    commitInDoubt: error =>
      error instanceof DatabaseAwayError && !error.sent ? false : commitInDoubt(error),
  })
  const keyspaces = keyspacesIn(cache, database, config.ttlMs)
  const { spells, spellPages, wizards, wizardPages } = keyspaces
  if (config.flushOnStart)
    await Promise.all([spells, spellPages, wizards, wizardPages].map(keyspace => keyspace.invalidateAll()))
  const write = writing(cache, database)
  return {
    cache,
    ...cachedSpellCalls(write, keyspaces, config),
    wizards: cachedWizards(write, keyspaces),
    close: () => cache.close(),
  }
}

function cachedSpellCalls(
  write: ReturnType<typeof writing>,
  { spells, spellPages, lists, ends }: ReturnType<typeof keyspacesIn>,
  { writeThrough }: CacheConfig,
): Omit<Spells, 'cache' | 'wizards' | 'close'> {
  return {
    find: (id, signal) => spells.read(id, within(signal)),

    page: (after, limit, signal) => readList(spellPages, [after, limit], signal),

    create: fields =>
      write(async (transaction, guard) => {
        const row = await spellTable(transaction).insert(fields)
        // Somebody may have asked for this id already, and the cache remembers that there was no such spell.
        await guard(spells.key(String(row.id)), lists.key('spells'))
        return row
      }),

    update: (id, ...change) =>
      write(
        async (transaction, guard) => {
          const row = await changesIn(transaction).updateSpell(id, ...change)
          if (row !== undefined) await guard(...ends.spell(id))
          return row
        },
        writeThrough ? { writeThrough: row => [spells.entry(id, row)] } : {},
      ),

    delete: (id, condition) =>
      write(async (transaction, guard) => {
        const isDeleted = await changesIn(transaction).deleteSpell(id, condition)
        if (isDeleted) await guard(...ends.spell(id))
        return isDeleted
      }),
  }
}

function cachedWizards(
  write: ReturnType<typeof writing>,
  { wizards, wizardPages, lists, ends }: ReturnType<typeof keyspacesIn>,
): Wizards {
  return {
    find: (id, signal) => wizards.read(id, within(signal)),

    page: (after, limit, signal) => readList(wizardPages, [after, limit], signal),

    create: fields =>
      write(async (transaction, guard) => {
        const row = await wizardTable(transaction).insert(fields)
        await guard(wizards.key(String(row.id)), lists.key('wizards'))
        return row
      }),

    update: (id, ...change) =>
      write(async (transaction, guard) => {
        const row = await changesIn(transaction).updateWizard(id, ...change)
        if (row !== undefined) await guard(...ends.wizard(id))
        return row
      }),

    delete: (id, condition) =>
      write(async (transaction, guard) => {
        const isDeleted = await changesIn(transaction).deleteWizard(id, condition)
        if (isDeleted) await guard(...ends.wizard(id))
        return isDeleted
      }),

    add: (id, ...change) =>
      write(async (transaction, guard) => {
        const added = await changesIn(transaction).addToBook(id, ...change)
        if (added === 'added') await guard(...ends.book(id))
        return added
      }),

    remove: (id, ...change) =>
      write(async (transaction, guard) => {
        const isRemoved = await changesIn(transaction).removeFromBook(id, ...change)
        if (isRemoved) await guard(...ends.book(id))
        return isRemoved
      }),
  }
}

/** Changes rows, and then guards the keys and tags that this ends. Without a guard nothing was changed. */
type Change<T> = (transaction: Transaction, guard: WriteContext['guard']) => Promise<T>

/**
 * Makes writes of changes. The guards are asked for when the rows are changed and locked, before the COMMIT. So cached values
 * stay if there is no connection, no such row, or a condition that does not hold. For the time of one round trip to the store
 * the rows stay locked ([0080](../../docs/decisions/0080-guards-between-the-change-and-the-commit.md)).
 */
function writing(cache: Cache, database: Database) {
  return async <T>(change: Change<T>, options: WriteOptions<T> = {}): Promise<Written<T>> => {
    const beganMs = performance.now()
    let [isGuarded, guardMs, insideMs] = [false, 0, 0]
    const commit = async (context: WriteContext) => {
      const committingMs = performance.now()
      const guard: WriteContext['guard'] = async (...keys) => {
        const guardingMs = performance.now()
        isGuarded = true
        await context.guard(...keys)
        guardMs = performance.now() - guardingMs
      }
      // Every error inside comes before the COMMIT, also a condition that does not hold: then the guards go at once.
      const value = await database.transaction(rollsBack(transaction => change(transaction, guard)))
      insideMs = performance.now() - committingMs
      return value
    }
    const { value, invalidation } = await cache.write([], commit, options)
    const totalMs = performance.now() - beganMs
    const loadMs = insideMs - guardMs
    const timings = { totalMs, sharedMs: totalMs - loadMs, loadMs }
    return { value, invalidation: isGuarded ? invalidation : 'none', timings }
  }
}

/**
 * Strong, because a list must show every earlier write, also by another process on the same Redis. A default read may come
 * from L1, or join a flight of this process, and may then be as old as `localMaxStaleMs` if a broadcast was lost. It costs
 * one round trip: the page and its tag are asked for together. Processes without a Redis have caches of their own, and hear
 * of each other's writes by the feed.
 */
async function readList<T>(
  pages: Keyspace<PageId, T>,
  id: PageId,
  signal: AbortSignal | undefined,
): Promise<Answer<T>> {
  const page = await pages.read(id, { consistency: 'strong', ...within(signal) })
  return { ...page, value: page.value! }
}

/** Leaves the option out where there is no signal. */
const within = (signal: AbortSignal | undefined) => (signal === undefined ? {} : { signal })
