/** What the routes of spells and those of wizards have in common. */
import type { FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import { noQuery } from './api.ts'
import { serverTiming, sourceFields, writeStatus } from './cache-status.ts'
import type { Condition } from './changes.ts'
import type { HitLog } from './http/hit-log.ts'
import { conditionOf, judgeRead, type Present } from './http/preconditions.ts'
import { sendPrepared } from './http/prepared-answer.ts'
import { sendProblem } from './http/problem.ts'
import { representationOf, type Shown } from './http/representation.ts'
import { nothing, trouble } from './openapi.ts'
import type { Answer, Written } from './spells.ts'

declare module 'fastify' {
  interface FastifyInstance {
    readonly hitLog: HitLog
  }
}

/** Answers of any route. */
export const invalid = { 400: trouble('The request is malformed; `errors` says where.') }
/** Answers of any route that asks the database. */
export const unavailable = {
  429: trouble('The client has sent too many requests. See `Retry-After`.'),
  503: trouble('The database is away, or too much is being asked of it. See `Retry-After`.'),
}
/** Answers to a request with a condition. */
const conditional = {
  412: trouble('`If-Match` or `If-None-Match` does not hold of what is there now. Nothing was changed.'),
}
/** Answers to a request with a body, also where none is taken. */
const withBody = {
  413: trouble('The body is larger than 16 KiB.'),
  415: trouble('The body is not `application/json`, or it is compressed.'),
}
/** Answers of any route that changes something. */
export const changing = { ...invalid, ...conditional, ...withBody, ...unavailable }
/** Answers to a read with a condition. */
export const unchanged = {
  304: nothing('`If-None-Match` names the entity tag of what would be sent.'),
  ...conditional,
}

/** Refuses parameters of the query where a route names none. A hook for `onRoute`. */
export function refuseQuery(route: RouteOptions): void {
  route.schema = { querystring: noQuery, ...route.schema }
}

/** Refuses a body where none is taken. Ignoring it would ignore its unknown fields, too. */
export function refuseBody(request: FastifyRequest, reply: FastifyReply, done: () => void): void {
  if (request.body === undefined) done()
  else sendProblem(request, reply, { status: 400, detail: 'No body is taken here.' })
}

/** Refuses to change a part of something. @see https://www.rfc-editor.org/rfc/rfc9110#section-14.4 */
export function refusePart(request: FastifyRequest, reply: FastifyReply, done: () => void): void {
  if (request.headers['content-range'] === undefined) done()
  else sendProblem(request, reply, { status: 400, detail: 'What is changed here is changed as a whole.' })
}

/**
 * Refuses every condition except existence, on routes that add to a list. A list is not locked before something is added, so
 * no more could be promised.
 */
export function refuseCondition(request: FastifyRequest, reply: FastifyReply, done: () => void): void {
  const { 'if-match': wanted = '*', 'if-none-match': unwanted } = request.headers
  if (wanted === '*' && unwanted === undefined) refusePart(request, reply, done)
  else sendProblem(request, reply, { status: 412, detail: 'No condition can be set for adding to a list.' })
}

/** Whether a read has found something. */
export const isFound = <T>(read: Answer<T | undefined>): read is Answer<T> => read.value !== undefined

/** Answers a read that has found something, after checking the read's conditions. */
export function sendFound<T extends object>(
  request: FastifyRequest,
  reply: FastifyReply,
  read: Answer<T>,
  what: () => string,
  show: (value: T) => Shown,
): FastifyReply {
  const representation = representationOf(read.value, show)
  const { body, etag, headers } = representation
  const verdict = judgeRead(request.headers, etag)
  if (verdict === 'send' && request.method === 'GET' && request.server.sendsPrepared()) {
    request.server.hitLog.note(read, what)
    request.server.connections.letThrough(request.raw)
    return sendPrepared(request, reply, representation, sourceFields(read))
  }
  tellSource(request, reply, read, what)
  if (verdict === 'failed')
    return sendProblem(request, reply, {
      status: 412,
      detail: 'What is there now is not what was asked for.',
    })
  reply.headers(headers)
  if (verdict === 'not modified') reply.code(304)
  // To HEAD Fastify sends the length of what it is given, and nothing else of it.
  if (verdict === 'send' || request.method === 'HEAD') return reply.send(body)
  // https://www.rfc-editor.org/rfc/rfc9110#section-15.4.5: what describes a body belongs to one.
  return reply.removeHeader('content-type').send()
}

/** Says where an answer came from: to the client in headers, to the operator in the log. */
export function tellSource(
  request: FastifyRequest,
  reply: FastifyReply,
  read: Answer<unknown>,
  what: () => string,
): void {
  const fields = sourceFields(read)
  for (let i = 0; i < fields.length; i += 2) reply.header(fields[i]!, fields[i + 1])
  request.server.hitLog.note(read, what)
}

/**
 * Tells what a change did to the cache, and which groups it ends in other caches.
 *
 * @param ended - The groups; `undefined`: nothing was changed.
 */
export function tellChange(reply: FastifyReply, written: Written<unknown>, ended: string | undefined): void {
  reply.header('cache-status', writeStatus(written)).header('server-timing', serverTiming(written))
  if (ended !== undefined) reply.header('cache-group-invalidation', ended)
}

/** The condition of a request on what it changes. */
export function conditionOn<T extends object>(
  request: FastifyRequest,
  present: (value: T) => Present,
): Condition<T> | undefined {
  const condition = conditionOf(request.headers)
  return condition && (value => condition(present(value)))
}
