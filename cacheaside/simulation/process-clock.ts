import { type Clock, type Timer, TOKEN_LENGTH } from '../src/base/clock.ts'
import type { SimulatedClock } from '../src/testing/index.ts'
import type { Library } from '../test/protections/library.ts'
import type { Random } from './random.ts'

/** After so long at most the library's clock has noticed that the wall clock was set back. */
const NOTICED_MS = 1_000
const TOKEN_ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

/** A fresh token, as any clock's. */
export function tokenFrom(random: Random): string {
  let token = ''
  for (let i = 0; i < TOKEN_LENGTH; i++) token += TOKEN_ALPHABET[random.below(64)]
  return token
}

/** A timer, and what it runs. */
interface Due {
  isCancelled: boolean
  readonly run: () => void
}

/**
 * The time of one process, and whether it runs at all. Everything that wakes a process, a timer or something that arrives
 * from a socket, comes through here: while it is paused they wait, and once it has crashed they are never heard of. So it can
 * die between any two things that it waits for.
 *
 * Its wall clock is wrong and jumps, its oscillator is a little too fast or too slow, and while it sleeps its monotonic clock
 * stands still, as that of Linux does. How the library makes one time of these two is the library's own code.
 */
export class ProcessClock implements Clock {
  /** Grows with every pause and every jump: what was measured across one says nothing. */
  disturbances = 0
  /** Grows whenever something wakes the process: what it does under one number it does in one go. */
  wakings = 0
  readonly nowMs: () => number
  readonly #world: SimulatedClock
  readonly #random: Random
  readonly #rate: number
  #skewMs: number
  #setBackMs = Number.NEGATIVE_INFINITY
  #sleptMs = 0
  #paused: { readonly sinceMs: number; readonly isAsleep: boolean } | undefined
  #dead = false
  readonly #overdue: (() => void)[] = []
  readonly #arrived: (() => void)[] = []
  readonly #timers = new Set<Timer>()

  constructor(
    world: SimulatedClock,
    random: Random,
    clockOver: Library['clockOver'],
    skewMs: number,
    rate: number,
  ) {
    this.#world = world
    this.#random = random
    this.#skewMs = skewMs
    this.#rate = rate
    this.nowMs = clockOver({
      monotonicMs: () => (this.#world.nowMs() - this.#sleptMs) * this.#rate,
      wallMs: () => Math.floor(this.epochMs()),
    }).nowMs
  }

  get isDead(): boolean {
    return this.#dead
  }

  get isPaused(): boolean {
    return this.#paused !== undefined
  }

  coarseMs(): number {
    return this.nowMs()
  }

  epochMs(): number {
    return this.#world.epochMs() + this.#skewMs
  }

  after(delayMs: number, run: () => void): Timer {
    // A timer that has fallen due in a pause waits, and may still be cancelled meanwhile.
    const due: Due = { isCancelled: false, run }
    const timer = this.#world.after(delayMs / this.#rate, () => {
      this.#timers.delete(timer)
      this.#fallDue(due)
    })
    this.#timers.add(timer)
    return {
      cancel: () => {
        due.isCancelled = true
        this.#timers.delete(timer)
        timer.cancel()
      },
    }
  }

  random(): number {
    return this.#random.next()
  }

  token(): string {
    return tokenFrom(this.#random)
  }

  /** Something has arrived from outside: handed over at once, when the process runs again, or never. */
  deliver(run: () => void): void {
    if (this.#dead) return
    if (this.#paused !== undefined) return void this.#arrived.push(run)
    this.wakings++
    run()
  }

  /** Waits, as the process does. */
  later(ms: number): Promise<void> {
    return new Promise(resolve => void this.after(ms, resolve))
  }

  /**
   * Stops the process.
   *
   * @param isAsleep - Whether the machine sleeps, and its monotonic clock with it.
   */
  pause(isAsleep: boolean): void {
    this.disturbances++
    const sinceMs = this.#world.nowMs()
    const isHidden = sinceMs < this.#setBackMs + NOTICED_MS
    this.#paused ??= { sinceMs, isAsleep: isAsleep && !isHidden }
  }

  /** Lets it go on. As in Node, timers that are overdue run before the sockets are read. */
  resume(): void {
    if (this.#paused === undefined) return
    const { sinceMs, isAsleep } = this.#paused
    this.#paused = undefined
    this.disturbances++
    if (isAsleep) this.#sleptMs += this.#world.nowMs() - sinceMs
    const waiting = [...this.#overdue.splice(0), ...this.#arrived.splice(0)]
    waiting.forEach((run, i) => {
      // A tiny step apart: all that one of them sets off is done before the next.
      this.#world.after(1 + i / 1_000, () => this.deliver(run))
    })
  }

  /** Nothing of it runs any more. */
  kill(): void {
    this.#dead = true
    for (const timer of this.#timers) timer.cancel()
    this.#overdue.length = 0
    this.#arrived.length = 0
  }

  /**
   * Sets the wall clock forward or back. Not back while the machine sleeps, or in the second before: then no clock shows
   * that time has passed, and nothing is promised.
   */
  jumpWall(ms: number): void {
    this.disturbances++
    if (ms < 0 && this.#paused?.isAsleep) return
    this.#skewMs += ms
    if (ms < 0) this.#setBackMs = this.#world.nowMs()
  }

  #fallDue(due: Due): void {
    if (this.#dead || due.isCancelled) return
    if (this.#paused !== undefined) return void this.#overdue.push(() => this.#fallDue(due))
    this.wakings++
    due.run()
  }
}
