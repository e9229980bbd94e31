/**
 * What the cache reports: one closed union, told apart by `type`. Statistics are a fold over it (`stats.ts`), tests
 * assert on it, and logs, metrics and the live page are made of nothing else.
 *
 * Durations are milliseconds. `key` is the canonical key, for example `spell:4`. An event is told when the thing it describes has
 * ended. Only `began` of a refresh is told at a beginning.
 *
 * Numbers make a tree of events: `id` names a read, a load, a write or a batch of the feed, and nothing else in this process
 * has the same number. A **flight** has the number of the read that leads it, or one of its own if it is a refresh.
 */
export type CacheEvent =
  | ReadEvent
  | LoadEvent
  | FillEvent
  | RefreshEvent
  | WriteEvent
  | GuardEvent
  | InvalidationEvent
  | KeyspaceInvalidationEvent
  | UnreadableEvent
  | MismatchEvent
  | VerifiedEvent
  | UndeclaredEvent
  | UnreadEvent
  | SharedStateEvent
  | StreamEvent
  | DiscardEvent
  | FeedEvent
  | FeedBatchEvent
  | FeedDistrustEvent
  | FeedWarningEvent
  | FaultEvent
  | MendedEvent

/** Where an answer came from: this process's L1, the shared store, or the origin. */
export type From = 'local' | 'shared' | 'origin'

/**
 * Why a read was answered as it was.
 *
 * | from | why | |
 * |---|---|---|
 * | local, shared | `fresh` | a fresh value was there |
 * | shared | `stale` | past its soft expiry, within `staleMs`: served while one refresh runs |
 * | shared | `stale-error` | the load failed or was too slow, and `staleIfErrorMs` allows the old value |
 * | origin | `missing` | nothing was there: loaded under a lease |
 * | origin | `expired` | past its soft expiry: loaded under a claim |
 * | origin | `generation` | the keyspace was invalidated since the value was stored |
 * | origin | `tag` | a tag of the value was invalidated since it was stored |
 * | origin | `names` | the value lacks a tag that the keyspace's `tags` or `tagsOf` names: stored by a process that names others |
 * | origin | `shape` | stored by a process with another shape version |
 * | origin | `version` | stored by another version of this library: an earlier one's value is replaced, for a later one's nothing is kept |
 * | origin | `unreadable` | the stored bytes could not be read, or violate the schema |
 * | origin | `busy` | another reader kept the lease or the claim for longer than the wait, or waits for this very read; nothing is kept |
 * | origin | `guarded` | a writer is at work; nothing is kept |
 * | origin | `queued` | an invalidation of ours is not applied yet; nothing is kept |
 * | origin | `in-doubt` | a commit of ours is in doubt: it may still happen; nothing is kept |
 * | origin | `full` | the shared store has no room for a lease; nothing is kept |
 * | origin | `too-large` | what is stored is larger than the store hands out (`maxValueBytes`); nothing is kept |
 * | origin | `snapshot` | read together with others by the `load` of a snapshot; nothing is kept |
 * | origin | `unavailable` | the shared store did not answer in time, or is known not to; nothing is kept |
 */
export type Why =
  | 'fresh'
  | 'stale'
  | 'stale-error'
  | 'missing'
  | 'expired'
  | 'generation'
  | 'tag'
  | 'names'
  | 'shape'
  | 'version'
  | 'unreadable'
  | 'busy'
  | 'guarded'
  | 'queued'
  | 'in-doubt'
  | 'full'
  | 'too-large'
  | 'snapshot'
  | 'unavailable'

/** A read has ended. One per caller and key, also for those that joined. What is refused before it begins is no read. */
export type ReadEvent = AnsweredReadEvent | FailedReadEvent

/** The fields of every read event. */
interface EndedRead {
  readonly type: 'read'
  readonly keyspace: string
  readonly key: string
  readonly id: number
  /**
   * The flight that it waited for: its own number, or that of the read that it joined. Left out for a hit in L1, and for a
   * fresh value that was found in the embedded store at once.
   */
  readonly flight?: number
  /** The number that reads of one `getMany`, or of one snapshot, have in common. */
  readonly batch?: number
  /** The load inside whose loader it was asked for. */
  readonly parent?: number
  /** Whether this caller waited for a flight that another caller leads. */
  readonly joined: boolean
  /** From the call to the answer; 0 for a hit without a flight, which takes less time than to measure it. */
  readonly durationMs: number
}

