import type { Clock, Timer } from './clock.ts'
import { hasMethods, invalidOption } from './invalid-option.ts'
import { printable } from './printable.ts'
import { silencePromise } from './thrown.ts'

/**
 * Where warnings go: `console`, a logger of Pino, Bunyan, Winston or NestJS, a request's `log` of Fastify, or an object
 * of yours with these methods.
 *
 * Each is called with a sentence and with its details, an object with a `code` and mostly an `err`. Loggers of Pino's kind,
 * told by a method `child` and none named `log`, take the details first; all others take the sentence first.
 */
export interface Logger {
  /** Called when something has ended, and for information. Left out: `log` is called in its place. */
  info?(...args: never[]): unknown
  log?(...args: never[]): unknown
  warn(...args: never[]): unknown
  error(...args: never[]): unknown
}

/** How much a warning matters: `info` goes only to a logger, the others also to `process.emitWarning`. */
export type WarningLevel = 'info' | 'warn' | 'error'

/**
 * Everything that the library warns of: a closed list. `docs/warnings.md` says when each is said and what to do. Where they
 * are said, the codes have the prefix `CACHEASIDE_`.
 */
export const WARNINGS = {
  SHARED_UNAVAILABLE: 'warn',
  SHARED_FULL: 'warn',
  STREAM_UNPROVEN: 'warn',
  INVALIDATIONS_QUEUED: 'warn',
  LOADS_FAIL: 'warn',
  UNREADABLE: 'warn',
  UNKEPT: 'warn',
  LARGE_VALUE: 'warn',
  STALE_FOUND: 'error',
  UNDECLARED: 'error',
  FEED_LOST: 'warn',
  FEED_WARNING: 'warn',
  FEED_KEY_TYPE: 'warn',
  UNKNOWN_KEYSPACE: 'warn',
  TWIN_CACHE: 'warn',
  FEED_OPEN: 'info',
  FEED_DISTRUST: 'info',
  FAULT: 'warn',
  LISTENER_THREW: 'warn',
  MORE: 'warn',
  REDIS_VERSION: 'error',
  REDIS_REPLICA: 'error',
  REDIS_CLUSTER_NODE: 'error',
  REDIS_PERMISSION: 'error',
  REDIS_COMMAND: 'error',
  REDIS_EVICTS_GUARDS: 'error',
  REDIS_MAY_EVICT_GUARDS: 'warn',
  REDIS_UNBOUNDED: 'warn',
  REDIS_SPLIT_BRAIN: 'warn',
  REDIS_UNKNOWN: 'warn',
} as const satisfies Record<string, WarningLevel>

/** What a warning is about, without the prefix. */
export type WarningCode = keyof typeof WARNINGS

/** The logger's methods, as they are called here. */
type Say = (first: unknown, second: unknown) => unknown

/** What is given with a sentence. */
interface Telling {
  readonly message: string
  /** The error behind it, if there is one. */
  readonly error?: unknown
  /** Where it is not the code's own. */
  readonly level?: WarningLevel
  /** The newest instance, where only its end is the end. */
  readonly instance?: string
}

/** One cause of a warning: a code, and what it is about. */
interface Cause {
  telling: Telling
  instance: string | undefined
  /** Since when it lasts, by the clock's `nowMs`; `undefined`: it does not. */
  sinceMs: number | undefined
  isSaid: boolean
  /** How often it was said since then, at most {@link MOST_IN_WINDOW} times. */
  windowMs: number
  saidInWindow: number
  /** How often it ended without being said. */
  unsaid: number
  timer: Timer | undefined
}

const WINDOW_MS = 60_000
const MOST_IN_WINDOW = 3
const MOST_CAUSES = 100

/**
 * Tells an operator what has to be known: once for each cause, and again when it ends. A cause that comes and goes is said
 * three times a minute at most. At most a hundred causes of each code are told apart. So nothing here grows with the number
 * of reads.
 */
export class Warnings {
  readonly #clock: Clock
  readonly #logger: Logger | undefined
  readonly #causes = new Map<WarningCode, Map<string, Cause>>()
  #closed = false

  /** @param logger - Checked by {@link checkLogger}. Left out: `process.emitWarning`. */
  constructor(clock: Clock, logger: Logger | undefined) {
    this.#clock = clock
    this.#logger = logger
  }

