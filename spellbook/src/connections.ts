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

/** How often connections are looked at on which an answer is not taken, or a request does not arrive. */
const LOOK_MS = 1_000
/** How long kept connections are still listened to after the shutdown has begun. */
const LAST_CALL_MS = 100
/** How long a request may go on arriving then. */
const ARRIVING_MS = 1_000
/** How long an answer may take then: longer than the database's own limits, and shorter than the shutdown's. */
const ANSWERING_MS = 8_000

/**
 * How many of the arrived bytes are parsed at once. Node parses all that it has read, 64 KiB, into up to 2,500 requests. A
 * usual request is smaller than this. So few parsed requests wait, and the rest waits as bytes.
 */
const PIECE_BYTES = 1_024

/** The addresses to listen at. `localhost` has two on most machines, and some clients only try one of them. */
export async function addressesOf(host: string): Promise<[string, ...string[]]> {
  if (host !== 'localhost') return [host]
  const found = await lookup(host, { all: true })
  const [first = host, ...others] = new Set(found.map(({ address }) => address))
  return [first, ...others]
}

/** A request whose answer is not complete. */
interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
}

/** Whether the rest of a request's body is waited for. A body that nobody reads does not hold anything up. */
const isAwaited = ({ request, response }: Exchange): boolean =>
  !request.complete && request.readableFlowing !== null && !response.headersSent

/** Begins with a request. */
type Answer = (request: IncomingMessage, response: ServerResponse) => void

/**
 * The requests of one connection, in the order in which they came. They are answered one after the other. If a client sends
 * several without waiting, Node begins with all of them and only keeps the answers in order: a read would not show a write
 * that was sent before it. And Node stops reading only when *answers* pile up, so requests that wait would pile up without
 * bound. Here nothing is parsed while a request waits, and the socket's own bound stops the reading.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9112#section-9.3.2
 */
class Line {
  readonly #socket: Socket
  readonly #answer: Answer
  /** Node's own listeners, which are called with small pieces instead. */
  readonly #parsers: readonly ((piece: Buffer) => void)[]
  #exchanges: Exchange[] = []
  /** When something was last read; before that, when the connection was opened. */
  #readMs = performance.now()
  /** When an answer was made that is not taken yet. */
  #madeMs: number | undefined
  /** The exchange that was parsed last. Its request may still be arriving, also when its answer has been sent. */
  #newest: Exchange | undefined
  #isLast = false
  /** A request behind which nothing is parsed. */
  #lastRequest: IncomingMessage | undefined
  /** Whether more may arrive than can be parsed at once. From then on it is read in pieces. */
  #inPieces = false

