import type { Clock, Timer } from '../base/clock.ts'

/** A fill that waits to be sent. */
export interface WaitingFill {
  readonly key: string
  /** What the script takes for it. */
  readonly args: readonly string[]
  resolve(answer: Promise<boolean>): void
}

/** How long a fill waits for others. Those who wait for its lease look again after some 5 ms. */
const WAITS_MS = 1
const MOST_TOGETHER = 8
/** A server does nothing else while it runs a script: many long values are not put into one. */
const MOST_CHARACTERS = 65_536

/**
 * The fills of a short while, which leave as one script. Their callers have been answered, so nobody waits for them. A fill
 * that leaves at once is in one packet with the next read's command: Redis answers when it has done both, so that the next
 * reader waits for the fill of the one before. And a script for each costs client and server as much as a lease does.
 *
 * A later command about the same key must not overtake the fill: a strong reader would find its own process's lease. So
 * {@link FillBatch.before} is to be called first.
 */
export class FillBatch {
  readonly #clock: Clock
  readonly #send: (fills: readonly WaitingFill[]) => void
  readonly #waiting = new Map<string, WaitingFill>()
  #characters = 0
  #timer: Timer | undefined

  /** @param send - Sends fills of different keys, and resolves each. Must not throw. */
  constructor(clock: Clock, send: (fills: readonly WaitingFill[]) => void) {
    this.#clock = clock
    this.#send = send
  }

  add(fill: WaitingFill): void {
    this.before(fill.key)
    this.#waiting.set(fill.key, fill)
    for (const arg of fill.args) this.#characters += arg.length
    if (this.#waiting.size >= MOST_TOGETHER || this.#characters >= MOST_CHARACTERS) this.#sendAll()
    else this.#timer ??= this.#clock.after(WAITS_MS, this.#sendAll)
  }

  /** A command about this key is to be sent: its fill goes first. */
  before(key: string): void {
    if (this.#waiting.size > 0 && this.#waiting.has(key)) this.#sendAll()
  }

  readonly #sendAll = (): void => {
    this.#timer?.cancel()
    this.#timer = undefined
    const fills = [...this.#waiting.values()]
    this.#waiting.clear()
    this.#characters = 0
    this.#send(fills)
  }
}
