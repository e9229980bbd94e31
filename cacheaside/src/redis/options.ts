import { type Clock, systemClock } from '../base/clock.ts'
import {
  described,
  invalidOption,
  invalidOptionInWords,
  knownNames,
  wholeNumber,
} from '../base/invalid-option.ts'
import { silencePromise } from '../base/thrown.ts'
import { checkLogger, type Logger } from '../base/warnings.ts'
import type { Driver } from './driver.ts'
import { REDIS_POLICIES, type RedisFinding, type RedisPolicy } from './examine.ts'
import { type IoredisLike, ioredisDriver, isIoredis } from './ioredis.ts'
import { isNodeRedis, type NodeRedisLike, nodeRedisDriver } from './node-redis.ts'
import { DEFAULT_MAX_VALUE_BYTES } from './value-sizes.ts'

/**
 * A client of `ioredis` (5 or 6) or `iovalkey`, or a Cluster of either; or a client, Cluster or Sentinel of `redis`
 * (5 or 6).
 */
export type RedisClient = IoredisLike | NodeRedisLike

/** What `redisShared` is made with. */
export interface RedisSharedOptions {
  /**
   * A function that makes a client for the store alone: closing the last cache leaves nothing open. Or a client that you
   * have, and end yourself.
   *
   * It is only read for how it connects (address, TLS, user, database, key prefix, Sentinel or Cluster) and need not be
   * connected: the store opens connections of its own, which never resend, queue or give up. A client that the function has
   * made is disconnected at once.
   */
  readonly client: RedisClient | (() => RedisClient)
  /**
   * Comes before every key and channel, after the client's own key prefix. Each application needs its own, also on
   * different databases of one server: channels ignore databases. At most 256 characters; without `{` and `}` on a Cluster.
   *
   * @defaultValue `''`
   */
  readonly prefix?: string
  /** Sets `maxmemory-policy` on every primary. Left out: the server's own is kept, and judged. */
  readonly policy?: RedisPolicy
  /** Whether to allow `volatile-ttl`, which evicts the guards of writers at work. @defaultValue false */
  readonly allowUnsafePolicy?: boolean
  /**
   * Gets each finding about the servers once, and again when it ends: warnings, and reasons to refuse a server. Usually
   * the cache's `logger`.
   *
   * @defaultValue `process.emitWarning`, which writes to stderr
   */
  readonly logger?: Logger
  /** Called with every new finding, instead of the logger. Left out: the logger is told. */
  readonly onWarning?: (warning: RedisFinding) => void
  /**
   * The most bytes of UTF-8 that the encoded text of a value may have, from 1 to 268,435,456. A larger value is answered and kept
   * nowhere, and the cache warns of it once for each keyspace (`LARGE_VALUE`); a write removes the old value and does not store
   * the new one. What other programs have stored and is larger is not read: its readers go to the origin.
   *
   * All processes of an application should have the same. A larger one needs a `sharedTimeoutMs` in which such a value comes over
   * your network: all other commands of the process wait behind it.
   *
   * @defaultValue 1,048,576 (1 MiB), which takes 84 ms at 100 megabits per second
   * @see docs/values.md
   */
  readonly maxValueBytes?: number
  /** Time, timers and randomness. @defaultValue `systemClock` */
  readonly clock?: Clock
}

/** Options with nothing left open. */
export interface ResolvedRedisOptions {
  readonly driver: Driver
  /** The client's key prefix and ours. */
  readonly prefix: string
  readonly policy: RedisPolicy | undefined
  readonly allowUnsafePolicy: boolean
  readonly onWarning: ((warning: RedisFinding) => void) | undefined
  readonly logger: Logger | undefined
  readonly maxValueBytes: number
  readonly clock: Clock
}

const OPTION_NAMES = [
  ...['client', 'prefix', 'policy', 'allowUnsafePolicy', 'logger', 'onWarning', 'maxValueBytes', 'clock'],
]
const LONGEST_PREFIX = 256
/** Half of what a text of Node, and of Redis, can hold at most. */
const LARGEST_VALUE_BYTES = 2 ** 28

