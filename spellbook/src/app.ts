import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import { type FastifyBaseLogger, type FastifyInstance, fastify, LogController } from 'fastify'
import { validatorCompiler } from 'fastify-type-provider-zod'
import { type Health, health } from './api.ts'
import { endConnections, listenAlsoAt, takeTurns } from './connections.ts'
import { answer, describeRoutes, trouble } from './openapi.ts'
import { problemBody, sendError, sendProblem } from './problem.ts'
import { spellRoutes } from './spell-routes.ts'
import type { Spells } from './spells.ts'
import { webPage } from './web-page.ts'

/** What the application serves. */
export interface Service {
  readonly spells: Spells
  /** Resolves if the database answers. */
  ping(): Promise<unknown>
}

/** What the application is made with. */
export interface AppOptions {
  /** Of Pino, or of its kind. */
  readonly log: FastifyBaseLogger
  /** What to serve; `undefined` while that is still being made ready. */
  readonly service: () => Service | undefined
  /** Where to listen besides the address that `listen` is given. */
  readonly alsoAt?: readonly string[]
}

const BODY_LIMIT_BYTES = 16 * 1024
const REQUEST_TIMEOUT_MS = 30_000
/** Longer than any path that Node lets through, so that an id of any length is judged by its schema. */
const MAX_PARAM_LENGTH = 64 * 1024

/** Spellbook over HTTP. It opens and closes nothing but its own port. */
export async function createApp({ log, service, alsoAt = [] }: AppOptions): Promise<FastifyInstance> {
  const app = fastify({
    loggerInstance: log,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: BODY_LIMIT_BYTES,
    requestTimeout: REQUEST_TIMEOUT_MS,
    return503OnClosing: false,
    routerOptions: { maxParamLength: MAX_PARAM_LENGTH },
    clientErrorHandler: answerClientError,
    http: {
      // Node would refuse a request without a host by itself, and without saying why.
      requireHostHeader: false,
      // Left out it is a minute, and where the head may take longer than the whole, Node takes each limit for the other.
      headersTimeout: REQUEST_TIMEOUT_MS,
    },
    // Such a request has no route, and so no hook has seen it.
    frameworkErrors: (error, request, reply) =>
      void sendError(error, request, reply.headers(SECURITY_HEADERS)),
  })
  app.setValidatorCompiler(validatorCompiler)
  // What is sent has its type from the compiler, and its shape from our own SQL.
  app.setSerializerCompiler(() => data => JSON.stringify(data))
  app.setErrorHandler(sendError)
  parseJsonOnly(app)
  addHeaders(app)
  listenAlsoAt(app, alsoAt)
  endConnections(app)
  takeTurns(app)
  logDurations(app)
  refuseUnclear(app)
  refuseUntilReady(app, service)
  answerUnrouted(app)
  await describeRoutes(app)
  spellRoutes(app, () => service()!.spells)
  healthRoutes(app, service)
  await webPage(app)
  return app
}

/** JSON is the only kind of body. Bytes that are not UTF-8 are refused: decoded leniently, they would be changed. */
function parseJsonOnly(app: FastifyInstance): void {
  const parseText = app.getDefaultJsonParser('error', 'error')
  const decoder = new TextDecoder('utf-8', { fatal: true })
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body, done) => {
    // Many clients say what kind of body they send when they send none.
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

const SECURITY_HEADERS = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  // The one cache here is behind the API, where it can be told of changes.
  'cache-control': 'no-store',
}

function addHeaders(app: FastifyInstance): void {
  let closing = false
  app.addHook('preClose', done => {
    closing = true
    done()
  })
  app.addHook('onRequest', (_request, reply, done) => {
    reply.headers(SECURITY_HEADERS)
    done()
  })
  app.addHook('onSend', (_request, reply, _payload, done) => {
    // A connection kept alive would keep the process alive.
    if (closing) reply.header('connection', 'close')
    done()
  })
}

function logDurations(app: FastifyInstance): void {
  app.addHook('onResponse', (request, reply, done) => {
    const { method, url } = request
    const ms = Number(reply.elapsedTime.toFixed(3))
    request.log.debug({ method, url, status: reply.statusCode, ms }, `${method} ${url} took ${ms} ms`)
    done()
  })
}

