/**
 * Carries the changes of a feed to the shared store: takes a batch, maps it to keys, invalidates them, and only when
 * the store has acknowledged that, settles the changes. **Apply, then mark**: if the relay dies in between, some work
 * is done again. The other way round: 1. the change is marked; 2. the relay dies; 3. the value stays.
 *
 * Nothing goes through the queue of unconfirmed invalidations, which dies with the process: what is not confirmed stays in
 * the outbox and is tried again, by this relay or another one. A change that cannot be applied, because its part of the store
 * is away, does not hold up later ones: the relay continues to the end of the outbox, waits, and begins again.
 *
 * A relay never ends by itself. Without a session it tries to open one, at growing intervals; it reports every
 * loss and every recovery once.
 */
import type { Clock, Timer } from '../base/clock.ts'
import type { CacheEvent, FeedBatchEvent } from '../base/events.ts'
import { keyspaceOf } from '../base/key.ts'
import { messageOf } from '../base/thrown.ts'
import { newId } from '../base/trace-id.ts'
import type { RelayTrace } from '../base/tracing.ts'
import { type Batch, type Change, type ChangeFeed, type FeedSession, HAPPENED } from './change-feed.ts'
import { Identities } from './identities.ts'
import { type Plan, planOf } from './plan.ts'
import type { RelayTarget } from './relay-target.ts'

/** Own writes poke the relay. It asks the origin no more often than this, however many there are. */
const MIN_GAP_MS = 20
const RETRY_FIRST_MS = 100
const RETRY_MOST_MS = 5_000
/** Identities are compared at every new connection, and at this interval, for changes that no connection shows. */
const VERIFY_EVERY_MS = 15_000
const AT_ONCE = 64
const MOST_UNKNOWN = 100

/** Carries the changes of a feed to the shared store, from the opening of its first session until it is closed. */
export class Relay {
  readonly #feed: ChangeFeed
  readonly #target: RelayTarget
  /** Keyspaces that a map has named and nobody here has defined, once each. */
  readonly #unknown = new Set<string>()
  /** Warnings of the feed that are not mended, and the session that gave each last. */
  readonly #findings = new Map<string, number>()
  /** Tables whose map was at fault when it was last used. */
  readonly #faulty = new Set<string>()
  readonly #clock: Clock
  readonly #guardMs: number
  readonly #emit: (event: CacheEvent) => void
  readonly #identities: Identities
  readonly #ended: Promise<void>
  #closed = false

  #sessions = 0
  #loss: { readonly error: unknown } | undefined
  #lastState: string | undefined
  #verifyDueMs = Number.NEGATIVE_INFINITY
  /** When the last comparison began, and what became of it. */
  #verifyingMs = Number.NEGATIVE_INFINITY
  #verified: Awaited<ReturnType<Identities['verify']>> = 'done'
  #hasSession = false
  /** Called when identities have been compared by a look that began later, or cannot be. */
  readonly #awaiting = new Set<() => void>()

  /** The last change that was tried, as long as changes before it are left. */
  #after: string | undefined
  #restartMs = Number.POSITIVE_INFINITY
  #retryMs = RETRY_FIRST_MS
  /** Everything that was committed before this moment is applied. */
  #drainedMs = Number.NEGATIVE_INFINITY
  #tookMs = Number.NEGATIVE_INFINITY

  #poked = false
  #sleeping: { readonly wake: () => void; readonly isIdle: boolean } | undefined
  #cancelOpening = () => {}

  constructor(
    feed: ChangeFeed,
    target: RelayTarget,
    clock: Clock,
    guardMs: number,
    emit: (event: CacheEvent) => void,
  ) {
    this.#feed = feed
    this.#target = target
    this.#clock = clock
    this.#guardMs = guardMs
    this.#emit = emit
    this.#identities = new Identities(target, clock, emit)
    this.#ended = Promise.resolve().then(() => this.#run())
  }