  /**
   * Something that lasts has begun. It is said if it was not known.
   *
   * @param subject - What of this code it is about: a keyspace, a server; `''` where there is only one.
   */
  begin(code: WarningCode, subject: string, telling: Telling): void {
    if (this.#closed) return
    const nowMs = this.#clock.nowMs()
    const cause = this.#cause(code, subject, telling, nowMs)
    if (cause === undefined) return
    cause.instance = telling.instance
    if (cause.sinceMs !== undefined) return
    cause.telling = telling
    cause.sinceMs = nowMs
    const leftMs = cause.windowMs + WINDOW_MS - nowMs
    // A cause that lasts beyond the minute is said when the minute is over.
    if (leftMs > 0 && cause.saidInWindow >= MOST_IN_WINDOW)
      cause.timer = this.#clock.after(leftMs, () => this.#sayBeginning(code, cause))
    else this.#sayBeginning(code, cause)
  }

  /** More has become known of something that lasts. It is said if its beginning was said. */
  more(code: WarningCode, subject: string, telling: Telling): void {
    if (this.#causes.get(code)?.get(subject)?.isSaid && !this.#closed) this.#say(code, telling)
  }

  /** Something happened that has no end: it is said the first time. */
  once(code: WarningCode, subject: string, telling: Telling): void {
    this.begin(code, subject, telling)
  }

  /** Something happened that is worth telling each time, within the same limit per minute. */
  each(code: WarningCode, telling: Telling, subject = ''): void {
    this.begin(code, subject, telling)
    const cause = this.#causes.get(code)?.get(subject)
    if (cause !== undefined) forget(cause)
  }

  /**
   * Something that had begun is over. That is said if its beginning was said.
   *
   * @param instance - If given, only this one is over; if another one was begun since, nothing is.
   * @returns whether it had begun.
   */
  end(code: WarningCode, subject: string, message: string, instance?: string): boolean {
    const cause = this.#causes.get(code)?.get(subject)
    if (cause?.sinceMs === undefined || this.#closed) return false
    if (instance !== undefined && cause.instance !== instance) return false
    const { sinceMs, isSaid } = cause
    forget(cause)
    if (!isSaid) return true
    const seconds = ((this.#clock.nowMs() - sinceMs) / 1000).toFixed(1)
    this.#say(code, { message: `${message} (it took ${seconds} s)`, level: 'info' }, true)
    return true
  }

  /** Says nothing any more. */
  close(): void {
    this.#closed = true
    for (const causes of this.#causes.values()) for (const cause of causes.values()) cause.timer?.cancel()
    this.#causes.clear()
  }

  #cause(code: WarningCode, subject: string, telling: Telling, nowMs: number): Cause | undefined {
    let causes = this.#causes.get(code)
    if (causes === undefined) {
      causes = new Map()
      this.#causes.set(code, causes)
    }
    const known = causes.get(subject)
    if (known !== undefined) return known
    if (causes.size >= MOST_CAUSES) {
      const message = `${PREFIX}${code} has ${MOST_CAUSES} causes already; further causes are not reported`
      if (code !== 'MORE') this.once('MORE', code, { message })
      return undefined
    }
    const cause: Cause = {
      telling,
      instance: undefined,
      sinceMs: undefined,
      isSaid: false,
      windowMs: nowMs,
      saidInWindow: 0,
      unsaid: 0,
      timer: undefined,
    }
    causes.set(subject, cause)
    return cause
  }

  #sayBeginning(code: WarningCode, cause: Cause): void {
    const nowMs = this.#clock.nowMs()
    if (nowMs - cause.windowMs >= WINDOW_MS) {
      cause.windowMs = nowMs
      cause.saidInWindow = 0
    }
    const { unsaid, telling } = cause
    cause.saidInWindow++
    cause.unsaid = 0
    cause.isSaid = true
    cause.timer = undefined
    const times = unsaid === 1 ? 'once' : `${unsaid} times`
    const gone = unsaid === 0 ? '' : ` (it came and went ${times} since the last warning)`
    this.#say(code, { ...telling, message: telling.message + gone })
  }

  #say(code: WarningCode, { message: text, error, level = WARNINGS[code] }: Telling, isEnd = false): void {
    const message = printable(text)
    const details = { code: PREFIX + code, ...(error === undefined ? {} : { err: error }) }
    const logger = this.#logger
    if (logger !== undefined) {
      try {
        const say = (level === 'info' ? (logger.info ?? logger.log) : logger[level]) as Say
        const returned = takesDetailsFirst(logger)
          ? say.call(logger, details, message)
          : say.call(logger, message, details)
        silencePromise(returned)
        return
      } catch {
        // A logger that throws must not make a warning vanish.
      }
    }
    if (level !== 'info' || isEnd)
      process.emitWarning(message, { type: 'CacheasideWarning', code: details.code })
  }
}

const PREFIX = 'CACHEASIDE_'

/** It lasts no longer. */
function forget(cause: Cause): void {
  if (cause.sinceMs !== undefined && !cause.isSaid) cause.unsaid++
  cause.sinceMs = undefined
  cause.isSaid = false
  cause.timer?.cancel()
  cause.timer = undefined
}

/** Pino, Bunyan and what Fastify hands out have `child`, and none has `log`, which console, Winston and NestJS have. */
const takesDetailsFirst = (logger: Logger): boolean =>
  typeof (logger as { child?: unknown }).child === 'function' && typeof logger.log !== 'function'

/**
 * Refuses what is no logger.
 *
 * @throws CacheError `INVALID_OPTIONS`.
 * @internal
 */
export function checkLogger(logger: unknown): void {
  if (logger === undefined) return
  if ((typeof logger !== 'object' && typeof logger !== 'function') || logger === null)
    throw invalidOption('logger', 'an object with info, warn and error', logger)
  const hasLog = typeof (logger as Partial<Logger>).log === 'function'
  hasMethods('logger', logger, hasLog ? ['warn', 'error'] : ['info', 'warn', 'error'])
}
