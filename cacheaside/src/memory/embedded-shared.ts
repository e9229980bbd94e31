import { type Clock, systemClock } from '../base/clock.ts'
import { knownNames } from '../base/invalid-option.ts'
import type { EvictionPolicyName } from '../eviction/bounded-map.ts'
import {
  claimPrefix,
  type GuardRegister,
  guardText,
  type Holder,
  leaseText,
  parseRegister,
  valueText,
  withClaim,
} from '../shared/register.ts'
import {
  type Expected,
  type Fill,
  type GuardReply,
  type HeartbeatReply,
  type LeaseReply,
  type LookReply,
  REFUSED,
  type ReleaseReply,
  type SharedStore,
  type StoreView,
  type StreamListener,
} from '../shared/shared-store.ts'
import { Registers, type RegistersStats } from './registers.ts'

/** What {@link embeddedShared} can be told. */
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
   * What makes room when it is full. All policies are safe here, since guards are never evicted.
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
 * Listeners are called synchronously, before the change they hear of; what a listener throws is swallowed.
 * Generations of keyspaces lie beside the registers, uncounted and never evicted. `close` tells the listeners
 * that they are interrupted, takes them off and forgets every register; what is called after it works on an empty
 * store with another identity.
 *
 * @throws CacheError `INVALID_OPTIONS` for a bound, policy or factor that cannot work.
 */
export function embeddedShared(options: EmbeddedSharedOptions = {}): EmbeddedShared {
  return new EmbeddedStore(registersFor(options))
}

