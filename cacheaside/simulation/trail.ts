import type { SimulatedClock } from '../src/testing/index.ts'

/**
 * What happened in a history, line by line. Kept only where somebody wants to read it or to compare it: a history that is
 * explored writes no line.
 */
export class Trail {
  readonly lines: string[] = []
  readonly #clock: SimulatedClock
  readonly #isKept: boolean

  constructor(clock: SimulatedClock, isKept: boolean) {
    this.#clock = clock
    this.#isKept = isKept
  }

  /** Adds a line; `text` is called only if lines are kept. */
  note(who: string, text: () => string): void {
    if (!this.#isKept) return
    this.lines.push(`${this.#clock.nowMs().toFixed(1).padStart(9)} ${who.padEnd(9)} ${text()}`)
  }

  /** A fingerprint of all lines (FNV-1a): the same for the same history. */
  get hash(): string {
    let hash = 0x811c9dc5
    for (const line of this.lines)
      for (let i = 0; i < line.length; i++) hash = Math.imul(hash ^ line.charCodeAt(i), 0x01000193)
    return (hash >>> 0).toString(16).padStart(8, '0')
  }
}
