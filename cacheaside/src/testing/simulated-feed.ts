import type { Clock } from '../base/clock.ts'
import type {
  Batch,
  Change,
  ChangeFeed,
  FeedMap,
  FeedOpening,
  FeedRow,
  FeedSession,
  FeedTable,
} from '../feed/change-feed.ts'

/** What a {@link SimulatedFeed} is made with. */
export interface SimulatedFeedOptions {
  /** Counts the age of changes. Give it the cache's clock. */
  readonly clock: Clock
  /** What depends on the rows of each table: a function from a row to keys, or that function with more about it. */
  readonly tables: Readonly<Record<string, FeedTable | FeedMap>>
  /** How often a relay looks for changes, in milliseconds. @defaultValue 250 */
  readonly pollMs?: number
  /** After how many milliseconds without an answer a relay gives a session up. @defaultValue 5000 */
  readonly timeoutMs?: number
  /** How many changes are handed out at a time. @defaultValue 500 */
  readonly mostChanges?: number
  /** See {@link FeedSession.mayTakeBack}. @defaultValue false */
  readonly mayTakeBack?: boolean
}

/** The options of {@link SimulatedFeed.commit}. */
export interface SimulatedCommit {
  /** How many milliseconds before this call, which is the commit, the change was written. @defaultValue 0 */
  readonly writtenMsAgo?: number
}

/**
 * A change feed without a database: a test says what was committed, and the relay of the cache carries it to the
 * store. It keeps the contract (`changeFeedContract`), so caches on one store share its changes, and caches that have
 * a store each are handed every one. Put `faultyChangeFeed` before it to break the way to it.
 *
 * @example
 * ```ts
 * const feed = new SimulatedFeed({ clock, tables: { spell: row => [spells.key(row.id)] } })
 * const cache = createCache({ clock, feed })
 * const spells = cache.keyspace('spell', { load: (id: number) => table.get(id) })
 *
 * table.set(4, earthquake)               // somebody else changes the row
 * feed.commit('spell', [{ id: 4 }])      // and commits
 * await clock.advance(feed.pollMs)       // the relay has looked: the old value is gone
 * ```
 */
export class SimulatedFeed implements ChangeFeed {
  readonly name = 'simulated'
  readonly tables: ReadonlyMap<string, FeedTable>
  readonly pollMs: number
  readonly timeoutMs: number
  readonly #clock: Clock
  readonly #mostChanges: number
  readonly #mayTakeBack: boolean
  readonly #outbox = new Map<string, Change>()
  readonly #sessions = new Set<SimulatedSession>()
  readonly #remembered = new Map<string, string>()
  #lastId = 0
  #lives = 1

  constructor(options: SimulatedFeedOptions) {
    const { clock, tables, pollMs = 250, timeoutMs = 5_000, mostChanges = 500, mayTakeBack = false } = options
    this.#clock = clock
    this.tables = new Map(
      Object.entries(tables).map(([name, table]) => [
        name,
        typeof table === 'function' ? { keys: table } : table,
      ]),
    )
    this.pollMs = pollMs
    this.timeoutMs = timeoutMs
    this.#mostChanges = mostChanges
    this.#mayTakeBack = mayTakeBack
  }

