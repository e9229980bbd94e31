import { setTimeout as sleep } from 'node:timers/promises'

const STEP_MS = 20

/**
 * Asks a server for next to nothing, over and over, and adds up by how much that takes longer than it should. On a
 * machine that many share a server's process may stand still for half a second while ours run.
 */
export class Stalls {
  #lostMs = 0
  #beganMs = performance.now()
  #isEnding = false
  readonly #ended: Promise<void>

  constructor(ask: () => Promise<unknown>) {
    this.#ended = this.#watch(ask)
  }

  /** How long it has stood still until now, in milliseconds. */
  get lostMs(): number {
    return this.#lostMs + this.#lateMs
  }

  async end(): Promise<void> {
    this.#isEnding = true
    await this.#ended
  }

  get #lateMs(): number {
    return Math.max(0, performance.now() - this.#beganMs - STEP_MS)
  }

  async #watch(ask: () => Promise<unknown>): Promise<void> {
    while (!this.#isEnding) {
      await sleep(STEP_MS / 2)
      await ask()
      this.#lostMs += this.#lateMs
      this.#beganMs = performance.now()
    }
  }
}
