import type { Attributes } from '@opentelemetry/api'
import { CacheError } from '../base/errors.ts'
import type { AnsweredReadEvent, From } from '../base/events.ts'
import { keyspaceOf } from '../base/key.ts'
import { fieldOf, isOf, messageOf } from '../base/thrown.ts'
import type { Operation, ReadTrace, TraceMessages } from '../base/tracing.ts'

/** Any message of a traced operation. */
type Message = TraceMessages[Operation]

const keysOf = (message: Message): readonly string[] | undefined => {
  if ('keys' in message) return message.keys
  return 'key' in message ? [message.key] : undefined
}

/** The keyspace of all keys; `undefined` if there are several, or none. */
function keyspaceIn(message: Message): string | undefined {
  if ('keyspace' in message && message.keyspace !== undefined) return message.keyspace
  const [first, ...others] = new Set(keysOf(message)?.map(keyspaceOf))
  return others.length === 0 ? first : undefined
}

/** The name of a span: of low cardinality, as the conventions ask for. */
export function spanName(operation: Operation, message: Message): string {
  const keyspace = keyspaceIn(message)
  return keyspace === undefined ? `cacheaside.${operation}` : `cacheaside.${operation} ${keyspace}`
}

/** The attributes that are known when a span starts, for samplers. */
export function attributesAtStart(attributes: Attributes, message: Message, tellsKeys: boolean): void {
  const keyspace = keyspaceIn(message)
  if (keyspace !== undefined) attributes['cacheaside.keyspace'] = keyspace
  const keys = keysOf(message)
  if (keys !== undefined) attributes['cacheaside.keys.count'] = keys.length
  if (keys !== undefined && tellsKeys) attributes['cacheaside.keys'] = [...keys]
  if ('call' in message) {
    attributes['cacheaside.call'] = message.call
    attributes['cacheaside.strong'] = message.strong
  }
  if ('changes' in message) attributes['cacheaside.feed.changes'] = message.changes
}

/** The attributes that are known when it ends. */
export function attributesAtEnd(message: Message): Attributes {
  if ('call' in message) return attributesOfRead(message)
  const attributes: Attributes = {}
  if ('answer' in message && message.answer !== undefined) attributes['cacheaside.answer'] = message.answer
  if ('outcome' in message && message.outcome !== undefined)
    attributes['cacheaside.outcome'] = message.outcome
  const event = 'event' in message ? message.event : undefined
  if (event === undefined) return attributes
  attributes['cacheaside.outcome'] = event.outcome
  if (event.type === 'load') attributes['cacheaside.wait'] = event.waitMs / 1_000
  if (event.type === 'write' && event.fenced !== undefined) {
    attributes['cacheaside.fenced'] = event.fenced
    attributes['cacheaside.invalidation'] = event.invalidation!
  }
  if (event.type === 'feed-batch') {
    attributes['cacheaside.feed.applied'] = event.applied
    attributes['cacheaside.feed.lag'] = event.lagMs / 1_000
  }
  return attributes
}

const isAnswer = (event: ReadTrace['events'][number]): event is AnsweredReadEvent =>
  event.outcome === 'answered'

function attributesOfRead({ call, events }: ReadTrace): Attributes {
  const [first] = events
  if (first === undefined) return {}
  const attributes: Attributes = { 'cacheaside.outcome': worstOf(events) }
  const answers = events.filter(isAnswer)
  if (call === 'get' || call === 'read') {
    attributes['cacheaside.joined'] = first.joined
    if (!isAnswer(first)) return attributes
    attributes['cacheaside.from'] = first.from
    attributes['cacheaside.why'] = first.why
    attributes['cacheaside.absent'] = first.absent
    return attributes
  }
  for (const from of ['local', 'shared', 'origin'] satisfies From[])
    attributes[`cacheaside.reads.${from}`] = answers.filter(answer => answer.from === from).length
  return attributes
}

/** A batch fails as a whole. */
const worstOf = (events: ReadTrace['events']): string =>
  events.find(event => !isAnswer(event))?.outcome ?? 'answered'

/** The error of an operation, also of one that nobody waited for. `undefined`: there was none. */
export function errorOf(message: Message): Error | undefined {
  const failed = 'error' in message ? message : 'event' in message ? message.event : undefined
  if (failed === undefined || !('error' in failed)) return undefined
  const { error } = failed
  return isReadable(error) ? error : new Error(messageOf(error))
}

/** Whether it is an error whose fields an exporter can read. */
const isReadable = (error: unknown): error is Error =>
  isOf(error, Error) && ['name', 'message', 'stack'].every(name => typeof fieldOf(error, name) === 'string')

/** `error.type` of the semantic conventions: the outcome, as metrics have it, or else the kind of error. */
export function errorTypeOf(message: Message, error: Error): string {
  const outcome = attributesAtEnd(message)['cacheaside.outcome']
  if (typeof outcome === 'string') return outcome
  return isOf(error, CacheError) ? error.code : error.name
}
