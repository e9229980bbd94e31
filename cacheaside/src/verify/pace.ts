import type { Clock } from '../base/clock.ts'

/** Waits; ends early, by rejecting with its reason, when the signal aborts. */
export function pause(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) return reject(signal.reason)
    const onAbort = () => {
      timer.cancel()
      reject(signal?.reason)
    }
    const end = () => {
      signal?.removeEventListener('abort', onAbort)
      resolve()
    }
    const timer = clock.after(ms, end, true)
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}

/**
 * Waits for `work`, at most for `ms`, or until the signal aborts; then rejects with the error that `late` makes, or the
 * signal's reason.
 */
export function limited<T>(
  clock: Clock,
  ms: number,
  work: Promise<T>,
  late: () => Error,
  signal?: AbortSignal,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const end = () => {
      timer.cancel()
      signal?.removeEventListener('abort', onAbort)
    }
    const onAbort = () => {
      end()
      reject(signal?.reason)
    }
    const giveUp = () => {
      end()
      reject(late())
    }
    const timer = clock.after(ms, giveUp, true)
    work.then(resolve, reject).finally(end)
    signal?.addEventListener('abort', onAbort, { once: true })
    if (signal?.aborted === true) onAbort()
  })
}

/**
 * Limits work to a rate per second; in any period only one batch more is possible. Work is charged when its amount is known,
 * and the next work must wait until it is paid for.
 */
export class Pace {
  readonly #clock: Clock
  readonly #perSecond: number
  #freeMs = Number.NEGATIVE_INFINITY

  constructor(clock: Clock, perSecond: number) {
    this.#clock = clock
    this.#perSecond = perSecond
  }

  /** Resolves when everything is paid for. */
  async ready(signal?: AbortSignal): Promise<void> {
    const leftMs = this.#freeMs - this.#clock.nowMs()
    if (leftMs > 0) await pause(this.#clock, leftMs, signal)
  }

  /** Charges for what was done. */
  charge(count: number): void {
    this.#freeMs = Math.max(this.#freeMs, this.#clock.nowMs()) + (count * 1000) / this.#perSecond
  }
}
