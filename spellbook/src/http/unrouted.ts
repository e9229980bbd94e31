import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import { errorStatus } from '../cache-status.ts'
import type { Connections } from './connections.ts'
import { problemBody, type Telling } from './problem.ts'
import { SECURITY_HEADERS } from './security-headers.ts'

/**
 * Answers to requests that do not reach Fastify: malformed ones, and `CONNECT`. They look as all other answers, and wait for
 * those before them.
 */

/** Answers bytes that are no HTTP, that took too long, or whose head is too large: there is no request. */
export function answerBadRequest(
  connections: Connections,
  error: Error & { code?: string },
  socket: Socket,
): void {
  if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy()
  endWithProblem(connections, socket, '', {
    status: STATUSES.get(error.code ?? '') ?? 400,
    detail: 'This could not be understood as an HTTP request.',
  })
}

const STATUSES = new Map([
  ['ERR_HTTP_REQUEST_TIMEOUT', 408],
  ['HPE_CHUNK_EXTENSIONS_OVERFLOW', 413],
  ['HPE_HEADER_OVERFLOW', 431],
])

/** The answer to `CONNECT`. */
export function answerConnect(connections: Connections, url: string, socket: Socket): void {
  // Node has nothing to do with the connection any more.
  socket.on('error', () => {})
  endWithProblem(connections, socket, url, { status: 501, detail: 'This is no proxy.' })
  socket.resume()
}

/** Answers on a connection that nobody else answers on any more. */
function endWithProblem(connections: Connections, socket: Socket, url: string, telling: Telling): void {
  const body = JSON.stringify(problemBody(url, telling))
  const headers = {
    ...SECURITY_HEADERS,
    date: new Date().toUTCString(),
    'cache-status': errorStatus('not-asked'),
    'content-type': 'application/problem+json',
    'content-length': Buffer.byteLength(body),
    connection: 'close',
  }
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`)
  const head = [`HTTP/1.1 ${telling.status} ${STATUS_CODES[telling.status]}`, ...lines].join('\r\n')
  connections.lastOf(socket, () => socket.end(`${head}\r\n\r\n${body}`))
}
