import type { FastifyInstance } from 'fastify'
import type { AdminGuard } from '../admin/admin-guard.ts'
import { noQuery } from '../api.ts'
import { sendProblem } from '../http/problem.ts'
import { SECURITY_HEADERS } from '../http/security-headers.ts'
import type { LiveReads } from './live-reads.ts'

/** Ends all viewers when the application closes. To be called before what waits for answers that have begun. */
export function endLive(app: FastifyInstance, live: () => LiveReads | undefined): void {
  app.addHook('preClose', done => {
    live()?.close()
    done()
  })
}

/** When a viewer for whom there is no room may ask again. */
const FULL_RETRY_S = 10

/**
 * Adds `/live`: the reads of this process as server-sent events, for those to whom `/admin` is open. Strangers should not see
 * who reads what, and how often; to them the page shows their own reads, from the headers of their own answers. The route is
 * no part of the description of the interface.
 *
 * @param judge - Says to whom it is open.
 * @param live - What is told; asked for when this is ready, and `undefined` without a cache.
 */
export function liveRoute(app: FastifyInstance, judge: AdminGuard, live: () => LiveReads | undefined): void {
  app.get(
    '/live',
    {
      schema: { hide: true, querystring: noQuery },
      exposeHeadRoute: false,
      onRequest: (request, reply, done) => {
        const telling = judge(request)
        if (telling === undefined) return done()
        if (telling.status === 401) reply.header('www-authenticate', 'Bearer')
        sendProblem(request, reply, telling)
      },
    },
    (request, reply) => {
      const told = live()
      if (told === undefined)
        return sendProblem(request, reply, { status: 404, detail: 'There is no cache to watch.' })
      if (told.viewers.isFull)
        return sendProblem(request, reply, {
          status: 503,
          detail: 'As many watch as may.',
          retryAfterS: FULL_RETRY_S,
          // By this the page tells it from other reasons to come again.
          cached: 'viewers-full',
        })
      reply.hijack()
      reply.raw.writeHead(200, {
        ...SECURITY_HEADERS,
        ...(reply.getHeaders() as Record<string, string>),
        'content-type': 'text/event-stream',
        // Tells nginx not to buffer the answer.
        'x-accel-buffering': 'no',
        // The answer has no end. A kept connection would only delay a shutdown.
        connection: 'close',
      })
      const lastId = request.headers['last-event-id']
      told.add(reply.raw, typeof lastId === 'string' ? lastId : undefined)
      return reply
    },
  )
}