/** A read was answered. */
export interface AnsweredReadEvent extends EndedRead {
  readonly outcome: 'answered'
  readonly from: From
  readonly why: Why
  /** What its flight has spent on asking the shared store before the load. A read that joined gets the whole time, too. */
  readonly sharedMs: number
  /** What its flight's load took; 0 without one. */
  readonly loadMs: number
  /** Whether the origin has no such row. */
  readonly absent: boolean
  /** The tag that has invalidated the value, or because of which the store was bypassed. */
  readonly tag?: string
}

/**
 * A read was not answered. `timed-out`: with `LOAD_TIMEOUT`. `overloaded`: with `OVERLOADED`. `aborted`: the caller's signal
 * was aborted. `failed`: with any other error, mostly the loader's. If one key of a `getMany` or of a snapshot fails, all its
 * reads past L1 count as failed; of a `getMany` in pieces, those of the same piece.
 */
export interface FailedReadEvent extends EndedRead {
  readonly outcome: 'failed' | 'timed-out' | 'aborted' | 'overloaded'
  /** What the caller was told. */
  readonly error: unknown
}

/**
 * A loader ended. One per call of the loader, however many keys it was asked for; and one more, `failed`, for each key for
 * which `loadMany` has answered with an `Error`.
 */
export interface LoadEvent {
  readonly type: 'load'
  readonly keyspace: string
  readonly keys: readonly string[]
  readonly id: number
  /** The flights that it was for, in the order of the keys. */
  readonly flights: readonly number[]
  readonly outcome: 'loaded' | 'failed' | 'timed-out' | 'aborted' | 'overloaded'
  /** From the call of the loader (not counting its wait for the load limit) to its end; 0 if it was never called. */
  readonly costMs: number
  /** Its wait for the load limit. */
  readonly waitMs: number
  readonly error?: unknown
}

/** A loaded value was offered to the shared store. */
export interface FillEvent {
  readonly type: 'fill'
  readonly keyspace: string
  readonly key: string
  /**
   * `refused`: the lease was gone, because of an invalidation, an expiry or an eviction; or there was no room.
   * `unconfirmed`: the store did not answer. `unencodable`: the codec threw, or its text does not decode to a value
   * that the schema accepts. `alias`: by `idOf` the value belongs under another key; its callers got it, and nobody keeps
   * it. `too-large`: it is larger than the shared store takes. `too-many-tags`: it has more than 64. `untagged`: its tags are not known, because `tagsOf` threw. `late-tags`: they
   * were not known before the load, and a second load did not help.
   */
  readonly outcome:
    | 'accepted'
    | 'refused'
    | 'unconfirmed'
    | 'unencodable'
    | 'alias'
    | 'too-large'
    | 'too-many-tags'
    | 'untagged'
    | 'late-tags'
  /** The flight that has brought the value. Left out for a value that a write was to store. */
  readonly flight?: number
  /** How long the shared store took for it; 0 if it was not asked. */
  readonly durationMs: number
  /** How many bytes a value has that is `too-large`, encoded. */
  readonly bytes?: number
  /** The key that an `alias` belongs under; `undefined` if `idOf` threw, or did not answer with an id. */
  readonly belongsTo?: string | undefined
  readonly error?: unknown
}

/** A refresh in the background began, or ended without a new value. A refresh that succeeds ends in a `fill`. */
export interface RefreshEvent {
  readonly type: 'refresh'
  readonly keyspace: string
  readonly key: string
  readonly outcome: 'began' | 'left-to-another' | 'failed'
  /** Its own number, which its load and its fill have as their flight. */
  readonly flight: number
  /** The read because of which it was begun. */
  readonly read: number
  /** Since it was asked for. */
  readonly durationMs: number
  readonly error?: unknown
}

/** A write has ended. */
export interface WriteEvent {
  readonly type: 'write'
  readonly id: number
  /** What it has guarded: keys and tags. */
  readonly keys: readonly string[]
  /**
   * `failed`: its function threw, and nothing was committed. `in-doubt`: it threw, and the commit may still happen. `refused`: a
   * guard was refused; nothing was committed.
   */
  readonly outcome: 'committed' | 'failed' | 'in-doubt' | 'refused'
  /** From the call to the end of the last release. */
  readonly durationMs: number
  /** Until its guards were confirmed, or their time was up. */
  readonly guardMs: number
  /** What its function took, with the guards that it asked for; 0 if it was not called. */
  readonly commitMs: number
  /** Of a committed write: whether every key was guarded from before the commit until its release. */
  readonly fenced?: boolean
  /** Of a committed write: what became of its releases. */
  readonly invalidation?: 'applied' | 'queued'
  readonly error?: unknown
}

