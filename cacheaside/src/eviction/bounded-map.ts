import type { Clock } from '../base/clock.ts'
import { invalidOption } from '../base/invalid-option.ts'
import { EntryNode, NOWHERE } from './entry-node.ts'
import type { EvictionPolicy } from './eviction-policy.ts'
import { ExpirySweep } from './expiry-sweep.ts'
import { EVICTION_POLICIES, type EvictionPolicyName, policyNamed } from './policies.ts'

export { EVICTION_POLICIES, type EvictionPolicyName }

/** How large a {@link BoundedMap} may grow, and what goes when it would grow larger. */
export interface BoundedMapOptions<T> {
  /** The most that the entries may be charged together. At least one of the two bounds must be given. */
  readonly maxBytes?: number
  /** The most entries there may be. */
  readonly maxEntries?: number
  readonly policy: EvictionPolicyName
  readonly clock: Clock
  /**
   * How many entries a sampled policy (`*-lru`, `*-lfu`, `volatile-ttl`) looks at for one eviction.
   * @defaultValue 5, like Redis's `maxmemory-samples`
   */
  readonly samples?: number
  /**
   * How steeply it gets harder for the LFU counter to rise; 0 counts every access.
   * @defaultValue 10, like Redis's `lfu-log-factor`
   */
  readonly lfuLogFactor?: number
  /**
   * Minutes without an access after which the LFU counter falls by one; `Infinity`: never.
   * @defaultValue 1, like Redis's `lfu-decay-time`
   */
  readonly lfuDecayMinutes?: number
  /**
   * Told of each entry that went for want of room, or because its time had passed; not of what was deleted, replaced
   * or cleared. Called after the entry is gone, in the middle of a method of the map: it must neither throw nor
   * change the map.
   */
  readonly onEvict?: (key: string, value: T, reason: 'evicted' | 'expired') => void
  /** Told of each value that goes, for whatever reason, unless everything is cleared. As `onEvict` in all else. */
  readonly onGone?: (value: T) => void
}

/** Where an entry belongs: what it is charged, how long it lives, and whether it may be evicted. */
export interface Placement {
  /** The entry's whole charge: key, value and overhead, as the owner counts them. Not negative. */
  readonly bytes: number
  /** The moment on the clock's {@link Clock.nowMs} from which it is not found any more. Left out: it never expires. */
  readonly expiresAtMs?: number
  /**
   * Whether a policy may evict it. One that may not be evicted is always taken, even over the limit.
   * @defaultValue true
   */
  readonly evictable?: boolean
}

/** A key, and the node under which the map found its entry last: mostly it is still the one. */
export class Place<T, K extends string = string> {
  readonly key: K
  node: EntryNode<T> | undefined = undefined
  constructor(key: K) {
    this.key = key
  }
}

/** Each `set` examines so many entries for having expired, wherever they are. */
const SWEPT_PER_SET = 2

/**
 * A map that never grows over its bounds, in bytes, in entries or both: its policy decides what goes for a new entry.
 * Holds the entries of a process's own level and the registers of the embedded shared store.
 *
 * Expired entries are never found. A look-up or an eviction that meets one removes it, and so does a sweep, of which each
 * `set` does a little. Of the entries that have an expiry, at most about as many wait expired for the sweep as are
 * alive. There are no timers.
 */
export class BoundedMap<T> {
  readonly #maxBytes: number
  readonly #maxEntries: number
  readonly #clock: Clock
  readonly #onEvict: ((key: string, value: T, reason: 'evicted' | 'expired') => void) | undefined
  readonly #onGone: ((value: T) => void) | undefined
  readonly #policy: EvictionPolicy<T>
  readonly #nodes = new Map<string, EntryNode<T>>()
  readonly #sweep = new ExpirySweep<T>()
  #bytes = 0
  /** What the policy could evict in all. The rest of the whole cannot be evicted. */
  #candidateBytes = 0
  #candidates = 0

