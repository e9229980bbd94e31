import { builtin } from './runtime.ts'

/**
 * The only file of the library that reads the time, sets a timer or draws randomness. Everything else is handed
 * a {@link Clock}, so that a test can hold time still and a simulation can replay a run from its seed.
 */

/** A timer that has been set. */
export interface Timer {
  /** Stops it; a timer that already ran, or was already stopped, is left as it is. */
  cancel(): void
}

/** Where time, timers and randomness come from. */
export interface Clock {
  /**
   * Milliseconds since an arbitrary moment, really read at every call: never goes back, and counts the time for
   * which the process was suspended.
   */
  nowMs(): number
  /**
   * As {@link Clock.nowMs}, but may be read once and remembered for some calls of the same turn of the event loop. For
   * expiry, where a few milliseconds do not matter; never for a proof of freshness.
   */
  coarseMs(): number
  /**
   * A moment from {@link Clock.nowMs} up to a millisecond after it, for what must not be too old. Left out: `nowMs` is used.
   */
  ceilingMs?(): number
  /** Milliseconds since 1970 by the wall clock, which may jump. For people, never for a decision. */
  epochMs(): number
  /**
   * Calls `run` once, not before `delayMs` milliseconds have passed by the monotonic clock, whatever the wall clock
   * does meanwhile.
   *
   * @param holds - Whether the timer keeps the process alive until then, because somebody waits for what `run` does. Left
   * out: it does not.
   */
  after(delayMs: number, run: () => void, holds?: boolean): Timer
  /** A number in [0, 1). */
  random(): number
  /** A fresh random token of 96 bits, as {@link TOKEN_LENGTH} URL-safe characters. */
  token(): string
}

/** Characters in a token: 96 bits in base64url. */
export const TOKEN_LENGTH = 16

const RE_ANCHOR_MS = 1000
/** If the wall clock is ahead of the monotonic clock by this much, it was set forward, and is not just a little faster. */
const STEP_MS = 20
/** The wall clock shows whole milliseconds: it may seem to be ahead by this much without being so. */
const WALL_ROUNDING_MS = 1
/**
 * How often one coarse reading is used. The limit lets reads that never let the event loop turn see time pass. While all uses
 * of a reading take less than a millisecond, the next one is used twice as often.
 */
const LEAST_COARSE_USES = 64
const MOST_COARSE_USES = 1_024

/**
 * Time that passes at least as fast as the monotonic and the wall clock do. The monotonic clock of Linux stands still while
 * the machine sleeps, and the wall clock may be set back; a copy that must be younger than two seconds has to be judged by
 * the clock that shows more time passed.
 *
 * The larger of the two is taken from an anchor that moves on about once a second: with a fixed anchor, a wall
 * clock once set back an hour would hide the next hour of sleep; with an anchor at every reading, the rounding of
 * the wall clock to whole milliseconds would make time run at double speed. After a step forward it moves at once: if the
 * step is taken back, time would stand still until the monotonic clock has caught up.
 */
function elapsedReader({ monotonicMs, wallMs, isWallReal }: Sources): Readings {
  let monotonicAnchor = monotonicMs()
  let wallAnchor = wallMs()
  let atAnchor = 0
  let last = 0
  let lastWall = Number.NaN
  const read = (wall: number): number => {
    const monotonic = monotonicMs()
    lastWall = wall
    const byMonotonic = monotonic - monotonicAnchor
    const byEither = Math.max(monotonic - monotonicAnchor, wall - wallAnchor - WALL_ROUNDING_MS)
    // A test may replace the wall clock by one that shows anything, also `NaN` or infinity.
    const elapsed = Number.isFinite(byEither) ? byEither : byMonotonic
    last = Math.max(last, atAnchor + elapsed)
    const isStep = elapsed > byMonotonic + STEP_MS
    if (isStep || byMonotonic >= RE_ANCHOR_MS || Math.abs(wall - wallAnchor) >= RE_ANCHOR_MS) {
      atAnchor = last
      monotonicAnchor = monotonic
      wallAnchor = wall
    }
    return last
  }
  return {
    nowMs: () => read(wallMs()),
    // Reading a clock costs as much as all else that a hit does. The wall clock shows a machine's sleep, too: while it shows
    // the millisecond of the last reading, no more than that has passed. If it was set back to this very
    // millisecond, that is found out when it is over.
    ceilingMs() {
      const wall = wallMs()
      return (wall === lastWall && isWallReal() ? last : read(wall)) + WALL_ROUNDING_MS
    },
  }
}

