import { type Columns, NOWHERE, resized } from './columns.ts'
import type { EvictionPolicy } from './eviction-policy.ts'
import { FifoQueue, Links } from './fifo-queue.ts'
import { GhostQueue } from './ghost-queue.ts'

/** The small queue holds this fraction of the map: one in ten. */
const SMALL_SHARE = 10
/** The youngest quarter of the small queue. */
const YOUNG_SHARE = 4
const MOST_ACCESSES = 3
const ACCESSES = 3
const IN_MAIN = 4

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
export class S3Fifo implements EvictionPolicy {
  readonly #columns: Columns
  readonly #hashOf: (slot: number) => number
  readonly #links = new Links()
  readonly #small = new FifoQueue(this.#links)
  readonly #main = new FifoQueue(this.#links)
  readonly #ghost = new GhostQueue()
  readonly #sharesBytes: boolean
  /** Entries that have entered the small queue so far, and for each slot its number among them; modulo 2^32. */
  #entered = 0
  #numbers = new Uint32Array(0)
  /** For each slot its accesses that count, 0–3, and {@link IN_MAIN} if it is in the main queue. */
  #states = new Uint8Array(0)

  /**
   * @param sharesBytes - whether the small queue has a tenth of the bytes or of the entries.
   * @param hashOf - The hash of the key of an entry.
   */
  constructor(columns: Columns, hashOf: (slot: number) => number, sharesBytes: boolean) {
    this.#columns = columns
    this.#hashOf = hashOf
    this.#sharesBytes = sharesBytes
  }

  grow(capacity: number): void {
    this.#links.grow(capacity)
    this.#numbers = resized(this.#numbers, capacity)
    this.#states = resized(this.#states, capacity)
  }

  accepts(evictable: boolean): boolean {
    return evictable
  }

  begin(): void {}

  enter(slot: number): void {
    if (this.#ghost.take(this.#hashOf(slot), this.#candidates)) {
      this.#pushToMain(slot, 0)
    } else {
      this.#states[slot] = 0
      this.#numbers[slot] = this.#entered
      this.#entered = (this.#entered + 1) >>> 0
      this.#small.push(slot, this.#columns.bytes[slot]!)
    }
  }

  leave(slot: number): void {
    if (this.#states[slot] !== 0) this.#ghost.add(this.#hashOf(slot), this.#candidates)
    this.#remove(slot)
  }

  accessed(slot: number): void {
    const state = this.#states[slot]!
    if ((state & ACCESSES) === MOST_ACCESSES) return
    if (state < IN_MAIN && this.#isYoung(slot)) return
    this.#states[slot] = state + 1
  }

  /** Not an access: a fill says that the value was missed or is refreshed, not that it is popular. */
  overwritten(): void {}

  resized(slot: number, byBytes: number): void {
    this.#queueOf(slot).bytes += byBytes
  }

  take(nowMs: number): number {
    const { expiresAtMs } = this.#columns
    for (;;) {
      const queue = this.#smallIsDue() ? this.#small : this.#main
      const slot = queue.oldest
      if (slot === NOWHERE) return NOWHERE
      if (expiresAtMs[slot]! <= nowMs) {
        this.leave(slot)
        return slot
      }
      this.#remove(slot)
      const accesses = this.#states[slot]! & ACCESSES
      if (accesses === 0) {
        if (queue === this.#small) this.#ghost.add(this.#hashOf(slot), this.#candidates)
        return slot
      }
      this.#pushToMain(slot, queue === this.#small ? 0 : accesses - 1)
    }
  }

  clear(): void {
    this.#small.clear()
    this.#main.clear()
    this.#ghost.clear()
    this.#links.clear()
    this.#numbers = new Uint32Array(0)
    this.#states = new Uint8Array(0)
  }

  get #candidates(): number {
    return this.#small.size + this.#main.size
  }

  #queueOf(slot: number): FifoQueue {
    return this.#states[slot]! < IN_MAIN ? this.#small : this.#main
  }

  #remove(slot: number): void {
    this.#queueOf(slot).remove(slot, this.#columns.bytes[slot]!)
  }

  #pushToMain(slot: number, accesses: number): void {
    this.#states[slot] = IN_MAIN + accesses
    this.#main.push(slot, this.#columns.bytes[slot]!)
  }

  #isYoung(slot: number): boolean {
    return ((this.#entered - this.#numbers[slot]!) >>> 0) * YOUNG_SHARE <= this.#small.size
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
