import type { Clock } from '../base/clock.ts'
import type { Batch, Change, ChangeFeed, FeedOpening, FeedSession } from '../feed/change-feed.ts'
import { FaultyLine, type NetworkFaults } from './faulty-line.ts'

/** The operations of a change feed that travel over a network: `open`, and those of its sessions. */
export const FEED_OPERATIONS = ['open', 'take', 'settle', 'remembered', 'remember'] as const
/** The name of an operation of a feed that can be made to fail. */
export type FeedOperation = (typeof FEED_OPERATIONS)[number]

/**
 * A change feed as one process sees it over a network that a test can break; made by {@link faultyChangeFeed}.
 *
 * `cut` also ends the sessions, and tells their relay. `hang` is a dead connection without a sign: the relay gives it up
 * after the feed's `timeoutMs`.
 */
export interface FaultyChangeFeed extends ChangeFeed, NetworkFaults<FeedOperation> {
  /**
   * From now on, until `restore`, changes that are settled as applied are handed out a second time, as by a feed whose
   * settlements get lost. The contract allows it, and your code should bear it.
   */
  repeat(): void
  /**
   * Loses the next `count` changes: they are taken out of the feed, and handed to nobody. The contract forbids it. It is like
   * a change that no trigger sees.
   *
   * @param count - how many; `Infinity` for all until `restore`.
   */
  lose(count: number): void
}

/**
 * Puts a network between a process and `inner`, so that a test can make its feed slow, lossy, repetitive or dead.
 * Give each process of the test its own, all over one inner feed.
 *
 * @param inner - any change feed: a {@link SimulatedFeed}, or a real one on PGlite or PostgreSQL.
 * @param options - `clock`: what delays are counted by.
 *
 * @example
 * ```ts
 * const feed = new SimulatedFeed({ clock, tables })
 * const link = faultyChangeFeed(feed, { clock })
 * const cache = createCache({ clock, feed: link })
 * link.cut()                          // this process cannot hear of changes
 * feed.commit('spell', [{ id: 4 }])
 * link.restore()                      // and now it can
 * ```
 */
export function faultyChangeFeed(inner: ChangeFeed, options: { readonly clock: Clock }): FaultyChangeFeed {
  return new FaultyFeed(inner, options.clock)
}

class FaultyFeed implements FaultyChangeFeed {
  readonly name: string
  readonly #inner: ChangeFeed
  readonly #line: FaultyLine<FeedOperation>
  readonly #sessions = new Set<FaultySession>()
  readonly #trouble: Trouble = { repeats: false, toLose: 0 }

  constructor(inner: ChangeFeed, clock: Clock) {
    this.#inner = inner
    this.#line = new FaultyLine(FEED_OPERATIONS, 'the origin', clock)
    this.name = `faulty ${inner.name}`
  }

  get tables() {
    return this.#inner.tables
  }
  get pollMs() {
    return this.#inner.pollMs
  }
  get timeoutMs() {
    return this.#inner.timeoutMs
  }
  get calls() {
    return this.#line.calls
  }
  get log() {
    return this.#line.log
  }

  open(opening: FeedOpening): Promise<FeedSession> {
    return this.#line.send('open', [opening], async () => {
      const inner = await this.#inner.open(opening)
      const session: FaultySession = new FaultySession(inner, this.#line, this.#trouble, {
        lost: error => opening.lost(error),
        ended: () => this.#sessions.delete(session),
      })
      this.#sessions.add(session)
      return session
    })
  }

  hang(operation?: FeedOperation): void {
    this.#line.hang(operation)
  }
  fail(operation?: FeedOperation, error?: Error): void {
    this.#line.fail(operation, error)
  }
  delay(ms: number, operation?: FeedOperation): void {
    this.#line.delay(ms, operation)
  }
  loseReplies(operation?: FeedOperation, how?: 'error' | 'silence'): void {
    this.#line.loseReplies(operation, how)
  }

  repeat(): void {
    this.#trouble.repeats = true
  }

  lose(count: number): void {
    if (!(count >= 0)) throw new RangeError(`no feed can lose ${count} changes`)
    this.#trouble.toLose = count
  }

  cut(): void {
    this.#line.cut()
    for (const session of [...this.#sessions]) session.cut(this.#line.lost())
  }

  restore(operation?: FeedOperation): void {
    if (operation === undefined) {
      this.#trouble.repeats = false
      this.#trouble.toLose = 0
    }
    this.#line.restore(operation)
  }
}

/** The faults of the changes themselves. */
interface Trouble {
  repeats: boolean
  /** How many of the next changes are handed to nobody. */
  toLose: number
}

class FaultySession implements FeedSession {
  readonly #inner: FeedSession
  readonly #line: FaultyLine<FeedOperation>
  readonly #trouble: Trouble
  readonly #tell: { lost(error: Error): void; ended(): void }
  /** The changes to hand out once more, and whether they were the last that were handed out. */
  #again: readonly Change[] = []
  #isRepeated = false
  /** The changes of the last batch that were handed to nobody. */
  #unseen: readonly Change[] = []

  constructor(
    inner: FeedSession,
    line: FaultyLine<FeedOperation>,
    trouble: Trouble,
    tell: { lost(error: Error): void; ended(): void },
  ) {
    this.#inner = inner
    this.#line = line
    this.#trouble = trouble
    this.#tell = tell
  }

  get origin(): string {
    return this.#inner.origin
  }

  get server(): string {
    return this.#inner.server ?? this.#inner.origin
  }
  get mayTakeBack(): boolean {
    return this.#inner.mayTakeBack
  }

  take(after: string | undefined): Promise<Batch> {
    return this.#line.send('take', [after], () => this.#take(after))
  }

  async #take(after: string | undefined): Promise<Batch> {
    this.#isRepeated = this.#again.length > 0
    if (this.#isRepeated) {
      const changes = this.#again
      this.#again = []
      return { changes, more: true, drained: false }
    }
    const batch = await this.#inner.take(after)
    const lost = Math.min(batch.changes.length, this.#trouble.toLose)
    if (lost === 0) return batch
    this.#trouble.toLose -= lost
    this.#unseen = batch.changes.slice(0, lost)
    const changes = batch.changes.slice(lost)
    // A taker never settles an empty batch.
    if (changes.length === 0) await this.#settle([])
    return { ...batch, changes }
  }

  settle(applied: readonly Change[]): Promise<void> {
    return this.#line.send('settle', [applied], () => this.#settle(applied))
  }

  async #settle(applied: readonly Change[]): Promise<void> {
    if (this.#isRepeated) return
    const unseen = this.#unseen
    this.#unseen = []
    await this.#inner.settle([...unseen, ...applied])
    if (this.#trouble.repeats) this.#again = applied
  }

  remembered(): Promise<ReadonlyMap<string, string>> {
    return this.#line.send('remembered', [], () => this.#inner.remembered())
  }

  remember(...given: [keyspaces: readonly string[], identity: string, instead?: string]): Promise<void> {
    return this.#line.send('remember', given, () => this.#inner.remember(...given))
  }

  async close(): Promise<void> {
    this.#tell.ended()
    await this.#inner.close()
  }

  abandon(): void {
    this.#tell.ended()
    this.#inner.abandon()
  }

  /** The connection is lost. */
  cut(error: Error): void {
    this.abandon()
    this.#tell.lost(error)
  }
}
