import type { Clock, Timer } from '../base/clock.ts'
import type { CacheEvent } from '../base/events.ts'
import { keyspaceOf } from '../base/key.ts'
import { type SharedAccess, UNCONFIRMED } from './shared-access.ts'

const RETRY_FIRST_MS = 50
const RETRY_MOST_MS = 1000
const AT_ONCE = 64

/** Something that waits to be applied. */
interface Pending {
  /** Tokens of guards to be released. */
  readonly tokens: Set<string>
  /** When to try next. */
  nextMs: number
  /** It is not done for the last time before this moment: until then a commit in doubt may still happen. */
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
  readonly #forgetKeyspace: (keyspace: string) => void
  readonly #keys = new Map<string, Pending>()
  readonly #keyspaces = new Map<string, Pending>()
  #timer: Timer | undefined
  #timerDueMs = Number.POSITIVE_INFINITY
  #retryMs = RETRY_FIRST_MS
  #working: Promise<void> | undefined
  #closed = false

  /** @param forgetKeyspace - Called when a keyspace's invalidation has been applied, before its keys are let go. */
  constructor(
    access: SharedAccess,
    clock: Clock,
    maxKeys: number,
    emit: (event: CacheEvent) => void,
    forgetKeyspace: (keyspace: string) => void,
  ) {
    this.#access = access
    this.#clock = clock
    this.#maxKeys = maxKeys
    this.#emit = emit
    this.#forgetKeyspace = forgetKeyspace
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
   */
  add(key: string, token?: string): void {
    this.#add(key, token, this.#clock.nowMs())
  }

  /**
   * Takes over an invalidation that is not to be done for the last time before `delayMs` milliseconds have passed: the
   * commit behind it is in doubt until then. An earlier one of the same key does not wait for it: the key is invalidated
   * at once, and again then.
   *
   * The writer's guard is left alone, and runs out by the store's clock, whatever ours does meanwhile: 1. a commit is in
   * doubt; 2. the wall clock is set forward, and the moment seems to have come; 3. the guard is released; 4. a reader stores
   * v1; 5. the server commits v2. (Seed 534 of the simulation, embedded.)
   */
  addLater(key: string, delayMs: number): void {
    this.#add(key, undefined, this.#clock.nowMs() + delayMs)
  }

  #add(key: string, token: string | undefined, dueMs: number): void {
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
      pending = { tokens: new Set(), nextMs: dueMs, dueMs, additions: 0 }
      this.#keys.set(key, pending)
    }
    if (token !== undefined) pending.tokens.add(token)
    this.#join(pending, dueMs)
  }

  /** Takes over an invalidation of a whole keyspace. */
  addKeyspace(keyspace: string, dueMs = this.#clock.nowMs()): void {
    let pending = this.#keyspaces.get(keyspace)
    if (pending === undefined) {
      pending = { tokens: new Set(), nextMs: dueMs, dueMs, additions: 0 }
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
    pending.nextMs = Math.min(pending.nextMs, dueMs)
    pending.dueMs = Math.max(pending.dueMs, dueMs)
    this.#schedule(pending.nextMs)
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
    this.addKeyspace(keyspace)
    this.addKeyspace(keyspace, latestMs)
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
    const ready = ([, { nextMs }]: [string, Pending]) => nextMs <= nowMs
    const attempts = [
      ...[...this.#keyspaces].filter(ready).map(one => () => this.#applyToKeyspace(...one)),
      ...[...this.#keys].filter(ready).map(one => () => this.#applyToKey(...one)),
    ]
    let allApplied = true
    for (let at = 0; at < attempts.length && allApplied; at += AT_ONCE) {
      const replies = await Promise.all(attempts.slice(at, at + AT_ONCE).map(attempt => attempt()))
      allApplied = replies.every(Boolean)
    }
    this.#retryMs = allApplied ? RETRY_FIRST_MS : Math.min(RETRY_MOST_MS, this.#retryMs * 2)
    this.#scheduleNext()
  }

  #scheduleNext(): void {
    const retryMs = this.#clock.nowMs() + this.#retryMs * (0.5 + this.#clock.random() / 2)
    let nextMs = Number.POSITIVE_INFINITY
    for (const pending of this.#keys.values()) nextMs = Math.min(nextMs, pending.nextMs)
    for (const pending of this.#keyspaces.values()) nextMs = Math.min(nextMs, pending.nextMs)
    if (nextMs !== Number.POSITIVE_INFINITY) this.#schedule(Math.max(nextMs, retryMs))
  }

  async #applyToKey(key: string, pending: Pending): Promise<boolean> {
    const { additions } = pending
    const last = pending.dueMs <= this.#clock.nowMs()
    const tokens = [...pending.tokens]
    const { store } = this.#access
    const attempts: Promise<unknown>[] = tokens.map(token => this.#release(key, pending, token))
    if (tokens.length === 0) attempts.push(this.#access.run(() => store.invalidate(key)))
    if ((await Promise.all(attempts)).includes(UNCONFIRMED)) return this.#putLast(key, pending)
    if (this.#settle(this.#keys, key, pending, additions, last)) {
      this.#emit({ type: 'invalidation', keyspace: keyspaceOf(key), key, outcome: 'late', stored: false })
    }
    return true
  }

  /**
   * What is confirmed is not sent again: on a slow network many tokens would hardly ever be confirmed all at once.
   *
   * The simulation showed it: six writes of one key are queued, each reply is late now and then, and after ten seconds the
   * key is still in the queue.
   */
  async #release(key: string, pending: Pending, token: string): Promise<unknown> {
    const reply = await this.#access.run(() => this.#access.store.release(key, token))
    if (reply !== UNCONFIRMED) pending.tokens.delete(token)
    return reply
  }

  /** What was not applied goes to the end: the keys of a shard that is away must not hold up those of the others. */
  #putLast(key: string, pending: Pending): false {
    if (this.#keys.get(key) === pending && this.#keys.delete(key)) this.#keys.set(key, pending)
    return false
  }

  async #applyToKeyspace(keyspace: string, pending: Pending): Promise<boolean> {
    const { additions } = pending
    const last = pending.dueMs <= this.#clock.nowMs()
    const { store } = this.#access
    const reply = await this.#access.run(() => store.invalidateKeyspace(keyspace, this.#clock.token()))
    if (reply === UNCONFIRMED) return false
    // 1. The invalidation is applied at last; 2. the message about it is still on its way; 3. this process, which has gone
    // round the cache until now, finds the old values by its copy of the old generation. (Seed 572 of the simulation.)
    this.#forgetKeyspace(keyspace)
    if (this.#settle(this.#keyspaces, keyspace, pending, additions, last)) {
      this.#emit({ type: 'keyspace-invalidation', keyspace, outcome: 'late' })
    }
    return true
  }

  /** Takes out what has been applied for the last time, if nothing was added meanwhile. */
  #settle(
    all: Map<string, Pending>,
    name: string,
    pending: Pending,
    additions: number,
    last: boolean,
  ): boolean {
    if (pending.additions !== additions) return false
    if (last) return all.get(name) === pending && all.delete(name)
    pending.nextMs = pending.dueMs
    return false
  }
}
