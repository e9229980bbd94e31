import type { FastifyReply, FastifyRequest } from 'fastify'
import { cacheStatus, origin, serverTiming } from './cache-status.ts'
import { trouble } from './openapi.ts'
import { sendProblem } from './problem.ts'
import type { Answer } from './spells.ts'

/** What the routes of spells and those of wizards have in common. */

/** What any route may answer. */
export const invalid = { 400: trouble('The request is malformed; `errors` says where.') }
/** What any route may answer that asks the database. */
export const unavailable = {
  503: trouble('The database is away, or too much is being asked of it. See `Retry-After`.'),
}
/** What a change may answer. See {@link refuseCondition}. */
export const conditional = {
  412: trouble('A condition was set that does not hold; nothing here has entity tags.'),
}
/** What a route may answer that takes a body. */
export const withBody = {
  413: trouble('The body is larger than 16 KiB.'),
  415: trouble('The body is not `application/json`, or it is compressed.'),
}

/**
 * Keeps a change from being made whose condition cannot be met. Nothing here has entity tags, so no version can be
 * asked for but any; and that there is none is no condition for a change. Nor is a part of anything ever changed.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-13.1
 */
export function refuseCondition(request: FastifyRequest, reply: FastifyReply, done: () => void): void {
  const { 'if-match': wanted = '*', 'if-none-match': unwanted, 'content-range': part } = request.headers
  if (part !== undefined) {
    sendProblem(request, reply, { status: 400, detail: 'A spell is changed as a whole.' })
  } else if (wanted !== '*' || unwanted === '*') {
    sendProblem(request, reply, { status: 412, detail: 'Spells have no entity tags that could match.' })
  } else done()
}

/** Says where an answer came from: to the client in headers, to the operator in the log. */
export function tellSource(
  request: FastifyRequest,
  reply: FastifyReply,
  read: Answer<unknown>,
  what: string,
): void {
  reply.header('cache-status', cacheStatus(read)).header('server-timing', serverTiming(read))
  const { from, why, timings } = read
  request.log.info({ from, why, ms: Number(timings.totalMs.toFixed(3)) }, `${what} from ${origin(read)}`)
}
