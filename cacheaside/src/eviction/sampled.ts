import type { EntryNode } from './entry-node.ts'
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
export class Sampled<T> implements EvictionPolicy<T> {
  readonly #volatileOnly: boolean
  readonly #ranking: Ranking | undefined
  readonly #samples: number
  readonly #random: () => number
  /**
   * An array, so that any of them can be drawn at once. The pool is its front, the least worthy last, and what is in
   * it cannot be drawn again; the rest is in no order.
   */
  readonly #candidates: EntryNode<T>[] = []
  #pooled = 0
  /** What each node of the pool was worth when it was last weighed. */
  readonly #worths = new Float64Array(POOL_SIZE)

  constructor(options: SampledOptions) {
    this.#volatileOnly = options.volatileOnly
    this.#ranking = options.ranking
    this.#samples = options.samples
    this.#random = options.random
  }

  accepts(evictable: boolean, expiresAtMs: number): boolean {
    return evictable && (!this.#volatileOnly || expiresAtMs < Number.POSITIVE_INFINITY)
  }

  begin(node: EntryNode<T>, nowMs: number): void {
    this.#ranking?.begin(node, nowMs)
  }

  enter(node: EntryNode<T>): void {
    node.slot = this.#candidates.length
    this.#candidates.push(node)
  }

  leave(node: EntryNode<T>): void {
    let gap = node.slot
    if (gap < this.#pooled) {
      this.#pooled--
      for (; gap < this.#pooled; gap++) this.#shift(gap + 1, gap)
    }
    const last = this.#candidates.pop()!
    if (gap < this.#candidates.length) this.#put(last, gap)
  }

  accessed(node: EntryNode<T>, nowMs: number): void {
    this.#ranking?.accessed(node, nowMs)
  }

  /** An access, as it is to Redis. */
  overwritten(node: EntryNode<T>, nowMs: number): void {
    this.#ranking?.accessed(node, nowMs)
  }

  resized(): void {}

  take(nowMs: number): EntryNode<T> | undefined {
    const count = this.#candidates.length
    if (count === 0) return undefined
    const ranking = this.#ranking
    const node =
      ranking === undefined
        ? this.#candidates[Math.floor(this.#random() * count)]!
        : this.#leastWorthy(ranking, nowMs)
    this.leave(node)
    return node
  }

  clear(): void {
    this.#candidates.length = 0
    this.#pooled = 0
  }

  #leastWorthy(ranking: Ranking, nowMs: number): EntryNode<T> {
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
      const node = this.#candidates[last]!
      const worth = ranking.worth(node, nowMs)
      if (worth === this.#worths[last]) return node
      this.#place(node, worth, last)
    }
  }

  /** Lets a node into the pool if there is a free place in it, or a worthier node, which makes way. */
  #offer(at: number, ranking: Ranking, nowMs: number): void {
    const node = this.#candidates[at]!
    const worth = ranking.worth(node, nowMs)
    if (this.#pooled < POOL_SIZE) {
      this.#put(this.#candidates[this.#pooled]!, at)
      this.#pooled++
      this.#place(node, worth, this.#pooled - 1)
    } else if (worth < this.#worths[0]!) {
      this.#put(this.#candidates[0]!, at)
      this.#place(node, worth, 0)
    }
  }

  /** Moves the gap in the pool to where the node belongs, and puts it there. */
  #place(node: EntryNode<T>, worth: number, gap: number): void {
    let place = gap
    for (; place > 0 && this.#worths[place - 1]! < worth; place--) this.#shift(place - 1, place)
    for (; place < this.#pooled - 1 && this.#worths[place + 1]! > worth; place++)
      this.#shift(place + 1, place)
    this.#put(node, place)
    this.#worths[place] = worth
  }

  #shift(from: number, to: number): void {
    this.#put(this.#candidates[from]!, to)
    this.#worths[to] = this.#worths[from]!
  }

  #put(node: EntryNode<T>, at: number): void {
    this.#candidates[at] = node
    node.slot = at
  }
}
