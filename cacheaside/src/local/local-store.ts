import type { Clock } from '../base/clock.ts'
import { BoundedSlots, type Gone, NOWHERE } from '../eviction/bounded-slots.ts'
import { hashOfNumber, hashOfText, mixed } from '../eviction/ghost-queue.ts'
import type { EvictionPolicyName } from '../eviction/policies.ts'
import { Dependents } from './dependents.ts'
import { EntryColumns } from './entry-columns.ts'
import type { LocalEntry } from './local-entry.ts'
import { LocalShelf } from './local-shelf.ts'

export { NOWHERE } from '../eviction/bounded-slots.ts'
export { EVICTION_POLICIES, type EvictionPolicyName } from '../eviction/policies.ts'
export type { LocalEntry } from './local-entry.ts'
export type { LocalShelf } from './local-shelf.ts'

/**
 * L1: what this process keeps. It does not care for coherence: the code that hears of an invalidation removes the key here,
 * and dooms the flights that could bring the old value back.
 */
export interface LocalStore {
  /** What it keeps of one keyspace, for hits; `undefined` if it keeps nothing at all. */
  shelfOf(keyspace: string): LocalShelf | undefined
  get(key: string, nowMs: number): LocalEntry | undefined
  /**
   * Keeps an entry until it expires, is removed, or has to make room.
   *
   * @param textLength - Length of the encoded value, from which its charge is computed.
   */
  keep(key: string, entry: LocalEntry, textLength: number): void
  /** @returns whether it was an entry with tags that this process has stored, and that has answered no read. */
  remove(key: string): boolean
  /** The keys of the entries that depend on this tag. */
  dependentsOf(tag: string): readonly string[]
  /** The keys of the entries that depend on any tag of this keyspace. */
  dependentsOfKeyspace(keyspace: string): readonly string[]
  clear(): void
  /** Whether it keeps anything at all. */
  readonly enabled: boolean
  /** Entries and bytes kept. */
  readonly size: number
  readonly bytes: number
  /** How many tags its entries depend on. */
  readonly tags: number
}

/** An L1 that keeps nothing, for a cache without one. */
export const noLocal: LocalStore = {
  enabled: false,
  size: 0,
  bytes: 0,
  tags: 0,
  shelfOf: () => undefined,
  dependentsOf: () => [],
  dependentsOfKeyspace: () => [],
  get: () => undefined,
  keep: () => {},
  remove: () => false,
  clear: () => {},
}

/** The slot of an entry in all columns, and the maps that find it by its id. */
const ENTRY_OVERHEAD_BYTES = 130
/** What a parsed object takes, by rule of thumb: the heap of real ones is 0.8 to 4 times that (`docs/eviction.md`). */
const OBJECT_BYTES_PER_CHARACTER = 1.5
/** What an entry with tags takes more; what it takes for each, beside the name; and a tag on which nothing else depends. */
const TAGGED_BYTES = 100
const LISTED_BYTES = 64
const TAG_BYTES = 190

/** How much L1 may keep, and by which policy it makes room. */
export interface LocalBounds {
  readonly maxBytes?: number
  readonly maxEntries?: number
  readonly policy?: EvictionPolicyName
}

/**
 * An L1 within bounds. One entry is one slot, of all keyspaces together; a shelf for each keyspace finds the slot of an id.
 *
 * @throws CacheError `INVALID_OPTIONS` for bounds that are not positive whole numbers.
 */
export function boundedLocal(
  bounds: LocalBounds,
  clock: Clock,
  onDiscard: (key: string, reason: 'evicted' | 'expired') => void,
): LocalStore {
  return new BoundedLocal(bounds, clock, onDiscard)
}

class BoundedLocal implements LocalStore {
  readonly enabled = true
  readonly #clock: Clock
  readonly #onDiscard: (key: string, reason: 'evicted' | 'expired') => void
  readonly #columns = new EntryColumns()
  readonly #shelves: LocalShelf[] = []
  readonly #shelfByPrefix = new Map<string, LocalShelf>()
  readonly #dependents = new Dependents<string>()
  readonly #slots: BoundedSlots<unknown>
  // Told when the slots are whole again: a listener may call the cache, and with it this level.
  readonly #discarded: [key: string, reason: 'evicted' | 'expired'][] = []

