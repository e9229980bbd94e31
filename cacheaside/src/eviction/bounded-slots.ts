/**
 * Entries without their keys, which never grow over their bounds, in bytes, in entries or both: a policy decides what goes
 * for a new entry. Each has the number of a slot until it goes; a slot is used again. Their owner maps keys to slots, and
 * enters an entry in two steps:
 *
 * 1. {@link BoundedSlots.makeRoom} gives it an empty slot, which the owner notes under the key;
 * 2. {@link BoundedSlots.enter} puts it in. Nothing may happen in between.
 *
 * Expired entries are never found. A look-up or an eviction that meets one removes it. So does a sweep, which goes on a
 * little with each entry that is put in. At most about as many expired entries wait for the sweep as entries with an expiry
 * are alive, or a thirtieth of the most that there ever were. There are no timers.
 */
import { type Bounds, checkBounds } from './bounds.ts'
import { CANDIDATE, Columns, EVICTABLE, grownCapacity, HELD, NOWHERE } from './columns.ts'
import type { EvictionPolicy } from './eviction-policy.ts'
import { ExpirySweep } from './expiry-sweep.ts'
import { policyNamed } from './policies.ts'

export { NOWHERE } from './columns.ts'

/** Why an entry went: for want of room, or because its time had passed; `undefined` if its owner removed it. */
export type Gone = 'evicted' | 'expired' | undefined

/** The owner of the slots, which finds the entries by their keys. */
export interface SlotOwner<T> {
  /** The hash of the key of an entry; by `mixed` of `ghost-queue.ts`. */
  hashOf(slot: number): number
  /** The entry has gone. Called in the middle of a method: it must neither throw nor change the slots. */
  gone(slot: number, value: T, why: Gone): void
}

/** For each entry that is put in, so many others are examined for expiry. */
const SWEPT_PER_ENTRY = 2
/** More slots than this are not kept for entries that have gone, once none is left. */
const MOST_EMPTY_SLOTS = 1_024

/** Entries without their keys, within bounds. */
export class BoundedSlots<T> {
  readonly #owner: SlotOwner<T>
  readonly #maxBytes: number
  readonly #maxEntries: number
  readonly #columns = new Columns()
  readonly #values: (T | undefined)[] = []
  readonly #policy: EvictionPolicy
  readonly #sweep = new ExpirySweep(this.#columns)
  /** Slots that were used before, and are empty. */
  readonly #empty: number[] = []
  /** No slot from here on was ever used. */
  #used = 0
  #bytes = 0
  /** The charge of all entries that the policy could evict. The rest cannot be evicted. */
  #candidateBytes = 0
  #candidates = 0

