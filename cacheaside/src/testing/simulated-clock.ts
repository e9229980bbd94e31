import { setImmediate } from 'node:timers'
import { type Clock, type Timer, TOKEN_LENGTH } from '../base/clock.ts'

/** The options of a {@link SimulatedClock}. */
export interface SimulatedClockOptions {
  /**
   * Seed of everything random.
   *
   * @defaultValue 1
   */
  readonly seed?: number
  /**
   * What the wall clock shows at the beginning, in milliseconds since 1970.
   *
   * @defaultValue 2030-01-01T00:00:00Z
   */
  readonly startEpochMs?: number
}

interface PendingTimer {
  readonly dueMs: number
  readonly run: () => void
}

/** As in Node: a delay below this is a millisecond, and one above the maximum would be taken for a millisecond. */
const MIN_DELAY_MS = 1
const MAX_DELAY_MS = 2 ** 31 - 1

const TOKEN_ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

/**
 * A clock that stands still until a test moves it, and whose randomness comes from a seed: the same program under
 * the same seed runs the same way every time.
 *
 * @example
 * ```ts
 * const clock = new SimulatedClock({ seed: 7 })
 * clock.after(50, () => console.log('half'))
 * await clock.advance(100) // prints "half" at 50, and comes back at 100
 * ```
 */
export class SimulatedClock implements Clock {
  #nowMs = 0
  #wallOffsetMs: number
  #advancing = false
  /** In the order in which they will run. */
  readonly #timers: PendingTimer[] = []
  readonly #bits: () => number

  constructor(options: SimulatedClockOptions = {}) {
    this.#wallOffsetMs = options.startEpochMs ?? Date.UTC(2030, 0, 1)
    this.#bits = seededBits(options.seed ?? 1)
  }

  /** Milliseconds since this clock was made. */
  nowMs(): number {
    return this.#nowMs
  }

  /** The same as {@link SimulatedClock.nowMs}: a coarse reading would save nothing. */
  coarseMs(): number {
    return this.#nowMs
  }

  /** The simulated wall clock, which only {@link SimulatedClock.jumpWall} makes jump. */
  epochMs(): number {
    return this.#nowMs + this.#wallOffsetMs
  }

  /**
   * Sets a timer, which only {@link SimulatedClock.advance} runs. As in Node, at least a millisecond passes.
   *
   * @throws RangeError for a delay that is not a number or that Node's timers cannot hold (over 24.8 days): they
   *   would fire at once.
   */
  after(delayMs: number, run: () => void): Timer {
    if (!(delayMs <= MAX_DELAY_MS)) throw new RangeError(`no timer can wait for ${delayMs} ms`)
    const timer = { dueMs: this.#nowMs + Math.max(MIN_DELAY_MS, delayMs), run }
    let at = this.#timers.length
    while (at > 0 && this.#timers[at - 1]!.dueMs > timer.dueMs) at--
    this.#timers.splice(at, 0, timer)
    return { cancel: () => this.#remove(timer) }
  }

  /** A number in [0, 1) from the seed. */
  random(): number {
    return this.#bits() / 2 ** 32
  }

  /** A token from the seed. */
  token(): string {
    let token = ''
    while (token.length < TOKEN_LENGTH) {
      const bits = this.#bits()
      // The lower bits of one draw, six for each of four characters.
      for (let shift = 0; shift < 24; shift += 6) token += TOKEN_ALPHABET[(bits >>> shift) & 63]
    }
    return token
  }

  /**
   * Lets `ms` milliseconds pass. Timers that fall due run in their order, each at its own time, and between any
   * two all promise jobs run to their end, as they would between two timers of Node.
   *
   * If a timer throws, this rejects with its error, and the time stays at that timer.
   *
   * @throws Error when it is called while it is still running, from a timer for instance.
   * @throws RangeError for a negative `ms`, or none.
   */
  async advance(ms: number): Promise<void> {
    if (!(ms >= 0)) throw new RangeError(`no clock can be advanced by ${ms} ms`)
    if (this.#advancing) throw new Error('the simulated clock is being advanced already')
    this.#advancing = true
    try {
      const untilMs = this.#nowMs + ms
      await this.drain()
      while (this.#timers.length > 0 && this.#timers[0]!.dueMs <= untilMs) {
        const { dueMs, run } = this.#timers.shift()!
        this.#nowMs = Math.max(this.#nowMs, dueMs)
        run()
        await this.drain()
      }
      this.#nowMs = Math.max(this.#nowMs, untilMs)
    } finally {
      this.#advancing = false
    }
  }

  /** Runs all promise jobs to their end; no time passes. */
  drain(): Promise<void> {
    return new Promise(resolve => setImmediate(resolve))
  }

  /**
   * Lets `ms` milliseconds pass in which this process does not run (SIGSTOP, a closed lid, a paused virtual
   * machine): no timer fires until the clock is next advanced, and the overdue ones fire then, late.
   */
  suspend(ms: number): void {
    this.#nowMs += ms
  }

  /** Sets the wall clock forward, or back if `ms` is negative. No time passes. */
  jumpWall(ms: number): void {
    this.#wallOffsetMs += ms
  }

  /** How many timers are set: 0 after a test that cleaned up. */
  get pendingTimers(): number {
    return this.#timers.length
  }

  /** The timers that are set and when they are due, for the message of a failing test. */
  describeTimers(): string {
    if (this.#timers.length === 0) return 'no timers'
    return this.#timers
      .map(({ dueMs, run }) => `${run.name || 'a timer'} in ${dueMs - this.#nowMs} ms`)
      .join(', ')
  }

  #remove(timer: PendingTimer): void {
    const at = this.#timers.indexOf(timer)
    if (at >= 0) this.#timers.splice(at, 1)
  }
}

/** Words of 32 random bits: Chris Doty-Humphrey's `sfc32` (PractRand), warmed up over the seed. */
function seededBits(seed: number): () => number {
  let a = seed >>> 0
  let b = Math.floor(seed / 2 ** 32) >>> 0
  let c = 0x9e3779b9
  let counter = 1
  const next = () => {
    const sum = (a + b + counter) | 0
    counter = (counter + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = (((c << 21) | (c >>> 11)) + sum) | 0
    return sum >>> 0
  }
  for (let i = 0; i < 15; i++) next()
  return next
}