/** What a clock is made of. */
interface Sources {
  readonly monotonicMs: () => number
  readonly wallMs: () => number
  /** Whether the wall clock is the machine's. One that a test has stopped says nothing. */
  readonly isWallReal: () => boolean
}

interface Readings {
  readonly nowMs: () => number
  readonly ceilingMs: () => number
}

const POOLED_TOKENS = 64
const TOKEN_BYTES = 12

function tokenSource(): () => string {
  const pool = Buffer.allocUnsafe(POOLED_TOKENS * TOKEN_BYTES)
  let next = pool.length
  return () => {
    if (next === pool.length) {
      crypto.getRandomValues(pool)
      next = 0
    }
    next += TOKEN_BYTES
    return pool.toString('base64url', next - TOKEN_BYTES, next)
  }
}

/** How timers are set. */
export interface Timers {
  set(run: () => void, delayMs: number): { unref?(): unknown }
  clear(handle: unknown): void
}

/** The timers that are global at the moment of the call: a test's fake ones, where it has put them. */
const globalTimers: Timers = {
  set: (run, delayMs) => setTimeout(run, delayMs),
  clear: handle => clearTimeout(handle as NodeJS.Timeout),
}

/**
 * A clock over the given sources; {@link systemClock} is the one over the machine's own.
 *
 * @param sources - Readers of a monotonic and of the wall clock, both in milliseconds. `isWallReal` left out: it is.
 * @param timers - Left out: the globals, as they are when one is set.
 */
export function clockOver(
  sources: Omit<Sources, 'isWallReal'> & Partial<Sources>,
  timers: Timers = globalTimers,
): Clock & Required<Pick<Clock, 'ceilingMs'>> {
  const { nowMs, ceilingMs } = elapsedReader({ isWallReal: () => true, ...sources })
  let coarse = 0
  let uses = LEAST_COARSE_USES
  let usesLeft = 0
  let isForgetting = false
  const forget = () => {
    usesLeft = 0
    isForgetting = false
  }
  const readCoarse = () => {
    const before = coarse
    coarse = nowMs()
    const isQuick = isForgetting && coarse - before < 1
    uses = isQuick ? Math.min(2 * uses, MOST_COARSE_USES) : LEAST_COARSE_USES
    usesLeft = uses
    // Not by a timer: after the process stood still, what it was sent meanwhile is read before timers run.
    if (!isForgetting) {
      isForgetting = true
      afterThisTurn(forget)
    }
    return coarse
  }
  return {
    nowMs,
    ceilingMs,
    coarseMs: () => (usesLeft-- > 0 ? coarse : readCoarse()),
    epochMs: sources.wallMs,
    after(delayMs, run, holds = false) {
      const handle = timers.set(run, delayMs)
      if (!holds) handle.unref?.()
      return { cancel: () => timers.clear(handle) }
    },
    random: Math.random,
    token: tokenSource(),
  }
}

type SetTimeout = (run: () => void, delayMs: number) => NodeJS.Timeout
type TimersModule = { readonly setTimeout: SetTimeout; readonly clearTimeout: (handle: never) => void }

/** Delays that are drawn at random are set once each. */
const MOST_LISTED = 16

/**
 * Tests mostly replace the globals, and Node's modules keep the real timers. So these are real even if this file is loaded
 * while fake ones are in place. Where the modules have fake ones, too, each timer looks for real ones again.
 */
class RealTimers implements Timers {
  #found = findTimers()
  /** The delays for which a timer that does nothing is set. */
  readonly #listed = new Set<number>()

