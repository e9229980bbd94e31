/**
 * What this process forgets when a key, a tag or a keyspace has changed: its copies go, its flights are doomed, and so is
 * what depends on a tag.
 *
 * It *forgets* what it changes itself, at once. It *hears* of what the store tells, which may be late. What both do is the
 * same. They differ in which flights are set apart: joined no more, although they may still be kept.
 */
import { queueMicrotask } from './base/clock.ts'
import { keyspaceOf } from './base/key.ts'
import type { CacheParts } from './space.ts'

/** This process changes what is behind a key or a tag. */
export function forget(parts: CacheParts, key: string): void {
  drop(parts, key)
  if (parts.tags.size > 0) setApart(parts, keyspaceOf(key))
}

/** This process changes what is behind all keys or tags of a keyspace. */
export function forgetKeyspace(parts: CacheParts, keyspace: string): void {
  parts.stream.forgetGeneration(keyspace)
  dropKeyspace(parts, keyspace)
  setApart(parts, keyspace)
}

/** The store tells of a key or a tag. */
export function heardOf(parts: CacheParts, key: string): void {
  drop(parts, key)
  if (parts.tags.size > 0 && hearsAtOnce(parts)) setApart(parts, keyspaceOf(key))
}

/** The store tells of a whole keyspace. */
export function heardOfKeyspace(parts: CacheParts, keyspace: string): void {
  dropKeyspace(parts, keyspace)
  if (hearsAtOnce(parts)) setApart(parts, keyspace)
}

/** The store may have told of anything, and this process has not heard it. */
export function forgetAll({ local, flights }: Pick<CacheParts, 'local' | 'flights'>): void {
  local.clear()
  flights.doomAll()
}

/**
 * In one process with the store a default read must not be older than what was told of before it began. On any other store
 * it may join a flight that began less than `localMaxStaleMs` before, if only other processes have changed the tag.
 */
const hearsAtOnce = ({ access }: CacheParts): boolean => access.store.synchronous

function setApart({ tags, flights }: CacheParts, keyspace: string): void {
  if (tags.has(keyspace)) flights.setApart()
}

function drop(parts: CacheParts, key: string): void {
  const { local, found, readRegisters, flights } = parts
  local.remove(key)
  found?.forget(key)
  readRegisters?.forget(key)
  flights.doom(key)
  const unread: string[] = []
  for (const dependent of local.dependentsOf(key)) {
    if (local.remove(dependent)) unread.push(dependent)
    found?.forget(dependent)
  }
  flights.doomDependents(key)
  tellUnread(parts, unread, key)
}

/** The same for all keys of a keyspace: L1 compares the keyspace's generation, and not those of its tags. */
function dropKeyspace(parts: CacheParts, keyspace: string): void {
  const { local, flights } = parts
  flights.doomAll(keyspace)
  const unread: string[] = []
  for (const dependent of local.dependentsOfKeyspace(keyspace))
    if (local.remove(dependent)) unread.push(dependent)
  flights.doomDependentsOfKeyspace(keyspace)
  tellUnread(parts, unread, keyspace)
}

/**
 * A listener may call the cache, and a store in this process tells of a change before it makes it. So listeners are told in a
 * microtask. Otherwise: 1. another cache on the store invalidates a tag; 2. here its values go, and a listener is told;
 * 3. it reads one of them again, and finds the old value; 4. the store makes the change, and the old value is kept in L1.
 */
function tellUnread({ emit }: CacheParts, keys: readonly string[], tag: string): void {
  if (keys.length === 0) return
  queueMicrotask(() => {
    for (const key of keys) emit({ type: 'unread', keyspace: keyspaceOf(key), key, tag })
  })
}
