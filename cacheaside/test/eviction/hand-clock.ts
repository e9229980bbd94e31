import type { Clock } from '../../src/base/clock.ts'

/** The same numbers in [0, 1) for the same seed (Mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** A clock that stands still until a test moves it; its randomness comes from a seed. */
export class HandClock implements Clock {
  ms: number
  readonly random: () => number

  constructor(seed = 1, startMs = 0) {
    this.ms = startMs
    this.random = seededRandom(seed)
  }

  nowMs(): number {
    return this.ms
  }
  coarseMs(): number {
    return this.ms
  }
  epochMs(): number {
    return this.ms
  }
  after(): never {
    throw new Error('a bounded map sets no timers')
  }
  token(): never {
    throw new Error('a bounded map draws no tokens')
  }
}
