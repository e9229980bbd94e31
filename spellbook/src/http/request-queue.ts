import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Begun, FastPath } from './fast-path.ts'

/** How often connections are looked at on which an answer is not taken, or a request does not arrive. */
export const LOOK_MS = 1_000

/**
 * How many of the arrived bytes are parsed at once. Node parses all that it has read, 64 KiB, into up to 2,500 requests. A
 * usual request is smaller than this. So few parsed requests wait, and the rest waits as bytes.
 */
const PIECE_BYTES = 1_024

/** A request whose answer is not complete. */
export interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
}

/** Whether the rest of a request's body is waited for. A body that nobody reads does not hold anything up. */
const isAwaited = ({ request, response }: Exchange): boolean =>
  !request.complete && request.readableFlowing !== null && !response.headersSent

/** Begins with a request. */
export type Answer = (request: IncomingMessage, response: ServerResponse) => void

const END_OF_HEAD = '\r\n\r\n'

/** A piece as text, if it is this request and nothing else. */
function wholeText(piece: Buffer, { complete, headers }: IncomingMessage): string | undefined {
  if (!complete || headers['transfer-encoding'] !== undefined) return undefined
  const text = piece.toString('latin1')
  const headEnds = text.indexOf(END_OF_HEAD)
  if (headEnds < 0) return undefined
  const length = headEnds + END_OF_HEAD.length + Number(headers['content-length'] ?? 0)
  return length === text.length ? text : undefined
}

/**
 * The requests of one connection, in the order in which they came. They are answered one after the other. If a client sends
 * several without waiting, Node begins with all of them and only keeps the answers in order: a read would not show a write
 * that was sent before it. And Node stops reading only when *answers* pile up, so requests that wait would pile up without
 * bound. Here nothing is parsed while a request waits, and the socket's own bound stops the reading.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9112#section-9.3.2
 */
export class RequestQueue {
  readonly #socket: Socket
  readonly #answer: Answer
  /** Node's own listeners, which are called with small pieces instead. */
  readonly #parsers: readonly ((piece: Buffer) => void)[]
  /** Node's own listeners for the end of what the client sends. */
  readonly #enders: readonly (() => void)[]
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
  readonly #fastPath: FastPath
  /** How many requests the parser has made. */
  #parsed = 0
  /** Whether the parser has had whole messages only, each in a piece of its own: nothing of a message can be left in it. */
  #hadWholeOnly = true
  /** The request that was parsed last, as it came; `undefined` if it was not a whole message. */
  #text: string | undefined
  /** The rest of a request that Fastify has let through. See {@link FastPath}. */
  #rest: string | undefined
  /** When the last answer without the parser was made. */
  #madeFastMs: number | undefined
  /** Whether the connection ends when nothing is left to be answered. */
  #isEnding = false
  /** The request that is answered without the parser, and its read. */
  #begun: (Begun & { readonly piece: Buffer }) | undefined

