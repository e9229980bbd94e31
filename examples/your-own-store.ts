import { type Clock, systemClock } from 'cacheaside'
import {
  type Change,
  claimed,
  dropped,
  type Expected,
  type Fill,
  filled,
  type GuardReply,
  guarded,
  type HeartbeatReply,
  invalidated,
  type LeaseReply,
  type LookReply,
  leased,
  markedToken,
  type NewValue,
  type ReleaseReply,
  released,
  type SharedStore,
  type Step,
  type StreamListener,
  stamped,
  stampRenewed,
  swapped,
} from 'cacheaside/store'

/**
 * The shortest store that keeps the contract: a Map in this process, without a bound. The rules are the library's own;
 * a store only applies them. Each method does all its work before it gives anything else a chance to run; over a network
 * that takes a script, a transaction or a compare-and-set on the server.
 */
export class MapStore implements SharedStore {
  readonly name = 'map'
  readonly synchronous = true
  readonly #clock: Clock
  readonly #registers = new Map<string, { readonly text: string; readonly untilMs: number }>()
  readonly #generations = new Map<string, string>()
  readonly #listeners = new Set<{ readonly hear: StreamListener }>()
  readonly #identity: string
  #isClosed = false

  constructor(clock: Clock = systemClock) {
    this.#clock = clock
    this.#identity = clock.token()
  }

  // The registers.

  async lease(key: string, token: string, leaseMs: number): Promise<LeaseReply> {
    return this.#create(key, leased(token, leaseMs, this.timeMs()))
  }

  leaseMany(requests: readonly { key: string; token: string }[], leaseMs: number): Promise<LeaseReply[]> {
    return Promise.all(requests.map(({ key, token }) => this.lease(key, token, leaseMs)))
  }

  async stampMany(
    requests: readonly { key: string; token: string }[],
    lifeMs: number,
  ): Promise<LeaseReply[]> {
    return requests.map(({ key, token }) => this.#create(key, stamped(token, lifeMs, this.timeMs())))
  }

  async renewStamp(key: string, token: string, lifeMs: number): Promise<boolean> {
    const timeMs = this.timeMs()
    return this.#take(key, stampRenewed(this.inspect(key), token, lifeMs, timeMs, timeMs + this.#lifeMs(key)))
  }

  async look(keys: readonly string[]): Promise<LookReply[]> {
    this.#assertOpen()
    return keys.map(key => this.inspect(key) ?? null)
  }

  async fill(key: string, prefix: string, value: Fill): Promise<boolean> {
    return this.#take(key, filled(this.inspect(key), prefix, this.#newValue(key, value), this.timeMs()))
  }

  async swap(key: string, seen: Expected, token: string, leaseMs: number): Promise<boolean> {
    return this.#take(key, swapped(this.inspect(key), seen, token, leaseMs, this.timeMs()))
  }

  async drop(key: string, seen: Expected): Promise<boolean> {
    return this.#take(key, dropped(this.inspect(key), seen))
  }

  async claim(key: string, nonce: string, token: string, claimMs: number): Promise<boolean> {
    return this.#take(key, claimed(this.inspect(key), nonce, token, claimMs, this.timeMs()))
  }

  async guard(key: string, token: string, guardMs: number, renewal: boolean): Promise<GuardReply> {
    this.#tell(listener => listener.invalidated(key))
    const timeMs = this.timeMs()
    const untilMs = timeMs + this.#lifeMs(key)
    return this.#take(key, guarded(this.inspect(key), token, guardMs, renewal, timeMs, untilMs))
  }

  async release(key: string, token: string, through?: Fill): Promise<ReleaseReply> {
    this.#tell(listener => listener.invalidated(key))
    const value = through === undefined ? undefined : this.#newValue(key, through)
    return this.#take(key, released(this.inspect(key), token, value, this.timeMs()))
  }

  async invalidate(key: string): Promise<void> {
    this.#tell(listener => listener.invalidated(key))
    this.#apply(key, invalidated(this.inspect(key)))
  }

  async generation(keyspace: string, candidate: string): Promise<string> {
    this.#assertOpen()
    const generation = this.#generations.get(keyspace) ?? candidate
    this.#generations.set(keyspace, generation)
    return generation
  }

  async invalidateKeyspace(keyspace: string, generation: string): Promise<void> {
    this.#tell(listener => listener.keyspaceInvalidated(keyspace))
    this.#generations.set(keyspace, generation)
  }

  // The stream: whatever the registers broadcast, and heartbeats.

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
    return { timeMs: this.timeMs(), generations }
  }

  // The identity: nothing is lost while this process lives, and another one has other registers.

  async identity(): Promise<string> {
    this.#assertOpen()
    return this.#identity
  }

  // The end, and what the tests need.

  async close(): Promise<void> {
    if (!this.#isClosed) this.#tell(listener => listener.interrupted('the store was closed'))
    this.#listeners.clear()
    this.#isClosed = true
  }

  /** A store that is closed confirms nothing: its listeners would not hear of it. */
  #assertOpen(): void {
    if (this.#isClosed) throw new Error('the store was closed')
  }

  /** What a register holds, past the rules; for the contract suite. */
  inspect(key: string): string | undefined {
    const register = this.#registers.get(key)
    return register !== undefined && register.untilMs > this.#clock.nowMs() ? register.text : undefined
  }

  /** Puts a text into a register; for the contract suite also past the rules. */
  plant(key: string, text: string, lifeMs: number): void {
    this.#registers.set(key, { text, untilMs: this.#clock.nowMs() + lifeMs })
  }

  /** The time that is stamped on registers: this store's own, which never goes back. */
  timeMs(): number {
    return Math.round(EPOCH_MS + this.#clock.nowMs())
  }

  /** A value tells by its nonce which key it belongs to. */
  #newValue(key: string, fill: Fill): NewValue {
    return { fill, nonce: () => markedToken(key, this.#clock.token()) }
  }

  /** Puts a lease or a stamp where nothing is. */
  #create(key: string, change: Change): string | null {
    this.#assertOpen()
    const found = this.inspect(key)
    if (found === undefined) this.#apply(key, change)
    return found ?? null
  }

  /** How long a register still lives. */
  #lifeMs(key: string): number {
    return (this.#registers.get(key)?.untilMs ?? 0) - this.#clock.nowMs()
  }

  /** There is always room here: what a step is without room is never needed. */
  #take<Reply>(key: string, { reply, change }: Step<Reply>): Reply {
    this.#assertOpen()
    this.#apply(key, change)
    return reply
  }

  #apply(key: string, change: Change): void {
    if (change.to === 'absent') this.#registers.delete(key)
    else if (change.to === 'changed')
      this.#registers.set(key, { text: change.text, untilMs: this.#registers.get(key)!.untilMs })
    else if (change.to !== 'same') this.plant(key, change.text, change.untilMs - this.timeMs())
  }

  #tell(message: (listener: StreamListener) => void): void {
    this.#assertOpen()
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
