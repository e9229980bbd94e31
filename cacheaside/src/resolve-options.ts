/**
 * The checks of options, and the defaults filled in: of a cache, of its keyspaces, and of one read or write.
 */
import { checkSignal } from './base/abort.ts'
import { type Clock, systemClock } from './base/clock.ts'
import {
  aFunction,
  checkClock,
  hasMethods,
  invalidOption,
  invalidOptionInWords,
  knownNames,
  unknownOption,
  wholeNumber,
} from './base/invalid-option.ts'
import { isKeyspaceName } from './base/key.ts'
import { checkLogger } from './base/warnings.ts'
import { commitInDoubt } from './commit-in-doubt.ts'
import { EVICTION_POLICIES } from './local/local-store.ts'
import {
  type CacheOptions,
  DEFAULT_CACHE_OPTIONS,
  DEFAULT_KEYSPACE_OPTIONS,
  type KeyspaceOptions,
} from './options.ts'
import { MAX_SHAPE } from './shared/register.ts'
import type { SharedStore } from './shared/shared-store.ts'
import { valueCodec } from './shared/value-codec.ts'

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

/** Timers of Node cannot be set further ahead: they would fire at once. */
const MAX_MS = 2 ** 31 - 1
const YEAR_MS = 366 * 24 * 3_600_000

function oneOf(name: string, value: unknown, allowed: readonly string[]): void {
  if (!allowed.includes(value as string)) throw invalidOption(name, `one of ${allowed.join(', ')}`, value)
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
const READ_OPTION_NAMES = ['consistency', 'signal']
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
      throw unknownOption(`options.${name}`, READ_OPTION_NAMES)
  }
  const { consistency, signal } = given
  if (consistency !== undefined && consistency !== 'strong')
    throw invalidOption('consistency', '"strong"', consistency)
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
    throw invalidOption('shared', 'a shared store, as redisShared({ client }) makes one', options.shared)
  hasMethods('shared', options.shared, SHARED_METHODS)
  if (options.feed !== undefined && typeof options.feed?.open !== 'function')
    throw invalidOption('feed', 'a change feed, as postgresFeed({ pool, tables }) makes one', options.feed)
  checkStream(options)
  aFunction('shared.keysAtOnce', options.shared.keysAtOnce)
  if (options.shared.maxValueBytes !== undefined)
    wholeNumber('shared.maxValueBytes', options.shared.maxValueBytes, 1, Number.MAX_SAFE_INTEGER)
  clockOf(options)
  if (options.local !== undefined) {
    knownNames('local', options.local, ['maxBytes', 'maxEntries', 'policy'])
    if (options.local.maxBytes === undefined && options.local.maxEntries === undefined) {
      throw invalidOptionInWords('local', 'bounded by maxBytes or maxEntries', 'neither')
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
    !(Number.isFinite(options.refreshAhead) && options.refreshAhead > 0)
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
