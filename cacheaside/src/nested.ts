/**
 * Reads inside loaders. They take the same steps as others. In addition it is noted that the loader's own load waits for their
 * flights. So its place under the load limit can be lent (`local/load-limit.ts`), and no load ever waits for itself.
 */
import { CacheError } from './base/errors.ts'
import { fromOrigin } from './load.ts'
import type { Flight } from './local/flight.ts'
import { type Awaited, type Deadlock, deadlockOf, type LoadRun, recursionOf } from './local/load-run.ts'
import { type Answer, beginFlight, type Joining, type ReadRequest, type Space } from './space.ts'

/**
 * What a loader may wait for: the flight that its read has joined or leads, unless that flight waits for the loader's own
 * load.
 *
 * Keys that are loaded together may need each other: 1. `getMany` of a child and its parent calls `loadMany` for both;
 * 2. it asks for the parent of the child, which it has yet to answer itself. Such a key is loaded once more, by itself. If
 * each load on the way has only one key, the keys need each other in a circle: that is an error.
 */
export function unlessDeadlocked<Id, V>(
  space: Space<Id, V>,
  request: ReadRequest<Id>,
  parent: LoadRun,
  joining: Joining,
): Joining | CacheError {
  const deadlock = deadlockOf(parent, joining.flight)
  if (deadlock === undefined) return joining
  if (deadlock instanceof CacheError) return deadlock
  const flight = beginFlight(space, request.key, space.parts.clock.nowMs(), false, parent)
  space.parts.background(loadApart(space, flight, request.id))
  return { flight, joined: false }
}

/** Steps 4 to 6 of a flight whose lease is held by a load that waits for it: it keeps nothing. */
async function loadApart<Id, V>(space: Space<Id, V>, flight: Flight<Answer>, id: Id): Promise<void> {
  const { flights } = space.parts
  try {
    // Not before the loader is known to wait for it.
    await undefined
    const deadlock = recursion(space, flight)
    if (deadlock instanceof CacheError) throw deadlock
    await fromOrigin(space, flight, { kind: 'bypass', why: 'busy' }, 0, id)
  } catch (error) {
    flight.reject(error)
  } finally {
    flights.end(flight)
  }
}

/** Whether another load of its key waits for this flight, which was not found in the store. */
export function recursion<Id, V>(space: Space<Id, V>, flight: Flight<Answer>): Deadlock | undefined {
  if (flight.parent === undefined && flight.waits === undefined && flight.behind === undefined)
    return undefined
  return recursionOf(flight, space.parts.limit, space.parts.flights.others(flight))
}

/** Notes that a loader waits for flights until there is an answer. */
export function waitInside<R>(parent: LoadRun, on: readonly Awaited[], answer: Promise<R>): Promise<R> {
  const waits = on.map(one => parent.waitFor(one))
  const received = () => {
    for (const wait of waits) parent.received(wait)
  }
  answer.then(received, received)
  return answer
}
