import type { Clock } from '../base/clock.ts'
import type { FeedWarningCode } from '../base/events.ts'
import type { Key, Tag, WholeKeyspace } from '../base/key.ts'

/** What these codes are about has happened, and does not end. */
export const HAPPENED: ReadonlySet<FeedWarningCode> = new Set(['TABLE_REPLACED', 'TRIGGERS_MENDED'])

/**
 * What any change feed must promise: every row change that anyone has committed to the origin is handed out until it is known
 * to be applied. The relay (`relay.ts`) turns changes into invalidations; the feed on PostgreSQL (`postgres/`) implements
 * this contract.
 *
 * - **At least once.** A change is handed out again, to this relay or another one, until it is settled as applied; also after
 *   crashes of either side. Twice does no harm: removing is always safe.
 * - **Committed.** A change is handed out when later reads of the origin see it, not before. An invalidation that
 *   comes too early can be followed by a load of the old row.
 * - **In any order.** So no feed has to wait for a long transaction before it hands out later commits.
 * - **Bounded.** A feed may replace many changes by fewer, coarser ones: a whole table for its rows.
 */
export interface ChangeFeed {
  /** For events and error messages: `'postgres'`. */
  readonly name: string
  /** What depends on the rows of each table, by the table names that changes have. */
  readonly tables: ReadonlyMap<string, FeedTable>
  /** The names of the tags that the feed itself invalidates by what is declared of the tables. Left out: none. */
  readonly tagNames?: readonly string[]
  /** How often a relay looks for changes without being told of any, in milliseconds. */
  readonly pollMs: number
  /** After how long without an answer a session counts as lost, in milliseconds. */
  readonly timeoutMs: number
  /** Opens a session. Rejects if the origin cannot be reached, or has no such feed. */
  open(opening: FeedOpening): Promise<FeedSession>
  /**
   * Reads the oldest changes that are committed and not applied yet, without taking them from any relay. For audits: it
   * opens a connection and closes it. A feed may do without.
   */
  pending?(): Promise<readonly Change[]>
}

/**
 * A row as the feed recorded it: the table's key and the columns that were asked for. Values are texts in the form in
 * which the database writes them, so a bigint is exact, or null. They are typed `any` because a text serves as an id of
 * any type: `key(4)` and `key('4')` are the same key.
 *
 * @typeParam Column - The names of the columns, if they are known: then no other name compiles.
 */
// biome-ignore lint/suspicious/noExplicitAny: see above; a map would have to convert every column for the sake of types.
export type FeedRow<Column extends string = string> = Readonly<Record<Column, any>>

/** What the map of a table returns: keys, and keyspaces as a whole (`keyspace.all`). */
export type FeedTargets = Iterable<Key | Tag | WholeKeyspace>

/**
 * The function from a row to what it invalidates, for rows with any columns. It may state the type of its row:
 * `(row: { id: string }) => …`.
 */
// Of a method, because the parameter of a plain function type would have to take any row.
export type FeedMap = { map(row: FeedRow): FeedTargets }['map']

/** What depends on the rows of one table. */
export interface FeedTable<Column extends string = string> {
  /**
   * The keys of all values that this row is, or was, part of; `all` of a keyspace names every key of it. Called with the
   * row as it was and as it is; only once if one of the two does not exist, or the recorded columns did not change. If it
   * throws, the table's keyspaces are invalidated.
   */
  readonly keys: string extends Column ? FeedMap : (row: FeedRow<Column>) => FeedTargets
  /**
   * The keyspaces that are invalidated when the rows are not known: after TRUNCATE, or when the outbox has collapsed. Left
   * out: every keyspace of the store.
   */
  readonly keyspaces?: readonly string[] | undefined
}

/** One committed change, or a batch of changes of one table. */
export interface Change {
  /** Names it within its feed. Later changes mostly have larger ids. */
  readonly id: string
  readonly table: string
  /** The row before and after, as far as there are both, or all rows of a batch; `undefined`: any row of the table. */
  readonly rows: readonly FeedRow[] | undefined
  /**
   * What it invalidates besides the targets of this process's map: what any process has declared beside the changes. Left
   * out: nothing.
   */
  readonly declared?: readonly (Tag | WholeKeyspace)[]
  /** How many changes it stands for. @defaultValue 1 */
  readonly count?: number
  /** How long before it was taken it was written, in milliseconds by the origin's clock; it was committed later. */
  readonly ageMs: number
}

/** What {@link FeedSession.take} hands out. */
export interface Batch {
  readonly changes: readonly Change[]
  /** Whether taking again at once would be useful. */
  readonly more: boolean
  /** Whether these are all unapplied changes that had been committed when the batch was asked for. */
  readonly drained: boolean
}

/** What a feed is given when a session is opened. */
export interface FeedOpening {
  readonly clock: Clock
  /** The cache's `guardMs`. Limits of the origin should be smaller. */
  readonly guardMs: number
  /**
   * Whether only this process uses the shared store. Then every session is to be handed every change committed after
   * it was opened; otherwise sessions share the work.
   */
  readonly isPrivate: boolean
  /** To be called when the session is lost, unless {@link FeedSession.close} or `abandon` was called. */
  readonly lost: (error: unknown) => void
  /** To be called when something is found that a person should mend. Without a code it counts as `OTHER`. */
  readonly warn: (message: string, code?: FeedWarningCode) => void
  /**
   * To be called with the message of a warning when it is no longer true. A warning of an earlier session that this one has
   * not repeated by the time it is open counts as mended without a call.
   */
  readonly mended: (message: string) => void
}

/** A relay's session with the origin. Any rejection ends it. Its methods are called one after the other. */
export interface FeedSession {
  /**
   * Which origin this is. The text differs from an earlier one if the origin may have taken back commits since, by a crash, a
   * failover or a restored backup. `''` if that cannot be known. It holds for the session: `take` rejects if it changes.
   */
  readonly origin: string
  /**
   * Which server of the origin this is: the same after it was restarted, another one after a failover. Where it has changed, the
   * last one may still have answered loaders of this process after others had followed. Left out: `origin`, so that each restart
   * counts.
   */
  readonly server?: string
  /** Whether the origin may take back commits when this session is lost, without a change of `origin`. */
  readonly mayTakeBack: boolean
  /**
   * Hands out changes, no more than fit in memory, and keeps other sessions that share the work from them until they
   * are settled.
   *
   * @param after - Leaves out the changes up to this id, because they were tried already. May be ignored.
   */
  take(after: string | undefined): Promise<Batch>
  /** Ends the last batch that was not empty: these of its changes were applied, the others are to be handed out again. */
  settle(applied: readonly Change[]): Promise<void>
  /**
   * What was remembered of each keyspace, by anyone up to now, also between `take` and `settle`. Not used where the store
   * is private.
   */
  remembered(): Promise<ReadonlyMap<string, string>>
  /**
   * Remembers a text for each of these keyspaces, beside the changes.
   *
   * @param instead - If given, only for keyspaces of which exactly this text is remembered: compared and replaced in one go.
   */
  remember(keyspaces: readonly string[], identity: string, instead?: string): Promise<void>
  /** Ends it in good order. Nothing is under way. */
  close(): Promise<void>
  /** Ends it at once. Calls under way may stay unanswered. Must not throw. */
  abandon(): void
}
