import type { Clock } from '../../src/base/clock.ts'
import type {
  Batch,
  Change,
  ChangeFeed,
  FeedOpening,
  FeedRow,
  FeedSession,
  FeedTable,
} from '../../src/feed/change-feed.ts'
import { type Gate, gate } from '../../src/testing/index.ts'

/** The steps of a session at which a test can hold it up. */
export type Step = 'open' | 'take' | 'settle' | 'remembered' | 'remember'

/** A change feed in memory, with a network that a test can break. Several relays may use one. */
export class FakeFeed implements ChangeFeed {
  readonly name = 'fake'
  readonly pollMs = 250
  readonly timeoutMs = 5_000
  readonly tables: ReadonlyMap<string, FeedTable>
  /** What was committed and is not settled as applied. */
  readonly outbox: Change[] = []
  /** What is remembered of each keyspace. */
  readonly memory = new Map<string, string>()
  /** What was done, in order; a test adds what it wants to see in between. */
  readonly log: string[] = []
  readonly sessions: FakeSession[] = []
  origin = 'origin 1'
  server = 'server 1'
  mayTakeBack = false
  mostChanges = 100
  /** Why it cannot be opened. */
  away: Error | undefined
  readonly #held = new Map<Step, Gate<void>>()
  #lastId = 0

  readonly #clock: Clock

  constructor(clock: Clock, tables: Record<string, FeedTable>) {
    this.#clock = clock
    this.tables = new Map(Object.entries(tables))
  }

  /** Somebody changed a row, `agoMs` before the commit, which is now; without rows, the whole table. */
  commit(table: string, rows?: readonly FeedRow[], agoMs = 0): void {
    const writtenMs = this.#clock.nowMs() - agoMs
    const clock = this.#clock
    this.outbox.push({
      id: String(++this.#lastId),
      table,
      rows,
      get ageMs() {
        return clock.nowMs() - writtenMs
      },
    })
  }

  /** Stops every session at this step from now on, until the gate is opened, or failed. */
  hold(step: Step): Gate<void> {
    const held = gate()
    this.#held.set(step, held)
    return held
  }

  /** Lets later comers pass. */
  letPass(step: Step): void {
    this.#held.delete(step)
  }

  async passes(step: Step): Promise<void> {
    await this.#held.get(step)?.wait()
  }

  /** The sessions that were neither closed nor given up. */
  get living(): FakeSession[] {
    return this.sessions.filter(session => !session.hasEnded)
  }

  async open(opening: FeedOpening): Promise<FeedSession> {
    this.log.push('open')
    await this.passes('open')
    if (this.away !== undefined) throw this.away
    const session = new FakeSession(this, opening)
    this.sessions.push(session)
    return session
  }
}

/** A session with a {@link FakeFeed}. */
export class FakeSession implements FeedSession {
  readonly origin: string
  readonly server: string
  readonly mayTakeBack: boolean
  hasEnded = false
  readonly #feed: FakeFeed
  readonly #opening: FeedOpening
  /** What no other session is handed meanwhile. */
  readonly locked = new Set<Change>()
  /** Where a private store's session has come to. */
  #seen: number

  constructor(feed: FakeFeed, opening: FeedOpening) {
    this.#feed = feed
    this.#opening = opening
    this.origin = feed.origin
    this.server = feed.server
    this.mayTakeBack = feed.mayTakeBack
    this.#seen = feed.outbox.length
  }

  async take(after: string | undefined): Promise<Batch> {
    this.#feed.log.push('take')
    await this.#feed.passes('take')
    this.#assertAlive()
    const { outbox, mostChanges } = this.#feed
    if (this.#opening.isPrivate) return { changes: outbox.slice(this.#seen), more: false, drained: true }
    const waiting = outbox.filter(({ id }) => Number(id) > Number(after ?? 0))
    const free = waiting.filter(change => !this.#feed.living.some(session => session.locked.has(change)))
    const changes = free.slice(0, mostChanges)
    for (const change of changes) this.locked.add(change)
    return { changes, more: changes.length === mostChanges, drained: waiting.length === 0 }
  }

  async settle(applied: readonly Change[]): Promise<void> {
    await this.#feed.passes('settle')
    this.#assertAlive()
    if (applied.length > 0) this.#feed.log.push(`settle ${applied.map(({ id }) => id).join(',')}`)
    this.locked.clear()
    if (this.#opening.isPrivate) this.#seen += applied.length
    else for (const change of applied) this.#feed.outbox.splice(this.#feed.outbox.indexOf(change), 1)
  }

  async remembered(): Promise<ReadonlyMap<string, string>> {
    await this.#feed.passes('remembered')
    this.#assertAlive()
    return new Map(this.#feed.memory)
  }

  async remember(keyspaces: readonly string[], identity: string, instead?: string): Promise<void> {
    await this.#feed.passes('remember')
    this.#assertAlive()
    this.#feed.log.push(
      `${identity.startsWith('doubted ') ? 'doubt' : 'remember'} ${[...keyspaces].join(',')}`,
    )
    const { memory } = this.#feed
    for (const name of keyspaces)
      if (instead === undefined || memory.get(name) === instead) memory.set(name, identity)
  }

  async close(): Promise<void> {
    this.hasEnded = true
  }

  abandon(): void {
    this.hasEnded = true
  }

  /** The origin ends the session, and gives what it had locked to others. */
  end(error = new Error('terminated')): void {
    this.hasEnded = true
    this.#opening.lost(error)
  }

  /** As {@link FakeSession.end}, and nobody is told: its process is gone, or its network. */
  vanish(): void {
    this.hasEnded = true
  }

  #assertAlive(): void {
    if (this.hasEnded) throw new Error('the session has ended')
  }
}
