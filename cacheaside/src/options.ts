/**
 * The options of a cache, of its keyspaces, reads and writes: what they mean, their defaults, and the checks.
 */
import { checkSignal } from './base/abort.ts'
import { type Clock, systemClock } from './base/clock.ts'
import type { CacheEvent } from './base/events.ts'
import { checkClock, hasMethods, invalidOption, knownNames, wholeNumber } from './base/invalid-option.ts'
import { type IdParts, isKeyspaceName, type Tag } from './base/key.ts'
import { checkLogger, type Logger } from './base/warnings.ts'
import { commitInDoubt } from './commit-in-doubt.ts'
import type { ChangeFeed } from './feed/change-feed.ts'
import { EVICTION_POLICIES, type EvictionPolicyName } from './local/local-store.ts'
import type { Codec, StandardSchema } from './shared/codec.ts'
import type { Kept } from './shared/kept.ts'
import { MAX_SHAPE } from './shared/register.ts'
import type { SharedStore } from './shared/shared-store.ts'
import { valueCodec } from './shared/value-codec.ts'

/** L1: the copies that this process keeps. */
export interface LocalOptions {
  /**
   * The budget in bytes. Charged are, for each entry: the length of its key, 1.5 for each UTF-16 unit of the encoded value,
   * and 130 for the structure around it. Decoded objects may take more on the heap than is charged: mostly up to twice as
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
 * Reads the origin for one id: its value, or `undefined` if there is no such row. Its readers get what it throws, which is
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
  /** Reads several at once, for `getMany`. Left out: `load` is called for each. */
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
   * and not kept under it, because no write and no change of the row would reach it there. Told as a `fill` event with the
   * outcome `alias`. The absence of a row has no id, and is kept under any text for `absentTtlMs`.
   *
   * With it, what `loadMany` leaves out while it answers with ids that it was not asked for is not taken for absent: it
   * is loaded by `load`, and without one the read fails. Left out: a value belongs under whatever was asked for.
   * @see docs/ids.md
   */
  readonly idOf?: (value: NoInfer<W>) => NoInfer<Id>
  /**
   * The tags on which the value of an id depends, known from the id alone, and so before it is loaded: what it reads by a
   * *condition*, as a page of all posts of an author does. Called for every read past L1; must be a pure function. At most 64.
   * What it throws fails the read. Left out: none.
   *
   * Raise `shape` in the deploy that gives a keyspace its first tags, and name them in all writers one deploy earlier.
   * @see docs/dependencies.md
   */
  readonly tags?: (id: NoInfer<Id>) => readonly Tag[]
  /**
   * The tags that the value itself names: what it reads by *reference*, as a post shows its author. Called with what readers
   * get, `undefined` for an absent row. It cannot name what is not there yet; `tags` can. If it throws, or names more than
   * 64 tags, the value is answered and not kept. Left out: none.
   */
  readonly tagsOf?: (value: NoInfer<W> | undefined, id: NoInfer<Id>) => readonly Tag[]
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

type Complete<T, Optional extends keyof T> = Required<Omit<T, Optional>> & Pick<T, Optional>

/** Options whose default that needs a driver has been filled in. */
export type WiredOptions = CacheOptions & Required<Pick<CacheOptions, 'shared'>>

/** Options with nothing left open. */
export type ResolvedCacheOptions = Complete<CacheOptions, 'local' | 'onEvent' | 'logger' | 'feed'>

/** Options with nothing left open. Behind the handles nothing depends on what a codec makes of a value's type. */
export interface ResolvedKeyspaceOptions<Id, V>
  extends Complete<
    KeyspaceOptions<Id, V, V>,
    'load' | 'loadMany' | 'key' | 'idOf' | 'tags' | 'tagsOf' | 'refreshAhead' | 'loadSoftTimeoutMs' | 'schema'
  > {}

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

/** Timers of Node cannot be set further ahead: they would fire at once. */
const MAX_MS = 2 ** 31 - 1
const YEAR_MS = 366 * 24 * 3_600_000

function oneOf(name: string, value: unknown, allowed: readonly string[]): void {
  if (!allowed.includes(value as string)) throw invalidOption(name, `one of ${allowed.join(', ')}`, value)
}

/** @internal */
export function aFunction(name: string, value: unknown): void {
  if (value !== undefined && typeof value !== 'function') throw invalidOption(name, 'a function', value)
}

function inOrder(smaller: [string, number], relation: '<' | '<=', larger: [string, number]): void {
  if (relation === '<' ? smaller[1] < larger[1] : smaller[1] <= larger[1]) return
  throw invalidOption(
    smaller[0],
    `${relation === '<' ? 'less than' : 'at most'} ${larger[0]} (${larger[1]})`,
    smaller[1],
  )
}

/** The given options over the defaults; an option given as `undefined` counts as left out. */
function overDefaults<T extends object>(defaults: object, given: object): T {
  const result = Object.assign({}, defaults) as Record<string, unknown>
  for (const [name, value] of Object.entries(given)) if (value !== undefined) result[name] = value
  return result as T
}

const UNGUARDED = ['proceed', 'refuse']

/** The methods that every shared store must have. */
const SHARED_METHODS: readonly (keyof SharedStore)[] = [
  ...(['leaseMany', 'stampMany', 'renewStamp', 'look', 'fill', 'swap', 'drop', 'claim', 'guard'] as const),
  ...(['release', 'invalidate', 'generation', 'invalidateKeyspace'] as const),
  ...(['subscribe', 'heartbeat', 'identity'] as const),
]

const CACHE_OPTION_NAMES = [
  ...Object.keys(DEFAULT_CACHE_OPTIONS),
  'shared',
  'local',
  'feed',
  'onEvent',
  'logger',
  'clock',
  'commitInDoubt',
]
const KEYSPACE_OPTION_NAMES = [
  ...Object.keys(DEFAULT_KEYSPACE_OPTIONS),
  ...[
    'load',
    'loadMany',
    'key',
    'idOf',
    'tags',
    'tagsOf',
    'staleMs',
    'staleIfErrorMs',
    'loadSoftTimeoutMs',
    'loadTimeoutMs',
    'refreshAhead',
    'codec',
    'schema',
  ],
]

/**
 * Checks the options of one read: a misspelt consistency would silently make it weaker than was asked for. Every read with
 * options is checked, so this allocates nothing.
 *
 * @throws CacheError `INVALID_OPTIONS`.
 * @internal
 */
export function checkReadOptions(given: { readonly consistency?: unknown; readonly signal?: unknown }): void {
  if (typeof given !== 'object' || given === null || Array.isArray(given))
    throw invalidOption('options', 'an object', given)
  for (const name in given) {
    // What a library has added to `Object.prototype` is no option.
    if (name !== 'consistency' && name !== 'signal' && !(name in Object.prototype))
      throw invalidOption(`options.${name}`, 'one of consistency, signal', 'an unknown option')
  }
  const { consistency, signal } = given
  if (consistency !== undefined && consistency !== 'strong') oneOf('consistency', consistency, ['strong'])
  if (signal !== undefined) checkSignal(signal)
}

/**
 * Checks the options of one write, except `writeThrough`.
 *
 * @throws CacheError `INVALID_OPTIONS`.
 * @internal
 */
export function checkWriteOptions(given: {
  readonly unguarded?: unknown
  readonly commitInDoubt?: unknown
}): void {
  knownNames('options', given, ['writeThrough', 'unguarded', 'commitInDoubt'])
  if (given.unguarded !== undefined) oneOf('unguarded', given.unguarded, UNGUARDED)
  aFunction('commitInDoubt', given.commitInDoubt)
}

/**
 * The clock that is given, or the machine's.
 *
 * @throws CacheError `INVALID_OPTIONS`.
 * @internal
 */
export function clockOf({ clock = systemClock }: CacheOptions): Clock {
  checkClock(clock)
  return clock
}

/**
 * Without a stream there is no L1 and no feed: copies would not be invalidated, and a relay would not hear that the store may
 * be another one.
 */
function checkStream({ shared, local, feed }: ResolvedCacheOptions): void {
  if (shared.stream === undefined) return
  if (shared.stream !== 'none') throw invalidOption('shared.stream', "'none' or left out", shared.stream)
  if (shared.synchronous) throw invalidOption('shared.stream', 'left out of a synchronous store', 'none')
  const without = `left out where the shared store (${shared.name}) has no stream`
  if (local !== undefined) throw invalidOption('local', without, local)
  if (feed !== undefined)
    throw invalidOption('feed', `${without}: run it in a process that has one`, 'a feed')
}

/**
 * Checks a cache's options and fills in the defaults.
 *
 * @throws CacheError `INVALID_OPTIONS`, naming the option, what it should be and what it is.
 * @internal
 */
export function resolveCacheOptions(given: WiredOptions): ResolvedCacheOptions {
  knownNames('options', given, CACHE_OPTION_NAMES)
  const options = overDefaults<ResolvedCacheOptions>(
    Object.assign({ clock: systemClock, commitInDoubt }, DEFAULT_CACHE_OPTIONS),
    given,
  )
  for (const name of [
    'sharedTimeoutMs',
    'busyWaitMs',
    'loadTimeoutMs',
    'leaseMs',
    'guardMs',
    'writeTimeoutMs',
    'localMaxStaleMs',
  ] as const) {
    wholeNumber(name, options[name], 1, MAX_MS)
  }
  wholeNumber('maxLoads', options.maxLoads, 1, 1_000_000)
  wholeNumber('maxQueuedLoads', options.maxQueuedLoads, 0, 1_000_000)
  wholeNumber('maxQueuedInvalidations', options.maxQueuedInvalidations, 1, 10_000_000)
  inOrder(['sharedTimeoutMs', options.sharedTimeoutMs], '<', ['busyWaitMs', options.busyWaitMs])
  inOrder(['busyWaitMs', options.busyWaitMs], '<=', ['loadTimeoutMs', options.loadTimeoutMs])
  inOrder(['loadTimeoutMs', options.loadTimeoutMs], '<', ['leaseMs', options.leaseMs])
  inOrder(['guardMs', options.guardMs], '<=', ['writeTimeoutMs', options.writeTimeoutMs])
  inOrder(['sharedTimeoutMs', options.sharedTimeoutMs], '<', ['a third of guardMs', options.guardMs / 3])
  oneOf('unguarded', options.unguarded, UNGUARDED)
  oneOf('fill', options.fill, ['background', 'blocking'])
  aFunction('onEvent', options.onEvent)
  checkLogger(options.logger)
  aFunction('commitInDoubt', options.commitInDoubt)
  if (typeof options.shared?.lease !== 'function')
    throw invalidOption('shared', 'a shared store', options.shared)
  hasMethods('shared', options.shared, SHARED_METHODS)
  if (options.feed !== undefined && typeof options.feed?.open !== 'function')
    throw invalidOption('feed', 'a change feed', options.feed)
  checkStream(options)
  clockOf(options)
  if (options.local !== undefined) {
    knownNames('local', options.local, ['maxBytes', 'maxEntries', 'policy'])
    if (options.local.maxBytes === undefined && options.local.maxEntries === undefined) {
      throw invalidOption('local', 'bounded by maxBytes or maxEntries', 'neither')
    }
    for (const name of ['maxBytes', 'maxEntries'] as const) {
      const bound = options.local[name]
      if (bound !== undefined) wholeNumber(`local.${name}`, bound, 1, Number.MAX_SAFE_INTEGER)
    }
    if (options.local.policy !== undefined) oneOf('local.policy', options.local.policy, EVICTION_POLICIES)
  }
  return options
}

/**
 * Checks a keyspace's options and fills in the defaults.
 *
 * @throws CacheError `INVALID_OPTIONS`, as {@link resolveCacheOptions}.
 * @internal
 */
export function resolveKeyspaceOptions<Id, V>(
  name: string,
  given: KeyspaceOptions<Id, V, V>,
  cache: ResolvedCacheOptions,
): ResolvedKeyspaceOptions<Id, V> {
  if (!isKeyspaceName(name)) {
    throw invalidOption("a keyspace's name", '1 to 64 letters, digits, "_", "." or "-"', name)
  }
  knownNames(name, given, KEYSPACE_OPTION_NAMES)
  const options = overDefaults<{
    -readonly [Name in keyof ResolvedKeyspaceOptions<Id, V>]: ResolvedKeyspaceOptions<Id, V>[Name]
  }>(
    Object.assign(
      { codec: valueCodec, staleMs: 0, staleIfErrorMs: 0, loadTimeoutMs: cache.loadTimeoutMs },
      DEFAULT_KEYSPACE_OPTIONS,
    ),
    given,
  )
  const at = (option: string) => `${name}.${option}`
  wholeNumber(at('ttlMs'), options.ttlMs, 1, YEAR_MS)
  if (given.absentTtlMs === undefined) options.absentTtlMs = Math.min(options.absentTtlMs, options.ttlMs)
  wholeNumber(at('absentTtlMs'), options.absentTtlMs, 1, YEAR_MS)
  for (const option of ['staleMs', 'staleIfErrorMs'] as const) {
    if (given[option] !== undefined) wholeNumber(at(option), options[option], 1, YEAR_MS)
  }
  if (!(typeof options.ttlJitter === 'number' && options.ttlJitter >= 0 && options.ttlJitter < 1))
    throw invalidOption(at('ttlJitter'), 'from 0 to less than 1', options.ttlJitter)
  wholeNumber(at('shape'), options.shape, 0, MAX_SHAPE)
  wholeNumber(at('loadTimeoutMs'), options.loadTimeoutMs, 1, MAX_MS)
  inOrder([at('loadTimeoutMs'), options.loadTimeoutMs], '<', ['leaseMs', cache.leaseMs])
  inOrder(['busyWaitMs', cache.busyWaitMs], '<=', [at('loadTimeoutMs'), options.loadTimeoutMs])
  if (options.loadSoftTimeoutMs !== undefined) {
    wholeNumber(at('loadSoftTimeoutMs'), options.loadSoftTimeoutMs, 1, MAX_MS)
    inOrder([at('loadSoftTimeoutMs'), options.loadSoftTimeoutMs], '<', [
      at('loadTimeoutMs'),
      options.loadTimeoutMs,
    ])
    if (given.staleIfErrorMs === undefined)
      throw invalidOption(at('loadSoftTimeoutMs'), 'given together with staleIfErrorMs', 'alone')
  }
  if (
    options.refreshAhead !== undefined &&
    !(options.refreshAhead > 0 && Number.isFinite(options.refreshAhead))
  ) {
    throw invalidOption(at('refreshAhead'), 'a number greater than 0', options.refreshAhead)
  }
  for (const option of ['load', 'loadMany', 'key', 'idOf', 'tags', 'tagsOf'] as const)
    aFunction(at(option), options[option])
  if (options.load === undefined && options.loadMany === undefined)
    throw invalidOption(at('load'), 'a function', undefined)
  if (typeof options.codec?.encode !== 'function' || typeof options.codec.decode !== 'function') {
    throw invalidOption(at('codec'), 'an object with encode and decode', options.codec)
  }
  if (options.schema !== undefined && typeof options.schema?.['~standard']?.validate !== 'function') {
    throw invalidOption(at('schema'), 'a Standard Schema', options.schema)
  }
  return options
}