/** A name or an address, and a port. It may be empty. https://www.rfc-editor.org/rfc/rfc3986#section-3.2.2 */
const HOST = /^(\[[\da-f:.]+\]|[\w.~!$&'()*+,;=%-]*)(:\d*)?$/i

/** What Node would answer by itself, in another form than all else, or not at all. */
function refuseUnclear(app: FastifyInstance): void {
  app.addHook('onRequest', (request, reply, done) => {
    const { httpVersion, rawHeaders } = request.raw
    const hosts = rawHeaders.filter((_, i) => i % 2 === 1 && rawHeaders[i - 1]!.toLowerCase() === 'host')
    // https://www.rfc-editor.org/rfc/rfc9112#section-3.2
    if (hosts.length === 1 ? HOST.test(hosts[0]!) : hosts.length === 0 && httpVersion !== '1.1') return done()
    sendProblem(request, reply, { status: 400, detail: 'A request names one host.' })
  })
  app.server.on('connect', ({ url = '' }, socket: Socket) => {
    // Node has nothing to do with the connection any more.
    socket.on('error', () => {}).resume()
    socket.setTimeout(REQUEST_TIMEOUT_MS, () => socket.destroy())
    endWithProblem(socket, url, { status: 501, detail: 'This is no proxy.' })
  })
  app.server.on('checkExpectation', ({ url = '' }, response) => {
    const body = JSON.stringify(
      problemBody(url, { status: 417, detail: 'Nothing can be expected here but 100-continue.' }),
    )
    response
      .writeHead(417, {
        ...SECURITY_HEADERS,
        'content-type': 'application/problem+json',
        'content-length': Buffer.byteLength(body),
        connection: 'close',
      })
      .end(body)
  })
}

/** The port is open before there is anything to serve; only whether the process lives can be asked from the start. */
function refuseUntilReady(app: FastifyInstance, service: AppOptions['service']): void {
  app.addHook('onRequest', (request, reply, done) => {
    if (service() !== undefined || request.url === '/health/live') return done()
    sendProblem(request, reply, { status: 503, detail: 'Still starting.', retryAfterS: 1 })
  })
}

/** A path that exists, asked with a method that it does not have, is told which it has. */
function answerUnrouted(app: FastifyInstance): void {
  const methods = new Map<string, Set<string>>()
  app.addHook('onRoute', ({ url, method }) => {
    const known = methods.get(url) ?? new Set()
    for (const each of [method].flat()) known.add(each)
    methods.set(url, known)
  })
  const pattern = (url: string) =>
    new RegExp('^' + url.replaceAll('.', '\\.').replace(/:\w+/g, '[^/]+') + '$')
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?', 1)[0]!
    const allowed = [...methods].find(([url]) => pattern(url).test(path))?.[1]
    if (allowed === undefined)
      return sendProblem(request, reply, { status: 404, detail: `There is nothing at ${path}.` })
    const allow = [...allowed].join(', ')
    reply.header('allow', allow)
    return sendProblem(request, reply, {
      status: 405,
      detail: `${request.method} is not possible here, only ${allow}.`,
    })
  })
}

function healthRoutes(app: FastifyInstance, service: AppOptions['service']): void {
  app.get(
    '/health/live',
    {
      schema: {
        operationId: 'isAlive',
        summary: 'Whether the process runs',
        response: { 200: answer('It does.', health) },
      },
    },
    async (): Promise<Health> => ({ status: 'alive' }),
  )
  app.get(
    '/health/ready',
    {
      schema: {
        operationId: 'isReady',
        summary: 'Whether requests can be answered, which depends on the database and not on the cache',
        response: { 200: answer('They can.', health), 503: trouble('Not now.') },
      },
    },
    async (): Promise<Health> => {
      await service()!.ping()
      return { status: 'ready' }
    },
  )
}

/** What came in was no HTTP, or took too long to come, or its head is too large: there is no request to answer. */
function answerClientError(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy()
  const status =
    error.code === 'HPE_HEADER_OVERFLOW' ? 431 : error.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? 408 : 400
  endWithProblem(socket, '', { status, detail: 'This could not be understood as an HTTP request.' })
}

/** Answers on a connection that nobody else answers on. */
function endWithProblem(socket: Socket, url: string, telling: { status: number; detail: string }): void {
  const body = JSON.stringify(problemBody(url, telling))
  const head = `content-type: application/problem+json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close`
  socket.end(`HTTP/1.1 ${telling.status} ${STATUS_CODES[telling.status]}\r\n${head}\r\n\r\n${body}`)
}
