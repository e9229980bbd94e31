/** What is counted, and told to those who listen, when a read has ended. */
import { CacheError } from './base/errors.ts'
import type { FailedReadEvent } from './base/events.ts'
import { type Identified, idOf, newId } from './base/trace-id.ts'
import type { Answer, Space } from './space.ts'

/** What a read has waited for. */
interface WaitedFor {
  readonly flight: Identified
  readonly joined: boolean
}

/** A read past L1 was answered. */
export function tellAnswered<Id, V>(
  space: Space<Id, V>,
  key: string,
  { from, why, absent, sharedMs, loadMs, tag }: Answer<V>,
  joining: WaitedFor,
  beganMs: number,
  parent: Identified | undefined,
  batch?: number,
): void {
  const { parts, name, counts } = space
  if (!parts.isHeard()) {
    parts.stats.read(counts, from, why, joining.joined, absent)
    return
  }
  parts.emit({
    type: 'read',
    outcome: 'answered',
    keyspace: name,
    key,
    ...numbersOf(joining, parent, batch),
    from,
    why,
    joined: joining.joined,
    absent,
    durationMs: parts.clock.nowMs() - beganMs,
    sharedMs,
    loadMs,
    ...(tag === undefined ? {} : { tag }),
  })
}

/** A read past L1 was not answered. */
export function tellFailed<Id, V>(
  space: Space<Id, V>,
  key: string,
  error: unknown,
  signal: AbortSignal | undefined,
  joining: WaitedFor,
  beganMs: number,
  parent: Identified | undefined,
  batch?: number,
): void {
  const { parts, name, counts } = space
  const outcome = outcomeOf(error, signal)
  if (!parts.isHeard()) {
    parts.stats.readFailed(counts, outcome)
    return
  }
  parts.emit({
    type: 'read',
    outcome,
    keyspace: name,
    key,
    ...numbersOf(joining, parent, batch),
    joined: joining.joined,
    durationMs: parts.clock.nowMs() - beganMs,
    error,
  })
}

/** A hit in L1 or at hand, which somebody listens to. */
export function tellHit<Id, V>(
  { parts, name }: Space<Id, V>,
  key: string,
  id: number,
  from: 'local' | 'shared',
  absent: boolean,
  parent: Identified | undefined,
  batch?: number,
): void {
  parts.emit({
    type: 'read',
    outcome: 'answered',
    keyspace: name,
    key,
    id,
    ...placeOf(parent, batch),
    from,
    why: 'fresh',
    joined: false,
    absent,
    durationMs: 0,
    sharedMs: 0,
    loadMs: 0,
  })
}

function numbersOf({ flight, joined }: WaitedFor, parent: Identified | undefined, batch: number | undefined) {
  const number = idOf(flight)
  return { id: joined ? newId() : number, flight: number, ...placeOf(parent, batch) }
}

/** What a read belongs to: the load inside whose loader it was asked for, and its `getMany` or snapshot. */
const placeOf = (parent: Identified | undefined, batch: number | undefined) => ({
  ...(batch === undefined ? {} : { batch }),
  ...(parent === undefined ? {} : { parent: idOf(parent) }),
})

function outcomeOf(error: unknown, signal: AbortSignal | undefined): FailedReadEvent['outcome'] {
  if (signal?.aborted === true && error === signal.reason) return 'aborted'
  if (!(error instanceof CacheError)) return 'failed'
  if (error.code === 'LOAD_TIMEOUT') return 'timed-out'
  return error.code === 'OVERLOADED' ? 'overloaded' : 'failed'
}
