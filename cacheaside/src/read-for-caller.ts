/**
 * Steps 2 to 6 of a read, as its caller sees them: tracers follow the call, its end is told of, and the caller gets the
 * value or an error. The steps are in `read.ts` and `read-many.ts`.
 */
import { throwIfAborted } from './base/abort.ts'
import { newId } from './base/trace-id.ts'
import type { ReadTrace } from './base/tracing.ts'
import type { LoadRun } from './local/load-run.ts'
import { read } from './read.ts'
import { ALONE, type ReadContext, tellAllAnswered, tellAnswered, tellFailed } from './read-events.ts'
import { readMany } from './read-many.ts'
import { Unopened } from './shared/codec.ts'
import type { Answer, ReadRequest, Space } from './space.ts'

/**
 * Reads one key.
 *
 * @param make - What the caller gets of an answer.
 */
export function readForCaller<Id, V, R>(
  space: Space<Id, V>,
  call: ReadTrace['call'],
  request: ReadRequest<Id>,
  signal: AbortSignal | undefined,
  make: (answer: Answer<V>, joined: boolean) => R,
): Promise<R> {
  const { tracing } = space.parts
  if (!tracing.hears('read')) return readAndTell(space, request, signal, make)
  const { key, strong } = request
  const message: ReadTrace = { call, keyspace: space.name, keys: [key], strong, events: [] }
  return tracing.trace('read', message, () => readAndTell(space, request, signal, make, message))
}

function readAndTell<Id, V, R>(
  space: Space<Id, V>,
  request: ReadRequest<Id>,
  signal: AbortSignal | undefined,
  make: (answer: Answer<V>, joined: boolean) => R,
  message?: ReadTrace,
  isSecond = false,
): Promise<R> {
  const { key } = request
  return read<Id, V, R>(space, request, signal, {
    answered: (answer, joining, beganMs, parent) => {
      let made: R
      try {
        made = make(answer, joining.joined)
      } catch (error) {
        if (!(error instanceof Unopened) || isSecond) throw error instanceof Unopened ? error.error : error
        // The schema accepted this value before, and refuses it now. A second flight judges what the store holds.
        return readAndTell(space, { ...request, strong: true }, signal, make, message, true)
      }
      tellAnswered(space, key, answer, joining, beganMs, contextOf(parent, message))
      return made
    },
    failed: (error, joining, beganMs, parent) =>
      tellFailed(space, key, error, signal, joining, beganMs, contextOf(parent, message)),
  })
}

const contextOf = (parent: LoadRun | undefined, message: ReadTrace | undefined): ReadContext =>
  parent === undefined && message === undefined ? ALONE : { parent, message }

/** What the reads of a `getMany` have in common, as far as somebody is told of it. */
export function contextOfBatch<Id, V>(space: Space<Id, V>, ids: readonly Id[], strong: boolean): ReadContext {
  const { tracing, isHeard } = space.parts
  if (!isHeard('read')) return ALONE
  if (!tracing.hears('read')) return { batch: newId() }
  const keys = Array.from(ids, id => space.keyOf(id))
  return { batch: newId(), message: { call: 'getMany', keyspace: space.name, keys, strong, events: [] } }
}

/** How many keys of a keyspace may be read together: the stamps of their tags are asked for with them. */
function keysAtOnce<Id, V>({ name, tagging, parts }: Space<Id, V>): number {
  const most = parts.access.store.keysAtOnce?.(name) ?? Number.POSITIVE_INFINITY
  return tagging === undefined ? most : Math.ceil(most / TAGS_EACH)
}

const TAGS_EACH = 5

/** Reads several keys. The answers are in the order of the requests. */
export function readManyForCaller<Id, V>(
  space: Space<Id, V>,
  requests: readonly ReadRequest<Id>[],
  signal: AbortSignal | undefined,
  context: ReadContext,
): Promise<readonly Answer<V>[]> {
  const { tracing } = space.parts
  return context.message !== undefined
    ? tracing.trace('read', context.message, () => readManyAndTell(space, requests, signal, context))
    : readManyAndTell(space, requests, signal, context)
}

function readManyAndTell<Id, V>(
  space: Space<Id, V>,
  requests: readonly ReadRequest<Id>[],
  signal: AbortSignal | undefined,
  given: ReadContext,
): Promise<readonly Answer<V>[]> {
  return requests.length <= keysAtOnce(space)
    ? readTogether(space, requests, signal, given)
    : readInPieces(space, requests, signal, given)
}

/**
 * Reads one piece after the other. So each has the store's whole time limit, and the commands of others get in between. No lease
 * of a piece is still to be filled when the next one asks for its own: two batches never wait for each other's.
 */
async function readInPieces<Id, V>(
  space: Space<Id, V>,
  requests: readonly ReadRequest<Id>[],
  signal: AbortSignal | undefined,
  given: ReadContext,
): Promise<readonly Answer<V>[]> {
  const { parts } = space
  const answers: Answer<V>[] = []
  while (answers.length < requests.length) {
    throwIfAborted(signal)
    if (parts.closed()) parts.assertInside(signal)
    const piece = requests.slice(answers.length, answers.length + keysAtOnce(space))
    answers.push(...(await readTogether(space, piece, signal, given)))
  }
  return answers
}

async function readTogether<Id, V>(
  space: Space<Id, V>,
  requests: readonly ReadRequest<Id>[],
  signal: AbortSignal | undefined,
  given: ReadContext,
): Promise<readonly Answer<V>[]> {
  const { joining, beganMs, parent, answers: reading } = readMany(space, requests, signal)
  const context = parent === undefined ? given : { ...given, parent }
  try {
    const answers = await reading
    tellAllAnswered(space, requests, answers, joining, beganMs, context)
    return answers
  } catch (error) {
    for (const [i, { key }] of requests.entries())
      tellFailed(space, key, error, signal, joining[i]!, beganMs, context)
    throw error
  }
}