  set(run: () => void, delayMs: number): NodeJS.Timeout {
    this.#found ??= findTimers()
    if (this.#found === undefined) return setTimeout(run, delayMs)
    if (!this.#listed.has(delayMs) && this.#listed.size < MOST_LISTED) this.#list(this.#found, delayMs)
    return this.#found.setTimeout(run, delayMs)
  }

  /**
   * Node has a list of timers for each delay, and drops it with its last timer. To set and to clear a timer takes three
   * times as long where its list has to be made. A limit that is never reached would make it every time.
   */
  #list({ setTimeout }: TimersModule, delayMs: number): void {
    this.#listed.add(delayMs)
    setTimeout(() => this.#listed.delete(delayMs), delayMs).unref?.()
  }

  clear(handle: unknown): void {
    if (this.#found === undefined) clearTimeout(handle as never)
    else this.#found.clearTimeout(handle as never)
  }
}

function findTimers(): TimersModule | undefined {
  const { setTimeout, clearTimeout } = globalThis
  const modules = [builtin('node:timers') as TimersModule | undefined, { setTimeout, clearTimeout }]
  for (const found of modules) {
    if (found === undefined) continue
    // Called as functions: a browser's timers refuse to be methods of another object.
    const { setTimeout, clearTimeout } = found
    const handle: unknown = setTimeout(() => {}, 1)
    // A field of Node's own timers.
    const isReal = typeof handle === 'object' && handle !== null && '_idleTimeout' in handle
    clearTimeout(handle as never)
    if (isReal) return { setTimeout, clearTimeout }
  }
  return undefined
}

const clockOfNode = (builtin('node:perf_hooks') as { performance: typeof performance } | undefined)
  ?.performance
const timeOrigin = clockOfNode ?? performance
// From the prototype: a spy on the object does not hide it there.
const realNow = (Object.getPrototypeOf(timeOrigin) as typeof performance).now ?? timeOrigin.now

/**
 * Reads the global `Date` at each call, on purpose: a test may set it forward, as a machine does that wakes up, and then
 * stored values are old. It may also be a mock without `now`.
 */
const wallNow = (): number => (typeof Date.now === 'function' ? Date.now() : Number.NaN)

const machinesNow = Date.now
/** A function of JavaScript, or one that is bound to something, has another text. */
const isMachinesNow = Function.prototype.toString.call(machinesNow) === 'function now() { [native code] }'

/**
 * The machine's clock, timers and randomness. Fake timers do not stop it: time passes and timers fire as they really do,
 * whatever is done to the globals. A `Date` that is set forward counts as time that has passed.
 */
export const systemClock: Clock = clockOver(
  {
    monotonicMs: () => realNow.call(timeOrigin),
    wallMs: wallNow,
    isWallReal: () => isMachinesNow && Date.now === machinesNow,
  },
  new RealTimers(),
)

const resolved = Promise.resolve()

type NextTick = (run: (arg: () => void) => void, arg: () => void) => void

const realNextTick = (globalThis as { process?: { nextTick?: NextTick & { clock?: unknown } } }).process
  ?.nextTick

let isEnding = false

function runAtEnd(run: () => void): void {
  isEnding = true
  try {
    run()
  } finally {
    isEnding = false
  }
}

/** Runs it once this turn of the event loop has done all that does not wait for I/O or a timer. */
export function afterThisTurn(run: () => void): void {
  // A faked `nextTick` has the field `clock`, and might never run.
  if (realNextTick !== undefined && realNextTick.clock === undefined) realNextTick(runAtEnd, run)
  else queueMicrotask(run)
}

/** Resolves once this turn of the event loop has done all that does not wait for I/O or a timer. */
export const endOfThisTurn = (): Promise<void> => new Promise(afterThisTurn)

/** Whether {@link afterThisTurn} runs the caller: nothing else of this turn is to come. */
export const isAfterThisTurn = (): boolean => isEnding

/** The real `queueMicrotask`: fake timers replace the global one, too. */
export function queueMicrotask(run: () => void): void {
  resolved.then(run)
}