  constructor(socket: Socket, answer: Answer, fastPath: FastPath) {
    this.#socket = socket
    this.#answer = answer
    this.#fastPath = fastPath
    this.#parsers = socket.listeners('data') as ((piece: Buffer) => void)[]
    this.#enders = socket.listeners('end') as (() => void)[]
    socket.removeAllListeners('data')
    socket.on('data', this.#take)
    // Before Node's own listener, which would end a connection that has no request.
    socket.prependListener('end', () => this.handOver())
    socket.once('close', () => {
      this.#exchanges = []
      this.#begun = undefined
    })
  }

  /** What has arrived. A client that waits for its answers sends one small request at a time, which is parsed as it is. */
  readonly #take = (piece: Buffer): void => {
    if (this.#begun !== undefined) this.handOver()
    else if (this.#rest !== undefined && this.#beginFast(piece)) return
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
    const parsedBefore = this.#parsed
    for (const parser of this.#parsers) parser.call(this.#socket, piece)
    if (!this.#hadWholeOnly) return
    const request = this.#parsed === parsedBefore + 1 ? this.#newest?.request : undefined
    this.#text = request === undefined ? undefined : wholeText(piece, request)
    this.#hadWholeOnly = this.#text !== undefined
  }

  /** Fastify has let a request through, and nothing in it but its path decided about the answer. */
  letThrough(request: IncomingMessage): void {
    const newest = this.#newest
    if (this.#text === undefined || newest?.request !== request || !newest.response.shouldKeepAlive) return
    this.#rest = this.#fastPath.restOf(request, this.#text)
  }

  /** Begins to answer a request without the parser, if that can be done. */
  #beginFast(piece: Buffer): boolean {
    const socket = this.#socket
    const isFree = this.#exchanges.length === 0 && this.isTaken && !this.#isOver
    if (!isFree || !this.#hadWholeOnly || piece.length > PIECE_BYTES) return false
    const begun = this.#fastPath.begin(piece.toString('latin1'), this.#rest!, socket)
    if (begun === undefined) return false
    this.#readMs = performance.now()
    const mine = { ...begun, piece }
    this.#begun = mine
    begun.read.then(
      answer => {
        if (this.#begun === mine) this.#endFast(mine, answer)
      },
      () => {
        if (this.#begun === mine) this.handOver()
      },
    )
    return true
  }

  #endFast(begun: Begun, answer: Awaited<Begun['read']>): void {
    let text: string | undefined
    try {
      text = this.#fastPath.answerOf(begun, answer)
    } catch {
      // Fastify meets the same error, and answers with a problem.
    }
    if (text === undefined) this.handOver()
    else {
      this.#begun = undefined
      this.made()
      this.#madeFastMs = this.#madeMs
      this.#socket.write(text, this.#taken)
    }
  }

  /** An answer without the parser was taken. A later one may wait for that already. */
  readonly #taken = (): void => {
    if (this.#madeMs === this.#madeFastMs) this.#madeMs = undefined
  }

  /** Lets the parser have the request that was to be answered without it. Its read goes on. */
  handOver(): void {
    const begun = this.#begun
    if (begun === undefined) return
    if (!this.#isOver) this.#parse(begun.piece)
    this.#begun = undefined
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
    if (this.#begun !== undefined) return undefined
    const [first] = this.#exchanges
    if (first === undefined ? this.isTaken : isAwaited(first)) return this.#readMs
    const madeMs = this.#madeMs ?? Number.POSITIVE_INFINITY
    return performance.now() - madeMs >= LOOK_MS ? madeMs : undefined
  }

  /** Whether the client has taken all that it was sent. */
  get isTaken(): boolean {
    return this.#socket.writableLength === 0
  }

  /** Begins with a request when everything before it has been answered; never if the connection has ended by then. */
  join(exchange: Exchange): void {
    if (this.#lastRequest !== undefined) return
    this.#newest = exchange
    this.#parsed++
    if (this.#begun !== undefined) this.#fastPath.handOver(exchange.request, this.#begun)
    if (this.#exchanges.length === 0 && this.isTaken) this.#madeMs = undefined
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
    // If the client closes its side, Node would end the connection behind the answers to what came before.
    for (const ender of this.#enders) this.#socket.off('end', ender)
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

  /** Ends the connection behind the answers to what has arrived, when they are taken. */
  endSoon(): void {
    this.#isEnding = true
    if (this.#exchanges.length === 0) this.#socket.destroySoon()
  }

  /** Begins to wait for the client to accept an answer. */
  made(): void {
    this.#madeMs = performance.now()
    this.#madeFastMs = undefined
  }

  /**
   * Ends the connection if the client has not accepted an answer that was made before. Lets the parser have a request that was
   * read before: Node would take the connection for idle, and end it.
   */
  look(beforeMs: number): void {
    if (this.#madeMs !== undefined && this.#madeMs <= beforeMs) this.#socket.destroy()
    else if (this.#readMs <= beforeMs) this.handOver()
  }

  /** When the first has been answered: begins with the next one, but not before the other connections have had a turn. */
  readonly #leave = (): void => {
    if (this.#exchanges[0]?.response.closed !== true) return
    this.#exchanges.shift()
    this.#madeMs = undefined
    // An answer that ends the connection is the last, even if more requests came behind it.
    if (this.#socket.writableEnded) this.#exchanges = []
    if (this.#isEnding) this.endSoon()
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
