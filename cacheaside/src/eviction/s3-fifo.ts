import type { EntryNode } from './entry-node.ts'
import type { EvictionPolicy } from './eviction-policy.ts'
import { FifoQueue } from './fifo-queue.ts'
import { GhostQueue } from './ghost-queue.ts'

/** The small queue holds one in so many of what the map holds. */
const SMALL_SHARE = 10
/** The youngest quarter of the small queue. */
const YOUNG_SHARE = 4
const MAX_FREQUENCY = 3

/**
 * S3-FIFO: two queues and a memory of keys.
 *
 * ```
 *            not remembered                    accessed since                 accessed: again, one less
 *   new ───────────────────────▶ small (1/10) ───────────────▶ main (9/10) ─────────┐
 *    │                             │ not accessed               ▲   │ ▲─────────────┘
 *    │ remembered                  ▼                            │   ▼ not accessed
 *    └──────────────────┐        evicted, key remembered        │  evicted
 *                       └───────────────────────────────────────┘
 * ```
 *
 * Most keys are asked for once, or a few times in a row and then never again. They pass through the small queue and
 * are gone soon. Only an entry that is asked for again later gets into the main queue, where a second chance costs one
 * of at most three accesses. A hit writes one field and moves nothing. An eviction may have to pass many entries that were
 * accessed; each of them pays with an access for being passed, so it takes constant time on average.
 *
 * Two things differ from the paper, whose rules otherwise hold:
 *
 * - *Young entries are not counted.* The paper wants two accesses for the way into the main queue, to tell a burst
 *   from popularity. Here one is enough, but accesses in the youngest quarter of the small queue do not count, which
 *   is the correlation window of Clock2Q+. It was as good or better on everything we replayed (`docs/traces.md`).
 * - *Invalidated entries keep their merit.* Under cache-aside a popular entry is deleted by every write and expires
 *   now and then; it would start in the small queue again. If it was in the main queue or had been accessed, its key
 *   is remembered like that of an evicted one, and it comes back into the main queue.
 *
 * The ghost remembers as many keys as the map has candidates.
 *
 * @see Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023, doi:10.1145/3600006.3613147
 * @see Zhai et al., "Clock2Q+", arXiv:2511.21958
 */
export class S3Fifo<T> implements EvictionPolicy<T> {
  readonly #small = new FifoQueue<T>()
  readonly #main = new FifoQueue<T>()
  readonly #ghost = new GhostQueue()
  readonly #sharesBytes: boolean
  /** Nodes that have entered the small queue so far. */
  #entered = 0

  /** @param sharesBytes - whether the small queue has a tenth of the bytes or of the entries. */
  constructor(sharesBytes: boolean) {
    this.#sharesBytes = sharesBytes
  }

  accepts(evictable: boolean): boolean {
    return evictable
  }

  begin(): void {}

  enter(node: EntryNode<T>): void {
    node.frequency = 0
    if (this.#ghost.take(node.key, this.#candidates)) {
      this.#main.push(node)
    } else {
      node.stamp = this.#entered++
      this.#small.push(node)
    }
  }

  leave(node: EntryNode<T>): void {
    if (node.queue === this.#main || node.frequency > 0) this.#ghost.add(node.key, this.#candidates)
    node.queue!.remove(node)
  }

  accessed(node: EntryNode<T>): void {
    if (node.frequency === MAX_FREQUENCY) return
    if (node.queue === this.#small && this.#isYoung(node)) return
    node.frequency++
  }

  /** Not an access: a fill says that the value was missed or is refreshed, not that it is popular. */
  overwritten(): void {}

  resized(node: EntryNode<T>, byBytes: number): void {
    node.queue!.bytes += byBytes
  }

  take(nowMs: number): EntryNode<T> | undefined {
    for (;;) {
      const queue = this.#smallIsDue() ? this.#small : this.#main
      const node = queue.oldest
      if (node === undefined) return undefined
      if (node.expiresAtMs <= nowMs) {
        this.leave(node)
        return node
      }
      queue.remove(node)
      if (node.frequency === 0) {
        if (queue === this.#small) this.#ghost.add(node.key, this.#candidates)
        return node
      }
      node.frequency = queue === this.#small ? 0 : node.frequency - 1
      this.#main.push(node)
    }
  }

  clear(): void {
    this.#small.clear()
    this.#main.clear()
    this.#ghost.clear()
  }

  get #candidates(): number {
    return this.#small.size + this.#main.size
  }

  #isYoung(node: EntryNode<T>): boolean {
    return (this.#entered - node.stamp) * YOUNG_SHARE <= this.#small.size
  }

  #smallIsDue(): boolean {
    const small = this.#small
    const main = this.#main
    if (small.size === 0 || main.size === 0) return main.size === 0
    return this.#sharesBytes
      ? small.bytes * SMALL_SHARE > small.bytes + main.bytes
      : small.size * SMALL_SHARE > small.size + main.size
  }
}
