import { NOWHERE, resized } from './columns.ts'
import type { EvictionPolicy } from './eviction-policy.ts'
import type { Ranking } from './rankings.ts'

/** Redis's `EVPOOL_SIZE`. */
const POOL_SIZE = 16

/** What a sampled policy needs to know. */
export interface SampledOptions {
  /** Whether only entries with an expiry are candidates. */
  readonly volatileOnly: boolean
  /** How candidates are compared; left out: not at all, the first one drawn goes. */
  readonly ranking?: Ranking
  /** How many candidates are drawn for one eviction. */
  readonly samples: number
  readonly random: () => number
}

/**
 * Redis's way to be nearly LRU, LFU or nearest-expiry without keeping the entries in order: draw a few candidates,
 * add them to a pool of the sixteen least worthy ones known, and evict the least worthy of the pool.
 *
 * One thing is better than in Redis: an entry that was used after it got into the pool is weighed again instead of
 * being evicted for having been idle once. With at least as many samples as candidates, all of them are compared, and
 * the choice is exact.
 */
export class Sampled implements EvictionPolicy {
  readonly #volatileOnly: boolean
  readonly #ranking: Ranking | undefined
  readonly #samples: number
  readonly #random: () => number
  /**
   * An array, so that any of them can be drawn at once. The pool is its front, with the least worthy last. What is in the
   * pool cannot be drawn again. The rest is in no order.
   */
  readonly #candidates: number[] = []
  /** Where each slot is among them. */
  #places = new Int32Array(0)
  #pooled = 0
  /** What each entry of the pool was worth when it was last weighed. */
  readonly #worths = new Float64Array(POOL_SIZE)

  constructor(options: SampledOptions) {
    this.#volatileOnly = options.volatileOnly
    this.#ranking = options.ranking
    this.#samples = options.samples
    this.#random = options.random
  }

  grow(capacity: number): void {
    this.#places = resized(this.#places, capacity)
    this.#ranking?.grow(capacity)
  }

  accepts(evictable: boolean, expiresAtMs: number): boolean {
    return evictable && (!this.#volatileOnly || expiresAtMs < Number.POSITIVE_INFINITY)
  }

  begin(slot: number, nowMs: number): void {
    this.#ranking?.begin(slot, nowMs)
  }

  enter(slot: number): void {
    this.#places[slot] = this.#candidates.length
    this.#candidates.push(slot)
  }

  leave(slot: number): void {
    let gap = this.#places[slot]!
    if (gap < this.#pooled) {
      this.#pooled--
      for (; gap < this.#pooled; gap++) this.#shift(gap + 1, gap)
    }
    const last = this.#candidates.pop()!
    if (gap < this.#candidates.length) this.#put(last, gap)
  }

  accessed(slot: number, nowMs: number): void {
    this.#ranking?.accessed(slot, nowMs)
  }

  /** An access, as it is to Redis. */
  overwritten(slot: number, nowMs: number): void {
    this.#ranking?.accessed(slot, nowMs)
  }

  resized(): void {}

  take(nowMs: number): number {
    const count = this.#candidates.length
    if (count === 0) return NOWHERE
    const ranking = this.#ranking
    const slot =
      ranking === undefined
        ? this.#candidates[Math.floor(this.#random() * count)]!
        : this.#leastWorthy(ranking, nowMs)
    this.leave(slot)
    return slot
  }

  clear(): void {
    this.#candidates.length = 0
    this.#pooled = 0
    this.#places = new Int32Array(0)
    this.#ranking?.grow(0)
  }

  #leastWorthy(ranking: Ranking, nowMs: number): number {
    const count = this.#candidates.length
    if (this.#samples >= count) {
      this.#pooled = 0
      for (let at = 0; at < count; at++) this.#offer(at, ranking, nowMs)
    } else {
      for (let drawn = 0; drawn < this.#samples && this.#pooled < count; drawn++) {
        this.#offer(this.#pooled + Math.floor(this.#random() * (count - this.#pooled)), ranking, nowMs)
      }
    }
    for (;;) {
      const last = this.#pooled - 1
      const slot = this.#candidates[last]!
      const worth = ranking.worth(slot, nowMs)
      if (worth === this.#worths[last]) return slot
      this.#place(slot, worth, last)
    }
  }

  /** Lets an entry into the pool if there is a free place in it, or a worthier one, which makes way. */
  #offer(at: number, ranking: Ranking, nowMs: number): void {
    const slot = this.#candidates[at]!
    const worth = ranking.worth(slot, nowMs)
    if (this.#pooled < POOL_SIZE) {
      this.#put(this.#candidates[this.#pooled]!, at)
      this.#pooled++
      this.#place(slot, worth, this.#pooled - 1)
    } else if (worth < this.#worths[0]!) {
      this.#put(this.#candidates[0]!, at)
      this.#place(slot, worth, 0)
    }
  }

  /** Moves the gap in the pool to where the entry belongs, and puts it there. */
  #place(slot: number, worth: number, gap: number): void {
    let place = gap
    for (; place > 0 && this.#worths[place - 1]! < worth; place--) this.#shift(place - 1, place)
    for (; place < this.#pooled - 1 && this.#worths[place + 1]! > worth; place++)
      this.#shift(place + 1, place)
    this.#put(slot, place)
    this.#worths[place] = worth
  }

  #shift(from: number, to: number): void {
    this.#put(this.#candidates[from]!, to)
    this.#worths[to] = this.#worths[from]!
  }

  #put(slot: number, at: number): void {
    this.#candidates[at] = slot
    this.#places[slot] = at
  }
}
