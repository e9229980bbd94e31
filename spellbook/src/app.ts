import type { IncomingMessage, ServerOptions } from 'node:http'
import type { Socket } from 'node:net'
import {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  fastify,
  LogController,
} from 'fastify'
import { validatorCompiler } from 'fastify-type-provider-zod'
import findMyWay, { type HTTPMethod } from 'find-my-way'
import { guardAdmin } from './admin/admin-guard.ts'
import { type Administered, adminRoutes } from './admin/admin-routes.ts'
import { type Health, health, noQuery } from './api.ts'
import { apiPage } from './api-page.ts'
import { type ConnectionLimits, Connections } from './http/connections.ts'
import { FastPath } from './http/fast-path.ts'
import { HitLog, type Log } from './http/hit-log.ts'
import { type Addressed, isAuthority, judgeHosts } from './http/hosts.ts'
import { countUnrouted, type LoadLimits, limitLoad } from './http/load-limits.ts'
import { addHeaders } from './http/prepared-answer.ts'
import { KEPT_MS } from './http/prepared-head.ts'
import { sendError, sendProblem, type Telling } from './http/problem.ts'
import { SECURITY_HEADERS } from './http/security-headers.ts'
import { answerBadRequest, answerConnect } from './http/unrouted.ts'
import type { Laboratory } from './laboratory/laboratory.ts'
import { laboratoryRoutes } from './laboratory/laboratory-routes.ts'
import type { LiveReads } from './live/live-reads.ts'
import { endLive, liveRoute } from './live/live-route.ts'
import { type Metrics, metricsRoute } from './metrics-route.ts'
import { answer, describeRoutes, trouble } from './openapi.ts'
import { raceRoute } from './race-bundle.ts'
import { invalid } from './route-parts.ts'
import { spellRoutes } from './spell-routes.ts'
import type { Spells } from './spells.ts'
import { webPage } from './web-page.ts'
import { wizardRoutes } from './wizard-routes.ts'

/** What the application serves. */
export interface Service {
  /** What `/metrics` tells. Left out: nothing. */
  readonly metrics?: Metrics
  readonly spells: Spells
  /** Resolves if the database answers. */
  ping(): Promise<unknown>
  /** What `/live` tells. Left out: there is nothing to watch. The application closes it. */
  readonly live?: LiveReads
  /** The cache as operators see it. Left out: `/admin` has nothing to tell. */
  readonly administered?: Administered
  /** The laboratory. Left out: there is none. */
  readonly laboratory?: Laboratory
}

/** What the application is made with. */
export interface AppOptions {
  readonly log: Log
  /** What to serve; `undefined` while that is still being made ready. */
  readonly service: () => Service | undefined
  /** Where to listen besides the address that `listen` is given. */
  readonly alsoAt?: readonly string[]
  /** The names that it may be asked for by, besides the loopback's. Left out: by any. */
  readonly hosts?: readonly string[]
  /** What opens `/admin`, `/metrics`, `/live` and `/laboratory` to others than this machine. Left out: nothing does. */
  readonly adminToken?: string
  /** Limits of connections. Left-out ones: see {@link LIMITS}. */
  readonly limits?: Partial<ConnectionLimits>
  /** How much is done for clients. Left out: all that they ask for. */
  readonly load?: LoadLimits
  /**
   * Trusted proxies: their statements about the client's address are believed. Addresses, and ranges such as `10.0.0.0/8`.
   * Left out: none.
   */
  readonly trustedProxies?: readonly string[]
}

/** The default limits of connections. */
export const LIMITS: ConnectionLimits = { maxConnections: 1_000, arrivingMs: 30_000, takingMs: 20_000 }

const BODY_LIMIT_BYTES = 16 * 1024
const HTTP: ServerOptions = {
  keepAliveTimeout: KEPT_MS,
  // Node would refuse a request without a host by itself, and without saying why.
  requireHostHeader: false,
}
/** Longer than any path that Node lets through, so that an id of any length is judged by its schema. */
const MAX_PARAM_LENGTH = 64 * 1024

