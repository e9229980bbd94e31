/** What `cache.stats()` and the metrics are made of. Counted in `stats-fold.ts`. */
import type { FailedReadEvent, From, LoadEvent, VerifiedEvent, Why, WriteEvent } from './base/events.ts'

/**
 * What a cache has done since it was made: a fold over its events, which explain every number. Counts only grow; to get a
 * rate, read them twice.
 */
export interface Stats {
  readonly keyspaces: Readonly<Record<string, KeyspaceStats>>
  /** Writes by how they ended, however many keys each has guarded. */
  readonly writes: Readonly<Record<WriteEvent['outcome'], number>>
  /** Entries that L1 let go to make room, or because they had expired. */
  readonly local: { readonly evicted: number; readonly expired: number }
  /** How often the shared store was found not to answer, and whether reads skip it now. */
  readonly shared: { readonly outages: number; readonly available: boolean }
  /** How often the broadcast stream's proof was lost. */
  readonly streamLosses: number
  /** The change feed; all zero without one. */
  readonly feed: FeedStats
  /** Errors in work that nobody waits for. */
  readonly faults: number
}

/** What became of the changes of the feed in this process's relay. */
export interface FeedStats {
  /** Whether it has a session with the origin now. */
  readonly open: boolean
  /** How often a session was lost, or could not be opened for another reason than before. */
  readonly losses: number
  /** Changes that the shared store has acknowledged. */
  readonly applied: number
  /** Changes that it did not acknowledge, once per attempt. */
  readonly retained: number
  /** Milliseconds from commit to acknowledgement, in the last batch of which anything was applied. */
  readonly lagMs: number
  /** The longest of these so far. */
  readonly maxLagMs: number
  /** New generations because the store or the origin may be another one. */
  readonly distrusted: number
  readonly warnings: number
}

/** The counts of one keyspace. */
export interface KeyspaceStats {
  /** Answered reads by where the answer came from: one per caller and key, also for those that joined a flight. */
  readonly reads: Readonly<Record<From, number>>
  /** The same reads by why they were answered so. */
  readonly why: Readonly<Record<Why, number>>
  /** Answered reads that waited for another caller's flight. */
  readonly joined: number
  /** Answered reads of rows that do not exist. */
  readonly absent: number
  /** Reads that were not answered, by how they ended: one per caller and key. */
  readonly failedReads: Readonly<Record<FailedReadEvent['outcome'], number>>
  /** Calls of the loader by how they ended; a batch is one call. */
  readonly loads: Readonly<Record<LoadEvent['outcome'], number>>
  /** Milliseconds that those calls took in all. */
  readonly loadMs: number
  /** Values offered to the shared store. */
  readonly fills: {
    readonly accepted: number
    readonly refused: number
    readonly unconfirmed: number
    readonly unencodable: number
    /** Values that belong under another key than the one they were asked for by. */
    readonly alias: number
    /** Values that are larger than the shared store takes. */
    readonly 'too-large': number
    /**
     * Values with too many tags, with tags that `tagsOf` could not tell, or with tags not known before the load: see the
     * `fill` event.
     */
    readonly 'too-many-tags': number
    readonly untagged: number
    readonly 'late-tags': number
  }
  /** Refreshes in the background. */
  readonly refreshes: { readonly began: number; readonly 'left-to-another': number; readonly failed: number }
  /** Guards of writes. */
  readonly guards: {
    readonly confirmed: number
    readonly renewed: number
    readonly rejoined: number
    readonly barred: number
    readonly unconfirmed: number
  }
  /** Releases and invalidations of single keys. */
  readonly invalidations: {
    readonly applied: number
    readonly queued: number
    readonly 'in-doubt': number
    readonly late: number
    readonly collapsed: number
  }
  /** Invalidations of the whole keyspace. */
  readonly keyspaceInvalidations: { readonly applied: number; readonly queued: number; readonly late: number }
  /** Committed values stored by their write. */
  readonly writtenThrough: number
  /** Keys of committed writes that were not fenced; one per key, and not per write. */
  readonly unfenced: number
  /** Stored bytes that could not be read. */
  readonly unreadable: number
  /** Replies that held another key's register. */
  readonly mismatches: number
  /** Observed loads that read a table whose changes do not invalidate the value. */
  readonly undeclared: number
  /**
   * Values with tags that this process has stored, and that left its L1 because of a tag before a read was answered with them: see
   * the `unread` event. Compared with `fills.accepted` it shows how hot the tags are. Always 0 without L1.
   */
  readonly unread: number
  /** Stored values that a sampler has compared with the origin, by what came of it: staleness as it was measured. */
  readonly verified: Readonly<Record<VerifiedEvent['outcome'], number>> & {
    /** The longest time, in milliseconds, for which a stale value is known to have been stale. */
    readonly maxStaleMs: number
  }
}

/** What a cache holds and is doing at one moment. */
export interface Occupancy {
  /** Entries of L1, absent rows included. */
  readonly localEntries: number
  /** What L1 charges for them, in bytes: encoded values, keys and the structure around them. */
  readonly localBytes: number
  /** Tags that entries of L1 depend on. */
  readonly localTags: number
  /** Keys that are being read past L1. */
  readonly flights: number
  /** Loads that run now. */
  readonly loads: number
  /** Loads that wait for a place under the load limit. */
  readonly queuedLoads: number
  /** Keys and keyspaces whose invalidation is not applied yet, and those with a commit in doubt. */
  readonly queuedInvalidations: number
  /** Keys with a commit in doubt, counted in `queuedInvalidations` too. */
  readonly commitsInDoubt: number
  /** Whether the broadcast stream is proven, so that L1 may answer. An embedded store needs no proof, and a store without a stream has none. */
  readonly streamProven: boolean
}
