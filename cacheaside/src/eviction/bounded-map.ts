import type { Clock } from '../base/clock.ts'
import { BoundedSlots } from './bounded-slots.ts'
import type { Bounds } from './bounds.ts'
import { NOWHERE } from './columns.ts'
import { hashOf } from './ghost-queue.ts'

export { EVICTION_POLICIES, type EvictionPolicyName } from './policies.ts'

/** How large a {@link BoundedMap} may grow, and who is told of what goes. */
export interface BoundedMapOptions<T> extends Bounds {
  /**
   * Told of each entry that went for want of room, or because its time had passed; not of what was deleted, replaced
   * or cleared. Called after the entry is gone, in the middle of a method of the map: it must neither throw nor
   * change the map.
   */
  readonly onEvict?: (key: string, value: T, reason: 'evicted' | 'expired') => void
  /** Told of each value that goes, for any reason but `clear`. Otherwise as `onEvict`. */
  readonly onGone?: (value: T) => void
}

/** What an entry is charged, how long it lives, and whether it may be evicted. */
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

/**
 * A map from texts that never grows over its bounds: {@link BoundedSlots} under their keys. Holds the registers of the embedded
 * shared store.
 */
export class BoundedMap<T> {
  readonly #clock: Clock
  readonly #onGone: ((value: T) => void) | undefined
  readonly #slots: BoundedSlots<T>
  readonly #slotOf = new Map<string, number>()
  readonly #keys: string[] = []

  /** @throws CacheError `INVALID_OPTIONS` naming the option, what it must be and what it is. */
  constructor(options: BoundedMapOptions<T>) {
    const { clock, onEvict, onGone } = options
    this.#clock = clock
    this.#onGone = onGone
    this.#slots = new BoundedSlots<T>(options, {
      hashOf: slot => hashOf(this.#keys[slot]!),
      gone: (slot, value, why) => {
        const key = this.#keys[slot]!
        this.#keys[slot] = ''
        this.#slotOf.delete(key)
        onGone?.(value)
        if (why !== undefined) onEvict?.(key, value, why)
      },
    })
  }

  /** How many entries are held, expired ones included that were not found yet. */
  get size(): number {
    return this.#slots.size
  }

  /** What they are charged together. */
  get bytes(): number {
    return this.#slots.bytes
  }

  /**
   * The value under the key. Counts as an access. An expired entry is removed and not found.
   *
   * @param nowMs - the moment to judge expiry by, on the clock's {@link Clock.nowMs}; may be coarse.
   */
  get(key: string, nowMs: number): T | undefined {
    const slot = this.#slotOf.get(key)
    if (slot === undefined || !this.#slots.access(slot, nowMs)) return undefined
    return this.#slots.valueAt(slot)
  }

  /** As {@link BoundedMap.get}, but does not count as an access. */
  inspect(key: string, nowMs: number): T | undefined {
    const slot = this.#live(key, nowMs)
    return slot === NOWHERE ? undefined : this.#slots.valueAt(slot)
  }

  /** When the entry expires; `undefined` if there is none, or it never expires. Does not count as an access. */
  expiresAtMs(key: string): number | undefined {
    const slot = this.#slotOf.get(key)
    if (slot === undefined) return undefined
    const expiresAtMs = this.#slots.expiresAtMs(slot)
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
    const { bytes, expiresAtMs = Number.POSITIVE_INFINITY, evictable = true } = placement
    this.#slots.sweepSome(nowMs)
    const known = this.#live(key, nowMs)
    if (known !== NOWHERE) return this.#overwrite(known, value, bytes, expiresAtMs, evictable, nowMs)
    const slot = this.#slots.makeRoom(bytes, evictable, nowMs)
    if (slot === NOWHERE) return false
    this.#keys[slot] = key
    this.#slotOf.set(key, slot)
    this.#slots.enter(slot, value, bytes, expiresAtMs, evictable, nowMs)
    return true
  }

  /**
   * Replaces the value of an entry, which keeps its expiry and whether it may be evicted.
   *
   * @returns `false` when there is no entry under the key, or no room for the new value: then the old one stays.
   */
  replace(key: string, value: T, bytes: number): boolean {
    const nowMs = this.#clock.coarseMs()
    this.#slots.sweepSome(nowMs)
    const slot = this.#live(key, nowMs)
    if (slot === NOWHERE) return false
    const slots = this.#slots
    return this.#overwrite(slot, value, bytes, slots.expiresAtMs(slot), slots.isEvictable(slot), nowMs)
  }

  /** @returns whether there was an entry that had not expired. */
  delete(key: string): boolean {
    const slot = this.#live(key, this.#clock.coarseMs())
    if (slot === NOWHERE) return false
    this.#slots.remove(slot)
    return true
  }

  /** Removes everything, and what the policy remembers. */
  clear(): void {
    this.#slotOf.clear()
    this.#keys.length = 0
    this.#slots.clear()
  }

  /** All entries that have not expired, in no promised order, also while others come and go. For audits and tests. */
  *entries(): IterableIterator<[key: string, value: T]> {
    const nowMs = this.#clock.coarseMs()
    for (const [key, slot] of this.#slotOf)
      if (this.#slots.expiresAtMs(slot) > nowMs) yield [key, this.#slots.valueAt(slot)]
  }

  #overwrite(
    slot: number,
    value: T,
    bytes: number,
    expiresAtMs: number,
    evictable: boolean,
    nowMs: number,
  ): boolean {
    const previous = this.#slots.valueAt(slot)
    if (!this.#slots.overwrite(slot, value, bytes, expiresAtMs, evictable, nowMs)) return false
    this.#onGone?.(previous)
    return true
  }

  #live(key: string, nowMs: number): number {
    const slot = this.#slotOf.get(key)
    return slot !== undefined && this.#slots.isAlive(slot, nowMs) ? slot : NOWHERE
  }
}