  /** @throws CacheError `INVALID_OPTIONS` naming the option, what it must be and what it is. */
  constructor(bounds: Bounds, owner: SlotOwner<T>) {
    checkBounds(bounds)
    this.#owner = owner
    this.#maxBytes = bounds.maxBytes ?? Number.POSITIVE_INFINITY
    this.#maxEntries = bounds.maxEntries ?? Number.POSITIVE_INFINITY
    this.#policy = policyNamed(bounds.policy, this.#columns, slot => owner.hashOf(slot), {
      sharesBytes: bounds.maxBytes !== undefined,
      samples: bounds.samples ?? 5,
      lfuLogFactor: bounds.lfuLogFactor ?? 10,
      lfuDecayMinutes: bounds.lfuDecayMinutes ?? 1,
      random: () => bounds.clock.random(),
    })
  }

  /** How many entries are held, expired ones included that were not found yet. */
  get size(): number {
    return this.#used - this.#empty.length
  }

  /** What they are charged together. */
  get bytes(): number {
    return this.#bytes
  }

  /** The value in a slot. */
  valueAt(slot: number): T {
    return this.#values[slot] as T
  }

  /** The moment from which an entry is not found any more; `Infinity`: none. */
  expiresAtMs(slot: number): number {
    return this.#columns.expiresAtMs[slot]!
  }

  /** Whether its owner allows a policy to evict an entry. */
  isEvictable(slot: number): boolean {
    return (this.#columns.flags[slot]! & EVICTABLE) !== 0
  }

  /** Whether an entry has not expired. Counts as an access. An expired one is removed. */
  access(slot: number, nowMs: number): boolean {
    if (this.#columns.expiresAtMs[slot]! <= nowMs) {
      this.#remove(slot, 'expired')
      return false
    }
    this.#policy.accessed(slot, nowMs)
    return true
  }

  /** As {@link BoundedSlots.access}, but does not count as one. */
  isAlive(slot: number, nowMs: number): boolean {
    if (this.#columns.expiresAtMs[slot]! > nowMs) return true
    this.#remove(slot, 'expired')
    return false
  }

  /** The entry goes. */
  remove(slot: number): void {
    this.#remove(slot, undefined)
  }

  /** Removes some expired entries. To be called before the look-up of an entry that will be put in. */
  sweepSome(nowMs: number): void {
    const { expiresAtMs } = this.#columns
    for (let examined = 0; examined < SWEPT_PER_ENTRY; examined++) {
      const slot = this.#sweep.next(this.#used)
      if (slot === undefined) return
      if (expiresAtMs[slot]! <= nowMs) this.#remove(slot, 'expired')
    }
  }

  /**
   * Makes room for a new entry.
   *
   * @returns an empty slot for it; `NOWHERE` when no room could be made: then nothing was evicted. For an entry that may
   *   not be evicted there is always room.
   */
  makeRoom(bytes: number, evictable: boolean, nowMs: number): number {
    if (evictable && !this.#canFit(bytes, NOWHERE)) return NOWHERE
    this.#evictFor(bytes, 1, nowMs)
    const slot = this.#empty.pop() ?? this.#used++
    if (slot >= this.#columns.capacity) this.#grow()
    return slot
  }

  /** Puts an entry into the slot that room was made in. */
  enter(slot: number, value: T, bytes: number, expiresAtMs: number, evictable: boolean, nowMs: number): void {
    const columns = this.#columns
    this.#values[slot] = value
    columns.bytes[slot] = bytes
    columns.expiresAtMs[slot] = expiresAtMs
    columns.flags[slot] = evictable ? HELD | EVICTABLE : HELD
    this.#bytes += bytes
    this.#policy.begin(slot, nowMs)
    if (this.#policy.accepts(evictable, expiresAtMs)) this.#enter(slot)
  }

  /**
   * Replaces the value of an entry that has not expired, and what is known of it. How often it was accessed survives.
   *
   * @returns `false` when no room could be made: then nothing was evicted, and all is as it was. An entry that may not
   *   be evicted is always taken; so is one that is no larger than what it replaces.
   */
  overwrite(
    slot: number,
    value: T,
    bytes: number,
    expiresAtMs: number,
    evictable: boolean,
    nowMs: number,
  ): boolean {
    if (evictable && !this.#canFit(bytes, slot)) return false
    const columns = this.#columns
    const byBytes = bytes - columns.bytes[slot]!
    const wasCandidate = (columns.flags[slot]! & CANDIDATE) !== 0
    const willBeCandidate = this.#policy.accepts(evictable, expiresAtMs)
    const fits = byBytes <= 0 || this.#hasRoom(byBytes, 0)
    // An entry that stays a candidate keeps its place, unless others must go: it must not be evicted to make room for
    // itself.
    const keepsPlace = wasCandidate && willBeCandidate && fits
    if (wasCandidate && !keepsPlace) this.#leave(slot)
    if (!fits) this.#evictFor(byBytes, 0, nowMs)

    this.#values[slot] = value
    columns.bytes[slot] = bytes
    columns.expiresAtMs[slot] = expiresAtMs
    columns.flags[slot] = (columns.flags[slot]! & CANDIDATE) | (evictable ? HELD | EVICTABLE : HELD)
    this.#bytes += byBytes
    if (keepsPlace) {
      this.#candidateBytes += byBytes
      this.#policy.resized(slot, byBytes)
    } else if (willBeCandidate) this.#enter(slot)
    this.#policy.overwritten(slot, nowMs)
    return true
  }

  /** Removes everything, and what the policy remembers. The owner is not told. */
  clear(): void {
    this.#forgetSlots()
    this.#policy.clear()
    this.#bytes = this.#candidateBytes = this.#candidates = 0
  }

  #forgetSlots(): void {
    this.#columns.clear()
    this.#values.length = this.#empty.length = this.#used = 0
    this.#sweep.clear()
  }

  #grow(): void {
    const capacity = grownCapacity(this.#columns.capacity)
    this.#columns.grow(capacity)
    this.#policy.grow(capacity)
  }

  /** Whether there is room for so many bytes, instead of those of `previous`, once all other candidates are gone. */
  #canFit(bytes: number, previous: number): boolean {
    let immovableBytes = this.#bytes - this.#candidateBytes
    let immovable = this.size - this.#candidates
    if (previous !== NOWHERE) {
      const previousBytes = this.#columns.bytes[previous]!
      if (bytes <= previousBytes) return true
      if ((this.#columns.flags[previous]! & CANDIDATE) === 0) {
        immovableBytes -= previousBytes
        immovable--
      }
    }
    return immovableBytes + bytes <= this.#maxBytes && immovable + 1 <= this.#maxEntries
  }

  #hasRoom(bytes: number, entries: number): boolean {
    return this.#bytes + bytes <= this.#maxBytes && this.size + entries <= this.#maxEntries
  }

  /** Evicts until there is room, or nothing is left to evict: then the entry is taken without room. */
  #evictFor(bytes: number, entries: number, nowMs: number): void {
    while (!this.#hasRoom(bytes, entries)) {
      const slot = this.#policy.take(nowMs)
      if (slot === NOWHERE) break
      this.#uncount(slot)
      this.#forget(slot, this.#columns.expiresAtMs[slot]! <= nowMs ? 'expired' : 'evicted')
    }
  }

  #remove(slot: number, why: Gone): void {
    if ((this.#columns.flags[slot]! & CANDIDATE) !== 0) this.#leave(slot)
    this.#forget(slot, why)
    // Slots that were only needed for a peak are given back after it.
    if (this.#used > MOST_EMPTY_SLOTS && this.#empty.length === this.#used) {
      this.#forgetSlots()
      this.#policy.grow(0)
    }
  }

  #forget(slot: number, why: Gone): void {
    const value = this.#values[slot] as T
    this.#values[slot] = undefined
    this.#columns.flags[slot] = 0
    this.#bytes -= this.#columns.bytes[slot]!
    this.#empty.push(slot)
    this.#owner.gone(slot, value, why)
  }

  #enter(slot: number): void {
    this.#columns.flags[slot]! |= CANDIDATE
    this.#candidates++
    this.#candidateBytes += this.#columns.bytes[slot]!
    this.#policy.enter(slot)
  }

  #leave(slot: number): void {
    this.#policy.leave(slot)
    this.#uncount(slot)
  }

  #uncount(slot: number): void {
    this.#columns.flags[slot]! &= ~CANDIDATE
    this.#candidates--
    this.#candidateBytes -= this.#columns.bytes[slot]!
  }
}
