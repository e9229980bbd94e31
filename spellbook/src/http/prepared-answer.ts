import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Connections } from './connections.ts'
import { COMMON, type Fields, type Prepared } from './prepared-head.ts'
import { SECURITY_HEADERS } from './security-headers.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Whether answers may be sent as they were prepared. */
    readonly sendsPrepared: () => boolean
    readonly connections: Connections
  }
}

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
 * @param others - Fields of this answer alone. Headers that hooks have set are sent, too.
 */
export function sendPrepared(
  request: FastifyRequest,
  reply: FastifyReply,
  { body, fields }: Prepared,
  others: Fields,
): FastifyReply {
  const head = [...COMMON, ...fields, ...others]
  const set = reply.getHeaders()
  for (const name in set) head.push(name, String(set[name]))
  const { raw } = reply.hijack()
  request.server.connections.made(request.raw.socket)
  raw.writeHead(200, head)
  raw.end(body)
  return reply
}