  constructor(
    { maxBytes, maxEntries, policy = 's3-fifo' }: LocalBounds,
    clock: Clock,
    onDiscard: (key: string, reason: 'evicted' | 'expired') => void,
  ) {
    this.#clock = clock
    this.#onDiscard = onDiscard
    const bounds = {
      ...(maxBytes === undefined ? {} : { maxBytes }),
      ...(maxEntries === undefined ? {} : { maxEntries }),
      policy,
      clock,
    }
    this.#slots = new BoundedSlots<unknown>(bounds, {
      hashOf: slot => this.#hashOf(slot),
      gone: (slot, _value, why) => this.#gone(slot, why),
    })
  }

  get size(): number {
    return this.#slots.size
  }

  get bytes(): number {
    return this.#slots.bytes
  }

  get tags(): number {
    return this.#dependents.size
  }

  shelfOf(keyspace: string): LocalShelf {
    return this.#shelfWith(`${keyspace}:`)
  }

  get(key: string, nowMs: number): LocalEntry | undefined {
    const shelf = this.#shelfOfKey(key)
    const slot = shelf.slotOfKey(key)
    return slot === NOWHERE || shelf.aliveAt(slot, nowMs) === NOWHERE ? undefined : shelf.entryAt(slot)
  }

  keep(key: string, entry: LocalEntry, textLength: number): void {
    const { expiresAtMs } = entry
    const kept = EntryColumns.kept(entry.opened)
    const nowMs = this.#clock.coarseMs()
    const slots = this.#slots
    slots.sweepSome(nowMs)
    const shelf = this.#shelfOfKey(key)
    const known = this.#liveAt(shelf.slotOfKey(key), nowMs)
    if (known !== NOWHERE) this.#unlist(key, known)
    const bytes =
      Math.ceil(key.length + textLength * OBJECT_BYTES_PER_CHARACTER) +
      ENTRY_OVERHEAD_BYTES +
      this.#chargeOfTags(entry.tags.names)
    if (known === NOWHERE) {
      const slot = slots.makeRoom(bytes, true, nowMs)
      if (slot !== NOWHERE) {
        shelf.note(key, slot)
        slots.enter(slot, kept, bytes, expiresAtMs, true, nowMs)
        this.#fill(shelf, key, slot, entry)
      }
    } else {
      // If there is no room for the new value, the old one must not stay either.
      if (slots.overwrite(known, kept, bytes, expiresAtMs, true, nowMs)) this.#fill(shelf, key, known, entry)
      else slots.remove(known)
    }
    if (this.#discarded.length > 0) this.#tell()
  }

  remove(key: string): boolean {
    const slot = this.#liveAt(this.#shelfOfKey(key).slotOfKey(key), this.#clock.coarseMs())
    const wasUnread = slot !== NOWHERE && this.#columns.tagsAt(slot).isUnread
    if (slot !== NOWHERE) this.#slots.remove(slot)
    if (this.#discarded.length > 0) this.#tell()
    return wasUnread
  }

  dependentsOf(tag: string): readonly string[] {
    return this.#dependents.of(tag)
  }

  dependentsOfKeyspace(keyspace: string): readonly string[] {
    return this.#dependents.ofKeyspace(keyspace)
  }

  clear(): void {
    for (const shelf of this.#shelves) shelf.clear()
    this.#columns.clear()
    this.#slots.clear()
    this.#dependents.clear()
  }

  #fill(shelf: LocalShelf, key: string, slot: number, entry: LocalEntry): void {
    this.#columns.fill(slot, entry, shelf.numberOf(entry.generation))
    this.#dependents.list(key, entry.tags.names)
  }

  /** A tag on which several entries depend is charged to the first of them. */
  #chargeOfTags(names: readonly string[]): number {
    let bytes = names.length === 0 ? 0 : TAGGED_BYTES
    for (const name of names)
      bytes += LISTED_BYTES + name.length + (this.#dependents.has(name) ? 0 : TAG_BYTES)
    return bytes
  }

  /** The entry in this slot goes, or is about to be replaced. */
  #unlist(key: string, slot: number): void {
    if (this.#dependents.size > 0) this.#dependents.unlist(key, this.#columns.tagsAt(slot).names)
  }

  #liveAt(slot: number, nowMs: number): number {
    return slot !== NOWHERE && this.#slots.isAlive(slot, nowMs) ? slot : NOWHERE
  }

  /** A key without a keyspace belongs to a keyspace without a name. */
  #shelfOfKey(key: string): LocalShelf {
    return this.#shelfWith(key.slice(0, key.indexOf(':') + 1))
  }

  #shelfWith(prefix: string): LocalShelf {
    const known = this.#shelfByPrefix.get(prefix)
    if (known !== undefined) return known
    const shelf = new LocalShelf(prefix, this.#shelves.length, this.#slots, this.#columns, this.#tellIfAny)
    this.#shelves.push(shelf)
    this.#shelfByPrefix.set(prefix, shelf)
    return shelf
  }

  #hashOf(slot: number): number {
    const { spots, shelves } = this.#columns
    const spot = spots[slot]!
    const shelf = shelves[slot]!
    return mixed(typeof spot === 'number' ? hashOfNumber(spot, shelf) : hashOfText(spot, shelf))
  }

  #gone(slot: number, why: Gone): void {
    const shelf = this.#shelves[this.#columns.shelves[slot]!]!
    if (why !== undefined || this.#dependents.size > 0) {
      const key = shelf.keyAt(slot)
      this.#unlist(key, slot)
      if (why !== undefined) this.#discarded.push([key, why])
    }
    shelf.forget(slot)
  }

  readonly #tellIfAny = (): void => {
    if (this.#discarded.length > 0) this.#tell()
  }

  #tell(): void {
    for (const [key, reason] of this.#discarded.splice(0)) this.#onDiscard(key, reason)
  }
}
