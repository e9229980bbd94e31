import { lookup } from 'node:dns/promises'
import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { type AddressInfo, createServer, Server, Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'

/** What is asked of connections. */
export interface ConnectionLimits {
  /** How many are open at most. One more replaces the one that has been idle for longest. */
  readonly maxConnections: number
  /** How long a client may take to accept an answer that has been made, in milliseconds. */
  readonly takingMs: number
}

/** How long kept connections are still listened to after the shutdown has begun. */
const LAST_CALL_MS = 100
/** How long a request may go on arriving then. */
const ARRIVING_MS = 1_000
/** How long an answer may take then: longer than the database's own limits, and shorter than the shutdown's. */
const ANSWERING_MS = 8_000

/**
 * How much of what has arrived is parsed at once. Node parses all that it has read, 64 KiB, into up to 2,500 requests.
 * A usual request is smaller than this; so few requests wait, and what is read next waits as bytes.
 */
const PIECE_BYTES = 1_024

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

/** A request whose answer is not complete. */
interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  /** Called with `true` when its turn comes, and with `false` when the connection ends before that. */
  begin?: (isOurTurn: boolean) => void
}

/**
 * The requests of one connection, in the order in which they came. They are answered one after the other. Where a client
 * sends several without waiting, Node begins with all of them and only keeps the answers in order: a read would not
 * show the write that it was sent behind. And Node stops reading only when *answers* pile up, so requests that wait
 * would pile up without bound; hence nothing is parsed while a request waits.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9112#section-9.3.2
 */
class Line {
  readonly #socket: Socket
  readonly #exchanges: Exchange[] = []
  #taking: NodeJS.Timeout | undefined
  #isOver = false

