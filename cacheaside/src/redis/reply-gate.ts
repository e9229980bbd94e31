import { type Reply, readReply } from './read-reply.ts'
import { ReplyScanner } from './reply-scanner.ts'

/** What a {@link ReplyGate} is made of. */
export interface ReplyGateOptions {
  /** Whether the client may have agreed on that version of the protocol. */
  readonly isResp3: boolean
  /** How many commands wait for replies now. */
  readonly waiting: () => number
  /** Answers the command that waits first, unless it is one of the client's own. Returns whether it did. */
  readonly answer: (reply: Reply) => boolean
  /** Gives bytes to the client, which reads them at once. */
  readonly handOn: (bytes: Buffer) => void
  /** Ends the connection. Called once. */
  readonly end: (error: Error) => void
}

/**
 * Stands between a connection and a client's parser, and hands on only what the client can take. Otherwise ioredis and
 * iovalkey throw where nobody can catch it, and so end the process: at an empty reply that no command waits for, at a reply
 * to SUBSCRIBE of another form, at a list too deep for their parser.
 *
 * - A reply that no command waits for ends the connection. So does one of a wrong form. Nothing behind it is handed on.
 * - A reply that has come whole is read here, and its command answered. The client would take three times as long.
 * - A push answers no command. Only a connection that listens needs some; all others are left out.
 * - A connection that listens is handed on nothing but refusals of SUBSCRIBE, its confirmations and messages.
 */
export class ReplyGate {
  readonly #options: ReplyGateOptions
  readonly #scanner: ReplyScanner
  /** On a connection that listens: the bytes of the next reply so far. It is handed on as a whole. */
  #held: Buffer[] | undefined
  /** A channel has been confirmed. Before, the client takes a message for a confirmation. */
  #isConfirmed = false
  /** The reply that has begun is a push: it is left out. */
  #isPush = false
  #isEnded = false

  constructor(options: ReplyGateOptions) {
    this.#options = options
    this.#scanner = new ReplyScanner(options.isResp3)
  }

  /** From now on it listens: SUBSCRIBE is being sent. */
  listen(): void {
    this.#held = []
  }

  /** Takes what the connection has brought. */
  read(chunk: Buffer): void {
    if (this.#isEnded) return
    try {
      if (this.#held === undefined) this.#readReplies(chunk)
      else this.#readMessages(chunk, this.#held)
    } catch (error) {
      this.#end(error as Error)
    }
  }

  /** Hands on as much as possible at once. Replies to large batches come in many chunks. */
  #readReplies(chunk: Buffer): void {
    const scanner = this.#scanner
    const { answer, handOn } = this.#options
    let waiting = this.#options.waiting() - (scanner.isBetween || this.#isPush ? 0 : 1)
    let from = 0
    for (let at = 0; at >= 0 && at < chunk.length; ) {
      const start = at
      const begins = scanner.isBetween
      if (begins) {
        this.#isPush = chunk[at] === PUSH
        if (!this.#isPush && --waiting < 0) {
          if (at > from) handOn(chunk.subarray(from, at))
          this.#end(new Error(STRAY))
          return
        }
      }
      at = scanner.next(chunk, at)
      const reply = begins && at >= 0 && !this.#isPush ? readReply(chunk, start) : undefined
      if (reply === undefined && !this.#isPush) continue
      if (start > from) handOn(chunk.subarray(from, start))
      const end = at < 0 ? chunk.length : at
      from = reply === undefined || answer(reply) ? end : start
    }
    if (from < chunk.length) handOn(from === 0 ? chunk : chunk.subarray(from))
  }

  #readMessages(chunk: Buffer, held: Buffer[]): void {
    for (let from = 0; from < chunk.length && !this.#isEnded; ) {
      const end = this.#scanner.next(chunk, from)
      held.push(chunk.subarray(from, end < 0 ? chunk.length : end))
      if (end < 0) return
      from = end
      const reply = held.length === 1 ? held[0]! : Buffer.concat(held)
      held.length = 0
      if (this.#mayListen(reply)) this.#options.handOn(reply)
    }
  }

  /** Whether a connection that listens needs this reply. Ends it if it should not have come. */
  #mayListen(reply: Buffer): boolean {
    const { shape } = this.#scanner
    const kind = /^.3\r\n\$\d+\r\n(message|subscribe)\r\n/.exec(reply.toString('latin1', 0, 32))?.[1]
    if (kind === 'message' && /^[*>]3\$\$\$$/.test(shape) && this.#isConfirmed) return true
    const isWaiting = this.#options.waiting() > 0
    if (kind === 'subscribe' && /^[*>]3\$\$:$/.test(shape) && isWaiting) {
      this.#isConfirmed = true
      return true
    }
    if (shape === '-' && isWaiting) return true
    if (shape[0] !== '>') this.#end(new Error(STRAY))
    return false
  }

  #end(error: Error): void {
    if (this.#isEnded) return
    this.#isEnded = true
    this.#options.end(error)
  }
}

const PUSH = '>'.charCodeAt(0)
const STRAY = 'a reply came that no command waits for'
