import type { Clock, Timer } from '../base/clock.ts'
import type { CacheEvent } from '../base/events.ts'
import { keyspaceOf } from '../base/key.ts'
import { type SharedAccess, UNCONFIRMED } from './shared-access.ts'

const RETRY_FIRST_MS = 50
const RETRY_MOST_MS = 1000
const AT_ONCE = 64

/** Something that waits to be applied. */
interface Pending {
  /** Tokens of guards to be released; without any, the key is invalidated. */
  readonly tokens: Set<string>
  /** It is not done before this moment: until then a commit in doubt may still happen. */
  dueMs: number
  /** Grows with every addition, so that an attempt does not take out what came after it began. */
  additions: number
}

/**
 * Releases and invalidations that the shared store has not confirmed. They end tokens or remove values, so they may
 * be sent late and repeatedly: each is retried until it is applied. While a key is in here this process takes it
 * neither from L1 nor from the shared store, nor puts it there.
 *
 * Bounded and without duplicates: one place per key. When it is full, the keys of the newcomer's keyspace collapse
 * into one invalidation of that keyspace, and their guards run out by themselves.
 */
export class InvalidationQueue {
  readonly #access: SharedAccess
  readonly #clock: Clock
  readonly #maxKeys: number
  readonly #emit: (event: CacheEvent) => void
  readonly #keys = new Map<string, Pending>()
  readonly #keyspaces = new Map<string, Pending>()
  #timer: Timer | undefined
  #timerDueMs = Number.POSITIVE_INFINITY
  #retryMs = RETRY_FIRST_MS
  #working: Promise<void> | undefined
  #closed = false

  constructor(access: SharedAccess, clock: Clock, maxKeys: number, emit: (event: CacheEvent) => void) {
    this.#access = access
    this.#clock = clock
    this.#maxKeys = maxKeys
    this.#emit = emit
  }

  /** How many keys and keyspaces wait. */
  get size(): number {
    return this.#keys.size + this.#keyspaces.size
  }

  /** Whether this process must go round the cache for the key. */
  holds(key: string): boolean {
    if (this.#keys.size > 0 && this.#keys.has(key)) return true
    return this.#keyspaces.size > 0 && this.#keyspaces.has(keyspaceOf(key))
  }

  /**
   * Takes over a release or an invalidation.
   *
   * @param token - The guard's token that ends with it.
   * @param delayMs - Not to be done before this many milliseconds have passed.
   */
  add(key: string, token?: string, delayMs = 0): void {
    const dueMs = this.#clock.nowMs() + delayMs
    const keyspace = keyspaceOf(key)
    const whole = this.#keyspaces.get(keyspace)
    if (whole !== undefined) {
      this.#join(whole, dueMs)
      return
    }
    let pending = this.#keys.get(key)
    if (pending === undefined) {
      if (this.#keys.size >= this.#maxKeys) {
        this.#collapse(keyspace, key, dueMs)
        return
      }
      pending = { tokens: new Set(), dueMs, additions: 0 }
      this.#keys.set(key, pending)
    }
    if (token !== undefined) pending.tokens.add(token)
    this.#join(pending, dueMs)
  }

  /** Takes over an invalidation of a whole keyspace. */
  addKeyspace(keyspace: string, dueMs = this.#clock.nowMs()): void {
    let pending = this.#keyspaces.get(keyspace)
    if (pending === undefined) {
      pending = { tokens: new Set(), dueMs, additions: 0 }
      this.#keyspaces.set(keyspace, pending)
    }
    this.#join(pending, dueMs)
  }

  /** Tries once more, at once, what is due; for an orderly end. */
  async flush(): Promise<void> {
    await this.#working
    await this.#work()
  }

  /** Stops retrying. What is still queued is lost with the process; guards run out by themselves. */
  close(): void {
    this.#closed = true
    this.#timer?.cancel()
  }

  #join(pending: Pending, dueMs: number): void {
    pending.additions++
    pending.dueMs = Math.max(pending.dueMs, dueMs)
    this.#schedule(pending.dueMs)
  }

