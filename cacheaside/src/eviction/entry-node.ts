/** Where a node stands in a list that it is not in. */
export const NOWHERE = -1

/** What a node knows of the queue it is in. */
export interface NodeQueue<T> {
  bytes: number
  remove(node: EntryNode<T>): void
}

/**
 * One entry of a bounded map, and the few fields in which policies keep what they know about it. One class for all
 * of them, so that the hot paths see one object shape; a policy uses the fields that are named for it and leaves the
 * others alone.
 */
export class EntryNode<T> {
  key = ''
  value: T = undefined as T
  /** What the entry is charged, as its owner said. */
  bytes = 0
  /** The moment from which it is not found any more; `Infinity`: none. */
  expiresAtMs = Number.POSITIVE_INFINITY
  /** Whether it stands for an entry of the map now. */
  isHeld = false
  /** Whether its owner allows a policy to evict it. */
  evictable = true
  /** Whether the policy has it among its candidates now. */
  isCandidate = false
  /** Its place in the {@link ExpirySweep}. */
  sweepSlot = NOWHERE

  /** Sampled policies: its place among the candidates. */
  slot = NOWHERE
  /** S3-FIFO: accesses that count, 0–3. LFU: the logarithmic counter, 0–255. */
  frequency = 0
  /** S3-FIFO: number of its insertion. LRU: number of its last access. LFU: minute of its last access. */
  stamp = 0
  /** S3-FIFO: the queue it is in, and its neighbours there. */
  queue: NodeQueue<T> | undefined = undefined
  older: EntryNode<T> | undefined = undefined
  newer: EntryNode<T> | undefined = undefined

  /** Lets the node, new or left over from an evicted entry, stand for this entry. The policies reset what they know. */
  hold(key: string, value: T, bytes: number, expiresAtMs: number, evictable: boolean): this {
    this.key = key
    this.value = value
    this.bytes = bytes
    this.expiresAtMs = expiresAtMs
    this.evictable = evictable
    return this
  }
}
