/**
 * The shared store of one process: the rules of `shared/register-rules.ts` over the map of `registers.ts`. It is the shortest
 * whole implementation of the contract in `shared/shared-store.ts`.
 */
import { type Clock, systemClock } from '../base/clock.ts'
import { CacheError } from '../base/errors.ts'
import { checkClock, knownNames } from '../base/invalid-option.ts'
import type { EvictionPolicyName } from '../eviction/bounded-map.ts'
import { markedToken } from '../shared/key-mark.ts'
import {
  type Change,
  claimed,
  dropped,
  filled,
  guarded,
  invalidated,
  leased,
  type NewValue,
  released,
  type Step,
  stamped,
  stampRenewed,
  swapped,
} from '../shared/register-rules.ts'
import {
  type Expected,
  type Fill,
  type GuardReply,
  type HeartbeatReply,
  type LeaseReply,
  type LookReply,
  REFUSED,
  type RegistersAtHand,
  type ReleaseReply,
  type SharedStore,
  type StoreView,
  type StreamListener,
} from '../shared/shared-store.ts'
import { Registers, type RegistersStats } from './registers.ts'

/** The options of {@link embeddedShared}. */
export interface EmbeddedSharedOptions {
  /**
   * Most bytes that registers are charged for: key and text in UTF-8 and a constant for the structure around
   * them. Guards are taken beyond it.
   *
   * @defaultValue 64 MiB
   */
  readonly maxBytes?: number
  /** Most registers. Left out: as many as fit in `maxBytes`. */
  readonly maxEntries?: number
  /**
   * The policy that makes room when it is full. All policies are safe here, since guards are never evicted.
   *
   * @defaultValue `'s3-fifo'`
   */
  readonly policy?: EvictionPolicyName
  /** Registers looked at per eviction by the policies that sample, as Redis's `maxmemory-samples`. @defaultValue 5 */
  readonly samples?: number
  /** As Redis's `lfu-log-factor`: how slowly the counter of the `*-lfu` policies saturates. @defaultValue 10 */
  readonly lfuLogFactor?: number
  /** As Redis's `lfu-decay-time`: minutes after which that counter falls by one. @defaultValue 1 */
  readonly lfuDecayMinutes?: number
  /**
   * Where time and randomness come from.
   *
   * @defaultValue `systemClock`
   */
  readonly clock?: Clock
}

/** The embedded store: a {@link SharedStore} that can also be looked into. */
export interface EmbeddedShared extends SharedStore {
  /** What the register of this key holds, as {@link SharedStore} documents it. Does not count as an access. */
  inspect(key: string): string | undefined
  /** What is held, and what has been evicted and has expired since the store was made. */
  stats(): RegistersStats
}

const DEFAULT_MAX_BYTES = 64 * 2 ** 20
const VIEW_PAGE = 100

/**
 * A shared store in this process, with the same registers and the same rules as the one on Redis: the default
 * where there is no Redis, and what most tests run on. It shares nothing with other processes and forgets
 * everything when this one ends. Several caches of one process may be given the same store.
 *
 * Listeners are called synchronously, before the change they hear of; what a listener throws is swallowed. Generations of
 * keyspaces lie beside the registers, uncounted and never evicted. `close` ends it for good: it tells the listeners that they
 * are interrupted, takes them off and forgets every register. Later calls reject with `CLOSED`. So a cache that still uses
 * the store behaves as if its server were away: it reads the origin, keeps nothing, and reports the invalidations of writes
 * as queued. Close the caches first.
 *
 * @throws CacheError `INVALID_OPTIONS` for a bound, policy or factor that cannot work.
 */
export function embeddedShared(options: EmbeddedSharedOptions = {}): EmbeddedShared {
  return new EmbeddedStore(registersFor(options))
}

/** The registers of a store with these options and the defaults. */
export function registersFor(options: EmbeddedSharedOptions): Registers {
  // A misspelt bound would otherwise count as left out.
  knownNames('options', options, OPTION_NAMES)
  const { maxBytes = DEFAULT_MAX_BYTES, policy = 's3-fifo', clock = systemClock } = options
  checkClock(clock)
  return new Registers({ ...options, maxBytes, policy, clock })
}

const OPTION_NAMES: readonly string[] = [
  'maxBytes',
  'maxEntries',
  'policy',
  'samples',
  'lfuLogFactor',
  'lfuDecayMinutes',
  'clock',
] satisfies (keyof EmbeddedSharedOptions)[]

