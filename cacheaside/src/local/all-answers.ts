import { follow, reasonOf } from '../base/abort.ts'
import type { Caller, Flight, QueuedFlight } from './single-flight.ts'

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
    const answers = new Array<T>(flights.length)
    const callers: Caller<T>[] = []
    let left = flights.length
    let isOver = false
    let stopFollowing = () => {}
    const giveUp = (error: unknown, sparesLoads: boolean) => {
      if (isOver) return
      isOver = true
      stopFollowing()
      reject(error)
      const reason = sparesLoads ? new DOMException('nobody waits for it any more', 'AbortError') : error
      for (const [i, caller] of callers.entries()) flights[i]!.leave(caller, reason, sparesLoads)
    }
    if (signal !== undefined) stopFollowing = follow(signal, reason => giveUp(reason, false))
    for (const [i, flight] of flights.entries()) {
      const caller = {
        resolve(answer: T) {
          answers[i] = answer
          if (--left > 0 || isOver) return
          isOver = true
          stopFollowing()
          resolve(answers)
        },
        reject: (error: unknown) => giveUp(error, true),
      }
      callers.push(caller)
      flight.addCaller(caller)
      if (isOver) return
    }
  })
}
