import { STATUS_CODES } from 'node:http'
import { CacheError } from 'cacheaside'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import type { Flaw, Problem } from '../api.ts'
import { errorStatus, totalTiming } from '../cache-status.ts'
import { ConditionError } from '../changes.ts'
import { DatabaseAwayError, sqlState } from '../database/database.ts'

/**
 * Every error as one kind of answer: `application/problem+json`.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9457
 */

/** The description of an error. */
export interface Telling {
  readonly status: number
  readonly detail: string
  readonly errors?: Flaw[]
  /** When it may be worth trying again, in seconds. */
  readonly retryAfterS?: number
  /** The token for `Cache-Status`, if that is not set yet. Left out: that the cache was not asked. */
  readonly cached?: string
}

/** The body of a problem. */
export function problemBody(instance: string, { status, detail, errors }: Telling): Problem {
  return {
    type: 'about:blank',
    title: STATUS_CODES[status] ?? 'Error',
    status,
    detail,
    instance,
    ...(errors === undefined ? {} : { errors }),
  }
}

/** Answers with a problem. */
export function sendProblem(request: FastifyRequest, reply: FastifyReply, telling: Telling): FastifyReply {
  if (telling.retryAfterS !== undefined) reply.header('retry-after', telling.retryAfterS)
  if (!reply.hasHeader('cache-status'))
    reply.header('cache-status', errorStatus(telling.cached ?? 'not-asked'))
  if (!reply.hasHeader('server-timing')) reply.header('server-timing', totalTiming(reply.elapsedTime))
  return reply.code(telling.status).type('application/problem+json').send(problemBody(request.url, telling))
}

/** Answers an error with its problem. An unforeseen error is logged, and its answer tells no details. */
export function sendError(error: FastifyError, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  // The client has gone: the work for its request was given up because of that.
  if (error.name === 'AbortError' && request.raw.socket?.destroyed === true) return reply.hijack()
  const telling = tell(error)
  if (telling.status >= 500)
    request.log[telling.status === 503 ? 'warn' : 'error']({ err: error }, 'request failed')
  return sendProblem(request, reply, telling)
}

const AWAY_RETRY_S = 2
const BUSY_RETRY_S = 1

function tell(error: FastifyError): Telling {
  if (error.validation !== undefined) {
    return {
      status: 400,
      detail: 'The request is not as it should be.',
      errors: error.validation.flatMap(flawsOf(error)),
    }
  }
  if (error instanceof DatabaseAwayError) {
    return {
      status: 503,
      detail: 'The database does not answer just now.',
      retryAfterS: AWAY_RETRY_S,
      cached: 'database-away',
    }
  }
  if (error instanceof ConditionError)
    return { status: 412, detail: 'What is there now is not what was asked for.', cached: 'condition-failed' }
  if (error instanceof CacheError)
    return { ...tellCacheError(error), cached: error.code.toLowerCase().replaceAll('_', '-') }
  if (error.code === 'EMFILE' || error.code === 'ENFILE') {
    return { status: 503, detail: 'Out of file descriptors just now.', retryAfterS: BUSY_RETRY_S }
  }
  const state = sqlState(error)
  // A text that this database's encoding has no place for. (UTF-8 has one for everything that gets this far.)
  if (state === '22021' || state === '22P05') {
    return { status: 400, detail: 'The database cannot store these characters.' }
  }
  if (error.code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE') {
    return { status: 415, detail: 'A body is JSON here, with the Content-Type application/json.' }
  }
  const { statusCode } = error
  if (state === undefined && statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return { status: statusCode, detail: error.message }
  }
  return { status: 500, detail: 'Something went wrong here. It has been logged.', cached: 'failed' }
}

function tellCacheError(error: CacheError): Telling {
  switch (error.code) {
    case 'INVALID_KEY':
      return { status: 400, detail: error.message }
    case 'OVERLOADED':
    case 'LOAD_TIMEOUT':
    case 'UNGUARDED':
    case 'CLOSED':
      return { status: 503, detail: 'Too busy to answer just now.', retryAfterS: BUSY_RETRY_S }
    case 'LOAD_CYCLE':
    case 'WRITE_ENDED':
    case 'CLOSE_CYCLE':
    case 'INVALID_OPTIONS':
      return { status: 500, detail: 'Something went wrong here. It has been logged.' }
  }
}

type ValidationResult = NonNullable<FastifyError['validation']>[number]

/** What one complaint of the validation says about the body, the path or the query. */
function flawsOf({ validationContext }: FastifyError): (result: ValidationResult) => Flaw[] {
  const inBody = validationContext === 'body'
  const at = (name: string, detail: string): Flaw =>
    inBody ? { detail, pointer: `#/${pointerPart(name)}` } : { detail, parameter: name }
  return ({ keyword, instancePath, message = 'is not as it should be', params }) => {
    if (keyword === 'unrecognized_keys' && Array.isArray(params.keys)) {
      return params.keys.map(key => at(String(key), 'is not known here'))
    }
    const name = instancePath.slice(1)
    // The validator's own words for it are of its types, and take a body that is missing for one of null.
    if (inBody && name === '' && keyword === 'invalid_type')
      return [{ detail: 'must be a JSON object', pointer: '#' }]
    return [name === '' ? { detail: message, pointer: '#' } : at(name, message)]
  }
}

/** @see https://www.rfc-editor.org/rfc/rfc6901 */
const pointerPart = (name: string) =>
  encodeURIComponent(name.toWellFormed().replaceAll('~', '~0').replaceAll('/', '~1'))
