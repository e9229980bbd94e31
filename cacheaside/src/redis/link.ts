import { certificateAdvice } from '../base/certificate-advice.ts'
import type { Clock, Timer } from '../base/clock.ts'
import { CacheError } from '../base/errors.ts'
import { fieldOf, messageOf } from '../base/thrown.ts'
import type { RedisConnection } from './driver.ts'

/** What a {@link Link} is made of. */
export interface LinkOptions<Facts> {
  readonly clock: Clock
  /** What it leads to, for error messages. */
  readonly target: string
  /** As `Driver.open`. */
  readonly open: (onLost: (error: Error) => void, signal: AbortSignal) => Promise<RedisConnection>
  /** Runs on each new connection before the link is live. It may refuse the server by rejecting. */
  readonly welcome: (connection: RedisConnection) => Promise<Facts>
  /** Called when it has become live. */
  readonly onLive?: (facts: Facts) => void
  /** Called when a live connection was lost. */
  readonly onLost?: (error: Error) => void
}

/**
 * The time limit of connecting and welcome together: a stopped server still accepts connections, and then does not answer.
 */
const CONNECT_MS = 5_000
const AFTER_LOSS_MS = 10
const RETRY_FIRST_MS = 50
const RETRY_MOST_MS = 1_000

/**
 * A lasting way to one server: it connects, welcomes the server, and connects again whenever the connection is lost. A
 * command goes through the connection that is live at that moment, or rejects at once. Nothing is kept for later, and nothing
 * is sent twice. Only the very first attempt is waited for, so that a program that has just started does not find its cache
 * unavailable.
 */
export class Link<Facts> {
  readonly #options: LinkOptions<Facts>
  #live: { readonly connection: RedisConnection; readonly facts: Facts } | undefined
  #problem: Error
  /** The first attempt, while it lasts. */
  #starting: Promise<void> | undefined
  /** Grows with every attempt and reset: callbacks of an older attempt are ignored. */
  #turn = 0
  #abort: AbortController | undefined
  #timer: Timer | undefined
  #failures = 0
  #closed = false

  constructor(options: LinkOptions<Facts>) {
    this.#options = options
    this.#problem = this.#notConnected(new Error('not tried yet'))
    this.#starting = this.#connect().finally(() => {
      this.#starting = undefined
    })
  }

  /** The result of the welcome, while the link is live; otherwise `undefined`. */
  get facts(): Facts | undefined {
    return this.#live?.facts
  }

  /** Why it is not live. */
  get problem(): Error | undefined {
    return this.#live === undefined ? this.#problem : undefined
  }

  /** Resolves when the first attempt has ended, with or without success. */
  get started(): Promise<void> {
    return this.#starting ?? Promise.resolve()
  }

  /** Sends one command through the live connection. */
  send(args: readonly string[]): Promise<unknown> {
    if (this.#live !== undefined) return this.#live.connection.send(args)
    if (this.#starting !== undefined) return this.#starting.then(() => this.send(args))
    return Promise.reject(this.#problem)
  }

  /** Gives up the live connection, because it is silent or leads to the wrong place, and opens another at once. */
  reset(reason: string): void {
    const { connection } = this.#live ?? {}
    if (connection === undefined) return
    this.#lose(new Error(reason), 0)
    connection.close()
  }

  /**
   * Ends it.
   *
   * @param reason - Why, for those who still send.
   */
  close(reason = `the link to ${this.#options.target} was closed`): void {
    this.#closed = true
    this.#turn++
    this.#timer?.cancel()
    this.#problem = new CacheError('CLOSED', reason)
    this.#abort?.abort(this.#problem)
    this.#live?.connection.close()
    this.#live = undefined
  }

  async #connect(): Promise<void> {
    const turn = ++this.#turn
    const { clock, open, welcome, onLive } = this.#options
    const abort = new AbortController()
    this.#abort = abort
    const limit = clock.after(CONNECT_MS, () => abort.abort(new Error(`no answer within ${CONNECT_MS} ms`)))
    let connection: RedisConnection | undefined
    try {
      const opening = open(error => {
        if (turn === this.#turn && this.#live !== undefined) this.#lose(error, AFTER_LOSS_MS)
      }, abort.signal)
      // A client may go on after it was told to give up, or may wait for ever.
      abort.signal.addEventListener('abort', () =>
        opening.then(
          late => late.close(),
          () => {},
        ),
      )
      connection = await unlessAborted(opening, abort.signal)
      const facts = await unlessAborted(welcome(connection), abort.signal)
      if (turn !== this.#turn) return connection.close()
      this.#live = { connection, facts }
      this.#failures = 0
      onLive?.(facts)
    } catch (error) {
      const cause = connection?.problem ?? (error as Error)
      connection?.close()
      if (turn !== this.#turn) return
      this.#problem = this.#notConnected(cause)
      this.#connectAfter(Math.min(RETRY_MOST_MS, RETRY_FIRST_MS * 2 ** this.#failures++))
    } finally {
      limit.cancel()
    }
  }

  #lose(error: Error, delayMs: number): void {
    this.#live = undefined
    this.#turn++
    this.#problem = this.#notConnected(error)
    this.#connectAfter(delayMs)
    this.#options.onLost?.(error)
  }

  #connectAfter(delayMs: number): void {
    if (this.#closed) return
    const { clock } = this.#options
    this.#timer = clock.after(delayMs * (0.5 + clock.random() / 2), () => void this.#connect())
  }

  /** A refusal by the welcome keeps its own words and code. Any other error becomes "not connected". */
  #notConnected(cause: Error): Error {
    if (fieldOf(cause, 'code') === 'INVALID_OPTIONS') return cause
    return new Error(
      `no connection to ${this.#options.target}: ${wordsOf(cause)}${certificateAdvice(cause)}`,
      {
        cause,
      },
    )
  }
}

/** Errors of OpenSSL begin with numbers, and end with places in its sources. */
function wordsOf(cause: Error): string {
  const reason = fieldOf(cause, 'library') === 'SSL routines' ? fieldOf(cause, 'reason') : undefined
  return typeof reason === 'string' ? `TLS: ${reason}` : messageOf(cause)
}

function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const giveUp = () => reject(signal.reason)
    signal.addEventListener('abort', giveUp, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', giveUp))
    if (signal.aborted) giveUp()
  })
}
