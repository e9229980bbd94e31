/**
 * The refresh of a value in the background, while readers are still given the old one: steps 4 to 6 under a claim.
 */
import { ask } from './ask.ts'
import type { RefreshEvent } from './base/events.ts'
import { copiedId, type Key } from './base/key.ts'
import { idOf } from './base/trace-id.ts'
import type { RefreshTrace } from './base/tracing.ts'
import { keep } from './fill.ts'
import { beginTags, FlightTags, tagsOf } from './flight-tags.ts'
import { type Asked, claimRefresh } from './lease.ts'
import { fromOrigin } from './load.ts'
import type { Flight } from './local/flight.ts'
import type { ValueRegister } from './shared/register.ts'
import { UNCONFIRMED } from './shared/shared-access.ts'
import { type Answer, beginFlight, foundAnswer, type Space } from './space.ts'

/**
 * Loads a value again in the background, while the old one is still served. It first claims the refresh: one reader of all
 * processes does it. Its fill is compared with the value it claimed.
 *
 * @param readId - The number of the read that it is begun for.
 * @param seen - The value as it was found; left out: it is asked for.
 */
export function refresh<Id, V>(
  space: Space<Id, V>,
  id: Id,
  key: Key,
  readId: number,
  seen?: ValueRegister,
): void {
  const { parts } = space
  if (parts.flights.refreshing(key)) return
  const own = copiedId(id)
  // Nobody waits for it, not even a loader inside which it was begun: it takes a place of its own under the load limit.
  const flight = beginFlight(space, key, parts.clock.nowMs(), true, undefined)
  const { tracing } = parts
  if (!tracing.hears('refresh')) {
    parts.background(runRefresh(space, flight, own, readId, seen))
    return
  }
  const message: RefreshTrace = { keyspace: space.name, key, flight: idOf(flight), read: readId }
  const run = () => runRefresh(space, flight, own, readId, seen, message)
  parts.background(tracing.trace('refresh', message, run))
}

async function runRefresh<Id, V>(
  space: Space<Id, V>,
  flight: Flight<Answer>,
  id: Id,
  readId: number,
  seen: ValueRegister | undefined,
  message?: RefreshTrace,
): Promise<void> {
  const { flights, emit, clock } = space.parts
  const emitOutcome = (outcome: RefreshEvent['outcome'], error?: unknown) => {
    const event: RefreshEvent = {
      type: 'refresh',
      keyspace: space.name,
      key: flight.key,
      outcome,
      flight: idOf(flight),
      read: readId,
      durationMs: clock.nowMs() - flight.beganAtMs,
      ...(error === undefined ? {} : { error }),
    }
    if (message !== undefined) message.event = event
    emit(event)
  }
  try {
    beginTags(space, flight, id, false)
    // The value that was seen may have tags that nobody remembers.
    if (seen !== undefined && seen.tags.length > 0) {
      flight.tags ??= new FlightTags(space.parts, flight, false)
      tagsOf(flight)!.add(seen.tags.map(({ name }) => name))
    }
    // L1 is asked under the key alone: 1. a value is found; 2. a commit of a tag of it comes into doubt; 3. this begins, and
    // keeps v1 there.
    if (seen !== undefined && tagsOf(flight)?.whyHeld(flight.tags!.names) !== undefined)
      return emitOutcome('left-to-another')
    let asked: Asked<V> | undefined
    let register = seen
    if (register === undefined) {
      asked = await ask(space, flight, false)
      if (asked.kind === 'found') {
        if (keepNewer(space, flight, asked)) return emitOutcome('left-to-another')
        register = asked.register
      }
    }
    if (register !== undefined) {
      const claimed = await claimRefresh(space, flight.key, register, {})
      if (claimed === UNCONFIRMED || claimed === 'busy') return emitOutcome('left-to-another')
      asked = claimed
    }
    if (asked?.kind !== 'leased') return emitOutcome('left-to-another')
    emitOutcome('began')
    await fromOrigin(space, flight, asked, 0, id)
  } catch (error) {
    emitOutcome('failed', error)
  } finally {
    flight.reject(undefined)
    flights.end(flight)
  }
}

/**
 * Keeps the value that was found, if another process has refreshed it already. Without this every process with an L1 would
 * load once in each life of a value. The times of our own copy were taken before it was stored, so the same value may seem
 * newer by as long as a fill takes, and by no more.
 *
 * @returns whether it was kept. Then nothing is left to be done.
 */
function keepNewer<Id, V>(
  space: Space<Id, V>,
  flight: Flight<Answer>,
  found: Asked<V> & { kind: 'found' },
): boolean {
  if (found.why !== 'fresh') return false
  const { clock, local, options } = space.parts
  const { register, opened, why } = found
  const answer = foundAnswer(space, found, why, { sharedMs: 0, loadMs: 0 })
  const ours = local.get(flight.key, clock.nowMs())
  if (ours !== undefined && answer.freshUntilMs! - ours.expiresAtMs <= 2 * options.sharedTimeoutMs)
    return false
  keep(space, flight, opened, register.generation, answer, register)
  return true
}
