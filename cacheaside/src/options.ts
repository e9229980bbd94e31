/**
 * The options of a cache and of its keyspaces: what they mean, and their defaults. `resolve-options.ts` checks them.
 */
import type { Clock } from './base/clock.ts'
import type { CacheEvent } from './base/events.ts'
import type { IdParts, Tag } from './base/key.ts'
import type { Logger } from './base/warnings.ts'
import type { ChangeFeed } from './feed/change-feed.ts'
import type { EvictionPolicyName } from './local/local-store.ts'
import type { Codec, StandardSchema } from './shared/codec.ts'
import type { Kept } from './shared/kept.ts'
import type { SharedStore } from './shared/shared-store.ts'

/** L1: the copies that this process keeps. */
export interface LocalOptions {
  /**
   * The budget in bytes. Each entry is charged the length of its key, 1.5 for each UTF-16 unit of the encoded value, and 130
   * for the structure around it. Decoded objects may take more on the heap than is charged: mostly up to twice as
   * much, for lists of empty objects up to 13 times (`docs/eviction.md` has a table). Left out: as many as `maxEntries`,
   * which is then required.
   */
  readonly maxBytes?: number
  /** The budget in entries. Left out: as many as fit in `maxBytes`, which is then required. */
  readonly maxEntries?: number
  /** How room is made. @defaultValue `'s3-fifo'` */
  readonly policy?: EvictionPolicyName
}

/**
 * What a cache is made with. Everything has a default. What an option switches on is off where the option is left out. All
 * durations are in milliseconds.
 *
 * These relations must hold, or construction throws: `sharedTimeoutMs` < `busyWaitMs` <= `loadTimeoutMs` < `leaseMs`,
 * `sharedTimeoutMs` < `guardMs` / 3, and `guardMs` <= `writeTimeoutMs`. Your database should end a dead writer's
 * statement within two thirds of `guardMs` (`statement_timeout`), because a guard is renewed every third of it.
 */
export interface CacheOptions {
  /** The shared store. Left out: an embedded one in this process, of 64 MiB. */
  readonly shared?: SharedStore
  /** L1. Left out: none; every hit then comes from the shared store. Refused on a store without a stream. */
  readonly local?: LocalOptions
  /**
   * The committed changes of the origin, made by anyone. Each is invalidated at least once: also the changes of other
   * programs, and those that were not applied before a crash. Refused on a store without a stream. Left out: none.
   */
  readonly feed?: ChangeFeed
  /**
   * Called with every event; should be quick. If it throws, the cache goes on and warns once (`LISTENER_THREW`). Left out:
   * nobody is told.
   */
  readonly onEvent?: (event: CacheEvent) => void
  /**
   * Told of what an operator has to know, once for each cause and again when it ends: a store or a feed that is away, values
   * that cannot be read, and the rest of {@link WARNINGS}. Never once per read.
   *
   * @defaultValue `process.emitWarning`, which writes to stderr
   */
  readonly logger?: Logger
  /** Time, timers and randomness. @defaultValue `systemClock` */
  readonly clock?: Clock
  /** How long all work on the shared store may take in one read, and each step of a write. @defaultValue 100 */
  readonly sharedTimeoutMs?: number
  /** How long a read waits for another process's load of the same key before it loads by itself. @defaultValue 2000 */
  readonly busyWaitMs?: number
  /** How long a load may take, its wait for the load limit included; then `LOAD_TIMEOUT`. @defaultValue 10,000 */
  readonly loadTimeoutMs?: number
  /** How long a reader has the right to load and fill one key. @defaultValue 15,000 */
  readonly leaseMs?: number
  /** How long a guard outlives the last sign of life of its writer. @defaultValue 10,000 */
  readonly guardMs?: number
  /** How long a write's guards are renewed, counted from its beginning. @defaultValue 60,000 */
  readonly writeTimeoutMs?: number
  /** How old a default read may be, counted from the moment an invalidation was applied. @defaultValue 2000 */
  readonly localMaxStaleMs?: number
  /** What a write does when a guard is not confirmed in time: go on and report `fenced: false`, or throw `UNGUARDED`. @defaultValue `'proceed'` */
  readonly unguarded?: 'proceed' | 'refuse'
  /** Whether filling the shared store delays the answer. `'blocking'` is there to measure the difference. @defaultValue `'background'` */
  readonly fill?: 'background' | 'blocking'
  /** How many loads may run at once in this process, beside those that wait for a load that their loader has asked for. @defaultValue 64 */
  readonly maxLoads?: number
  /**
   * How many loads may wait for a place; beyond it reads fail with `OVERLOADED`, but not those that a loader asks for.
   * @defaultValue 1024
   */
  readonly maxQueuedLoads?: number
  /** How many unconfirmed invalidations are kept for retrying; beyond it they collapse into keyspace invalidations. @defaultValue 10,000 */
  readonly maxQueuedInvalidations?: number
  /**
   * Whether the transaction may have committed, although the write's function threw this error.
   * @defaultValue `commitInDoubt`: yes, except after an error by which the server says that it did not commit
   */
  readonly commitInDoubt?: (error: unknown) => boolean
}