/**
 * Checks the options and fills in the defaults.
 *
 * @throws CacheError `INVALID_OPTIONS`, naming the option, what it should be and what it is.
 */
export function resolveRedisOptions(given: RedisSharedOptions): ResolvedRedisOptions {
  if (isIoredis(given) || isNodeRedis(given))
    throw invalidOptionInWords('options', 'an object: redisShared({ client })', 'the client itself')
  knownNames('options', given, OPTION_NAMES)
  const { client, prefix = '', policy, allowUnsafePolicy = false, onWarning, logger } = given
  const { maxValueBytes = DEFAULT_MAX_VALUE_BYTES } = given
  if (isClass(client))
    throw invalidOptionInWords('client', 'a client, or a function: () => new Redis(url)', 'a class')
  const driver = typeof client === 'function' ? driverOfOwn(client()) : driverOf(client)
  if (policy !== undefined && !REDIS_POLICIES.includes(policy))
    throw invalidOption('policy', `one of ${REDIS_POLICIES.join(', ')}`, policy)
  if (typeof allowUnsafePolicy !== 'boolean')
    throw invalidOption('allowUnsafePolicy', 'true or false', allowUnsafePolicy)
  if (policy === 'volatile-ttl' && !allowUnsafePolicy)
    throw invalidOption('policy', 'one that does not evict guards first, or allowUnsafePolicy true', policy)
  if (onWarning !== undefined && typeof onWarning !== 'function')
    throw invalidOption('onWarning', 'a function', onWarning)
  checkLogger(logger)
  wholeNumber('maxValueBytes', maxValueBytes, 1, LARGEST_VALUE_BYTES)
  return {
    driver,
    prefix: checkedPrefix(prefix, driver),
    policy,
    allowUnsafePolicy,
    onWarning,
    logger,
    maxValueBytes,
    clock: given.clock ?? systemClock,
  }
}

const isClass = (given: unknown): boolean =>
  typeof given === 'function' && /^class\b/.test(Function.prototype.toString.call(given))

/** The method that ends a client, of ioredis or of node-redis. */
interface Endable {
  on(event: 'error', listener: () => void): void
  disconnect(): void
  readonly isOpen: boolean
  destroy(): void
}

/**
 * The driver of a client that nobody else has. The client is ended, also if it is refused: some connect by themselves, and would
 * keep the process alive.
 */
function driverOfOwn(client: RedisClient): Driver {
  try {
    return driverOf(client)
  } finally {
    end(client)
  }
}

function end(client: RedisClient): void {
  const own = client as unknown as Endable
  if (isIoredis(client)) {
    own.on('error', () => {})
    own.disconnect()
  } else if (isNodeRedis(client)) {
    own.on('error', () => {})
    if (own.isOpen) own.destroy()
  }
}

function driverOf(client: RedisClient): Driver {
  if (isIoredis(client)) return ioredisDriver(client)
  if (isNodeRedis(client)) return nodeRedisDriver(client)
  silencePromise(client)
  const isPromise = typeof (client as Partial<PromiseLike<unknown>> | undefined)?.then === 'function'
  const got = isPromise ? 'a promise: do not connect it, the store does that itself' : described(client)
  throw invalidOptionInWords('client', 'an ioredis, iovalkey or node-redis client', got)
}

function checkedPrefix(prefix: string, driver: Driver): string {
  if (typeof prefix !== 'string' || prefix.length > LONGEST_PREFIX || !prefix.isWellFormed())
    throw invalidOption('prefix', `a string of at most ${LONGEST_PREFIX} characters`, prefix)
  const whole = driver.keyPrefix + prefix
  // A hash tag would put every key, and the probes of all primaries, into one slot.
  if (driver.deployment === 'cluster' && /[{}]/.test(whole))
    throw invalidOption('prefix', 'free of { and } on a Cluster', whole)
  return whole
}
