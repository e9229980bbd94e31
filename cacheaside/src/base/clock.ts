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
   * As {@link Clock.nowMs}, but may be read once and remembered until the event loop turns. For expiry, where a
   * few milliseconds do not matter; never for a proof of freshness.
   */
  coarseMs(): number
  /** Milliseconds since 1970 by the wall clock, which may jump. For people, never for a decision. */
  epochMs(): number
  /**
   * Calls `run` once, not before `delayMs` milliseconds have passed by the monotonic clock, whatever the wall clock
   * does meanwhile.
   *
   * @param holds - Whether it keeps the process alive until then: because somebody waits for what it does. Left out: it
   *   does not.
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
/** The wall clock comes in whole milliseconds: by so much it may seem to be ahead without being so. */
const WALL_ROUNDING_MS = 1

/**
 * Time that passes at least as fast as the monotonic and the wall clock do. The monotonic clock of Linux stands
 * still while the machine sleeps, and the wall clock may be set back; a copy that must be younger than two
 * seconds has to be judged by whichever of the two says that more time has passed.
 *
 * The larger of the two is taken from an anchor that moves on about once a second: with a fixed anchor, a wall
 * clock once set back an hour would hide the next hour of sleep; with an anchor at every reading, the rounding of
 * the wall clock to whole milliseconds would make time run at double speed.
 */
function elapsedReader(monotonicMs: () => number, wallMs: () => number): () => number {
  let monotonicAnchor = monotonicMs()
  let wallAnchor = wallMs()
  let atAnchor = 0
  let last = 0
  return () => {
    const monotonic = monotonicMs()
    const wall = wallMs()
    const elapsed = Math.max(monotonic - monotonicAnchor, wall - wallAnchor - WALL_ROUNDING_MS)
    last = Math.max(last, atAnchor + elapsed)
    if (monotonic - monotonicAnchor >= RE_ANCHOR_MS || Math.abs(wall - wallAnchor) >= RE_ANCHOR_MS) {
      atAnchor = last
      monotonicAnchor = monotonic
      wallAnchor = wall
    }
    return last
  }
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

/**
 * A clock over the given sources; {@link systemClock} is the one over the machine's own.
 *
 * @param sources - Readers of a monotonic and of the wall clock, both in milliseconds.
 */
export function clockOver(sources: { monotonicMs: () => number; wallMs: () => number }): Clock {
  const nowMs = elapsedReader(sources.monotonicMs, sources.wallMs)
  let coarse = 0
  let coarseIsFresh = false
  const forget = () => {
    coarseIsFresh = false
  }
  return {
    nowMs,
    coarseMs() {
      if (coarseIsFresh) return coarse
      coarse = nowMs()
      coarseIsFresh = true
      setTimeout(forget, 1).unref()
      return coarse
    },
    epochMs: sources.wallMs,
    after(delayMs, run, holds = false) {
      const handle = setTimeout(run, delayMs)
      if (!holds) handle.unref()
      return { cancel: () => clearTimeout(handle) }
    },
    random: Math.random,
    token: tokenSource(),
  }
}

/** The machine's clock, timers and randomness. */
export const systemClock: Clock = clockOver({
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
})
