import { follow, reasonOf } from '../base/abort.ts'
import type { Identified } from '../base/trace-id.ts'
import type { Caller, Flight } from './flight.ts'
import { type Awaited, NOTHING_AHEAD, standBehind, type Wait } from './load-run.ts'

/** A flight that has yet to begin, when the one before it is over. */
export class QueuedFlight<T> implements Awaited, Identified {
  readonly key: string
  traceId = 0
  readonly parent = undefined
  readonly run = undefined
  ahead = NOTHING_AHEAD
  behind: Set<Awaited> | undefined
  waits: Set<Wait> | undefined
  readonly start = undefined
  readonly #begun: Promise<Flight<T>>
  #begin: (flight: Flight<T>) => void = () => {}
  #waiting = 0
  /** Who waits by {@link QueuedFlight.addCaller}. */
  readonly #callers = new Set<Caller<T>>()
  #flight: Flight<T> | undefined

  constructor(key: string) {
    this.key = key
    this.#begun = new Promise(resolve => {
      this.#begin = resolve
    })
  }

  /** Whether anybody still waits for it: if not, it need not begin. */
  get isWanted(): boolean {
    return this.#waiting > 0
  }

  begin(flight: Flight<T>): void {
    standBehind(this, [flight])
    this.#flight = flight
    for (const caller of this.#callers) flight.addCaller(caller)
    this.#callers.clear()
    this.#begin(flight)
  }

  /** As {@link Flight.answer}. */
  get answer(): T {
    return this.#flight!.answer
  }

  /** As {@link Flight.addCaller}. */
  addCaller(caller: Caller<T>): void {
    this.#waiting++
    if (this.#flight === undefined) this.#callers.add(caller)
    else this.#flight.addCaller(caller)
  }

  /** As {@link Flight.leave}. */
  leave(caller: Caller<T>, reason: unknown, sparesLoad: boolean): void {
    this.#waiting--
    if (!this.#callers.delete(caller)) this.#flight?.leave(caller, reason, sparesLoad)
  }

  /** As {@link Flight.wait}. */
  wait(signal: AbortSignal | undefined): Promise<T> {
    if (signal?.aborted) return Promise.reject(reasonOf(signal))
    this.#waiting++
    if (signal === undefined) return this.#begun.then(flight => flight.wait(signal))
    return new Promise((resolve, reject) => {
      const stopFollowing = follow(signal, reason => {
        this.#waiting--
        reject(reason)
      })
      this.#begun.then(flight => {
        stopFollowing()
        if (!signal.aborted) resolve(flight.wait(signal))
      })
    })
  }
}