  constructor(socket: Socket) {
    this.#socket = socket
    this.#feedInPieces()
    socket.once('close', () => this.#end())
  }

  /** The request that is being answered. */
  get current(): IncomingMessage | undefined {
    return this.#exchanges[0]?.request
  }

  join(request: IncomingMessage, response: ServerResponse): void {
    const exchange: Exchange = { request, response }
    this.#exchanges.push(exchange)
    response.once('close', () => this.#leave(exchange))
  }

  /** Calls back when the turn of a request comes, at once if it has come; with `false` if its client has left before. */
  whenTurn(response: ServerResponse, begin: (isOurTurn: boolean) => void): void {
    const exchange = this.#exchanges.find(each => each.response === response)
    if (exchange === undefined) begin(false)
    else if (exchange === this.#exchanges[0]) begin(true)
    else exchange.begin = begin
  }

  /**
   * Calls back when an answer to something that cannot be parsed may be sent: behind the answers to what came before,
   * and instead of the answer to the request that it is a part of. Nothing that comes later is read.
   */
  whenLast(send: () => void): void {
    this.#isOver = true
    const whole = this.#exchanges.filter(({ request }) => request.complete)
    const last = whole.at(-1)
    if (last === undefined) send()
    else last.response.once('close', () => setImmediate(send))
  }

  /** Gives the client this long to accept the answer that has been made. */
  limitTaking(ms: number): void {
    clearTimeout(this.#taking)
    this.#taking = setTimeout(() => this.#socket.destroy(), ms)
  }

  #leave(exchange: Exchange): void {
    const at = this.#exchanges.indexOf(exchange)
    if (at === -1) return
    this.#exchanges.splice(at, 1)
    if (at === 0) {
      clearTimeout(this.#taking)
      this.#beginNext()
    }
    this.#goOn()
  }

  /** Not before the other connections have had a turn: many requests that wait could otherwise keep them waiting. */
  #beginNext(): void {
    const next = this.#exchanges[0]
    if (next === undefined) return
    // An answer that ends the connection is the last, whatever was asked behind it.
    if (this.#socket.writableEnded) return void this.#end()
    setImmediate(() => {
      if (next === this.#exchanges[0]) next.begin?.(true)
    })
  }

  #end(): void {
    this.#isOver = true
    clearTimeout(this.#taking)
    for (const { begin } of this.#exchanges.splice(0)) begin?.(false)
  }

  /** Replaces Node's own listener, and hands it small pieces of what has arrived, while no request waits. */
  #feedInPieces(): void {
    const socket = this.#socket
    const parsers = socket.listeners('data')
    for (const parse of parsers) socket.off('data', parse as () => void)
    socket.on('data', (chunk: Buffer) => {
      let rest = chunk
      // Behind an answer that ends the connection, nothing is read.
      while (rest.length > 0 && !this.#isOver && !socket.writableEnded && !socket.destroyed) {
        // Node pauses it, too, and must not be given anything then.
        if (this.#exchanges.length > 1 || socket.isPaused()) {
          socket.pause()
          socket.unshift(rest)
          return
        }
        for (const parse of parsers) parse.call(socket, rest.subarray(0, PIECE_BYTES))
        rest = rest.subarray(PIECE_BYTES)
      }
    })
    socket.on('drain', () => this.#goOn())
  }

  #goOn(): void {
    const socket = this.#socket
    const isReady = () => socket.isPaused() && this.#exchanges.length < 2 && !socket.writableNeedDrain
    if (!isReady()) return
    setImmediate(() => {
      if (isReady()) socket.resume()
    })
  }
}

/** The connections of an application: a bound on their number, the turns of their requests, and their end. */
export class Connections {
  readonly #app: FastifyInstance
  readonly #limits: ConnectionLimits
  /** The one that was used last comes last. */
  readonly #lines = new Map<Socket, Line>()

  constructor(app: FastifyInstance, limits: ConnectionLimits) {
    this.#app = app
    this.#limits = limits
    // A client that has said all may close its side; it is still owed its answers.
    Object.assign(app.server, { httpAllowHalfOpen: true })
    app.server.on('connection', socket => this.#take(socket))
    // Before Fastify begins with it.
    app.server.prependListener('request', (request, response) => this.#join(request, response))
    this.#takeTurns()
    this.#endWithApp()
  }

  /** Has an answer that Fastify does not make wait for its turn. */
  inTurn(request: IncomingMessage, response: ServerResponse, answer: () => void): void {
    this.#join(request, response)
    this.#lines.get(request.socket)?.whenTurn(response, isOurTurn => {
      if (isOurTurn) answer()
    })
  }

  /** Has the last answer of a connection wait for those before it. */
  lastOf(socket: Socket, answer: () => void): void {
    const line = this.#lines.get(socket)
    if (line === undefined) return void socket.destroy()
    line.whenLast(() => {
      if (!socket.writable) return void socket.destroy()
      line.limitTaking(this.#limits.takingMs)
      answer()
    })
  }

  #take(socket: Socket): void {
    if (this.#lines.size >= this.#limits.maxConnections) {
      const idle = [...this.#lines].find(([, { current }]) => current === undefined)
      if (idle === undefined) return void socket.destroy()
      this.#lines.delete(idle[0])
      idle[0].destroy()
    }
    this.#lines.set(socket, new Line(socket))
    socket.once('close', () => this.#lines.delete(socket))
  }

  #join(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request
    const line = this.#lines.get(socket)
    if (line === undefined) return
    this.#lines.delete(socket)
    this.#lines.set(socket, line)
    line.join(request, response)
  }

  #takeTurns(): void {
    const { takingMs } = this.#limits
    this.#app.addHook('onRequest', ({ raw: { socket } }, reply, done) => {
      // Without a port, as tests have it, there are no connections.
      if (!(socket instanceof Socket)) return done()
      // A request whose client has left is not begun.
      this.#lines.get(socket)?.whenTurn(reply.raw, isOurTurn => {
        if (isOurTurn) done()
      })
    })
    this.#app.addHook('onSend', ({ raw: { socket } }, _reply, _payload, done) => {
      this.#lines.get(socket)?.limitTaking(takingMs)
      done()
    })
  }

  /**
   * Ends the connections when the application is closed. Requests that have arrived are answered; nobody else can keep
   * the process alive. Node closes connections that are idle after a request, and lets all others be:
   *
   * - those that only seem to be idle, because nobody has read yet what was sent on them, are read first: of a busy
   *   process that is most of them, and the requests would be lost;
   * - those on which nothing was ever sent, as browsers open them in advance, are ended at once;
   * - those on which a request is still arriving, after a moment;
   * - those on which an answer is not taken, or not made, in the end.
   */
  #endWithApp(): void {
    const { server } = this.#app
    const end = (isOver: (socket: Socket, current: IncomingMessage | undefined) => boolean) => {
      for (const [socket, { current }] of this.#lines) if (isOver(socket, current)) socket.destroy()
    }
    const timers: NodeJS.Timeout[] = []
    let closed: Promise<unknown> = Promise.resolve()
    this.#app.addHook('preClose', done => {
      if (!server.listening) return done()
      // Only the port is closed. The HTTP server's own `close` would also end the connections that seem to be idle; it
      // is called when this is done.
      closed = new Promise(resolve => Server.prototype.close.call(server, resolve))
      timers.push(
        setTimeout(() => {
          end(socket => socket.bytesRead === 0)
          done()
        }, LAST_CALL_MS),
        setTimeout(() => end((_socket, current) => current?.complete !== true), ARRIVING_MS),
        setTimeout(() => end(() => true), ANSWERING_MS),
      )
    })
    this.#app.addHook('onClose', async () => {
      await closed
      for (const timer of timers) clearTimeout(timer)
    })
  }
}
