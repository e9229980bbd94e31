/**
 * Tags that are known only from the loaded value. Their stamps were not read before the load, so the value may be older than
 * they are. It may be stored if they have stood since before the load, which this process may have seen (`shared/seen-stamps.ts`).
 * Otherwise the callers are answered, and the value is loaded once more under the stamps that are known now (`load.ts`). If
 * that brings new tags again, nothing is kept, and the key is not loaded twice any more.
 */
import { idOf } from './base/trace-id.ts'
import { type FlightTags, tagsOf } from './flight-tags.ts'
import { giveBack, type Leased } from './lease.ts'
import type { Flight } from './local/flight.ts'
import type { Answer, Space } from './space.ts'

/** What is to become of a value that has tags which were not known before its load. */
export type Late = 'stood' | 'again' | 'not kept'

/**
 * Asks for the stamps of tags that the loaded value has brought, and says whether it may be stored under them.
 *
 * @param isSecond - Whether it was loaded twice already.
 */
export async function judgeLate<Id, V>(
  space: Space<Id, V>,
  flight: Flight<Answer>,
  names: readonly string[],
  late: readonly string[],
  isSecond: boolean,
): Promise<Late> {
  const tags = tagsOf(flight)!
  const { tagging } = space
  // Before the question: 1. an invalidation of the tag is queued, while the flight is not listed under it; 2. the stamp is
  // read, and is the old one; 3. the invalidation is applied, and leaves the queue; 4. the reply arrives.
  if (tags.whyHeld(names) !== undefined) return 'not kept'
  await tags.ask(late)
  if (tags.obstacle(names) !== undefined) return 'not kept'
  if (tags.haveStood(late)) return 'stood'
  const isRestless = isSecond || tagging!.isRestless(flight.key)
  // Also of a key that is restless already: its next load begins with the newest tags.
  if (isRestless) tagging!.remember(flight.key, names, true)
  return isRestless || flight.doomed ? 'not kept' : 'again'
}

/** Nothing is kept of a value because of its late tags. */
export function keepNone<Id, V>(space: Space<Id, V>, flight: Flight<Answer>, asked: Leased<V>): void {
  space.parts.emit({
    type: 'fill',
    keyspace: space.name,
    key: flight.key,
    flight: idOf(flight),
    outcome: 'late-tags',
    durationMs: 0,
  })
  giveBack(space, flight.key, asked)
}

/** The tags of a loaded value; `'untagged'` if `tagsOf` throws, which an event tells. */
export function tagsOfLoaded<Id, V>(
  space: Space<Id, V>,
  tags: FlightTags,
  value: V | undefined,
): readonly string[] | 'untagged' {
  try {
    return tags.after(value)
  } catch (error) {
    space.parts.emit({ type: 'fault', during: `${space.name}.tagsOf`, error })
    return 'untagged'
  }
}