/** Spellbook over HTTP. It opens and closes nothing but its own port. */
export async function createApp(options: AppOptions): Promise<FastifyInstance> {
  const { log, service, alsoAt = [], hosts, limits, load = {}, adminToken, trustedProxies = [] } = options
  const isBehindProxy = trustedProxies.length > 0
  const judge = guardAdmin({ isBehindProxy, ...(adminToken === undefined ? {} : { token: adminToken }) })
  const hitLog = new HitLog(log)
  // Limits count requests, and the level `debug` wants the duration of each: both are Fastify's.
  const isLimited = load.perMinute !== undefined || load.lateMs !== undefined || log.isLevelEnabled('debug')
  const isOpen = () => !isLimited && service() !== undefined && app.sendsPrepared()
  const fastPath = new FastPath(hitLog, isOpen)
  const connections = new Connections({ ...LIMITS, ...limits }, fastPath)
  const app: FastifyInstance = fastify({
    loggerInstance: log as FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: BODY_LIMIT_BYTES,
    return503OnClosing: false,
    routerOptions: { maxParamLength: MAX_PARAM_LENGTH },
    clientErrorHandler: (error, socket) => answerBadRequest(connections, error, socket),
    rewriteUrl: pathOf,
    trustProxy: isBehindProxy && [...trustedProxies],
    serverFactory: answer => connections.serve(HTTP, answer),
    // Such a request has no route, and so no hook has seen it.
    frameworkErrors: (error, request, reply) =>
      void sendError(error, request, reply.headers(SECURITY_HEADERS)),
  })
  app.setValidatorCompiler(validatorCompiler)
  // Answers are not checked: the compiler knows their types, and our own SQL gives their shapes.
  app.setSerializerCompiler(() => data => JSON.stringify(data))
  app.setErrorHandler(sendError)
  app.decorate('hitLog', hitLog)
  app.decorate('fastPath', fastPath)
  parseJsonOnly(app)
  addHeaders(app, connections)
  endLive(app, () => service()?.live)
  connections.attend(app, alsoAt)
  app.server.on('connect', ({ url = '' }, socket: Socket) => answerConnect(connections, url, socket))
  logDurations(app, log)
  refuseUnclear(app, hosts)
  await limitLoad(app, load)
  refuseUntilReady(app, service)
  answerUnrouted(app)
  await describeRoutes(app)
  liveRoute(app, judge, () => service()?.live)
  metricsRoute(app, judge, () => service()?.metrics)
  spellRoutes(app, () => service()!.spells)
  wizardRoutes(app, () => service()!.spells.wizards)
  healthRoutes(app, service)
  adminRoutes(app, judge, () => service()?.administered)
  laboratoryRoutes(app, judge, () => service()?.laboratory)
  raceRoute(app)
  await apiPage(app)
  await webPage(app)
  return app
}

/** JSON is the only kind of body. Bytes that are not UTF-8 are refused: decoded leniently, they would be changed. */
function parseJsonOnly(app: FastifyInstance): void {
  // A field `__proto__` is parsed as any other field, and refused by the schemas as unknown.
  const parseText = app.getDefaultJsonParser('ignore', 'ignore')
  const decoder = new TextDecoder('utf-8', { fatal: true })
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body, done) => {
    // Many clients send a content type without a body.
    if (body.length === 0) return done(null, undefined)
    const { 'content-encoding': encoding = 'identity' } = request.headers
    if (encoding.toLowerCase() !== 'identity')
      return done(Object.assign(new Error('A body is not compressed here.'), { statusCode: 415 }), undefined)
    let text: string
    try {
      text = decoder.decode(body as Buffer)
    } catch {
      return done(Object.assign(new Error('The body is not UTF-8.'), { statusCode: 400 }), undefined)
    }
    return parseText(request, text, done)
  })
}

