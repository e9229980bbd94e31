import type { Clock } from '../base/clock.ts'
import { BoundedMap, type EvictionPolicyName, type Place } from '../eviction/bounded-map.ts'
import { Dependents } from './dependents.ts'
import type { EntryTags } from './entry-tags.ts'

export { EVICTION_POLICIES, type EvictionPolicyName, Place } from '../eviction/bounded-map.ts'

/** A value kept in this process. */
export interface LocalEntry {
  /** Hands the value out; see `shared/codec.ts`. */
  readonly opened: { take(): unknown; readonly isShared: boolean }
  /** Whether it says that there is no such row. */
  readonly absent: boolean
  /** The keyspace's generation when the value was read or filled: another one now, and it is not found. */
  readonly generation: string
  /** The tags that it depends on. */
  readonly tags: EntryTags
  /** When it was stored, and until when it is fresh, by the clock's `nowMs`. */
  readonly filledAtMs: number
  readonly expiresAtMs: number
  /** From when on a hit starts a refresh; `FIRST_HIT` where the first hit has to be noted. */
  refreshAtMs: number
}

/**
 * L1: what this process keeps. It does not see to coherence: the code that hears of an invalidation removes the key here,
 * and dooms the flights that could bring the old value back.
 */
export interface LocalStore {
  /** Whether it keeps anything at all. */
  readonly enabled: boolean
  get(key: string, nowMs: number): LocalEntry | undefined
  /** As {@link LocalStore.get}, for a caller that asks for the same key again and again. */
  getAt(place: Place<LocalEntry>, nowMs: number): LocalEntry | undefined
  /**
   * Keeps an entry until it expires, is removed, or has to make room.
   *
   * @param textLength - Length of the encoded value, from which its charge is computed.
   */
  keep(key: string, entry: LocalEntry, textLength: number): void
  /** @returns whether it was an entry with tags that this process has stored, and that no read was answered with. */
  remove(key: string): boolean
  /** The keys of the entries that depend on this tag. */
  dependentsOf(tag: string): readonly string[]
  /** The keys of the entries that depend on any tag of this keyspace. */
  dependentsOfKeyspace(keyspace: string): readonly string[]
  clear(): void
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
  dependentsOf: () => [],
  dependentsOfKeyspace: () => [],
  get: () => undefined,
  getAt: () => undefined,
  keep: () => {},
  remove: () => false,
  clear: () => {},
}

/** The entry's own objects, the map's slot, the eviction's links, and what the keyspace remembers for its id. */
const ENTRY_OVERHEAD_BYTES = 440
/** A parsed object takes about as much again as half its JSON. */
const OBJECT_BYTES_PER_CHARACTER = 1.5

/**
 * An L1 over a bounded map.
 *
 * @throws CacheError `INVALID_OPTIONS` for bounds that are not positive whole numbers.
 */
export function boundedLocal(
  options: { readonly maxBytes?: number; readonly maxEntries?: number; readonly policy?: EvictionPolicyName },
  clock: Clock,
  onDiscard: (key: string, reason: 'evicted' | 'expired') => void,
): LocalStore {
  // Told when the map is whole again: a listener may call the cache, and with it this map.
  const discarded: [key: string, reason: 'evicted' | 'expired'][] = []
  const tell = () => {
    for (const [key, reason] of discarded.splice(0)) onDiscard(key, reason)
  }
  const dependents = new Dependents<string>()
  const entries = new BoundedMap<LocalEntry>({
    ...(options.maxBytes === undefined ? {} : { maxBytes: options.maxBytes }),
    ...(options.maxEntries === undefined ? {} : { maxEntries: options.maxEntries }),
    policy: options.policy ?? 's3-fifo',
    clock,
    onEvict: (key, { tags }, reason) => {
      dependents.unlist(key, tags.names)
      discarded.push([key, reason])
    },
  })
  /** The entry under this key goes, or is about to be replaced. Says whether it is unread. */
  const unlist = (key: string): boolean => {
    if (dependents.size === 0) return false
    const entry = entries.inspect(key, clock.coarseMs())
    if (entry === undefined) return false
    dependents.unlist(key, entry.tags.names)
    return entry.tags.isUnread
  }
  return {
    enabled: true,
    get size() {
      return entries.size
    },
    get bytes() {
      return entries.bytes
    },
    get tags() {
      return dependents.size
    },
    get(key, nowMs) {
      const entry = entries.get(key, nowMs)
      if (discarded.length > 0) tell()
      return entry
    },
    getAt(place, nowMs) {
      const entry = entries.getAt(place, nowMs)
      if (discarded.length > 0) tell()
      return entry
    },
    keep(key, entry, textLength) {
      const bytes = Math.ceil(key.length + textLength * OBJECT_BYTES_PER_CHARACTER) + ENTRY_OVERHEAD_BYTES
      unlist(key)
      // If there is no room for the new value, the old one must not stay either.
      if (!entries.set(key, entry, { bytes, expiresAtMs: entry.expiresAtMs })) entries.delete(key)
      else dependents.list(key, entry.tags.names)
      if (discarded.length > 0) tell()
    },
    remove(key) {
      const wasUnread = unlist(key)
      entries.delete(key)
      if (discarded.length > 0) tell()
      return wasUnread
    },
    dependentsOf: tag => dependents.of(tag),
    dependentsOfKeyspace: keyspace => dependents.ofKeyspace(keyspace),
    clear() {
      entries.clear()
      dependents.clear()
    },
  }
}
