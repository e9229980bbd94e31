import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Connections } from './connections.ts'
import { SECURITY_HEADERS } from './security-headers.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Whether answers may be sent as they were prepared. */
    readonly sendsPrepared: () => boolean
    readonly connections: Connections
  }
}

/** Names and values of header fields, by turns, as `writeHead` takes them. */
export type Fields = readonly string[]

/** Header fields as a list, with those that every answer has. */
export const fieldsOf = (headers: Readonly<Record<string, string>>): Fields =>
  Object.entries({ ...SECURITY_HEADERS, ...headers }).flat()

/**
 * Gives all answers the common headers, unless a route has set them, and ends connections while the application closes.
 * Answers of {@link sendPrepared} skip the hooks of Fastify: they have these headers already, and are not sent so during the
 * closing.
 */
export function addHeaders(app: FastifyInstance, connections: Connections): void {
  let closing = false
  app.decorate('sendsPrepared', () => !closing)
  app.decorate('connections', connections)
  app.addHook('preClose', done => {
    closing = true
    done()
  })
  app.addHook('onSend', (_request, reply, _payload, done) => {
    for (const name in SECURITY_HEADERS)
      if (!reply.hasHeader(name)) reply.header(name, SECURITY_HEADERS[name])
    // A connection kept alive would keep the process alive.
    if (closing) reply.header('connection', 'close')
    done()
  })
}

/**
 * Answers with a body and fields that were prepared with a value. Fastify would put each field into an object by itself, and
 * Node would look through that: that takes longer than all the rest of a hit.
 *
 * @param fields - Prepared by {@link fieldsOf}, with the length of the body.
 * @param others - Fields of this answer alone. Headers that hooks have set are sent, too.
 */
export function sendPrepared(
  request: FastifyRequest,
  reply: FastifyReply,
  body: string,
  fields: Fields,
  others: Fields,
): FastifyReply {
  const head = fields.concat(others)
  const set = reply.getHeaders()
  for (const name in set) head.push(name, String(set[name]))
  const { raw } = reply.hijack()
  request.server.connections.made(request.raw.socket)
  raw.writeHead(200, head as string[])
  raw.end(body)
  return reply
}
