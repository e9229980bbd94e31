import type { Key, Tag } from '../base/key.ts'
import type { RelayTrace } from '../base/tracing.ts'

/** What a relay does to the cache it belongs to. Nothing here rejects; `false` and `undefined`: not confirmed. */
export interface RelayTarget {
  /** Whether only this process uses the shared store. */
  readonly isPrivate: boolean
  /** The names of this cache's keyspaces, and of those that other caches of this process have on the same store. */
  keyspaces(): Iterable<string>
  /** Whether a cache of this process has the keyspace on the same store. */
  isKnown(keyspace: string): boolean
  /** What the shared store says of itself. */
  identity(): Promise<string | undefined>
  /** Calls the work of a batch, and tells those who follow the operations of the cache. */
  trace<T>(message: RelayTrace, work: () => Promise<T>): Promise<T>
  /** @param batch - The number of the batch that is the cause. */
  invalidate(key: Key | Tag, batch: number): Promise<boolean>
  /** @param batch - As above; left out where no change is the reason. */
  invalidateKeyspace(keyspace: string, batch?: number): Promise<boolean>
}
