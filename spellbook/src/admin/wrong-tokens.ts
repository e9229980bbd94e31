import { clientAt } from '../http/client-address.ts'

/** So many wrong tokens of one client are judged in a window of this length; further requests are not. */
const MOST_WRONG = 10
const WINDOW_MS = 60_000
/** Clients beyond this are forgotten, the oldest first. */
const MOST_CLIENTS = 1_000

/** Wrong tokens by client ({@link clientAt}), in bounded memory. */
export class WrongTokens {
  readonly #nowMs: () => number
  readonly #byClient = new Map<string, { count: number; readonly untilMs: number }>()

  /** @param nowMs - A clock that never goes back. */
  constructor(nowMs: () => number) {
    this.#nowMs = nowMs
  }

  /** For how many seconds a client is not judged any more; `undefined`: it is judged. */
  blockedForS(address: string): number | undefined {
    const client = clientAt(address)
    const found = this.#byClient.get(client)
    if (found === undefined) return undefined
    const leftMs = found.untilMs - this.#nowMs()
    if (leftMs <= 0) this.#byClient.delete(client)
    return leftMs > 0 && found.count >= MOST_WRONG ? Math.ceil(leftMs / 1000) : undefined
  }

  /** Counts a wrong token. */
  add(address: string): void {
    const client = clientAt(address)
    const found = this.#byClient.get(client)
    if (found !== undefined) {
      found.count++
      return
    }
    if (this.#byClient.size >= MOST_CLIENTS) this.#byClient.delete(this.#byClient.keys().next().value!)
    this.#byClient.set(client, { count: 1, untilMs: this.#nowMs() + WINDOW_MS })
  }
}
