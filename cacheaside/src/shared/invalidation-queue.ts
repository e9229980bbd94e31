/**
 * Releases and invalidations that the shared store has not confirmed. They end tokens or remove values, so they may be sent
 * late and repeatedly: each is retried until it is applied. While a key is in here, this process bypasses the cache for it:
 * it takes nothing from L1 or the shared store, and stores nothing there.
 *
 * Bounded and without duplicates: one place per key, and one for its commits in doubt. When the queue is full, the keys of a
 * new one's keyspace collapse into one invalidation of that keyspace, and their guards run out by themselves.
 */
import type { Clock, Timer } from '../base/clock.ts'
import type { CacheEvent } from '../base/events.ts'
import { keyspaceOf } from '../base/key.ts'
import { markedToken } from './key-mark.ts'
import { type SharedAccess, UNCONFIRMED } from './shared-access.ts'

const RETRY_FIRST_MS = 50
const RETRY_MOST_MS = 1000
const AT_ONCE = 64

/** An invalidation that waits to be applied. */
interface Pending {
  /** Tokens of guards to be released. */
  readonly tokens: Set<string>
  /** Grows with every addition, so that an attempt does not remove what came after it began. */
  additions: number
  /** Whether it is the end of a doubt and was not tried yet: then no event says that it is queued. */
  isUntold: boolean
}

/** Commits that may still happen. */
interface Doubt {
  readonly timer: Timer
  /** Whether another one has come since the timer was set. */
  isRenewed: boolean
}

/** What the shared store has not confirmed yet, and the commits that are in doubt. */
export class InvalidationQueue {
  readonly #access: SharedAccess
  readonly #clock: Clock
  readonly #maxKeys: number
  readonly #emit: (event: CacheEvent) => void
  readonly #forgetKeyspace: (keyspace: string) => void
  readonly #keys = new Map<string, Pending>()
  readonly #keyspaces = new Map<string, Pending>()
  /** Commits in doubt, by key; by keyspace where there was no room for a key. */
  readonly #doubts = new Map<string, Doubt>()
  #timer: Timer | undefined
  #timerDelayMs = Number.POSITIVE_INFINITY
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

  /** How many keys, keyspaces and doubts wait. */
  get size(): number {
    return this.#keys.size + this.#keyspaces.size + this.#doubts.size
  }

  /** Whether this process must bypass the cache for the key. */
  holds(key: string): boolean {
    return this.whyHeld(key) !== undefined
  }

  /** As {@link InvalidationQueue.holds}, for any of several. */
  holdsAny(keys: readonly string[]): boolean {
    return this.size > 0 && keys.some(key => this.holds(key))
  }

  /** Why this process must bypass the cache for the key: something is not applied yet, or a commit is in doubt. */
  whyHeld(key: string): 'queued' | 'in-doubt' | undefined {
    if (this.size === 0) return undefined
    const keyspace = keyspaceOf(key)
    if (this.#keys.has(key) || this.#keyspaces.has(keyspace)) return 'queued'
    return this.#doubts.has(key) || this.#doubts.has(keyspace) ? 'in-doubt' : undefined
  }

  /** How many commits are in doubt, by their keys. */
  get doubts(): number {
    return this.#doubts.size
  }

  /**
   * Takes over a release or an invalidation.
   *
   * @param token - The guard's token that ends with it.
   */
  add(key: string, token?: string): void {
    const keyspace = keyspaceOf(key)
    if (this.#keyspaces.has(keyspace)) this.addKeyspace(keyspace)
    else if (!this.#keys.has(key) && this.#keys.size >= this.#maxKeys) this.#collapse(keyspace, key)
    else {
      const { tokens } = this.#join(this.#keys, key)
      if (token !== undefined) tokens.add(token)
    }
  }

  /** Takes over an invalidation of a whole keyspace. */
  addKeyspace(keyspace: string): void {
    this.#join(this.#keyspaces, keyspace)
  }

  /**
   * Takes over an invalidation that is to be done when `delayMs` milliseconds have passed: the commit behind it is in doubt
   * until then. A further doubt of the same key begins when the first one has ended: one timer is enough for all of them, and
   * every commit is invalidated within `delayMs`.
   *
   * The wait is a timer's, which no wall clock moves, and not a difference of readings: 1. a commit is in doubt; 2. the
   * wall clock is set forward, and the moment seems to have come; 3. the key is invalidated; 4. its guard is lost, and a
   * reader stores v1; 5. the server commits v2. (Seed 3022941 of the simulation, embedded.) The guard is left to the
   * store's clock for the same reason. (Seed 534.)
   */
  addLater(key: string, delayMs: number): void {
    const keyspace = keyspaceOf(key)
    if (this.#doubts.has(key) || this.#doubts.size < this.#maxKeys) {
      this.#doubt(key, delayMs, () => this.add(key))
    } else {
      if (!this.#doubts.has(keyspace)) this.#collapse(keyspace, key)
      this.#doubt(keyspace, delayMs, () => this.addKeyspace(keyspace))
    }
  }

  #doubt(name: string, delayMs: number, invalidate: () => void): void {
    if (this.#closed) return
    const earlier = this.#doubts.get(name)
    if (earlier !== undefined) {
      earlier.isRenewed = true
      return
    }
    const end = () => {
      this.#doubts.delete(name)
      invalidate()
      const pending = this.#keys.get(name) ?? this.#keyspaces.get(name)
      if (pending?.additions === 1) pending.isUntold = true
      if (doubt.isRenewed) this.#doubt(name, delayMs, invalidate)
    }
    const doubt: Doubt = { timer: this.#clock.after(delayMs, end), isRenewed: false }
    this.#doubts.set(name, doubt)
  }

  /** Tries all unconfirmed invalidations once more, at once, for an orderly end. Doubts stay. */
  async flush(): Promise<void> {
    await this.#working
    await this.#work()
  }

  /** Stops retrying. What is still queued is lost with the process; guards run out by themselves. */
  close(): void {
    this.#closed = true
    this.#timer?.cancel()
    for (const { timer } of this.#doubts.values()) timer.cancel()
  }

  #join(all: Map<string, Pending>, name: string): Pending {
    const pending = all.get(name) ?? { tokens: new Set(), additions: 0, isUntold: false }
    all.set(name, pending)
    pending.additions++
    pending.isUntold = false
    this.#schedule(0)
    return pending
  }

  #collapse(keyspace: string, newcomer: string): void {
    for (const key of this.#keys.keys()) {
      if (keyspaceOf(key) !== keyspace) continue
      this.#keys.delete(key)
      this.#emit({ type: 'invalidation', keyspace, key, outcome: 'collapsed', stored: false })
    }
    this.#emit({ type: 'invalidation', keyspace, key: newcomer, outcome: 'collapsed', stored: false })
    this.#emit({ type: 'keyspace-invalidation', keyspace, outcome: 'queued' })
    this.addKeyspace(keyspace)
  }

  #schedule(delayMs: number): void {
    if (this.#closed || delayMs >= this.#timerDelayMs) return
    this.#timer?.cancel()
    this.#timerDelayMs = delayMs
    this.#timer = this.#clock.after(delayMs, () => {
      this.#timerDelayMs = Number.POSITIVE_INFINITY
      this.#working ??= this.#work().finally(() => {
        this.#working = undefined
      })
    })
  }

