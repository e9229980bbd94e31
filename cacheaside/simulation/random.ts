/**
 * A small generator of uniform numbers (Tommy Ettinger's mulberry32). Each part of a history has one of its own, so that a
 * draw more in one of them does not change the others.
 */
export class Random {
  #state: number

  /** @param seed - A whole number; those that differ by 2^32 are the same. */
  constructor(seed: number) {
    this.#state = seed | 0
  }

  /** A number in [0, 1). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    const state = this.#state
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }

  /** Whether something of this probability happens. Draws nothing for what never does. */
  chance(probability: number): boolean {
    return probability > 0 && this.next() < probability
  }

  /** A whole number in [0, limit). */
  below(limit: number): number {
    return Math.floor(this.next() * limit)
  }

  /** A whole number from `least` to `most`. */
  between(least: number, most: number): number {
    return least + this.below(most - least + 1)
  }

  /** One of the list. */
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!
  }

  /** A generator of its own. */
  fork(): Random {
    return new Random(Math.floor(this.next() * 2 ** 32))
  }
}