/** What a loader is given besides the id. */
export interface LoadContext {
  /**
   * Aborted when all callers who waited for the load have given up by their signals, or after `loadTimeoutMs`. A load that
   * has begun for a `getMany` goes on where another key of it fails. Its place under the load limit is free only when the
   * loader settles. May be given to any number of queries and reads. A read that is given it is known to be asked for by
   * this loader, also where the asynchronous context is lost, as in callbacks that a queue or an emitter calls. It is made
   * on its first use; `{ ...context }` is one.
   */
  readonly signal: AbortSignal
}

/**
 * Reads the origin for one id: its value, or `undefined` if there is no such row. `null` is a value, kept for `ttlMs`: some
 * clients answer with it where there is no row, so make it `undefined`. Its readers get what it throws, which is
 * not cached; an `Error` that it returns is a value like any other.
 */
export type Load<Id, V> = (id: Id, context: LoadContext) => Promise<V | undefined> | V | undefined

/**
 * Reads the origin for several ids at once. Answers with pairs of id and value, such as a `Map`; an id that it leaves out is
 * absent. The ids of the answer may be of another type with the same text (`'4'` for `4`). If an id occurs twice, the last
 * pair counts. Ids that were not asked for are ignored.
 *
 * Where the value of a pair is an `Error`, that id could not be read: its readers get this very error, and it is not
 * cached; the other ids are. If `loadMany` throws, or its answer throws while it is iterated, all ids fail.
 */
export type LoadMany<Id, V> = (
  ids: readonly Id[],
  context: LoadContext,
) => Promise<Iterable<readonly [Id, V | Error | undefined]>>

/**
 * `T`, but TypeScript infers nothing from here, as with its own `NoInfer`. Messages of the compiler and of editors then name the
 * type as the program does: `Spell`, and not `NoInfer<Spell>`.
 */
export type Settled<T> = [T][T extends unknown ? 0 : never]

/**
 * What a keyspace is made with: keys of one kind, with one loader.
 *
 * The loader must take a *new* snapshot of the origin's primary after it was called: one statement, or a transaction
 * begun inside. Never the caller's transaction, a replica, or a memoised read; otherwise nothing is promised.
 *
 * `V` is what the loader returns, `D` what the codec makes of it, and `W` what readers get: the schema's output, or else `D`.
 */
