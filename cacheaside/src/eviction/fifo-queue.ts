import type { EntryNode } from './entry-node.ts'

/** A first-in-first-out queue of nodes from which any node can be taken out, linked through the nodes themselves. */
export class FifoQueue<T> {
  /** The node that has been here longest. */
  oldest: EntryNode<T> | undefined = undefined
  #newest: EntryNode<T> | undefined = undefined
  /** How many nodes are here. */
  size = 0
  /** What they are charged together. */
  bytes = 0

  push(node: EntryNode<T>): void {
    const last = this.#newest
    node.queue = this
    node.older = last
    if (last === undefined) this.oldest = node
    else last.newer = node
    this.#newest = node
    this.size++
    this.bytes += node.bytes
  }

  remove(node: EntryNode<T>): void {
    const { older, newer } = node
    if (older === undefined) this.oldest = newer
    else older.newer = newer
    if (newer === undefined) this.#newest = older
    else newer.older = older
    node.queue = node.older = node.newer = undefined
    this.size--
    this.bytes -= node.bytes
  }

  clear(): void {
    this.oldest = this.#newest = undefined
    this.size = this.bytes = 0
  }
}
