/**
 * Decides which entry goes when room is needed. {@link BoundedSlots} tell the policy of every entry that it may evict (its
 * candidates) and of every access. An entry is the number of a slot; the policy keeps what it needs in columns of its own.
 */
export interface EvictionPolicy {
  /** From now on there are this many slots. */
  grow(capacity: number): void
  /** Whether an entry placed like this may be evicted under the policy. */
  accepts(evictable: boolean, expiresAtMs: number): boolean
  /** The entry is new: gives it the memory of one that was never accessed. */
  begin(slot: number, nowMs: number): void
  /** The entry, begun earlier, is a candidate from now on. */
  enter(slot: number): void
  /** The entry is not a candidate any more: deleted, expired, or placed differently. */
  leave(slot: number): void
  /** The value was asked for and found. */
  accessed(slot: number, nowMs: number): void
  /** The value was replaced by another one. */
  overwritten(slot: number, nowMs: number): void
  /** The charge of a candidate, which stays one, has grown by so much (or shrunk, if negative). */
  resized(slot: number, byBytes: number): void
  /** Chooses the candidate to go, and removes it from the candidates. `NOWHERE` when there are none. */
  take(nowMs: number): number
  /** Forgets all candidates, and all slots. */
  clear(): void
}