/**
 * The rules of {@link SharedStore} (`register-rules.ts`) over {@link Registers}. Every method does its work in one go, before
 * it returns its promise. So it is atomic, as the scripts on Redis are.
 */
export class EmbeddedStore implements EmbeddedShared {
  readonly name = 'embedded'
  readonly synchronous = true
  readonly atHand: RegistersAtHand
  readonly #registers: Registers
  readonly #generations = new Map<string, string>()
  readonly #subscriptions = new Set<{ readonly listener: StreamListener }>()
  /** Drawn when it is first asked for, so that a seeded clock's tokens do not depend on it. */
  #identity: string | undefined
  #closed = false

  constructor(registers: Registers) {
    this.#registers = registers
    this.atHand = {
      get: key => registers.held(key),
      keep: (key, made) => registers.keepMade(key, made),
    }
  }

  async lease(key: string, token: string, leaseMs: number): Promise<LeaseReply> {
    return this.#create(key, timeMs => leased(token, leaseMs, timeMs))
  }

  async leaseMany(
    requests: readonly { key: string; token: string }[],
    leaseMs: number,
  ): Promise<LeaseReply[]> {
    return requests.map(({ key, token }) => this.#create(key, timeMs => leased(token, leaseMs, timeMs)))
  }

  async stampMany(
    requests: readonly { key: string; token: string }[],
    lifeMs: number,
  ): Promise<LeaseReply[]> {
    return requests.map(({ key, token }) => this.#create(key, timeMs => stamped(token, lifeMs, timeMs)))
  }

  async renewStamp(key: string, token: string, lifeMs: number): Promise<boolean> {
    const untilMs = this.#registers.untilMs(key)
    return this.#take(key, (text, timeMs) => stampRenewed(text, token, lifeMs, timeMs, untilMs))
  }

  async look(keys: readonly string[]): Promise<LookReply[]> {
    this.#assertOpen()
    const timeMs = this.#registers.timeMs()
    return keys.map(key => this.#registers.get(key, timeMs) ?? null)
  }

  /** Puts a lease or a stamp where nothing is. */
  #create(key: string, rule: (timeMs: number) => Change): LeaseReply {
    this.#assertOpen()
    const timeMs = this.#registers.timeMs()
    const found = this.#registers.get(key, timeMs)
    if (found !== undefined) return found
    return this.#apply(key, rule(timeMs)) ? null : REFUSED
  }

  async fill(key: string, prefix: string, value: Fill): Promise<boolean> {
    return this.#take(key, (text, timeMs) => filled(text, prefix, this.#valueOf(key, value), timeMs))
  }

  async swap(key: string, seen: Expected, token: string, leaseMs: number): Promise<boolean> {
    return this.#take(key, (text, timeMs) => swapped(text, seen, token, leaseMs, timeMs))
  }

  async drop(key: string, seen: Expected): Promise<boolean> {
    return this.#take(key, text => dropped(text, seen))
  }

  async claim(key: string, nonce: string, token: string, claimMs: number): Promise<boolean> {
    return this.#take(key, (text, timeMs) => claimed(text, nonce, token, claimMs, timeMs))
  }

  async guard(key: string, token: string, guardMs: number, renewal: boolean): Promise<GuardReply> {
    this.#broadcast(listener => listener.invalidated(key))
    const lifeUntilMs = this.#registers.untilMs(key)
    return this.#take(key, (text, timeMs) => guarded(text, token, guardMs, renewal, timeMs, lifeUntilMs))
  }

  async release(key: string, token: string, committed?: Fill): Promise<ReleaseReply> {
    this.#broadcast(listener => listener.invalidated(key))
    const value = committed === undefined ? undefined : this.#valueOf(key, committed)
    return this.#take(key, (text, timeMs) => released(text, token, value, timeMs))
  }

  async invalidate(key: string): Promise<void> {
    this.#assertOpen()
    this.#broadcast(listener => listener.invalidated(key))
    this.#apply(key, invalidated(this.inspect(key)))
  }

  async generation(keyspace: string, candidate: string): Promise<string> {
    return this.#generation(keyspace, candidate)
  }

  #generation(keyspace: string, candidate: string): string {
    this.#assertOpen()
    const standing = this.#generations.get(keyspace)
    if (standing !== undefined) return standing
    this.#generations.set(keyspace, candidate)
    return candidate
  }

  async invalidateKeyspace(keyspace: string, generation: string): Promise<void> {
    this.#assertOpen()
    this.#broadcast(listener => listener.keyspaceInvalidated(keyspace))
    this.#generations.set(keyspace, generation)
  }

  async identity(): Promise<string> {
    this.#assertOpen()
    this.#identity ??= this.#registers.clock.token()
    return this.#identity
  }

  async view(): Promise<StoreView> {
    this.#assertOpen()
    const registers = this.#registers
    return {
      caveats: [],
      async *keys(keyspace) {
        const begins = keyspace === undefined ? '' : `${keyspace}:`
        let page: string[] = []
        for (const key of registers.keys()) {
          if (key.startsWith(begins)) page.push(key)
          if (page.length < VIEW_PAGE) continue
          yield page
          page = []
        }
        yield page
      },
      peek: async keys => keys.map(key => this.inspect(key)),
      generations: async keyspaces => keyspaces.map(name => this.#generations.get(name)),
      lives: async keys =>
        keys.map(key => {
          const leftMs = (registers.untilMs(key) ?? Number.NaN) - registers.timeMs()
          return leftMs > 0 && Number.isFinite(leftMs) ? Math.round(leftMs) : undefined
        }),
      timeMs: async () => Math.round(registers.timeMs()),
      close: async () => {},
    }
  }

  subscribe(listener: StreamListener): () => void {
    // A subscription of its own, so that a listener subscribed twice is taken off once per call.
    const subscription = { listener }
    this.#subscriptions.add(subscription)
    return () => {
      this.#subscriptions.delete(subscription)
    }
  }

  async heartbeat(
    text: string,
    keyspaces: readonly { name: string; candidate: string }[],
  ): Promise<HeartbeatReply> {
    this.#assertOpen()
    this.#broadcast(listener => listener.heartbeat(text))
    return {
      timeMs: Math.round(this.#registers.timeMs()),
      generations: keyspaces.map(({ name, candidate }) => this.#generation(name, candidate)),
    }
  }

  /**
   * Nothing is confirmed any more. Otherwise: 1. the store is closed, and hears nobody any more; 2. a cache reads a value and
   * keeps it in its L1; 3. another cache writes it, and its guard is confirmed; 4. the first one is not told, and keeps the old
   * value until it expires. (`closed-store.test.ts`)
   */
  async close(): Promise<void> {
    this.#closed = true
    this.#broadcast(listener => listener.interrupted('the embedded store was closed'))
    this.#subscriptions.clear()
    this.#registers.clear()
    this.#generations.clear()
  }

  #assertOpen(): void {
    if (this.#closed) throw new CacheError('CLOSED', 'the embedded store was closed')
  }

  inspect(key: string): string | undefined {
    return this.#registers.inspect(key, this.#registers.timeMs())
  }

  stats(): RegistersStats {
    return this.#registers.stats()
  }

  #valueOf(key: string, fill: Fill): NewValue {
    return { fill, nonce: () => markedToken(key, this.#registers.clock.token()) }
  }

  /** Takes one step from what is under the key. */
  #take<Reply>(key: string, rule: (text: string | undefined, timeMs: number) => Step<Reply>): Reply {
    this.#assertOpen()
    const timeMs = this.#registers.timeMs()
    let step = rule(this.#registers.inspect(key, timeMs), timeMs)
    while (!this.#apply(key, step.change) && step.withoutRoom !== undefined) step = step.withoutRoom
    return step.reply
  }

  /** @returns `false` if there is no room: then nothing has changed. */
  #apply(key: string, change: Change): boolean {
    switch (change.to) {
      case 'same':
        return true
      case 'absent':
        this.#registers.delete(key)
        return true
      case 'stored':
        return this.#registers.put(key, change.text, change.untilMs)
      case 'guarded':
        this.#registers.pin(key, change.text, change.untilMs)
        return true
      case 'changed':
        this.#registers.change(key, change.text)
        return true
    }
  }

  #broadcast(tell: (listener: StreamListener) => void): void {
    for (const one of [...this.#subscriptions]) {
      // An earlier listener may have taken this one off. One that is added now hears the next message first.
      if (!this.#subscriptions.has(one)) continue
      try {
        tell(one.listener)
      } catch {
        // The contract: a listener that throws does not affect the others. Listeners are the library's own.
      }
    }
  }
}
