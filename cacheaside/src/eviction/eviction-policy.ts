import type { EntryNode } from './entry-node.ts'

/**
 * Decides which entry of a {@link BoundedMap} goes when room is needed. The map tells the policy of every entry that it
 * may evict (its candidates) and of every access. The policy keeps what it needs on the nodes.
 */
export interface EvictionPolicy<T> {
  /** Whether an entry placed like this may be evicted under the policy. */
  accepts(evictable: boolean, expiresAtMs: number): boolean
  /** The node is new: gives it the memory of an entry that was never accessed. */
  begin(node: EntryNode<T>, nowMs: number): void
  /** The node, begun earlier, is a candidate from now on. */
  enter(node: EntryNode<T>): void
  /** The node is not a candidate any more: deleted, expired, or placed differently. */
  leave(node: EntryNode<T>): void
  /** The value was asked for and found. */
  accessed(node: EntryNode<T>, nowMs: number): void
  /** The value was replaced by another one. */
  overwritten(node: EntryNode<T>, nowMs: number): void
  /** The charge of a candidate, which stays one, has grown by so much (or shrunk, if negative). */
  resized(node: EntryNode<T>, byBytes: number): void
  /** Chooses the candidate to go, and removes it from the candidates. `undefined` when there are none. */
  take(nowMs: number): EntryNode<T> | undefined
  /** Forgets all candidates. */
  clear(): void
}