  /** Something was committed: looks for it at once, or as soon as the round under way has ended. */
  poke(): void {
    this.#poked = true
    if (this.#sleeping?.isIdle) this.#sleeping.wake()
  }

  /** The store may be another one: as {@link Relay.verify}, and an identity that is not known counts as changed. */
  reconnected(reason: string): void {
    this.#identities.reconnected(reason)
    this.verify()
  }

  /** A keyspace is new: compares identities, and tries everything again, at once. */
  verify(): void {
    this.#verifyDueMs = Number.NEGATIVE_INFINITY
    this.#retryMs = RETRY_FIRST_MS
    if (!this.#isClean) this.#restartMs = Number.NEGATIVE_INFINITY
    this.#sleeping?.wake()
  }

  /**
   * Compares identities soon. Resolves when that is done, or cannot be because there is no session with the origin: then hits must
   * be served. A store that answers and confirms no new generation is tried again in its time.
   */
  compared(): Promise<void> {
    if (!this.#hasSession) return Promise.resolve()
    if (this.#verified !== 'unconfirmed') {
      this.#verifyDueMs = Math.min(this.#verifyDueMs, this.#verifyingMs + RETRY_FIRST_MS)
      this.#sleeping?.wake()
    }
    return new Promise(resolve => void this.#awaiting.add(resolve))
  }

  /** Ends the relay after the round under way. Unsettled changes are left to other relays, or to the next one. */
  close(): Promise<void> {
    this.#closed = true
    this.#cancelOpening()
    this.#sleeping?.wake()
    return this.#ended
  }

  /** Whether everything that was tried was applied. */
  get #isClean(): boolean {
    return this.#restartMs === Number.POSITIVE_INFINITY
  }

  async #run(): Promise<void> {
    let retryMs = RETRY_FIRST_MS
    while (!this.#closed) {
      const beganMs = this.#clock.nowMs()
      let session: FeedSession | undefined
      try {
        session = await this.#open()
        this.#hasSession = true
        await this.#serve(session)
        this.#endComparing()
        await this.#limited(session.close())
      } catch (error) {
        this.#endComparing()
        session?.abandon()
        if (this.#closed) return
        if (session?.mayTakeBack) this.#identities.distrust('the session with the origin was lost')
        this.#emitState('lost', error)
        this.#loss = undefined
        // A session that held for a while was not lost for the reason of the loss before it.
        if (this.#clock.nowMs() - beganMs > 2 * this.#feed.timeoutMs) retryMs = RETRY_FIRST_MS
        await this.#sleep(retryMs * (0.5 + this.#clock.random() / 2), false)
        retryMs = Math.min(RETRY_MOST_MS, retryMs * 2)
      }
    }
  }

  /** There is no session any more. */
  #endComparing(): void {
    this.#hasSession = false
    this.#answer([...this.#awaiting])
  }

  #answer(awaiting: readonly (() => void)[]): void {
    for (const resolve of awaiting) {
      this.#awaiting.delete(resolve)
      resolve()
    }
  }

  async #open(): Promise<FeedSession> {
    const number = ++this.#sessions
    const opening = this.#feed.open({
      clock: this.#clock,
      guardMs: this.#guardMs,
      isPrivate: this.#target.isPrivate,
      lost: error => {
        // Ignores an earlier session, which was given up.
        if (number !== this.#sessions) return
        this.#loss ??= { error }
        this.#sleeping?.wake()
      },
      warn: (message, code = 'OTHER') => {
        if (!HAPPENED.has(code)) this.#findings.set(message, number)
        this.#emit({ type: 'feed-warning', code, message })
      },
      mended: message => this.#mended(message),
    })
    const closed = new Promise<never>((_, reject) => {
      this.#cancelOpening = () => reject(new Error('the relay was closed'))
    })
    const session = await this.#limited(Promise.race([opening, closed])).catch(error => {
      // Nobody waits for the session any more, and it must not stay open.
      opening.then(
        late => late.abandon(),
        () => {},
      )
      throw error
    })
    this.#cancelOpening = () => {}
    for (const [message, inSession] of this.#findings) if (inSession !== number) this.#mended(message)
    // What is committed between two sessions with a private store is handed out to neither.
    if (this.#target.isPrivate) this.#identities.distrust('the session with the origin is a new one')
    this.#identities.reconnected('the session with the origin is a new one')
    this.#verifyDueMs = Number.NEGATIVE_INFINITY
    this.#after = undefined
    return session
  }

  /** Round after round, until the relay is closed; rejects when the session is lost. */
  async #serve(session: FeedSession): Promise<void> {
    while (!this.#closed) {
      if (this.#clock.nowMs() >= this.#verifyDueMs) await this.#verify(session)
      const pauseMs = await this.#round(session)
      if (this.#loss === undefined) this.#emitState('open')
      if (pauseMs > 0) await this.#rest(this.#isAwaited ? this.#untilVerify(pauseMs) : pauseMs)
      if (this.#loss !== undefined) throw this.#loss.error
    }
  }

  /** Whether readers wait for the next comparison, and it need not wait for its time. */
  get #isAwaited(): boolean {
    return this.#awaiting.size > 0 && this.#verified !== 'unconfirmed'
  }

  #untilVerify(pauseMs: number): number {
    return Math.min(pauseMs, Math.max(0, this.#verifyDueMs - this.#clock.nowMs()))
  }

  async #verify(session: FeedSession): Promise<void> {
    this.#verifyingMs = this.#clock.nowMs()
    // Before the work: a request that comes meanwhile is served by another look.
    this.#verifyDueMs = this.#verifyingMs + VERIFY_EVERY_MS
    const awaiting = [...this.#awaiting]
    this.#verified = await this.#limited(this.#identities.verify(session))
    if (this.#verified === 'done') this.#answer(awaiting)
    else this.#verifyDueMs = Math.min(this.#verifyDueMs, this.#clock.nowMs() + this.#backOff())
  }

  /**
   * One batch.
   *
   * @returns how long to wait before the next one, in milliseconds.
   */
  async #round(session: FeedSession): Promise<number> {
    this.#poked = false
    const sentMs = this.#clock.nowMs()
    this.#tookMs = sentMs
    const fromTheStart = this.#after === undefined
    const batch = await this.#limited(session.take(this.#after))
    if (batch.changes.length > 0) {
      const applied = await this.#traceBatch(session, batch, sentMs)
      this.#after = batch.changes.at(-1)!.id
      if (applied.length < batch.changes.length) {
        const waitMs = this.#backOff()
        if (this.#isClean) this.#restartMs = this.#clock.nowMs() + waitMs
        // None was applied: the store is away, and the next changes would not be applied either.
        if (applied.length === 0) return waitMs
      }
    }
    if (batch.drained && fromTheStart && this.#isClean) this.#drainedMs = sentMs
    return batch.more ? 0 : this.#atTheEnd()
  }

  /** Apply, then mark; and tell what became of the batch. */
  #traceBatch(session: FeedSession, batch: Batch, sentMs: number): Promise<Change[]> {
    const message: RelayTrace = { id: newId(), changes: countOf(batch.changes) }
    return this.#target.trace(message, async () => {
      const tookMs = this.#clock.nowMs()
      try {
        return await this.#applyAndSettle(session, batch, message, sentMs, tookMs)
      } catch (error) {
        const times = { lagMs: 0, durationMs: this.#clock.nowMs() - tookMs }
        const event = {
          type: 'feed-batch',
          ...message,
          outcome: 'failed',
          applied: 0,
          ...times,
          error,
        } as const
        message.event = event
        this.#emit(event)
        throw error
      }
    })
  }

  async #applyAndSettle(
    session: FeedSession,
    batch: Batch,
    message: RelayTrace,
    sentMs: number,
    tookMs: number,
  ): Promise<Change[]> {
    const { id } = message
    const applied = await this.#apply(session, batch, id)
    await this.#limited(session.settle(applied))
    message.event = this.#reportBatch(id, batch, applied, sentMs, tookMs)
    return applied
  }

  /** All changes were tried. Unapplied ones are tried again when their time has come; until then only new ones are. */
  #atTheEnd(): number {
    const leftMs = this.#restartMs - this.#clock.nowMs()
    if (leftMs > 0 && !this.#isClean) return Math.min(leftMs, this.#feed.pollMs)
    const pauseMs = this.#isClean ? this.#feed.pollMs : 0
    if (this.#isClean) this.#retryMs = RETRY_FIRST_MS
    this.#after = undefined
    this.#restartMs = Number.POSITIVE_INFINITY
    return pauseMs
  }

  #backOff(): number {
    const waitMs = this.#retryMs * (0.5 + this.#clock.random() / 2)
    this.#retryMs = Math.min(RETRY_MOST_MS, this.#retryMs * 2)
    return waitMs
  }

  /** Carries out the invalidations of a batch. Returns the changes for which all of them were confirmed, and count. */
  async #apply(session: FeedSession, { changes }: Batch, id: number): Promise<Change[]> {
    const doubted = await this.#limited(this.#identities.doubted(session))
    const reported = new Set<string>()
    const plan = planOf(
      changes,
      this.#feed.tables,
      () => this.#identities.names,
      (table, error) => {
        if (reported.has(table)) return
        reported.add(table)
        this.#emit({ type: 'fault', during: mapOf(table), error })
      },
      this.#named,
    )
    this.#noteFaults(changes, reported)
    const failed = await this.#invalidate(plan, doubted, id)
    return changes.filter(change => !failed.has(change))
  }

  /** A map that works again is mended. */
  #noteFaults(changes: readonly Change[], faulty: ReadonlySet<string>): void {
    for (const table of faulty) this.#faulty.add(table)
    for (const { table, rows } of changes) {
      if (rows === undefined || faulty.has(table) || !this.#faulty.delete(table)) continue
      this.#emit({ type: 'mended', of: 'fault', what: mapOf(table) })
    }
  }

  #mended(message: string): void {
    if (this.#findings.delete(message)) this.#emit({ type: 'mended', of: 'feed-warning', what: message })
  }

  /** Another process may have a keyspace that this one has not, and a map may be wrong. */
  readonly #named = (table: string, keyspace: string): void => {
    if (this.#target.isKnown(keyspace) || this.#unknown.has(keyspace)) return
    if (this.#unknown.size >= MOST_UNKNOWN) return
    this.#unknown.add(keyspace)
    this.#emit({
      type: 'feed-warning',
      code: 'UNKNOWN_KEYSPACE',
      message: `the feed's map of table ${table} names the keyspace ${keyspace}, which this process has not defined. Ignore this if another process defines it; otherwise let the map make its keys with this cache`,
    })
  }

  /** The changes of which an invalidation was not confirmed, or does not count. */
  async #invalidate(
    { keys, keyspaces }: Plan,
    doubted: ReadonlySet<string>,
    id: number,
  ): Promise<ReadonlySet<Change>> {
    const failed = new Set<Change>()
    const work: (readonly [keyspace: string, invalidate: () => Promise<boolean>, of: readonly Change[]])[] =
      []
    for (const [name, of] of keyspaces) work.push([name, () => this.#target.invalidateKeyspace(name, id), of])
    for (const [key, of] of keys) work.push([keyspaceOf(key), () => this.#target.invalidate(key, id), of])
    let isAway = false
    for (let at = 0; at < work.length; at += AT_ONCE) {
      const some = work.slice(at, at + AT_ONCE)
      // After a whole round without an answer the others are not tried: each would take the whole time limit.
      const confirmed: boolean[] = isAway ? [] : await Promise.all(some.map(([, invalidate]) => invalidate()))
      some.forEach(([keyspace, , of], i) => {
        if (!confirmed[i] || doubted.has(keyspace)) for (const change of of) failed.add(change)
      })
      isAway ||= !confirmed.includes(true)
    }
    return failed
  }

  /** Reports a batch, with the time from commit to invalidation as far as it is known. */
  #reportBatch(
    id: number,
    batch: Batch,
    applied: readonly Change[],
    sentMs: number,
    tookMs: number,
  ): FeedBatchEvent {
    const nowMs = this.#clock.nowMs()
    let lagMs = 0
    // A change was committed after it was written, and after the last time when nothing was left: so at most this long.
    for (const { ageMs } of applied)
      lagMs = Math.max(lagMs, Math.min(ageMs + nowMs - sentMs, nowMs - this.#drainedMs))
    const outcome = applied.length === batch.changes.length ? 'applied' : 'retained'
    const counts = { changes: countOf(batch.changes), applied: countOf(applied) }
    const event = { type: 'feed-batch', id, outcome, ...counts, lagMs, durationMs: nowMs - tookMs } as const
    this.#emit(event)
    return event
  }

  #emitState(state: 'open' | 'lost', error?: unknown): void {
    const what = state === 'open' ? state : `${state} ${messageOf(error)}`
    if (what === this.#lastState) return
    this.#lastState = what
    this.#emit({ type: 'feed', state, error })
  }

  /** A driver's own time limit does not fire on every kind of outage. */
  #limited<T>(work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const { name, timeoutMs } = this.#feed
      const timer = this.#clock.after(timeoutMs, () => {
        reject(new Error(`the ${name} feed did not answer within ${timeoutMs} ms`))
      })
      work.then(resolve, reject).finally(() => timer.cancel())
    })
  }

  /**
   * Waits for the next round. A poke ends the wait, but not before the gap is over. With the store away, pokes are ignored.
   */
  async #rest(pauseMs: number): Promise<void> {
    const isIdle = this.#isClean
    if (!(isIdle && this.#poked)) await this.#sleep(pauseMs, isIdle)
    const gapMs = this.#tookMs + MIN_GAP_MS - this.#clock.nowMs()
    if (isIdle && this.#poked && gapMs > 0) await this.#sleep(gapMs, false)
  }

  #sleep(ms: number, isIdle: boolean): Promise<void> {
    if (this.#closed || this.#loss !== undefined) return Promise.resolve()
    return new Promise(resolve => {
      const wake = () => {
        timer.cancel()
        this.#sleeping = undefined
        resolve()
      }
      const timer: Timer = this.#clock.after(ms, wake)
      this.#sleeping = { wake, isIdle }
    })
  }
}

const mapOf = (table: string): string => `the feed's map of table ${table}`
const countOf = (changes: readonly Change[]): number => changes.reduce((sum, { count = 1 }) => sum + count, 0)
