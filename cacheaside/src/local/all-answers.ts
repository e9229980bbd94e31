import { follow, reasonOf } from '../base/abort.ts'
import type { Caller, Flight } from './flight.ts'
import type { QueuedFlight } from './queued-flight.ts'

/**
 * Waits for several flights on behalf of one caller, with one promise, as mostly all end at once. The first that fails, or the
 * caller's signal, ends the wait, and the caller leaves all flights. Otherwise loads would go on for nobody:
 *
 * 1. a thousand keys are loaded, 16 at a time, each to its full time limit; 2. the caller is told that the first of them
 * failed; 3. `close()` waits for all the others.
 *
 * A signal ends also loads that have begun. A failure spares them: what they bring is kept, and the origin has most of the
 * work behind it.
 *
 * @returns the answers, in the order of the flights. Rejects with the first error, or the signal's reason.
 */
export function allAnswers<T>(
  flights: readonly (Flight<T> | QueuedFlight<T>)[],
  signal: AbortSignal | undefined,
): Promise<T[]> {
  // As in `Flight.wait`: a caller that has given up already never waits.
  if (signal?.aborted) return Promise.reject(reasonOf(signal))
  return new Promise((resolve, reject) => {
    let added = 0
    let left = flights.length
    let isOver = false
    let stopFollowing = () => {}
    const giveUp = (error: unknown, sparesLoads: boolean) => {
      if (isOver) return
      isOver = true
      stopFollowing()
      reject(error)
      const reason = sparesLoads ? new DOMException('nobody waits for it any more', 'AbortError') : error
      for (const flight of flights.slice(0, added)) flight.leave(caller, reason, sparesLoads)
    }
    // One caller for all: no flight is among them twice.
    const caller: Caller<T> = {
      resolve() {
        if (--left > 0 || isOver) return
        isOver = true
        stopFollowing()
        resolve(flights.map(({ answer }) => answer))
      },
      reject: error => giveUp(error, true),
    }
    if (signal !== undefined) stopFollowing = follow(signal, reason => giveUp(reason, false))
    for (const flight of flights) {
      added++
      flight.addCaller(caller)
      if (isOver) return
    }
  })
}