export interface KeyspaceOptions<Id, V, D = Kept<V>, W = D> {
  /**
   * Reads one value. May be left out if `loadMany` is given. It may read other keys through the cache, and so may their
   * loaders: while it waits for them its place under the load limit is lent to theirs. A key that waits for itself, directly
   * or through others, rejects with `LOAD_CYCLE`.
   */
  readonly load?: Load<Id, V>
  /** Reads several at once, for `getMany` and for snapshots. Left out: `load` is called for each. */
  readonly loadMany?: LoadMany<Id, V>
  /**
   * Turns an id into what its key is made of. Needed where ids are objects. The loader is handed a copy of a tuple or a plain
   * object, as it was when the read was asked for, and an instance of a class as it is: do not change one while it is read.
   *
   * @defaultValue the id itself
   */
  readonly key?: (id: Id) => IdParts
  /**
   * The id of a row, taken from the row itself, as readers get it. Needed where the origin takes several texts for one id,
   * such as a uuid in capitals, and `key` does not make one of them: what was asked for under another text is then answered
   * and not kept under it, because no write and no change of the row would reach it there. A `fill` event with the outcome `alias`
   * reports it. The absence of a row has no id, and is kept under any text for `absentTtlMs`.
   *
   * With it, what `loadMany` leaves out while it answers with ids that it was not asked for is not taken for absent: it
   * is loaded by `load`, and without one the read fails. Left out: a value belongs under whatever was asked for.
   * @see docs/ids.md
   */
  readonly idOf?: (value: Settled<W>) => Settled<Id>
  /**
   * The tags on which the value of an id depends, known from the id alone, and so before it is loaded: what it reads by a
   * *condition*, as a page of all posts of an author does. Called for every read past L1; must be a pure function. At most 64.
   * What it throws fails the read. Left out: none.
   *
   * Raise `shape` in the deploy that gives a keyspace its first tags, and name them in all writers one deploy earlier.
   * @see docs/dependencies.md
   */
  readonly tags?: (id: Settled<Id>) => readonly Tag[]
  /**
   * The tags that the value itself names: what it reads by *reference*, as a post shows its author. Called with what readers
   * get, `undefined` for an absent row, for each value that is loaded or found past L1; must be a pure function. It cannot name
   * what is not there yet; `tags` can. If it throws, or names more than 64 tags, the value is answered and not kept. Left out:
   * none.
   */
  readonly tagsOf?: (value: Settled<W> | undefined, id: Settled<Id>) => readonly Tag[]
  /** How long a value is fresh, counted from the moment it was stored. Known elsewhere as time to live. @defaultValue 600,000 */
  readonly ttlMs?: number
  /** How long an absent row is remembered. @defaultValue the smaller of `ttlMs` and 60,000 */
  readonly absentTtlMs?: number
  /**
   * The largest share of a time to live by which it is shortened at random. So values stored together do not expire
   * together. From 0 to less than 1. @defaultValue 0.1
   */
  readonly ttlJitter?: number
  /** How long after `ttlMs` the old value is still served, while one refresh runs. Left out: never. */
  readonly staleMs?: number
  /** How long after `ttlMs` the old value is served if the load fails, or takes longer than `loadSoftTimeoutMs`. Left out: never. */
  readonly staleIfErrorMs?: number
  /**
   * After how many milliseconds readers get the old value while the load goes on. Needs `staleIfErrorMs`; less than
   * `loadTimeoutMs`. Left out: never.
   */
  readonly loadSoftTimeoutMs?: number
  /** Overrides the cache's `loadTimeoutMs`. At least `busyWaitMs`, less than `leaseMs`. Left out: the cache's. */
  readonly loadTimeoutMs?: number
  /**
   * Refreshes a value before it expires, the earlier the more its load cost: a read refreshes with a probability
   * that rises towards the expiry; 1 is the published optimum, larger is earlier. Left out: never.
   * @see Vattani, Chierichetti, Lowenstein: Optimal Probabilistic Cache Stampede Prevention, VLDB 2015
   */
  readonly refreshAhead?: number
  /** Version of the values' shape, to be raised with every incompatible change of it. @defaultValue 1 */
  readonly shape?: number
  /** How values become text. @defaultValue `valueCodec` */
  readonly codec?: Codec<V, D>
  /**
   * Checks, and may transform, what comes out of the shared store. Must answer synchronously. Left out: what the codec
   * decodes is trusted, also if another program stored it.
   */
  readonly schema?: StandardSchema<W>
}

/** The defaults of a cache. */
export const DEFAULT_CACHE_OPTIONS = {
  sharedTimeoutMs: 100,
  busyWaitMs: 2_000,
  loadTimeoutMs: 10_000,
  leaseMs: 15_000,
  guardMs: 10_000,
  writeTimeoutMs: 60_000,
  localMaxStaleMs: 2_000,
  unguarded: 'proceed',
  fill: 'background',
  maxLoads: 64,
  maxQueuedLoads: 1_024,
  maxQueuedInvalidations: 10_000,
} as const satisfies CacheOptions

/** The defaults of a keyspace. */
export const DEFAULT_KEYSPACE_OPTIONS = {
  ttlMs: 600_000,
  absentTtlMs: 60_000,
  ttlJitter: 0.1,
  shape: 1,
} as const
