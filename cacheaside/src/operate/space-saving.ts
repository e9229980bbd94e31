import type { From } from '../base/events.ts'

/** A key that was read often, as a sketch has counted it. */
export interface CountedKey {
  readonly key: string
  /** How often it was read, at most. */
  readonly count: number
  /** By how much `count` may be too high. */
  readonly error: number
  /** How many of the certain reads were answered from where. */
  readonly local: number
  readonly shared: number
  readonly origin: number
}

type Counter = { -readonly [Name in keyof CountedKey]: CountedKey[Name] }

/**
 * The most frequent keys of a stream, in memory of a fixed size. A new key takes over the counter of the rarest key, with its
 * count. So a key that was read more than one time in `size` is always among them, and no count is too low.
 *
 * @see Metwally, Agrawal, El Abbadi: Efficient Computation of Frequent and Top-k Elements in Data Streams, ICDT 2005
 */
export class SpaceSaving {
  readonly #size: number
  /** The counters as a heap: none is rarer than the one at half its place. */
  readonly #heap: Counter[] = []
  readonly #placeOf = new Map<string, number>()
  #total = 0

  /** @param size - How many keys are counted. */
  constructor(size: number) {
    this.#size = size
  }

  /** How many reads there were. */
  get total(): number {
    return this.#total
  }

  /** How often a key may have been read that is not counted. */
  get missedAtMost(): number {
    return this.#heap.length < this.#size ? 0 : this.#heap[0]!.count
  }

  add(key: string, from: From): void {
    this.#total++
    let place = this.#placeOf.get(key)
    if (place === undefined) place = this.#begin(key)
    const counter = this.#heap[place]!
    counter.count++
    counter[from]++
    this.#sink(place)
  }

  /** The most frequent keys, the most frequent first. */
  top(count: number): CountedKey[] {
    return [...this.#heap]
      .sort((a, b) => b.count - a.count)
      .slice(0, count)
      .map(counter => ({ ...counter }))
  }

  /** The place for a new key: a free one at the end, or that of the rarest key. */
  #begin(key: string): number {
    if (this.#heap.length < this.#size) {
      const place = this.#heap.push({ key, count: 0, error: 0, local: 0, shared: 0, origin: 0 }) - 1
      this.#placeOf.set(key, place)
      return this.#rise(place)
    }
    const { key: rarest, count } = this.#heap[0]!
    this.#placeOf.delete(rarest)
    this.#heap[0] = { key, count, error: count, local: 0, shared: 0, origin: 0 }
    this.#placeOf.set(key, 0)
    return 0
  }

  #rise(place: number): number {
    while (place > 0) {
      const above = (place - 1) >> 1
      if (this.#heap[above]!.count <= this.#heap[place]!.count) break
      this.#exchange(place, above)
      place = above
    }
    return place
  }

  #sink(place: number): void {
    for (;;) {
      let least = place
      for (const below of [2 * place + 1, 2 * place + 2]) {
        if (below < this.#heap.length && this.#heap[below]!.count < this.#heap[least]!.count) least = below
      }
      if (least === place) return
      this.#exchange(place, least)
      place = least
    }
  }

  #exchange(a: number, b: number): void {
    const [counterA, counterB] = [this.#heap[a]!, this.#heap[b]!]
    this.#heap[a] = counterB
    this.#heap[b] = counterA
    this.#placeOf.set(counterB.key, a)
    this.#placeOf.set(counterA.key, b)
  }
}
