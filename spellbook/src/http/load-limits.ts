import { getHeapStatistics } from 'node:v8'
import rateLimit from '@fastify/rate-limit'
import underPressure from '@fastify/under-pressure'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Config } from '../config.ts'
import { clientAt } from './client-address.ts'
import { isLoopback } from './loopback.ts'
import { sendProblem } from './problem.ts'

/** How much is done for clients. */
export interface LoadLimits {
  /** Requests that a client may send in a minute. Left out: any number. */
  readonly perMinute?: number
  /** Milliseconds by which the event loop may be late, on average over a second. Left out: any number. */
  readonly lateMs?: number
  /** Clients that are counted at once; one more replaces the one that has not asked for longest. @defaultValue 10,000 */
  readonly clients?: number
}

/**
 * The default limits: people and their pages send fewer than a hundred requests a second, and when the event loop is a second
 * late, clients have given up.
 */
const USUAL = { perMinute: 6_000, lateMs: 1_000 }

/** The limits of a configuration. By default there are none if only this machine can ask. */
export function loadLimitsFor(
  { rateLimit: perMinute, shedAboveMs: lateMs }: Pick<Config, 'rateLimit' | 'shedAboveMs'>,
  isForThisMachine: boolean,
): LoadLimits {
  const usual: Partial<typeof USUAL> = isForThisMachine ? {} : USUAL
  const limits = { perMinute: perMinute ?? usual.perMinute, lateMs: lateMs ?? usual.lateMs }
  return Object.fromEntries(Object.entries(limits).filter(([, limit]) => typeof limit === 'number'))
}

const MINUTE_MS = 60_000
const CLIENTS = 10_000
/** Above this share of what the heap may take, Node is about to end the process. */
const HEAP_SHARE = 0.95
const SHED_RETRY_S = 2

/** Routes for times of trouble, which have limits of their own. */
const isOpen = ({ routeOptions: { url = '' } }: FastifyRequest): boolean =>
  url === '/metrics' || url.startsWith('/health/') || url.startsWith('/admin/')

/**
 * Refuses requests of a client that sends too many (429), and of all while there are too many (503). To be called before
 * routes are added. Routes of operators are answered in both cases. What a client is, {@link clientAt} says. The loopback is not
 * limited: that is this machine, or a proxy whose clients cannot be told apart.
 *
 * @see https://www.rfc-editor.org/rfc/rfc6585#section-4
 */
export async function limitLoad(app: FastifyInstance, limits: LoadLimits): Promise<void> {
  const { perMinute, lateMs, clients = CLIENTS } = limits
  if (perMinute !== undefined)
    await app.register(rateLimit, {
      max: perMinute,
      timeWindow: MINUTE_MS,
      cache: clients,
      keyGenerator: request => clientAt(request.ip),
      allowList: request => isOpen(request) || isLoopback(request.ip),
      enableDraftSpec: true,
      addHeadersOnExceeding: {
        'ratelimit-limit': false,
        'ratelimit-remaining': false,
        'ratelimit-reset': false,
      },
      errorResponseBuilder: () =>
        Object.assign(new Error(`A client may send ${perMinute} requests in a minute.`), { statusCode: 429 }),
    })
  if (lateMs !== undefined)
    await app.register(underPressure, {
      maxEventLoopDelay: lateMs,
      maxHeapUsedBytes: HEAP_SHARE * getHeapStatistics().heap_size_limit,
      pressureHandler: (request, reply) => {
        if (isOpen(request)) return
        sendProblem(request, reply, {
          status: 503,
          detail: 'Too much is being asked of this just now.',
          retryAfterS: SHED_RETRY_S,
          cached: 'shed',
        })
      },
    })
}

/** Counts a request without a route. Rejects if the client has sent too many. */
export function countUnrouted(
  app: FastifyInstance,
): (request: FastifyRequest, reply: FastifyReply) => Promise<unknown> {
  if (!app.hasDecorator('rateLimit')) return async () => {}
  const limit = app.rateLimit()
  return async (request, reply) => limit.call(app, request, reply)
}