  async #work(): Promise<void> {
    const attempts = [
      ...[...this.#keyspaces].map(one => () => this.#applyToKeyspace(...one)),
      ...[...this.#keys].map(one => () => this.#applyToKey(...one)),
    ]
    let allApplied = true
    for (let at = 0; at < attempts.length && allApplied; at += AT_ONCE) {
      const replies = await Promise.all(attempts.slice(at, at + AT_ONCE).map(attempt => attempt()))
      allApplied = replies.every(Boolean)
    }
    this.#retryMs = allApplied ? RETRY_FIRST_MS : Math.min(RETRY_MOST_MS, this.#retryMs * 2)
    if (this.#keys.size + this.#keyspaces.size > 0)
      this.#schedule(this.#retryMs * (0.5 + this.#clock.random() / 2))
  }

  async #applyToKey(key: string, pending: Pending): Promise<boolean> {
    const { additions } = pending
    const tokens = [...pending.tokens]
    const { store } = this.#access
    const attempts: Promise<unknown>[] = tokens.map(token => this.#release(key, pending, token))
    if (tokens.length === 0) attempts.push(this.#access.runBehind(() => store.invalidate(key)))
    if ((await Promise.all(attempts)).includes(UNCONFIRMED)) {
      this.#tell(pending, {
        type: 'invalidation',
        keyspace: keyspaceOf(key),
        key,
        outcome: 'queued',
        stored: false,
      })
      return this.#putLast(key, pending)
    }
    if (this.#remove(this.#keys, key, pending, additions)) {
      this.#emit({ type: 'invalidation', keyspace: keyspaceOf(key), key, outcome: 'late', stored: false })
    }
    return true
  }

  /**
   * A confirmed token is not sent again: on a slow network many tokens would hardly ever be confirmed all at once.
   *
   * The simulation showed it: six writes of one key were queued, each reply was late now and then, and after ten seconds the
   * key was still in the queue.
   */
  async #release(key: string, pending: Pending, token: string): Promise<unknown> {
    const reply = await this.#access.runBehind(() => this.#access.store.release(key, token))
    if (reply !== UNCONFIRMED) pending.tokens.delete(token)
    return reply
  }

  /** Tells that the invalidation at the end of a doubt could not be applied: from now on it is queued like any other. */
  #tell(pending: Pending, event: CacheEvent): void {
    if (!pending.isUntold) return
    pending.isUntold = false
    this.#emit(event)
  }

  /** Moves an unapplied invalidation to the end: the keys of an unavailable shard must not hold up the others. */
  #putLast(key: string, pending: Pending): false {
    if (this.#keys.get(key) === pending && this.#keys.delete(key)) this.#keys.set(key, pending)
    return false
  }

  async #applyToKeyspace(keyspace: string, pending: Pending): Promise<boolean> {
    const { additions } = pending
    const { store } = this.#access
    const reply = await this.#access.runBehind(() =>
      store.invalidateKeyspace(keyspace, markedToken(keyspace, this.#clock.token())),
    )
    if (reply === UNCONFIRMED) {
      this.#tell(pending, { type: 'keyspace-invalidation', keyspace, outcome: 'queued' })
      return false
    }
    // 1. The invalidation is applied at last; 2. the message about it is still on its way; 3. this process, which has bypassed
    // the cache until now, finds the old values by its copy of the old generation. (Seed 572 of the simulation.)
    this.#forgetKeyspace(keyspace)
    if (this.#remove(this.#keyspaces, keyspace, pending, additions)) {
      this.#emit({ type: 'keyspace-invalidation', keyspace, outcome: 'late' })
    }
    return true
  }

  /** Removes an invalidation that has been applied, if nothing was added to it meanwhile. */
  #remove(all: Map<string, Pending>, name: string, pending: Pending, additions: number): boolean {
    if (pending.additions !== additions) return false
    return all.get(name) === pending && all.delete(name)
  }
}
