/**
 * The way to the shared store: every operation has a time limit of ours, because a client's own does not fire on
 * every kind of outage, and an operation that is not confirmed in time makes the store *suspect*.
 *
 * While it is suspect, reads and guards skip it (a circuit breaker that opens at the first failure), and a probe runs in the
 * background, at once and then at growing intervals; the first one that succeeds ends the suspicion. So an outage costs a
 * read at most one time limit, and after a short interruption the cache is used again within milliseconds. Releases and
 * invalidations never skip it: they are queued (`invalidation-queue.ts`).
 */
import type { Clock, Timer } from '../base/clock.ts'
import type { CacheEvent } from '../base/events.ts'
import { messageOf } from '../base/thrown.ts'
import type { SharedStore } from './shared-store.ts'

/** The operation may have been applied, may be applied later, or never. */
export const UNCONFIRMED: unique symbol = Symbol('unconfirmed')

const PROBE_FIRST_MS = 100
const PROBE_MOST_MS = 1000
/** Of an outage so many errors are told at most. */
const MOST_REASONS = 3

/** The way of one cache to its shared store, with what is known of an outage. */
export class SharedAccess {
  readonly store: SharedStore
  readonly timeoutMs: number
  readonly #clock: Clock
  readonly #emit: (event: CacheEvent) => void
  readonly #onReason: (error: unknown) => void
  #suspect = false
  /** What errors have said of this outage. The first may say little: silence, or a connection that was closed. */
  readonly #reasons: string[] = []
  /** How often a suspicion has ended. */
  #recoveries = 0
  /** Comparisons of identities that have not ended. */
  #comparisons = 0
  #probe: Timer | undefined
  #closed = false

  /** @param onReason - Called with errors during an outage that say more than those before. */
  constructor(
    store: SharedStore,
    timeoutMs: number,
    clock: Clock,
    emit: (event: CacheEvent) => void,
    onReason: (error: unknown) => void = () => {},
  ) {
    this.store = store
    this.timeoutMs = timeoutMs
    this.#clock = clock
    this.#emit = emit
    this.#onReason = onReason
  }

  /**
   * Compares the store's identity with what a change feed remembers, and gives new generations where it must. Never rejects. Left
   * out: there is no feed.
   */
  compare: (() => Promise<void>) | undefined

  /** Whether guards should be sent. */
  get available(): boolean {
    return !this.#suspect
  }

  /** Whether reads should be sent. */
  get readable(): boolean {
    return !this.#suspect && this.#comparisons === 0
  }

  /**
   * The store was away, or a connection to it was lost: it may have come back with an older state. Reads bypass it until a
   * change feed has compared identities. Otherwise: 1. the store restarts from an old snapshot; 2. a read finds v1 there; 3. the
   * feed gives the keyspace a new generation.
   */
  mayHaveFallenBack(): void {
    if (this.compare === undefined) return
    this.#comparisons++
    void this.compare().then(() => {
      this.#comparisons--
    })
  }

  /**
   * Runs one operation.
   *
   * @param limitMs - How long it may take; by default `sharedTimeoutMs`.
   * @param call - Sends it. Called exactly once, at once.
   * @param onLate - Called with a reply that came after its limit: what it granted has to be given back.
   * @param holds - Whether the timer keeps the process alive meanwhile, because a caller waits for the reply.
   * @returns the reply, or {@link UNCONFIRMED} if it failed or came too late; never rejects.
   */
  run<T>(
    call: () => Promise<T>,
    limitMs = this.timeoutMs,
    onLate?: (reply: T) => void,
    holds = true,
  ): Promise<T | typeof UNCONFIRMED> {
    return new Promise(resolve => this.send(call, resolve, limitMs, onLate, holds))
  }

  /**
   * As {@link SharedAccess.run}, without a promise.
   *
   * @param then - Called once with what `run` would give, and not before this returns. It must not throw.
   */
  send<T>(
    call: () => Promise<T>,
    then: (reply: T | typeof UNCONFIRMED) => void,
    limitMs = this.timeoutMs,
    onLate?: (reply: T) => void,
    holds = true,
  ): void {
    const recoveries = this.#recoveries
    let sent: Promise<T>
    try {
      const called = call()
      if (typeof called.then !== 'function') throw new TypeError('the shared store returned no promise')
      // A promise of another library may call back at once.
      sent = Promise.resolve(called)
    } catch (error) {
      sent = Promise.reject(error)
    }
    // In one process nothing can be late, and a timer per operation would cost more than the operation.
    if (this.store.synchronous) {
      sent.then(then, error => then(this.#failed(error, recoveries)))
      return
    }
    let late = false
    // After the event loop was held up, timers run before the sockets are read. One more turn shows a reply that has
    // arrived already.
    let timer = this.#clock.after(
      Math.max(0, limitMs),
      () => {
        timer = this.#clock.after(0, giveUp, holds)
      },
      holds,
    )
    const giveUp = () => {
      late = true
      // An operation that had less than the full time says nothing about the store.
      if (limitMs < this.timeoutMs) return then(UNCONFIRMED)
      then(this.#failed(new Error(`no answer within ${Math.round(limitMs)} ms`), recoveries, true))
    }
    sent.then(
      reply => {
        timer.cancel()
        if (late) onLate?.(reply)
        else then(reply)
      },
      error => {
        timer.cancel()
        if (!late) then(this.#failed(error, recoveries))
      },
    )
  }

  /** As {@link SharedAccess.run}, for work that nobody waits for. */
  runBehind<T>(call: () => Promise<T>, limitMs?: number): Promise<T | typeof UNCONFIRMED> {
    return this.run(call, limitMs, undefined, false)
  }

  #failed(error: unknown, recoveries: number, isSilence = false): typeof UNCONFIRMED {
    // An operation that was sent before the last recovery says nothing about the store now.
    if (this.#closed || recoveries !== this.#recoveries) return UNCONFIRMED
    const isNews = !isSilence && this.#isNews(messageOf(error))
    if (!this.#suspect) {
      this.#suspect = true
      this.#emit({ type: 'shared', state: 'unavailable', error })
      this.#probeAfter(0, PROBE_FIRST_MS)
    } else if (isNews) this.#onReason(error)
    return UNCONFIRMED
  }

  /** Whether an error says more than those before it. One that only puts words around another's says no more. */
  #isNews(reason: string): boolean {
    const reasons = this.#reasons
    if (reasons.length >= MOST_REASONS || reasons.some(told => reason.includes(told))) return false
    reasons.push(reason)
    return true
  }

  #probeAfter(delayMs: number, nextMs: number): void {
    this.#probe = this.#clock.after(delayMs, async () => {
      const reply = await this.runBehind(() => this.store.heartbeat('', []))
      if (this.#closed) return
      if (reply === UNCONFIRMED) {
        const jitter = 0.5 + this.#clock.random() / 2
        return this.#probeAfter(nextMs * jitter, Math.min(PROBE_MOST_MS, nextMs * 2))
      }
      this.#suspect = false
      this.#reasons.length = 0
      this.#recoveries++
      this.#probe = undefined
      this.mayHaveFallenBack()
      this.#emit({ type: 'shared', state: 'available' })
    })
  }

  /** Stops probing. */
  close(): void {
    this.#closed = true
    this.#probe?.cancel()
  }
}
