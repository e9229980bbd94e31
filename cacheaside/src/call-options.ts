/** How one call of a keyspace is done. */
import type { LoadContext } from './options.ts'
import type { SnapshotOptions } from './snapshot.ts'
import type { WriteOptions } from './write.ts'

/** How one read is done. */
export interface ReadOptions {
  /**
   * `'strong'`: linearizable with writes; skips L1 and costs a round trip. Left out: L1 may answer, and the value is no
   * older than what was applied `localMaxStaleMs` before the read began.
   */
  readonly consistency?: 'strong'
  /**
   * Ends this caller's wait with the signal's reason. Others who wait for the same load are not affected. Left out: it waits
   * until the read has ended, within the time limits.
   */
  readonly signal?: AbortSignal
}

/** How several values of a keyspace are read as they were at one moment. */
export interface SnapshotManyOptions<Id, Loaded> extends Pick<SnapshotOptions<never>, 'signal'> {
  /** All values as they were at one moment. */
  readonly consistency: 'snapshot'
  /**
   * As `loadMany`: reads all at once, in one statement or in one transaction of `REPEATABLE READ`. An `Error` as the value of
   * an id fails the snapshot.
   */
  readonly load: (
    ids: readonly Id[],
    context: LoadContext,
  ) => Promise<Iterable<readonly [Id, Loaded | Error | undefined]>>
}

/** How one keyspace's write is done. */
export interface KeyspaceWriteOptions<T, V> extends Omit<WriteOptions<T>, 'writeThrough'> {
  /** Whether the value that the function returns, the committed row or `undefined`, is stored at the release. @defaultValue false */
  // As long as the compiler has not looked into a function that takes `{ guard }`, it takes `T` for unknown.
  readonly writeThrough?: unknown extends T ? boolean : [T] extends [V | undefined] ? boolean : false
}