  #collapse(keyspace: string, newcomer: string, dueMs: number): void {
    let latestMs = dueMs
    for (const [key, pending] of this.#keys) {
      if (keyspaceOf(key) !== keyspace) continue
      latestMs = Math.max(latestMs, pending.dueMs)
      this.#keys.delete(key)
      this.#emit({ type: 'invalidation', keyspace, key, outcome: 'collapsed', stored: false })
    }
    this.#emit({ type: 'invalidation', keyspace, key: newcomer, outcome: 'collapsed', stored: false })
    this.#emit({ type: 'keyspace-invalidation', keyspace, outcome: 'queued' })
    this.addKeyspace(keyspace, latestMs)
    // One of them may be in doubt until later; the others need not wait for it.
    this.#schedule(this.#clock.nowMs())
  }

  #schedule(dueMs: number): void {
    if (this.#closed || dueMs >= this.#timerDueMs) return
    this.#timer?.cancel()
    this.#timerDueMs = dueMs
    this.#timer = this.#clock.after(Math.max(0, dueMs - this.#clock.nowMs()), () => {
      this.#timerDueMs = Number.POSITIVE_INFINITY
      this.#working ??= this.#work().finally(() => {
        this.#working = undefined
      })
    })
  }

  async #work(): Promise<void> {
    const nowMs = this.#clock.nowMs()
    const due = [...this.#keys].filter(([, pending]) => pending.dueMs <= nowMs)
    let allApplied = true
    for (const [keyspace, pending] of this.#keyspaces) {
      if (!(await this.#applyToKeyspace(keyspace, pending))) allApplied = false
    }
    for (let at = 0; at < due.length && allApplied; at += AT_ONCE) {
      const attempts = due.slice(at, at + AT_ONCE).map(([key, pending]) => this.#applyToKey(key, pending))
      allApplied = (await Promise.all(attempts)).every(Boolean)
    }
    this.#retryMs = allApplied ? RETRY_FIRST_MS : Math.min(RETRY_MOST_MS, this.#retryMs * 2)
    this.#scheduleNext()
  }

  #scheduleNext(): void {
    const soonestRetryMs = this.#clock.nowMs() + this.#retryMs * (0.5 + this.#clock.random() / 2)
    let next = Number.POSITIVE_INFINITY
    for (const { dueMs } of this.#keys.values()) next = Math.min(next, dueMs)
    for (const { dueMs } of this.#keyspaces.values()) next = Math.min(next, dueMs)
    if (next !== Number.POSITIVE_INFINITY) this.#schedule(Math.max(next, soonestRetryMs))
  }

  async #applyToKey(key: string, pending: Pending): Promise<boolean> {
    const { additions } = pending
    const tokens = [...pending.tokens]
    const store = this.#access.store
    const attempts =
      tokens.length === 0
        ? [this.#access.run(() => store.invalidate(key))]
        : tokens.map(token => this.#access.run(() => store.release(key, token)))
    const replies: unknown[] = await Promise.all(attempts)
    if (replies.includes(UNCONFIRMED)) return false
    if (pending.additions !== additions) return true
    if (this.#keys.get(key) === pending) this.#keys.delete(key)
    this.#emit({ type: 'invalidation', keyspace: keyspaceOf(key), key, outcome: 'late', stored: false })
    return true
  }

  async #applyToKeyspace(keyspace: string, pending: Pending): Promise<boolean> {
    const { additions } = pending
    const beganMs = this.#clock.nowMs()
    const reply = await this.#access.run(() =>
      this.#access.store.invalidateKeyspace(keyspace, this.#clock.token()),
    )
    if (reply === UNCONFIRMED) return false
    if (pending.additions !== additions || pending.dueMs > beganMs) return true
    if (this.#keyspaces.get(keyspace) === pending) this.#keyspaces.delete(keyspace)
    this.#emit({ type: 'keyspace-invalidation', keyspace, outcome: 'late' })
    return true
  }
}