/** A guard was asked for. */
export interface GuardEvent {
  readonly type: 'guard'
  readonly keyspace: string
  readonly key: string
  /**
   * `rejoined`: the guard had been lost under a live writer, so the write is not fenced. `barred`: a guard of a later
   * version of this library stands, which this one cannot join, so the write is not fenced either.
   */
  readonly outcome: 'confirmed' | 'renewed' | 'rejoined' | 'barred' | 'unconfirmed'
  /** The write that has asked for it. Left out where it was renewed for all writers that share it. */
  readonly write?: number
  /** How long the shared store took for it. */
  readonly durationMs: number
}

/** A release or an invalidation of one key. */
export interface InvalidationEvent {
  readonly type: 'invalidation'
  readonly keyspace: string
  readonly key: string
  /**
   * `queued`: it could not be applied, and is tried again. `in-doubt`: the commit may still happen; it is done when `guardMs`
   * have passed, and is `queued` only if it cannot be applied then. `late`: it had been queued or in doubt, and is applied
   * now. `collapsed`: dropped from a full queue into a keyspace invalidation.
   */
  readonly outcome: 'applied' | 'queued' | 'in-doubt' | 'late' | 'collapsed'
  /** Whether the release of a write stored the committed value. */
  readonly stored: boolean
  /** `true` for the release of a committed write that did not guard this key all the time; otherwise left out. */
  readonly unfenced?: true
  /** The write, the call of `invalidate` or the batch of the feed that it belongs to. Left out for `late` and `collapsed`. */
  readonly cause?: number
  /** How long the shared store took for it; not there where it was not asked at once. */
  readonly durationMs?: number
}

/** A whole keyspace was given a new generation. */
export interface KeyspaceInvalidationEvent {
  readonly type: 'keyspace-invalidation'
  readonly keyspace: string
  readonly outcome: 'applied' | 'queued' | 'late'
  /** The call of `invalidateAll` or the batch of the feed that it belongs to. Left out if there is none. */
  readonly cause?: number
  /** How long the shared store took for it; not there where it was not asked at once. */
  readonly durationMs?: number
}

/** Stored bytes could not be read; they are overwritten. */
export interface UnreadableEvent {
  readonly type: 'unreadable'
  readonly keyspace: string
  readonly key: string
  /** `alias`: by `idOf` the value belongs under another key. */
  readonly reason: 'register' | 'codec' | 'schema' | 'alias'
  readonly error?: unknown
}

/**
 * The reply was the register of another key: a proxy or a broken server has lost or added a reply. The connection was ended,
 * L1 emptied, and the reader got what the origin holds.
 */
export interface MismatchEvent {
  readonly type: 'mismatch'
  readonly keyspace: string
  readonly key: string
}

/** A sampler has compared a stored value with the origin. */
export interface VerifiedEvent {
  readonly type: 'verified'
  readonly keyspace: string
  readonly key: string
  /** `skipped`: not compared, because it is guarded, leased, gone or just changing. */
  readonly outcome: 'equal' | 'stale' | 'unreadable' | 'orphaned' | 'skipped'
  /** For a stale value: for at least how many milliseconds it has been stale; otherwise 0. */
  readonly staleMs: number
}

/** An observed load has read tables whose changes do not invalidate its value. */
export interface UndeclaredEvent {
  readonly type: 'undeclared'
  readonly keyspace: string
  readonly key: string
  /** Tables of the feed, none of which invalidates the keyspace or one of the value's tags. */
  readonly tables: readonly string[]
  /** Tables that the feed does not watch, where the observer was asked for them. */
  readonly unwatched: readonly string[]
  /** The tags that were named for the value. */
  readonly tags: readonly string[]
}

/**
 * A value with tags was loaded and stored by this process, and left its L1 because a tag was invalidated before any read of
 * this process was answered with it. The readers who waited for the load do not count, and `peek` does. Another process may
 * have read it. There is no such event without L1, and none for a value that L1 had dropped before.
 */
export interface UnreadEvent {
  readonly type: 'unread'
  readonly keyspace: string
  readonly key: string
  /** The tag that was invalidated; the name of its kind, if all tags of a kind were. */
  readonly tag: string
}

