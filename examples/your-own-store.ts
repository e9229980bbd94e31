import {
  type Clock,
  claimPrefix,
  type Expected,
  type Fill,
  type GuardReply,
  guardText,
  type HeartbeatReply,
  type Holder,
  type LeaseReply,
  type LookReply,
  leaseText,
  parseRegister,
  type ReleaseReply,
  type SharedStore,
  type StreamListener,
  systemClock,
  valueText,
  withClaim,
} from 'cacheaside'

/**
 * The shortest store that keeps the contract: a Map in this process, without a bound. Each method does all its work
 * before it gives anything else a chance to run; over a network that takes a script, a transaction or a
 * compare-and-set on the server.
 */
export class MapStore implements SharedStore {
  readonly name = 'map'
  readonly synchronous = true
  readonly #clock: Clock
  readonly #registers = new Map<string, { readonly text: string; readonly untilMs: number }>()
  readonly #generations = new Map<string, string>()
  readonly #listeners = new Set<{ readonly hear: StreamListener }>()
  readonly #identity: string

  constructor(clock: Clock = systemClock) {
    this.#clock = clock
    this.#identity = clock.token()
  }

  async lease(key: string, token: string, leaseMs: number): Promise<LeaseReply> {
    const found = this.inspect(key)
    if (found !== undefined) return found
    this.plant(key, leaseText(token), leaseMs)
    return null
  }

  leaseMany(requests: readonly { key: string; token: string }[], leaseMs: number): Promise<LeaseReply[]> {
    return Promise.all(requests.map(({ key, token }) => this.lease(key, token, leaseMs)))
  }

  async look(keys: readonly string[]): Promise<LookReply[]> {
    return keys.map(key => this.inspect(key) ?? null)
  }

  async fill(key: string, prefix: string, value: Fill): Promise<boolean> {
    return this.#holds(key, { prefix }) && this.#store(key, value)
  }

  async swap(key: string, seen: Expected, token: string, leaseMs: number): Promise<boolean> {
    if (!this.#holds(key, seen)) return false
    this.plant(key, leaseText(token), leaseMs)
    return true
  }

  async drop(key: string, seen: Expected): Promise<boolean> {
    return this.#holds(key, seen) && this.#registers.delete(key)
  }

  async claim(key: string, nonce: string, token: string, claimMs: number): Promise<boolean> {
    const text = this.inspect(key) ?? ''
    const register = parseRegister(text)
    if (register.state !== 'value' || register.nonce !== nonce) return false
    const isOwn = text.startsWith(claimPrefix(nonce, token))
    const nowMs = this.#clock.nowMs()
    if (!isOwn && (claimMs === 0 || register.claimUntilMs > this.#timeMs())) return false
    const claim = claimMs === 0 ? undefined : { token, untilMs: this.#timeMs() + claimMs }
    this.plant(key, withClaim(text, claim), this.#registers.get(key)!.untilMs - nowMs)
    return true
  }

  async guard(key: string, token: string, guardMs: number, renewal: boolean): Promise<GuardReply> {
    this.#tell(listener => listener.invalidated(key))
    const standing = this.#guardOf(key)
    const others = standing?.holders.filter(holder => holder.token !== token) ?? []
    const found = standing !== undefined && others.length < standing.holders.length
    const joins = standing !== undefined && !found
    const dirty = standing?.dirty === true || joins || (renewal && !found)
    this.#putGuard(key, dirty, [...others, { token, deadlineMs: this.#timeMs() + guardMs }])
    if (found) return 'renewed'
    return renewal ? 'rejoined' : 'new'
  }

  async release(key: string, token: string, through?: Fill): Promise<ReleaseReply> {
    this.#tell(listener => listener.invalidated(key))
    const guard = this.#guardOf(key)
    const held = guard?.holders.some(holder => holder.token === token) === true
    const left = guard?.holders.filter(holder => holder.token !== token && holder.deadlineMs > this.#timeMs())
    if (left !== undefined && left.length > 0) {
      this.#putGuard(key, true, left)
      return { held, stored: false }
    }
    this.#registers.delete(key)
    const stored = through !== undefined && held && guard?.dirty === false && this.#store(key, through)
    return { held, stored }
  }

  async invalidate(key: string): Promise<void> {
    this.#tell(listener => listener.invalidated(key))
    const guard = this.#guardOf(key)
    if (guard === undefined) this.#registers.delete(key)
    else this.#putGuard(key, true, guard.holders)
  }

  async generation(keyspace: string, candidate: string): Promise<string> {
    const generation = this.#generations.get(keyspace) ?? candidate
    this.#generations.set(keyspace, generation)
    return generation
  }

  async invalidateKeyspace(keyspace: string, generation: string): Promise<void> {
    this.#tell(listener => listener.keyspaceInvalidated(keyspace))
    this.#generations.set(keyspace, generation)
  }

  async identity(): Promise<string> {
    return this.#identity
  }

  subscribe(hear: StreamListener): () => void {
    const subscription = { hear }
    this.#listeners.add(subscription)
    return () => void this.#listeners.delete(subscription)
  }

  async heartbeat(
    text: string,
    keyspaces: readonly { name: string; candidate: string }[],
  ): Promise<HeartbeatReply> {
    this.#tell(listener => listener.heartbeat(text))
    const generations = await Promise.all(
      keyspaces.map(({ name, candidate }) => this.generation(name, candidate)),
    )
    return { timeMs: this.#timeMs(), generations }
  }

  async close(): Promise<void> {
    this.#listeners.clear()
  }

  /** What a register holds, past the rules; for the contract suite. */
  inspect(key: string): string | undefined {
    const register = this.#registers.get(key)
    return register !== undefined && register.untilMs > this.#clock.nowMs() ? register.text : undefined
  }

  /** Puts a text into a register, past the rules; for the contract suite, and for the rules themselves. */
  plant(key: string, text: string, lifeMs: number): void {
    this.#registers.set(key, { text, untilMs: this.#clock.nowMs() + lifeMs })
  }

  /** The time that is stamped on registers: this store's own, which never goes back. */
  #timeMs(): number {
    return Math.round(EPOCH_MS + this.#clock.nowMs())
  }

  #holds(key: string, expected: Expected): boolean {
    const text = this.inspect(key)
    if (text === undefined) return false
    return 'prefix' in expected ? text.startsWith(expected.prefix) : text === expected.exactly
  }

  #guardOf(key: string) {
    const register = parseRegister(this.inspect(key) ?? '')
    return register.state === 'guard' ? register : undefined
  }

  #putGuard(key: string, dirty: boolean, holders: readonly Holder[]): void {
    const latestMs = Math.max(...holders.map(holder => holder.deadlineMs))
    this.plant(key, guardText(dirty, holders), latestMs - this.#timeMs())
  }

  #store(key: string, value: Fill): true {
    const text = valueText(this.#clock.token(), value, this.#timeMs())
    this.plant(key, text, value.freshMs + value.staleMs)
    return true
  }

  #tell(message: (listener: StreamListener) => void): void {
    for (const { hear } of [...this.#listeners]) {
      try {
        message(hear)
      } catch {
        // One that throws harms nobody else.
      }
    }
  }
}

/** Registers hold times of thirteen digits. */
const EPOCH_MS = Date.UTC(2030, 0, 1)
