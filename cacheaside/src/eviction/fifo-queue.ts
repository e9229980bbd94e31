import { NOWHERE, resized } from './columns.ts'

/** The neighbours of each slot in the queue that it is in. Queues that no slot is in twice can share them. */
export class Links {
  older: Int32Array = new Int32Array(0)
  newer: Int32Array = new Int32Array(0)

  grow(capacity: number): void {
    this.older = resized(this.older, capacity)
    this.newer = resized(this.newer, capacity)
  }

  clear(): void {
    this.older = new Int32Array(0)
    this.newer = new Int32Array(0)
  }
}

/** A first-in-first-out queue of slots from which any slot can be taken out. */
export class FifoQueue {
  readonly #links: Links
  /** The slot that has been here longest; `NOWHERE` if there is none. */
  oldest = NOWHERE
  #newest = NOWHERE
  /** How many slots are here. */
  size = 0
  /** What their entries are charged together. */
  bytes = 0

  constructor(links: Links) {
    this.#links = links
  }

  push(slot: number, bytes: number): void {
    const { older, newer } = this.#links
    const last = this.#newest
    older[slot] = last
    newer[slot] = NOWHERE
    if (last === NOWHERE) this.oldest = slot
    else newer[last] = slot
    this.#newest = slot
    this.size++
    this.bytes += bytes
  }

  remove(slot: number, bytes: number): void {
    const { older, newer } = this.#links
    const before = older[slot]!
    const after = newer[slot]!
    if (before === NOWHERE) this.oldest = after
    else newer[before] = after
    if (after === NOWHERE) this.#newest = before
    else older[after] = before
    this.size--
    this.bytes -= bytes
  }

  clear(): void {
    this.oldest = this.#newest = NOWHERE
    this.size = this.bytes = 0
  }
}