/** The registers of a store with these options and the defaults. */
export function registersFor(options: EmbeddedSharedOptions): Registers {
  // A misspelt bound would be one that nobody set.
  knownNames('options', options, OPTION_NAMES)
  return new Registers({
    ...options,
    maxBytes: options.maxBytes ?? DEFAULT_MAX_BYTES,
    policy: options.policy ?? 's3-fifo',
    clock: options.clock ?? systemClock,
  })
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
 * The rules of {@link SharedStore} over {@link Registers}. Every method does its work in one go, before it
 * returns its promise: that is what the scripts of Redis are atomic by.
 */
export class EmbeddedStore implements EmbeddedShared {
  readonly name = 'embedded'
  readonly synchronous = true
  readonly #registers: Registers
  readonly #generations = new Map<string, string>()
  readonly #subscriptions = new Set<{ readonly listener: StreamListener }>()
  /** Drawn when it is first asked for, so that a seeded clock's tokens do not depend on it. */
  #identity: string | undefined

  constructor(registers: Registers) {
    this.#registers = registers
  }

  async lease(key: string, token: string, leaseMs: number): Promise<LeaseReply> {
    return this.#lease(key, token, leaseMs)
  }

  async leaseMany(
    requests: readonly { key: string; token: string }[],
    leaseMs: number,
  ): Promise<LeaseReply[]> {
    return requests.map(({ key, token }) => this.#lease(key, token, leaseMs))
  }

  async look(keys: readonly string[]): Promise<LookReply[]> {
    const timeMs = this.#registers.timeMs()
    return keys.map(key => this.#registers.get(key, timeMs) ?? null)
  }

  #lease(key: string, token: string, leaseMs: number): LeaseReply {
    const timeMs = this.#registers.timeMs()
    const found = this.#registers.get(key, timeMs)
    if (found !== undefined) return found
    return this.#registers.put(key, leaseText(token), timeMs + leaseMs) ? null : REFUSED
  }

  async fill(key: string, prefix: string, value: Fill): Promise<boolean> {
    const timeMs = this.#registers.timeMs()
    return this.#holds(key, { prefix }, timeMs) && this.#store(key, value, timeMs)
  }

  async swap(key: string, seen: Expected, token: string, leaseMs: number): Promise<boolean> {
    const timeMs = this.#registers.timeMs()
    return this.#holds(key, seen, timeMs) && this.#registers.put(key, leaseText(token), timeMs + leaseMs)
  }

  async drop(key: string, seen: Expected): Promise<boolean> {
    return this.#holds(key, seen, this.#registers.timeMs()) && this.#registers.delete(key)
  }

  async claim(key: string, nonce: string, token: string, claimMs: number): Promise<boolean> {
    const timeMs = this.#registers.timeMs()
    const text = this.#registers.peek(key, timeMs)
    const register = text === undefined ? undefined : parseRegister(text)
    if (text === undefined || register?.state !== 'value' || register.nonce !== nonce) return false
    const own = text.startsWith(claimPrefix(nonce, token))
    if (claimMs === 0) {
      if (own) this.#registers.change(key, withClaim(text, undefined))
      return own
    }
    if (!own && register.claimUntilMs > timeMs) return false
    this.#registers.change(key, withClaim(text, { token, untilMs: timeMs + claimMs }))
    return true
  }

  async guard(key: string, token: string, guardMs: number, renewal: boolean): Promise<GuardReply> {
    this.#broadcast(listener => listener.invalidated(key))
    const timeMs = this.#registers.timeMs()
    const standing = this.#guardOf(key, timeMs)
    const others = standing?.holders.filter(holder => holder.token !== token) ?? []
    const found = standing !== undefined && others.length < standing.holders.length
    const joins = standing !== undefined && !found
    // A renewal that is not found was evicted, released or expired while its writer worked: somebody may have
    // read and filled in between, so this guard has not seen everything either.
    const dirty = standing?.dirty === true || joins || (renewal && !found)
    this.#putGuard(key, dirty, [...others, { token, deadlineMs: timeMs + guardMs }])
    if (found) return 'renewed'
    return renewal ? 'rejoined' : 'new'
  }

  async release(key: string, token: string, through?: Fill): Promise<ReleaseReply> {
    this.#broadcast(listener => listener.invalidated(key))
    const timeMs = this.#registers.timeMs()
    const guard = this.#guardOf(key, timeMs)
    if (guard === undefined) {
      this.#registers.delete(key)
      return { held: false, stored: false }
    }
    // Being in the guard is what counts, not the deadline: as long as the register stood, nobody could fill.
    const held = guard.holders.some(holder => holder.token === token)
    const left = guard.holders.filter(holder => holder.token !== token && holder.deadlineMs > timeMs)
    if (left.length > 0) {
      this.#putGuard(key, true, left)
      return { held, stored: false }
    }
    const stored = through !== undefined && held && !guard.dirty && this.#store(key, through, timeMs)
    if (!stored) this.#registers.delete(key)
    return { held, stored }
  }

  async invalidate(key: string): Promise<void> {
    this.#broadcast(listener => listener.invalidated(key))
    const guard = this.#guardOf(key, this.#registers.timeMs())
    if (guard === undefined) this.#registers.delete(key)
    else this.#registers.change(key, guardText(true, guard.holders))
  }

  async generation(keyspace: string, candidate: string): Promise<string> {
    return this.#generation(keyspace, candidate)
  }

  #generation(keyspace: string, candidate: string): string {
    const standing = this.#generations.get(keyspace)
    if (standing !== undefined) return standing
    this.#generations.set(keyspace, candidate)
    return candidate
  }

  async invalidateKeyspace(keyspace: string, generation: string): Promise<void> {
    this.#broadcast(listener => listener.keyspaceInvalidated(keyspace))
    this.#generations.set(keyspace, generation)
  }

  async identity(): Promise<string> {
    this.#identity ??= this.#registers.clock.token()
    return this.#identity
  }

  async view(): Promise<StoreView> {
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
    this.#broadcast(listener => listener.heartbeat(text))
    return {
      timeMs: Math.round(this.#registers.timeMs()),
      generations: keyspaces.map(({ name, candidate }) => this.#generation(name, candidate)),
    }
  }

  async close(): Promise<void> {
    this.#broadcast(listener => listener.interrupted('the embedded store was closed'))
    this.#subscriptions.clear()
    this.#registers.clear()
    this.#generations.clear()
    this.#identity = undefined
  }

  inspect(key: string): string | undefined {
    return this.#registers.peek(key, this.#registers.timeMs())
  }

  stats(): RegistersStats {
    return this.#registers.stats()
  }

  #holds(key: string, expected: Expected, timeMs: number): boolean {
    const text = this.#registers.peek(key, timeMs)
    if (text === undefined) return false
    return 'prefix' in expected ? text.startsWith(expected.prefix) : text === expected.exactly
  }

  #guardOf(key: string, timeMs: number): GuardRegister | undefined {
    const text = this.#registers.peek(key, timeMs)
    const register = text === undefined ? undefined : parseRegister(text)
    return register?.state === 'guard' ? register : undefined
  }

  #putGuard(key: string, dirty: boolean, holders: readonly Holder[]): void {
    const latestMs = Math.max(...holders.map(holder => holder.deadlineMs))
    this.#registers.pin(key, guardText(dirty, holders), latestMs)
  }

  #store(key: string, value: Fill, timeMs: number): boolean {
    const text = valueText(this.#registers.clock.token(), value, timeMs)
    return this.#registers.put(key, text, timeMs + value.freshMs + value.staleMs)
  }

  #broadcast(tell: (listener: StreamListener) => void): void {
    for (const { listener } of this.#subscriptions) {
      try {
        tell(listener)
      } catch {
        // The contract: a listener that throws harms nobody else. Listeners are the library's own.
      }
    }
  }
}