/** The shared store stopped answering in time and is skipped, or answers again. */
export interface SharedStateEvent {
  readonly type: 'shared'
  readonly state: 'unavailable' | 'available'
  readonly error?: unknown
}

/**
 * The broadcast stream is proven alive, or is not any more. `unheard`: the store answers, but this process has heard none of
 * its own heartbeats for a while.
 */
export interface StreamEvent {
  readonly type: 'stream'
  readonly state: 'proven' | 'unproven' | 'unheard'
  readonly reason: string
}

/** L1 let go of an entry to make room, or because it expired. */
export interface DiscardEvent {
  readonly type: 'discard'
  readonly key: string
  readonly reason: 'evicted' | 'expired'
}

/** The change feed was opened, or its session was lost. While it is lost, changes wait in the outbox. */
export interface FeedEvent {
  readonly type: 'feed'
  readonly state: 'open' | 'lost'
  readonly error?: unknown
}

/** Changes were taken from the feed. What they invalidated is reported by events of its own. */
export interface FeedBatchEvent {
  readonly type: 'feed-batch'
  readonly id: number
  /**
   * `applied`: all of them. `retained`: some, or all, stay in the outbox. `failed`: the session with the origin was lost
   * meanwhile, and what was applied is not marked as such: all of them are taken again.
   */
  readonly outcome: 'applied' | 'retained' | 'failed'
  /** Since they were taken. */
  readonly durationMs: number
  readonly changes: number
  /** Those that the shared store has acknowledged; the others stay in the outbox and are tried again. */
  readonly applied: number
  /**
   * From the commit to the acknowledgement, of the applied change for which it was longest. The moment of a commit is not
   * known: it came after the row was written, and after the outbox was last seen empty. So the lag may have been less.
   */
  readonly lagMs: number
  readonly error?: unknown
}

/** The shared store, or the origin, may be another one than before: these keyspaces were given a new generation. */
export interface FeedDistrustEvent {
  readonly type: 'feed-distrust'
  readonly keyspaces: readonly string[]
  readonly reason: string
}

/**
 * What a {@link FeedWarningEvent} is about.
 *
 * | code | |
 * |---|---|
 * | `NOT_WATCHED` | a table, or a part of it, is not watched: what is changed there may stay unseen |
 * | `TABLE_REPLACED` | another table has the name of a watched one, and is watched from now on |
 * | `TRIGGERS_MENDED` | somebody had dropped or disabled the triggers of a table; they work again |
 * | `TABLE_RENAMED` | a watched table has another name, and is still recorded under the old one |
 * | `COLUMN_GONE` | a recorded column is not there any more: each change counts as one of the whole table |
 * | `NOT_COMPARED` | a table could not be compared with what is watched |
 * | `OUTDATED` | an earlier version of the library has installed the feed: run `installFeed` again |
 * | `KEY_TYPE` | a recorded column is of a type that has several texts for one value |
 * | `UNKNOWN_KEYSPACE` | the map names a keyspace that no cache of this process has |
 * | `SETTING` | a setting of the origin is not as the guarantees need it |
 * | `OTHER` | a feed of your own has given no code |
 */
export type FeedWarningCode =
  | 'NOT_WATCHED'
  | 'TABLE_REPLACED'
  | 'TRIGGERS_MENDED'
  | 'TABLE_RENAMED'
  | 'COLUMN_GONE'
  | 'NOT_COMPARED'
  | 'OUTDATED'
  | 'KEY_TYPE'
  | 'UNKNOWN_KEYSPACE'
  | 'SETTING'
  | 'OTHER'

/** The feed, or the origin's settings, are not as the guarantees need them. Said once per session. {@link MendedEvent} tells of the end. */
export interface FeedWarningEvent {
  readonly type: 'feed-warning'
  readonly code: FeedWarningCode
  readonly message: string
}

/** Something that nobody waits for went wrong; the promises still hold. */
export interface FaultEvent {
  readonly type: 'fault'
  readonly during: string
  readonly error: unknown
}

/**
 * The trouble of an earlier event is over: a finding of the feed is no longer there, or what was at fault works again. Some
 * warnings have no end, for example a commit in doubt or a replaced table.
 */
export interface MendedEvent {
  readonly type: 'mended'
  /** The type of the earlier event. */
  readonly of: 'feed-warning' | 'fault'
  /** Its `message`, or what it went wrong `during`. */
  readonly what: string
}