  constructor(socket: Socket, answer: Answer) {
    this.#socket = socket
    this.#answer = answer
    this.#parsers = socket.listeners('data') as ((piece: Buffer) => void)[]
    socket.removeAllListeners('data')
    socket.on('data', this.#take)
    socket.once('close', () => {
      this.#exchanges = []
    })
  }

  /** What has arrived. A client that waits for its answers sends one small request at a time, which is parsed as it is. */
  readonly #take = (piece: Buffer): void => {
    const isOne = piece.length <= PIECE_BYTES && !this.#isOver && this.#hasRoom()
    if (isOne) this.#parse(piece)
    if (!isOne || this.#exchanges.length > 1) this.#readInPieces(isOne ? undefined : piece)
  }

  /** From now on nothing is taken from the socket before there is room for it. */
  #readInPieces(first?: Buffer): void {
    const socket = this.#socket
    this.#inPieces = true
    socket.off('data', this.#take)
    if (first !== undefined) socket.unshift(first)
    // Node resumes when there is room for more of a body.
    for (const event of ['readable', 'drain', 'resume']) socket.on(event, () => this.#read())
    this.#read()
  }

  #parse(piece: Buffer): void {
    this.#readMs = performance.now()
    for (const parser of this.#parsers) parser.call(this.#socket, piece)
  }

  /** The request that is being answered. */
  get current(): IncomingMessage | undefined {
    return this.#exchanges[0]?.request
  }

  /**
   * Since when the client has been waited for: it is idle, or a request of it is arriving, or it has not taken an answer for a
   * while. `undefined`: a request is being worked on.
   */
  get waitingSinceMs(): number | undefined {
    const [first] = this.#exchanges
    if (first === undefined || isAwaited(first)) return this.#readMs
    const madeMs = this.#madeMs ?? Number.POSITIVE_INFINITY
    return performance.now() - madeMs >= LOOK_MS ? madeMs : undefined
  }

  /** Begins with a request when everything before it has been answered; never if the connection has ended by then. */
  join(exchange: Exchange): void {
    if (this.#lastRequest !== undefined) return
    this.#newest = exchange
    if (exchange.request.headers.upgrade !== undefined) this.#endBehind(exchange)
    this.#exchanges.push(exchange)
    exchange.response.once('close', this.#leave)
    if (exchange === this.#exchanges[0]) this.#begin(exchange)
  }

  /**
   * Makes this the last exchange. At a request that asks for another protocol Node's parser stops, and the server drops
   * what it has read behind it. That may be a whole request, or the head of one whose body would then be parsed as a
   * request. A server may ignore the wish; the answer says that the connection ends.
   *
   * Of such a request the parser also keeps to itself that its body cannot be parsed: that looks like a body that does not
   * arrive, and gets the same answer as late. How many bytes the parser took would tell, but only an internal call of Node
   * says so; and a check of our own would have to find by itself where the head ends.
   *
   * @see https://www.rfc-editor.org/rfc/rfc9110#section-7.8
   */
  #endBehind({ request, response }: Exchange): void {
    this.#lastRequest = request
    response.shouldKeepAlive = false
  }

  #begin({ request, response }: Exchange): void {
    this.#answer(request, response)
  }

  /**
   * Calls back when an answer to something that cannot be parsed may be sent: behind the answers to what came before,
   * and instead of the answer to the request that it is a part of. If that has been sent, at least in part, there is no
   * other one, and the connection ends behind it. Nothing that comes later is read.
   */
  whenLast(send: () => void): void {
    this.#isLast = true
    const newest = this.#newest
    if (newest?.request.complete === false && newest.response.headersSent) {
      const end = () => this.#socket.destroySoon()
      if (newest.response.closed) end()
      else newest.response.once('close', end)
      return
    }
    this.#exchanges = this.#exchanges.filter(({ request }) => request.complete)
    const before = this.#exchanges.at(-1)
    if (before === undefined) send()
    else before.response.once('close', () => setImmediate(send))
  }

  /** Begins to wait for the client to accept an answer. */
  made(): void {
    this.#madeMs = performance.now()
  }

  /** Ends the connection if the client has not accepted an answer that was made before. */
  endUnlessTaken(beforeMs: number): void {
    if (this.#madeMs !== undefined && this.#madeMs <= beforeMs) this.#socket.destroy()
  }

  /** When the first has been answered: begins with the next one, but not before the other connections have had a turn. */
  readonly #leave = (): void => {
    if (this.#exchanges[0]?.response.closed !== true) return
    this.#exchanges.shift()
    this.#madeMs = undefined
    // An answer that ends the connection is the last, even if more requests came behind it.
    if (this.#socket.writableEnded) this.#exchanges = []
    // Otherwise nothing waits, and what comes is heard of.
    if (!this.#inPieces) return
    const [next] = this.#exchanges
    setImmediate(() => {
      if (next !== undefined && next === this.#exchanges[0]) this.#begin(next)
      this.#read()
    })
  }

  /** Parses what has arrived, until a request waits. What comes behind the last answer is dropped. */
  #read(): void {
    const socket = this.#socket
    while (this.#isOver || this.#hasRoom()) {
      const piece: Buffer | null = socket.read(Math.min(PIECE_BYTES, socket.readableLength))
      if (piece === null) return
      if (!this.#isOver) this.#parse(piece)
    }
  }

  get #isOver(): boolean {
    const { writableEnded, destroyed } = this.#socket
    return this.#isLast || this.#lastRequest?.complete === true || writableEnded || destroyed
  }

  /** Whether more may be parsed: no request waits, its body is read, and the answers are taken. */
  #hasRoom(): boolean {
    const { length, 0: first } = this.#exchanges
    if (length > 1 || this.#socket.writableNeedDrain) return false
    return first === undefined || first.request.readableLength < first.request.readableHighWaterMark
  }
}

/** The connections of a server: a bound on their number, the turns of their requests, and their end. */
export class Connections {
  readonly #limits: ConnectionLimits
  readonly #lines = new Map<Socket, Line>()

  constructor(limits: ConnectionLimits) {
    this.#limits = limits
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
    const line = this.#lines.get(socket)
    if (line === undefined) return void socket.destroy()
    line.whenLast(() => {
      if (!socket.writable) return void socket.destroySoon()
      line.made()
      answer()
    })
  }

  /** An answer was made for this connection, and the client is to take it. */
  made(socket: Socket): void {
    this.#lines.get(socket)?.made()
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
        for (const line of this.#lines.values()) line.endUnlessTaken(beforeMs)
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
    this.#lines.get(socket)?.join(exchange)
  }

  #take(socket: Socket, answer: Answer): void {
    if (this.#lines.size >= this.#limits.maxConnections) {
      const longest = this.#longestWaiting()
      if (longest === undefined) return void socket.destroy()
      this.#lines.delete(longest)
      longest.destroy()
    }
    this.#lines.set(socket, new Line(socket, answer))
    socket.once('close', () => this.#lines.delete(socket))
  }

  #longestWaiting(): Socket | undefined {
    let longest: Socket | undefined
    let least = Number.POSITIVE_INFINITY
    for (const [socket, { waitingSinceMs }] of this.#lines) {
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
   * - those on which an answer is not taken, or not made, in the end.
   */
  async #end(server: Server, listeners: readonly Listener[]): Promise<void> {
    const ended = new AbortController()
    const closing = listeners.map(
      each => new Promise(resolve => Listener.prototype.close.call(each, resolve)),
    )
    const closed = Promise.all(closing).finally(() => ended.abort())
    const after = (ms: number) => sleep(ms, undefined, { signal: ended.signal }).catch(() => {})
    const endWhere = (isOver: (socket: Socket, current: IncomingMessage | undefined) => boolean) => {
      for (const [socket, { current }] of this.#lines) if (isOver(socket, current)) socket.destroy()
    }
    await after(LAST_CALL_MS)
    server.closeIdleConnections()
    endWhere(socket => socket.bytesRead === 0)
    await after(ARRIVING_MS - LAST_CALL_MS)
    endWhere((_socket, current) => current?.complete !== true)
    await after(ANSWERING_MS - ARRIVING_MS)
    endWhere(() => true)
    await closed
  }
}