/** At the level `debug`. Without it nobody waits for the end of an answer. */
function logDurations(app: FastifyInstance, log: Log): void {
  if (!log.isLevelEnabled('debug')) return
  app.addHook('onResponse', (request, reply, done) => {
    const { method, url } = request
    const ms = Number(reply.elapsedTime.toFixed(3))
    request.log.debug({ method, url, status: reply.statusCode, ms }, `${method} ${url} took ${ms} ms`)
    done()
  })
}

/**
 * A target in absolute form, as proxies are sent it. It counts more than the header `Host`.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9112#section-3.2.2
 */
const ABSOLUTE = /^https?:\/\/([^/?#]*)(.*)/i

/** The target of a request as routes know it: a path and a query. */
function pathOf({ url = '', method }: IncomingMessage): string {
  if (url.startsWith('/')) return url
  const [, , path] = ABSOLUTE.exec(url) ?? []
  if (path === undefined) return url
  if (path === '' && method === 'OPTIONS') return '*'
  return path.startsWith('/') ? path : `/${path}`
}

/** As many as Node keeps by itself. It drops further headers without a sign, and one of them may be a condition. */
const MAX_HEADERS = 1_000

/**
 * Refuses requests that Node would answer by itself, in another form than all other answers, or would accept with parts of
 * them ignored.
 */
function refuseUnclear(app: FastifyInstance, hosts: AppOptions['hosts']): void {
  const judge = hosts === undefined ? undefined : judgeHosts(hosts)
  app.server.maxHeadersCount = 0
  app.addHook('onRequest', (request, reply, done) => {
    const telling = whatIsUnclear(request) ?? (judge && misdirected(judge(addressed(request))))
    if (telling === undefined) return done()
    // It is uncertain where a body of an unknown coding ends, or whether an announced body comes.
    const { 'transfer-encoding': coding, expect } = request.headers
    if (coding !== undefined || expect !== undefined) reply.header('connection', 'close')
    sendProblem(request, reply, telling)
  })
}

const authorityOf = ({ originalUrl }: FastifyRequest): string | undefined =>
  originalUrl.startsWith('/') ? undefined : ABSOLUTE.exec(originalUrl)?.[1]

function addressed(request: FastifyRequest): Addressed {
  const { host, origin } = request.headers
  return { method: request.method, host: authorityOf(request) ?? host, origin }
}

/** All values of the fields that are judged: Node drops or joins a field that comes twice. */
function judgedFields(rawHeaders: readonly string[]) {
  const authorities: string[] = []
  const codings: string[] = []
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]!
    // The length tells most names apart.
    if (name.length === 4 && name.toLowerCase() === 'host') authorities.push(rawHeaders[at + 1]!)
    if (name.length === 17 && name.toLowerCase() === 'transfer-encoding') codings.push(rawHeaders[at + 1]!)
  }
  return { authorities, codings }
}

function whatIsUnclear(request: FastifyRequest): Telling | undefined {
  const { httpVersion, rawHeaders } = request.raw
  // Node's parser also takes 0.9 and 2.0, which look otherwise.
  if (httpVersion !== '1.1' && httpVersion !== '1.0')
    return { status: 505, detail: 'This is HTTP/1.1, and takes HTTP/1.0.' }
  if (rawHeaders.length > 2 * MAX_HEADERS)
    return { status: 431, detail: `A request has at most ${MAX_HEADERS} header fields.` }
  const isOfAll = request.url === '*' && request.method === 'OPTIONS'
  if ((!request.url.startsWith('/') && !isOfAll) || request.url.includes('#'))
    return { status: 400, detail: 'A request names a path.' }
  const { authorities, codings } = judgedFields(rawHeaders)
  const authority = authorityOf(request) ?? ''
  // https://www.rfc-editor.org/rfc/rfc9112#section-3.2
  const isNamed = authorities.length === 1 || (authorities.length === 0 && httpVersion !== '1.1')
  if (!isNamed || !authorities.every(isAuthority) || !isAuthority(authority))
    return { status: 400, detail: 'A request names one host.' }
  const { expect = '100-continue' } = request.headers
  // https://www.rfc-editor.org/rfc/rfc9110#section-10.1.1
  if (httpVersion === '1.1' && expect.toLowerCase() !== '100-continue')
    return { status: 417, detail: 'Nothing can be expected here but 100-continue.' }
  if (codings.length === 0) return undefined
  // https://www.rfc-editor.org/rfc/rfc9112#section-6.1
  if (httpVersion !== '1.1') return { status: 400, detail: 'HTTP/1.0 has no transfer codings.' }
  if (codings.join().trim().toLowerCase() === 'chunked') return undefined
  return { status: 501, detail: 'The only transfer coding here is chunked.' }
}