  /** @throws CacheError `INVALID_OPTIONS` naming the option, what it must be and what it is. */
  constructor(options: BoundedMapOptions<T>) {
    validate(options)
    this.#maxBytes = options.maxBytes ?? Number.POSITIVE_INFINITY
    this.#maxEntries = options.maxEntries ?? Number.POSITIVE_INFINITY
    this.#clock = options.clock
    this.#onEvict = options.onEvict
    this.#onGone = options.onGone
    this.#policy = policyNamed<T>(options.policy, {
      sharesBytes: options.maxBytes !== undefined,
      samples: options.samples ?? 5,
      lfuLogFactor: options.lfuLogFactor ?? 10,
      lfuDecayMinutes: options.lfuDecayMinutes ?? 1,
      random: () => options.clock.random(),
    })
  }

  /** How many entries are held, with expired ones that were not met yet. */
  get size(): number {
    return this.#nodes.size
  }

  /** What they are charged together. */
  get bytes(): number {
    return this.#bytes
  }

  /**
   * The value under the key, and counts as an access. An expired entry is removed and not found.
   *
   * @param nowMs - the moment to judge expiry by, on the clock's {@link Clock.nowMs}; may be coarse.
   */
  get(key: string, nowMs: number): T | undefined {
    const node = this.#nodes.get(key)
    return node === undefined ? undefined : this.#access(node, nowMs)
  }

  /** As {@link BoundedMap.get}, for a caller that asks for the same key again and again. */
  getAt(place: Place<T>, nowMs: number): T | undefined {
    let { node } = place
    // A node that was found there may have been removed since, and may stand for another entry now.
    if (node === undefined || !node.isHeld || node.key !== place.key) {
      node = this.#nodes.get(place.key)
      place.node = node
      if (node === undefined) return undefined
    }
    return this.#access(node, nowMs)
  }

  #access(node: EntryNode<T>, nowMs: number): T | undefined {
    if (node.expiresAtMs <= nowMs) {
      this.#expire(node)
      return undefined
    }
    this.#policy.accessed(node, nowMs)
    return node.value
  }

  /** As {@link BoundedMap.get}, but does not count as an access. */
  inspect(key: string, nowMs: number): T | undefined {
    return this.#live(key, nowMs)?.value
  }

  /** When the entry expires; `undefined` if there is none, or it never expires. Does not count as an access. */
  expiresAtMs(key: string): number | undefined {
    const expiresAtMs = this.#nodes.get(key)?.expiresAtMs
    return expiresAtMs === Number.POSITIVE_INFINITY ? undefined : expiresAtMs
  }

  /**
   * Puts an entry in, replaces one under the same key, and makes room for it. How often an entry was accessed
   * survives its replacement.
   *
   * @returns `false` when no room could be made: then nothing was evicted, and a previous entry stays as it was. An
   *   entry that may not be evicted is always taken; so is one that replaces one at least as large.
   */
  set(key: string, value: T, placement: Placement): boolean {
    const nowMs = this.#clock.coarseMs()
    const expiresAtMs = placement.expiresAtMs ?? Number.POSITIVE_INFINITY
    return this.#put(key, value, placement.bytes, expiresAtMs, placement.evictable ?? true, nowMs)
  }

  /**
   * Replaces the value of an entry, which keeps its expiry and whether it may be evicted.
   *
   * @returns `false` when there is no entry under the key, or no room for the new value: then the old one stays.
   */
  replace(key: string, value: T, bytes: number): boolean {
    const nowMs = this.#clock.coarseMs()
    const node = this.#live(key, nowMs)
    return node !== undefined && this.#put(key, value, bytes, node.expiresAtMs, node.evictable, nowMs)
  }

  /** @returns whether there was an entry that had not expired. */
  delete(key: string): boolean {
    const node = this.#live(key, this.#clock.coarseMs())
    if (node === undefined) return false
    this.#remove(node)
    return true
  }

  /** Removes everything, and what the policy remembers. */
  clear(): void {
    for (const node of this.#nodes.values()) {
      node.isHeld = false
      node.value = undefined as T
    }
    this.#nodes.clear()
    this.#sweep.clear()
    this.#policy.clear()
    this.#bytes = this.#candidateBytes = this.#candidates = 0
  }

  /** All entries that have not expired, in no promised order. For audits and tests. */
  *entries(): IterableIterator<[key: string, value: T]> {
    const nowMs = this.#clock.coarseMs()
    for (const node of this.#nodes.values()) if (node.expiresAtMs > nowMs) yield [node.key, node.value]
  }

  #put(
    key: string,
    value: T,
    bytes: number,
    expiresAtMs: number,
    evictable: boolean,
    nowMs: number,
  ): boolean {
    this.#sweepSome(nowMs)
    const node = this.#live(key, nowMs)
    if (evictable && !this.#canFit(bytes, node)) return false
    if (node === undefined) {
      const spare = this.#makeRoom(bytes, 1, nowMs) ?? new EntryNode<T>()
      this.#insert(spare.hold(key, value, bytes, expiresAtMs, evictable), nowMs)
    } else {
      this.#overwrite(node, value, bytes, expiresAtMs, evictable, nowMs)
    }
    return true
  }

  /** Whether there is room for so many bytes, instead of `previous`, once all other candidates are gone. */
  #canFit(bytes: number, previous: EntryNode<T> | undefined): boolean {
    let immovableBytes = this.#bytes - this.#candidateBytes
    let immovable = this.#nodes.size - this.#candidates
    if (previous !== undefined) {
      if (bytes <= previous.bytes) return true
      if (!previous.isCandidate) {
        immovableBytes -= previous.bytes
        immovable--
      }
    }
    return immovableBytes + bytes <= this.#maxBytes && immovable + 1 <= this.#maxEntries
  }

  #hasRoom(bytes: number, entries: number): boolean {
    return this.#bytes + bytes <= this.#maxBytes && this.#nodes.size + entries <= this.#maxEntries
  }

  /**
   * Evicts until there is room, or nothing is left to evict: then the entry is taken without room.
   *
   * @returns the last node that went, to be used again. In a full map every new entry costs an old one, and a node
   *   that serves twice is a node that the garbage collector does not see.
   */
  #makeRoom(bytes: number, entries: number, nowMs: number): EntryNode<T> | undefined {
    let spare: EntryNode<T> | undefined
    while (!this.#hasRoom(bytes, entries)) {
      const node = this.#policy.take(nowMs)
      if (node === undefined) break
      this.#uncount(node)
      const value = this.#forget(node)
      this.#onEvict?.(node.key, value, node.expiresAtMs <= nowMs ? 'expired' : 'evicted')
      spare = node
    }
    return spare
  }

  #insert(node: EntryNode<T>, nowMs: number): void {
    this.#nodes.set(node.key, node)
    node.isHeld = true
    this.#bytes += node.bytes
    this.#sweepLater(node)
    this.#policy.begin(node, nowMs)
    if (this.#policy.accepts(node.evictable, node.expiresAtMs)) this.#enter(node)
  }

  #overwrite(
    node: EntryNode<T>,
    value: T,
    bytes: number,
    expiresAtMs: number,
    evictable: boolean,
    nowMs: number,
  ): void {
    const byBytes = bytes - node.bytes
    const wasCandidate = node.isCandidate
    const willBeCandidate = this.#policy.accepts(evictable, expiresAtMs)
    const fits = byBytes <= 0 || this.#hasRoom(byBytes, 0)
    // A node that stays a candidate keeps its place, unless others must go: it must not be evicted to make room for
    // itself.
    const keepsPlace = wasCandidate && willBeCandidate && fits
    if (wasCandidate && !keepsPlace) this.#leave(node)
    if (!fits) this.#makeRoom(byBytes, 0, nowMs)

    this.#onGone?.(node.value)
    node.value = value
    node.bytes = bytes
    node.evictable = evictable
    node.expiresAtMs = expiresAtMs
    this.#bytes += byBytes
    this.#sweepLater(node)
    if (keepsPlace) {
      this.#candidateBytes += byBytes
      this.#policy.resized(node, byBytes)
    } else if (willBeCandidate) this.#enter(node)
    this.#policy.overwritten(node, nowMs)
  }

  #live(key: string, nowMs: number): EntryNode<T> | undefined {
    const node = this.#nodes.get(key)
    if (node === undefined || node.expiresAtMs > nowMs) return node
    this.#expire(node)
    return undefined
  }

  #expire(node: EntryNode<T>): void {
    const value = this.#remove(node)
    this.#onEvict?.(node.key, value, 'expired')
  }

  #sweepSome(nowMs: number): void {
    for (let examined = 0; examined < SWEPT_PER_SET; examined++) {
      const node = this.#sweep.next()
      if (node === undefined) return
      if (node.expiresAtMs <= nowMs) this.#expire(node)
    }
  }

  #remove(node: EntryNode<T>): T {
    if (node.isCandidate) this.#leave(node)
    return this.#forget(node)
  }

  /** Lets go of the value too, because a place may still remember the node. */
  #forget(node: EntryNode<T>): T {
    const { value } = node
    node.value = undefined as T
    node.isHeld = false
    this.#nodes.delete(node.key)
    this.#bytes -= node.bytes
    if (node.sweepSlot !== NOWHERE) this.#sweep.remove(node)
    this.#onGone?.(value)
    return value
  }

  /** Lets the sweep look at the node from now on, if it can expire. It stays there also if its expiry is lifted. */
  #sweepLater(node: EntryNode<T>): void {
    if (node.expiresAtMs < Number.POSITIVE_INFINITY && node.sweepSlot === NOWHERE) this.#sweep.add(node)
  }

  #enter(node: EntryNode<T>): void {
    node.isCandidate = true
    this.#candidates++
    this.#candidateBytes += node.bytes
    this.#policy.enter(node)
  }

  #leave(node: EntryNode<T>): void {
    this.#policy.leave(node)
    this.#uncount(node)
  }

  #uncount(node: EntryNode<T>): void {
    node.isCandidate = false
    this.#candidates--
    this.#candidateBytes -= node.bytes
  }
}

function validate(options: BoundedMapOptions<never>): void {
  if (options.maxBytes === undefined && options.maxEntries === undefined) {
    throw invalidOption('maxBytes or maxEntries', 'given, because a bounded map needs a bound', undefined)
  }
  if (!EVICTION_POLICIES.includes(options.policy)) {
    throw invalidOption('policy', `one of ${EVICTION_POLICIES.join(', ')}`, options.policy)
  }
  for (const name of ['maxBytes', 'maxEntries', 'samples'] as const) {
    const value = options[name]
    if (value !== undefined && !(Number.isSafeInteger(value) && value > 0)) {
      throw invalidOption(name, 'a positive integer', value)
    }
  }
  const { lfuLogFactor = 10, lfuDecayMinutes = 1 } = options
  if (!(lfuLogFactor >= 0 && lfuLogFactor < Number.POSITIVE_INFINITY)) {
    throw invalidOption('lfuLogFactor', 'a number of 0 or more', lfuLogFactor)
  }
  if (!(lfuDecayMinutes > 0))
    throw invalidOption('lfuDecayMinutes', 'a positive number or Infinity', lfuDecayMinutes)
}
