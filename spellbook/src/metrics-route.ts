import type { Cache } from 'cacheaside'
import { prometheusMetrics } from 'cacheaside/prometheus'
import type { FastifyInstance } from 'fastify'
import { collectDefaultMetrics, Registry } from 'prom-client'
import type { AdminGuard } from './admin/admin-guard.ts'
import { sendProblem } from './http/problem.ts'

/** The metrics of a process and of its cache, as Prometheus reads them. */
export interface Metrics {
  readonly contentType: string
  /** All of them, at this moment. */
  text(): Promise<string>
}

/** The metrics of this process. To be called once: its observers cannot be removed. */
export function processMetrics(): Registry {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  return registry
}

/** The metrics of this process, and of a cache if there is one. */
export function metricsOf(cache: Cache | undefined, ofProcess: Registry = processMetrics()): Metrics {
  if (cache === undefined) return { contentType: ofProcess.contentType, text: () => ofProcess.metrics() }
  const registry = new Registry()
  prometheusMetrics(cache, { registry, name: 'spellbook' })
  const { contentType } = registry
  return { contentType, text: () => Registry.merge([ofProcess, registry]).metrics() }
}

/**
 * Adds `/metrics`, for those to whom `/admin` is open. The numbers show its load and its trouble, which strangers should not
 * see. The route is no part of the description of the interface.
 *
 * @param judge - Says to whom it is open.
 * @param metrics - What is told; asked for when this is ready.
 */
export function metricsRoute(
  app: FastifyInstance,
  judge: AdminGuard,
  metrics: () => Metrics | undefined,
): void {
  app.get(
    '/metrics',
    {
      // Parameters are passed over: a scraper may be told to send some.
      schema: { hide: true },
      onRequest: (request, reply, done) => {
        const telling = judge(request)
        if (telling === undefined) return done()
        if (telling.status === 401) reply.header('www-authenticate', 'Bearer')
        sendProblem(request, reply, telling)
      },
    },
    async (request, reply) => {
      const told = metrics()
      if (told === undefined)
        return sendProblem(request, reply, { status: 404, detail: 'There are no metrics.' })
      return reply
        .headers({ 'cache-control': 'no-store', 'content-type': told.contentType })
        .serializer(String)
        .send(await told.text())
    },
  )
}