function misdirected(what: 'host' | 'origin' | undefined): Telling | undefined {
  if (what === 'host') return { status: 421, detail: 'That host is not served here. See ALLOWED_HOSTS.' }
  if (what === 'origin')
    return { status: 403, detail: 'A page of another site may change nothing. See ALLOWED_HOSTS.' }
  return undefined
}

/** The port is open before there is anything to serve; only whether the process lives can be asked from the start. */
function refuseUntilReady(app: FastifyInstance, service: AppOptions['service']): void {
  app.addHook('onRequest', (request, reply, done) => {
    if (service() !== undefined || request.url === '/health/live') return done()
    sendProblem(request, reply, { status: 503, detail: 'Still starting.', retryAfterS: 1 })
  })
}

const pathIn = ({ url }: FastifyRequest): string => url.split('?', 1)[0]!

const sendNothing = (request: FastifyRequest, reply: FastifyReply): FastifyReply =>
  sendProblem(request, reply, { status: 404, detail: `There is nothing at ${pathIn(request)}.` })

/**
 * Answers a request for an existing path with a wrong method: it names the allowed methods. That comes before the body is
 * read, so errors in the body do not matter.
 */
function answerUnrouted(app: FastifyInstance): void {
  const methods = new Set<HTTPMethod>()
  const routes = findMyWay({ maxParamLength: MAX_PARAM_LENGTH })
  app.addHook('onRoute', ({ url, method }) => {
    for (const each of [method].flat() as HTTPMethod[]) {
      methods.add(each)
      routes.on(each, url, () => {})
    }
  })
  const count = countUnrouted(app)
  const tell = (request: FastifyRequest, reply: FastifyReply) => {
    const path = pathIn(request)
    // https://www.rfc-editor.org/rfc/rfc9110#section-9.3.7
    const isOfAll = path === '*' && request.method === 'OPTIONS'
    const allowed = [...methods].filter(method => isOfAll || routes.find(method, path) !== null)
    if (allowed.length === 0) return sendNothing(request, reply)
    const allow = allowed.join(', ')
    reply.header('allow', allow)
    if (isOfAll) return reply.code(204).send()
    return sendProblem(request, reply, {
      status: 405,
      detail: `${request.method} is not possible here, only ${allow}.`,
    })
  }
  // A route for all files of a folder, as that of /docs, says itself that there is no such file.
  app.setNotFoundHandler(sendNothing)
  app.addHook('onRequest', (request, reply, done) => {
    if (!request.is404) return done()
    count(request, reply)
      .then(() => void tell(request, reply))
      .catch(done)
  })
}

function healthRoutes(app: FastifyInstance, service: AppOptions['service']): void {
  app.get(
    '/health/live',
    {
      schema: {
        operationId: 'isAlive',
        tags: ['Health'],
        summary: 'Whether the process runs',
        querystring: noQuery,
        response: { 200: answer('It does.', health), ...invalid },
      },
    },
    async (): Promise<Health> => ({ status: 'alive' }),
  )
  app.get(
    '/health/ready',
    {
      schema: {
        operationId: 'isReady',
        tags: ['Health'],
        summary: 'Whether requests can be answered, which depends on the database and not on the cache',
        querystring: noQuery,
        response: { 200: answer('They can.', health), ...invalid, 503: trouble('Not now.') },
      },
    },
    async (): Promise<Health> => {
      await service()!.ping()
      return { status: 'ready' }
    },
  )
}
