/** Counts a read that has ended, and tells listeners of it. */
import { CacheError } from './base/errors.ts'
import type { FailedReadEvent, ReadEvent } from './base/events.ts'
import { isOf } from './base/thrown.ts'
import { type Identified, idOf, newId } from './base/trace-id.ts'
import type { ReadTrace } from './base/tracing.ts'
import type { Answer, ReadRequest, Space } from './space.ts'

/** What a read has waited for. */
interface WaitedFor {
  readonly flight: Identified
  readonly joined: boolean
}

/** What a read belongs to. */
export interface ReadContext {
  /** The load inside whose loader it was asked for. */
  readonly parent?: Identified | undefined
  /** The number of its `getMany` or snapshot. */
  readonly batch?: number | undefined
  /** The message of the call, if somebody follows it. */
  readonly message?: ReadTrace | undefined
}

/** A read that belongs to nothing. */
export const ALONE: ReadContext = Object.freeze({})

/** A read past L1 was answered. */
export function tellAnswered<Id, V>(
  space: Space<Id, V>,
  key: string,
  { from, why, absent, sharedMs, loadMs, tag }: Answer<V>,
  joining: WaitedFor,
  beganMs: number,
  { parent, batch, message }: ReadContext,
): void {
  const { parts, name, counts } = space
  if (!parts.isHeard('read')) {
    parts.stats.read(counts, from, why, joining.joined, absent)
    return
  }
  const event: ReadEvent = {
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
  }
  message?.events.push(event)
  parts.emit(event)
}

/** All reads of a batch past L1 were answered. */
export function tellAllAnswered<Id, V>(
  space: Space<Id, V>,
  requests: readonly ReadRequest<Id>[],
  answers: readonly Answer<V>[],
  joining: readonly WaitedFor[],
  beganMs: number,
  context: ReadContext,
): void {
  const { parts, counts } = space
  const isHeard = parts.isHeard('read')
  for (let i = 0; i < answers.length; i++) {
    const answer = answers[i]!
    const waitedFor = joining[i]!
    if (isHeard) tellAnswered(space, requests[i]!.key, answer, waitedFor, beganMs, context)
    else parts.stats.read(counts, answer.from, answer.why, waitedFor.joined, answer.absent)
  }
}

/** A read past L1 was not answered. */
export function tellFailed<Id, V>(
  space: Space<Id, V>,
  key: string,
  error: unknown,
  signal: AbortSignal | undefined,
  joining: WaitedFor,
  beganMs: number,
  { parent, batch, message }: ReadContext,
): void {
  const { parts, name, counts } = space
  const outcome = outcomeOf(error, signal)
  if (!parts.isHeard('read')) {
    parts.stats.readFailed(counts, outcome)
    return
  }
  const event: ReadEvent = {
    type: 'read',
    outcome,
    keyspace: name,
    key,
    ...numbersOf(joining, parent, batch),
    joined: joining.joined,
    durationMs: parts.clock.nowMs() - beganMs,
    error,
  }
  message?.events.push(event)
  parts.emit(event)
}

/** Tells of a hit in L1 or at hand. A hit of a batch is traced with the batch. */
export function tellHit<Id, V>(
  { parts, name }: Space<Id, V>,
  key: string,
  call: ReadTrace['call'],
  id: number,
  from: 'local' | 'shared',
  absent: boolean,
  { parent, batch, message }: ReadContext,
): void {
  const event: ReadEvent = {
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
  }
  parts.emit(event)
  if (message !== undefined) message.events.push(event)
  else parts.tracing.hit({ call, keyspace: name, keys: [key], strong: false, events: [event] })
}

function numbersOf({ flight, joined }: WaitedFor, parent: Identified | undefined, batch: number | undefined) {
  const number = idOf(flight)
  return { id: joined ? newId() : number, flight: number, ...placeOf(parent, batch) }
}

const placeOf = (parent: Identified | undefined, batch: number | undefined) => ({
  ...(batch === undefined ? {} : { batch }),
  ...(parent === undefined ? {} : { parent: idOf(parent) }),
})

function outcomeOf(error: unknown, signal: AbortSignal | undefined): FailedReadEvent['outcome'] {
  if (signal?.aborted === true && error === (signal.reason ?? error)) return 'aborted'
  if (!isOf(error, CacheError)) return 'failed'
  if (error.code === 'LOAD_TIMEOUT') return 'timed-out'
  return error.code === 'OVERLOADED' ? 'overloaded' : 'failed'
}
