import type { Abort } from '../base/abort.ts'
import { CacheError } from '../base/errors.ts'

/**
 * How many loads run at once in this process. A bounded queue stands before it: whoever finds it full is refused
 * at once, instead of making everybody wait longer for an origin that cannot keep up.
 */
export class LoadLimit {
  readonly #maxLoads: number
  readonly #maxQueued: number
  #running = 0
  #queued = 0
  /** Stands before the first who waits and behind the last: the queue is a ring. */
  readonly #ends = new Turn(() => {})

  /**
   * @param maxLoads - Loads that may run at once.
   * @param maxQueued - Loads that may wait for their turn.
   */
  constructor(maxLoads: number, maxQueued: number) {
    this.#maxLoads = maxLoads
    this.#maxQueued = maxQueued
  }

  /** Loads whose loader has been called and has not settled, also those that everybody has given up. */
  get running(): number {
    return this.#running
  }

  /** Loads that wait for their turn. */
  get queued(): number {
    return this.#queued
  }

  /** Takes a place if one is free, for work that nobody waits for; then {@link LoadLimit.leave} has to be called. */
  enterIfFree(): boolean {
    if (this.#running >= this.#maxLoads) return false
    this.#running++
    return true
  }

  /**
   * Resolves when it is this load's turn, in the order of asking. The caller must call {@link LoadLimit.leave}
   * once its loader has settled; a loader that never settles keeps its place.
   *
   * @param abort - Ends the wait.
   * @throws CacheError `OVERLOADED` if the queue is full; the reason it was aborted with, if it is aborted first.
   */
  enter(abort: Abort): Promise<void> | void {
    if (abort.aborted) return Promise.reject(abort.reason)
    if (this.#running < this.#maxLoads) {
      this.#running++
      return
    }
    if (this.#queued >= this.#maxQueued) {
      return Promise.reject(
        new CacheError(
          'OVERLOADED',
          `${this.#maxLoads} loads are running and ${this.#maxQueued} are waiting`,
        ),
      )
    }
    return new Promise((resolve, reject) => {
      const turn = new Turn(() => {
        stopListening()
        resolve()
      })
      const stopListening = abort.listen(reason => {
        this.#takeOut(turn)
        reject(reason)
      })
      turn.standBefore(this.#ends)
      this.#queued++
    })
  }

  /** Gives the place to the next in the queue. */
  leave(): void {
    const first = this.#ends.behind
    if (first === this.#ends) {
      this.#running--
      return
    }
    this.#takeOut(first)
    first.begin()
  }

  #takeOut(turn: Turn): void {
    turn.stepOut()
    this.#queued--
  }
}

/**
 * A turn that is waited for, linked to its neighbours in the queue, so that any can be taken out at once. The first of
 * a `Set` could not: to find it, all that have left since the `Set` last grew or shrank are stepped over.
 */
class Turn {
  readonly begin: () => void
  ahead: Turn = this
  behind: Turn = this

  constructor(begin: () => void) {
    this.begin = begin
  }

  standBefore(other: Turn): void {
    this.ahead = other.ahead
    this.behind = other
    this.ahead.behind = other.ahead = this
  }

  stepOut(): void {
    this.ahead.behind = this.behind
    this.behind.ahead = this.ahead
  }
}
