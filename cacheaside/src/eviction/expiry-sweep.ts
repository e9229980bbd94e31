import { type EntryNode, NOWHERE } from './entry-node.ts'

/**
 * All nodes that have an expiry, examined one after the other, in rounds. So entries that have expired and are never
 * asked for again do not stay.
 *
 * The hand moves down. A removal closes its gap with the last node of the array, and that one has either been
 * examined in this round or moves to where it will be: no node is ever skipped.
 */
export class ExpirySweep<T> {
  readonly #nodes: EntryNode<T>[] = []
  #hand = 0

  get size(): number {
    return this.#nodes.length
  }

  add(node: EntryNode<T>): void {
    node.sweepSlot = this.#nodes.length
    this.#nodes.push(node)
  }

  remove(node: EntryNode<T>): void {
    const last = this.#nodes.pop()!
    if (last !== node) {
      this.#nodes[node.sweepSlot] = last
      last.sweepSlot = node.sweepSlot
    }
    node.sweepSlot = NOWHERE
  }

  /** The node to examine next; `undefined` when there is none at all. */
  next(): EntryNode<T> | undefined {
    const count = this.#nodes.length
    if (count === 0) return undefined
    if (this.#hand === 0 || this.#hand > count) this.#hand = count
    this.#hand--
    return this.#nodes[this.#hand]
  }

  clear(): void {
    this.#nodes.length = 0
    this.#hand = 0
  }
}
