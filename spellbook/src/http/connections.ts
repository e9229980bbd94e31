import { lookup } from 'node:dns/promises'
import { once } from 'node:events'
import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerOptions,
  type ServerResponse,
} from 'node:http'
import { type AddressInfo, createServer as createListener, Server as Listener, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import type { FastPath } from './fast-path.ts'
import { type Answer, type Exchange, LOOK_MS, RequestQueue } from './request-queue.ts'

/** The limits of connections. */
export interface ConnectionLimits {
  /**
   * Most open connections. A further one replaces the connection whose client has been waited for longest. A connection with
   * a request at work is never replaced; if there is no other, the new one is refused.
   */
  readonly maxConnections: number
  /** How long a request may take to arrive as a whole, in milliseconds. */
  readonly arrivingMs: number
  /** How long a client may take to accept an answer that has been made, in milliseconds. */
  readonly takingMs: number
}

/** How long kept connections are still listened to after the shutdown has begun. */
const LAST_CALL_MS = 100
/** How long a request may go on arriving then. */
const ARRIVING_MS = 1_000
/** How long an answer may take then: longer than the database's own limits, and shorter than the shutdown's. */
const ANSWERING_MS = 8_000

/** The addresses to listen at. `localhost` has two on most machines, and some clients only try one of them. */
export async function addressesOf(host: string): Promise<[string, ...string[]]> {
  if (host !== 'localhost') return [host]
  const found = await lookup(host, { all: true })
  const [first = host, ...others] = new Set(found.map(({ address }) => address))
  return [first, ...others]
}

/** The connections of a server: a bound on their number, the turns of their requests, and their end. */
export class Connections {
  readonly #limits: ConnectionLimits
  readonly #fastPath: FastPath
  readonly #queues = new Map<Socket, RequestQueue>()

  constructor(limits: ConnectionLimits, fastPath: FastPath) {
    this.#limits = limits
    this.#fastPath = fastPath
  }

  /** Makes a server that answers the requests of a connection one after the other. */
  serve(options: ServerOptions, answer: Answer): Server {
    const { arrivingMs } = this.#limits
    const inTurn = (request: IncomingMessage, response: ServerResponse) => {
      this.#join({ request, response })
    }
    const arriving: ServerOptions = {
      requestTimeout: arrivingMs,
      // Left out it is a minute, and where the head may take longer than the whole, Node takes each limit for the other.
      headersTimeout: arrivingMs,
      // Left out it is half a minute, by which each limit would be exceeded.
      connectionsCheckingInterval: Math.min(arrivingMs / 10, LOOK_MS),
    }
    const server = createServer({ ...options, ...arriving }, inTurn)
    // Node would answer by itself, at once and in another form than all other answers.
    server.on('checkExpectation', inTurn)
    // A client may close its side after its last request. It still gets its answers.
    Object.assign(server, { httpAllowHalfOpen: true })
    return server.on('connection', socket => this.#take(socket, answer))
  }

  /** Has the last answer of a connection wait for those before it. */
  lastOf(socket: Socket, answer: () => void): void {
    const queue = this.#queues.get(socket)
    if (queue === undefined) return void socket.destroy()
    queue.whenLast(() => {
      if (!socket.writable) return void socket.destroySoon()
      queue.made()
      answer()
    })
  }

  /** An answer was made for this connection, and the client is to take it. */
  made(socket: Socket): void {
    this.#queues.get(socket)?.made()
  }

  /** A `GET` was let through, and nothing in it but its path decided about the answer. See {@link FastPath}. */
  letThrough(request: IncomingMessage): void {
    this.#queues.get(request.socket)?.letThrough(request)
  }

  /**
   * Bounds how long clients of an application take its answers, and has it listen at these addresses too, on the port of
   * the first. Fastify would do so for `localhost`, with one more HTTP server, on which none of this would hold; here the
   * connections are handed to the only one. An address that this machine does not have, or that is taken, is left out.
   */
  attend(app: FastifyInstance, alsoAt: readonly string[]): void {
    const listeners: Listener[] = [app.server]
    app.addHook('onListen', async () => {
      const { port } = app.server.address() as AddressInfo
      for (const host of alsoAt) {
        const listener = createListener({ allowHalfOpen: true, noDelay: true })
        listener.on('connection', socket => app.server.emit('connection', socket))
        try {
          await once(listener.listen({ port, host }), 'listening')
          listeners.push(listener)
        } catch {
          // Fastify leaves it out, too.
        }
      }
    })
    // One timer for all: setting and clearing one for each answer takes as long as half a hit.
    const { takingMs } = this.#limits
    const looking = setInterval(
      () => {
        const beforeMs = performance.now() - takingMs
        for (const queue of this.#queues.values()) queue.look(beforeMs)
      },
      Math.min(takingMs / 10, LOOK_MS),
    ).unref()
    app.addHook('onClose', async () => clearInterval(looking))
    app.addHook('onSend', ({ raw: { socket } }, _reply, _payload, done) => {
      this.made(socket)
      done()
    })
    app.addHook('preClose', async () => {
      if (app.server.listening) await this.#end(app.server, listeners)
    })
  }

  #join(exchange: Exchange): void {
    const { socket } = exchange.request
    this.#queues.get(socket)?.join(exchange)
  }

  #take(socket: Socket, answer: Answer): void {
    if (this.#queues.size >= this.#limits.maxConnections) {
      const longest = this.#longestWaiting()
      if (longest === undefined) return void socket.destroy()
      this.#queues.delete(longest)
      longest.destroy()
    }
    this.#queues.set(socket, new RequestQueue(socket, answer, this.#fastPath))
    socket.once('close', () => this.#queues.delete(socket))
  }

  #longestWaiting(): Socket | undefined {
    let longest: Socket | undefined
    let least = Number.POSITIVE_INFINITY
    for (const [socket, { waitingSinceMs }] of this.#queues) {
      if (waitingSinceMs === undefined || waitingSinceMs >= least) continue
      longest = socket
      least = waitingSinceMs
    }
    return longest
  }

  /**
   * Ends all connections. Requests that have arrived are answered; nobody else can keep the process alive:
   *
   * - those that only seem to be idle, because nobody has read yet what was sent on them, are read first: of a busy
   *   process that is most of them, and the requests would be lost. So only the ports are closed at first: the `close` of
   *   an HTTP server would end these connections;
   * - those that are idle then are ended, also those on which nothing was ever sent, as browsers open them in advance;
   * - those on which a request is still arriving, after a moment;
   * - those on which an answer is being made or taken, behind that answer; and in the end without it.
   */
  async #end(server: Server, listeners: readonly Listener[]): Promise<void> {
    const ended = new AbortController()
    const closing = listeners.map(
      each => new Promise(resolve => Listener.prototype.close.call(each, resolve)),
    )
    const closed = Promise.all(closing).finally(() => ended.abort())
    for (const queue of this.#queues.values()) queue.handOver()
    const after = (ms: number) => sleep(ms, undefined, { signal: ended.signal }).catch(() => {})
    const endWhere = (isOver: (socket: Socket, queue: RequestQueue) => boolean) => {
      for (const [socket, queue] of this.#queues) if (isOver(socket, queue)) socket.destroy()
    }
    await after(LAST_CALL_MS)
    // Node also takes a connection for idle on which an answer is being taken. While there is one, the idle ones stay for a moment.
    if ([...this.#queues.values()].every(({ isTaken }) => isTaken)) server.closeIdleConnections()
    endWhere(socket => socket.bytesRead === 0)
    await after(ARRIVING_MS - LAST_CALL_MS)
    endWhere((_socket, { current }) => current?.complete === false)
    for (const queue of this.#queues.values()) queue.endSoon()
    await after(ANSWERING_MS - ARRIVING_MS)
    endWhere(() => true)
    await closed
  }
}
