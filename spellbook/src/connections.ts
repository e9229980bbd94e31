import { lookup } from 'node:dns/promises'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { type AddressInfo, createServer, Server, type Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'

/** How long kept connections are still listened to after the shutdown has begun. */
const LAST_CALL_MS = 100
/** How long a request may go on arriving then. */
const ARRIVING_MS = 1_000
/** How long an answer may take then: longer than the database's own limits, and shorter than the shutdown's. */
const ANSWERING_MS = 8_000

/**
 * The addresses to listen at. `localhost` has two on most machines, and some clients try the first only, some the other.
 */
export async function addressesOf(host: string): Promise<[string, ...string[]]> {
  if (host !== 'localhost') return [host]
  const found = await lookup(host, { all: true })
  const [first = host, ...others] = new Set(found.map(({ address }) => address))
  return [first, ...others]
}

/**
 * Listens at these addresses too, on the port of the first. Fastify would do so for `localhost`, with one more HTTP
 * server, on which what is said of connections here and in `app.ts` would not hold; this hands the connections to the
 * only one. An address that this machine does not have, or that is taken, is left out, as it is there.
 */
export function listenAlsoAt(app: FastifyInstance, addresses: readonly string[]): void {
  const ears: Server[] = []
  app.addHook('onListen', async () => {
    const { port } = app.server.address() as AddressInfo
    for (const host of addresses) {
      const ear = createServer({ allowHalfOpen: true, noDelay: true }, socket =>
        app.server.emit('connection', socket),
      )
      ear.listen({ port, host })
      try {
        await once(ear, 'listening')
        ears.push(ear)
      } catch {
        ear.close()
      }
    }
  })
  let closed: Promise<unknown> = Promise.resolve()
  app.addHook('preClose', done => {
    closed = Promise.all(ears.map(ear => new Promise(resolve => ear.close(resolve))))
    done()
  })
  app.addHook('onClose', async () => void (await closed))
}

/**
 * Answers the requests of one connection one after the other. Where a client sends several without waiting, Node begins
 * with all of them and only keeps the answers in order: a read would not show the write that it was sent behind.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9112#section-9.3.2
 */
export function takeTurns(app: FastifyInstance): void {
  const latest = new WeakMap<Socket, Promise<unknown>>()
  app.addHook('onRequest', async ({ raw: { socket } }, { raw: response }) => {
    const before = latest.get(socket)
    latest.set(socket, new Promise(resolve => response.once('close', resolve)))
    await before
  })
}

/**
 * Ends the connections when the application is closed. Requests that have arrived are answered; nobody else can keep
 * the process alive. Node closes connections that are idle after a request, and lets all others be:
 *
 * - those that only seem to be idle, because nobody has read yet what was sent on them, are read first: of a busy process
 *   that is most of them, and the requests would be lost;
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
  let closed: Promise<unknown> = Promise.resolve()
  app.addHook('preClose', done => {
    if (!app.server.listening) return done()
    // Only the port is closed. The HTTP server's own `close` would also end the connections that seem to be idle; it
    // is called when this is done.
    closed = new Promise(resolve => Server.prototype.close.call(app.server, resolve))
    timers.push(
      setTimeout(() => {
        end(socket => socket.bytesRead === 0)
        done()
      }, LAST_CALL_MS),
      setTimeout(() => end(socket => answering.get(socket)?.complete !== true), ARRIVING_MS),
      setTimeout(() => end(() => true), ANSWERING_MS),
    )
  })
  app.addHook('onClose', async () => {
    await closed
    for (const timer of timers) clearTimeout(timer)
  })
}