  /** The changes that no session of caches with a shared store has settled as applied. */
  get waiting(): readonly Change[] {
    return [...this.#outbox.values()]
  }

  /** What is remembered of each keyspace: the identity of store and origin under which it got its generation. */
  get remembered(): ReadonlyMap<string, string> {
    return this.#remembered
  }

  /** How many sessions have not ended: 0 after a test that closed its caches. */
  get openSessions(): number {
    return this.#sessions.size
  }

  /**
   * Commits a change, at this moment.
   *
   * @param rows - The row as it was and as it is, or the only one of both; left out: any row of the table may have
   * changed, as by TRUNCATE. Values become texts, as databases write them; null stays null.
   */
  commit(
    table: string,
    rows?: readonly Readonly<Record<string, unknown>>[],
    { writtenMsAgo = 0 }: SimulatedCommit = {},
  ): void {
    const clock = this.#clock
    const writtenMs = clock.nowMs() - writtenMsAgo
    const change: Change = {
      id: String(++this.#lastId),
      table,
      rows: rows?.map(asTexts),
      get ageMs() {
        return clock.nowMs() - writtenMs
      },
    }
    this.#outbox.set(change.id, change)
    for (const session of this.#sessions) session.tell(change)
  }

  /**
   * The origin ends every session, and tells the relays. They open new ones, and get unsettled changes again.
   *
   * @param error - the error that the relays get.
   */
  endSessions(error: Error = new Error('the origin ended the session')): void {
    for (const session of [...this.#sessions]) session.end(error)
  }

  /**
   * The origin restarts, and may have taken back what it had committed: its identity is another one, and every
   * keyspace gets a new generation.
   */
  restart(): void {
    this.#lives++
    this.endSessions(new Error('the origin was restarted'))
  }

  async open(opening: FeedOpening): Promise<FeedSession> {
    const session: SimulatedSession = new SimulatedSession(opening, {
      origin: `simulated origin, life ${this.#lives}`,
      mayTakeBack: this.#mayTakeBack,
      mostChanges: this.#mostChanges,
      outbox: this.#outbox,
      remembered: this.#remembered,
      isHeld: change => [...this.#sessions].some(other => other !== session && other.holds(change)),
      ended: () => this.#sessions.delete(session),
    })
    this.#sessions.add(session)
    return session
  }
}

/** The parts of its feed that a session uses. */
interface SessionScope {
  readonly origin: string
  readonly mayTakeBack: boolean
  readonly mostChanges: number
  readonly outbox: Map<string, Change>
  readonly remembered: Map<string, string>
  /** Whether another session has taken this change and not settled it. */
  isHeld(change: Change): boolean
  ended(): void
}

class SimulatedSession implements FeedSession {
  readonly #opening: FeedOpening
  readonly #scope: SessionScope
  /** With a private store: the changes that were committed since it was opened, and are not settled. */
  readonly #own = new Map<string, Change>()
  /** The ids of the last batch. */
  #taken: ReadonlySet<string> = new Set()
  #hasEnded = false

  constructor(opening: FeedOpening, scope: SessionScope) {
    this.#opening = opening
    this.#scope = scope
  }

  /** A restart leaves it the same. */
  readonly server = 'simulated server'

  get origin(): string {
    return this.#scope.origin
  }
  get mayTakeBack(): boolean {
    return this.#scope.mayTakeBack
  }

  async take(after: string | undefined): Promise<Batch> {
    this.#assertAlive()
    const { mostChanges, isHeld } = this.#scope
    const all = [...this.#left.values()]
    const free = all.filter(
      change => Number(change.id) > Number(after ?? 0) && !this.#isOthers(change, isHeld),
    )
    const changes = free.slice(0, mostChanges)
    this.#taken = new Set(changes.map(({ id }) => id))
    return {
      changes,
      more: free.length > mostChanges,
      drained: all.every(({ id }) => this.#taken.has(id)),
    }
  }

  async settle(applied: readonly Change[]): Promise<void> {
    this.#assertAlive()
    for (const { id } of applied) this.#left.delete(id)
    this.#taken = new Set()
  }

  async remembered(): Promise<ReadonlyMap<string, string>> {
    this.#assertAlive()
    return new Map(this.#scope.remembered)
  }

  async remember(keyspaces: readonly string[], identity: string, instead?: string): Promise<void> {
    this.#assertAlive()
    const { remembered } = this.#scope
    for (const name of keyspaces)
      if (instead === undefined || remembered.get(name) === instead) remembered.set(name, identity)
  }

  async close(): Promise<void> {
    this.abandon()
  }

  abandon(): void {
    this.#hasEnded = true
    this.#taken = new Set()
    this.#scope.ended()
  }

  /** Somebody committed something. */
  tell(change: Change): void {
    if (this.#opening.isPrivate) this.#own.set(change.id, change)
  }

  /** Whether it has taken this change, so that other sessions should leave it alone. */
  holds(change: Change): boolean {
    return !this.#opening.isPrivate && this.#taken.has(change.id)
  }

  /** The origin ends it. */
  end(error: Error): void {
    this.abandon()
    this.#opening.lost(error)
  }

  get #left(): Map<string, Change> {
    return this.#opening.isPrivate ? this.#own : this.#scope.outbox
  }

  #isOthers(change: Change, isHeld: (change: Change) => boolean): boolean {
    return !this.#opening.isPrivate && isHeld(change)
  }

  #assertAlive(): void {
    if (this.#hasEnded) throw new Error('the session has ended')
  }
}

/** A row as a database would write it. */
function asTexts(row: Readonly<Record<string, unknown>>): FeedRow {
  return Object.fromEntries(
    Object.entries(row).map(([column, value]) => [
      column,
      value === null || value === undefined ? null : String(value),
    ]),
  )
}
