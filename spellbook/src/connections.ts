import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'

/** How long a request may go on arriving after the shutdown has begun. */
const ARRIVING_MS = 1_000
/** How long an answer may take then: longer than the database's own limits, and shorter than the shutdown's. */
const ANSWERING_MS = 8_000

/**
 * Ends the connections when the application is closed. Requests that have arrived are answered; nobody else can keep
 * the process alive. Node closes connections that are idle after a request, and lets all others be:
 *
 * - those on which nothing was ever sent, as browsers open them in advance, are ended at once;
 * - those on which a request is still arriving, after a moment;
 * - those on which an answer is not taken, or not made, in the end.
 */
export function endConnections(app: FastifyInstance): void {
  const sockets = new Set<Socket>()
  const answering = new Map<Socket, IncomingMessage>()
  app.server.on('connection', socket => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  app.server.on('request', (request, response) => {
    const { socket } = request
    answering.set(socket, request)
    response.once('close', () => {
      if (answering.get(socket) === request) answering.delete(socket)
    })
  })
  const end = (isIdle: (socket: Socket) => boolean) => {
    for (const socket of sockets) if (isIdle(socket)) socket.destroy()
  }
  const timers: NodeJS.Timeout[] = []
  app.addHook('preClose', done => {
    end(socket => socket.bytesRead === 0)
    timers.push(
      setTimeout(() => end(socket => answering.get(socket)?.complete !== true), ARRIVING_MS),
      setTimeout(() => end(() => true), ANSWERING_MS),
    )
    done()
  })
  app.addHook('onClose', (_app, done) => {
    for (const timer of timers) clearTimeout(timer)
    done()
  })
}
