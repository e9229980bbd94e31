/** Removing by hand. This is always safe: the next reader loads the value again. */
import { invalidOption } from '../base/invalid-option.ts'
import { markedToken } from '../shared/key-mark.ts'
import { tagNamed, tagNamesOf } from './named-tags.ts'
import {
  askedStore,
  clockOf,
  keyNamed,
  keyspaceNamed,
  keyspacesOf,
  type Operated,
  sharedOf,
} from './target.ts'

/** Something that can be removed, by its name. */
export interface Removable {
  /** The name of a keyspace, or of tags. */
  readonly name: string
  /** Whether the name is that of tags. Then the values that depend on them are removed. */
  readonly isTags: boolean
}

/**
 * The keyspace or the tags of this name.
 *
 * @throws CacheError `INVALID_OPTIONS` if there are none, with the names that there are.
 */
export function removableNamed(operated: Operated, name: string): Removable {
  const tags = tagNamesOf(operated)
  if (tags.includes(name)) return { name, isTags: true }
  if (tags.length === 0 || keyspacesOf(operated).some(space => space.name === name))
    return { name: keyspaceNamed(operated, name).name, isTags: false }
  const keyspaces = keyspacesOf(operated).map(space => space.name)
  const expected = `one of the keyspaces ${keyspaces.join(', ')}, or of the tags ${tags.join(', ')}`
  throw invalidOption('the name', expected, name)
}

/**
 * The key or the tag that a person has named.
 *
 * @param id - The parts of the id as texts; one for an id that is no tuple. Of a table's tag: `any`, or `COLUMN=VALUE` for each column.
 * @throws as {@link removableNamed}; CacheError `INVALID_KEY` for what is no id of it, `INVALID_OPTIONS` for an unknown group of rows.
 */
export function keyToRemove(operated: Operated, name: string, id: readonly string[]): string {
  return removableNamed(operated, name).isTags
    ? tagNamed(operated, name, id)
    : keyNamed(operated, name, id).key
}

/**
 * Invalidates one value in the store, and so in every process that listens; or one tag, and with it every value that was stored
 * under it.
 *
 * @param name - The name of one of the keyspaces, or of the tags.
 * @param id - As {@link keyToRemove} takes it.
 * @returns the key, or the tag.
 * @throws as {@link keyToRemove}; an error that says why the store has not confirmed it. Then it may have been done or not,
 * and may be repeated.
 */
export async function invalidateKey(
  operated: Operated,
  name: string,
  id: readonly string[],
): Promise<string> {
  const key = keyToRemove(operated, name, id)
  await askedStore(operated, sharedOf(operated).invalidate(key))
  return key
}

/**
 * Gives a keyspace, or all tags of one kind, a new generation: no value of it, or none that depends on them, is found any
 * more, in any process that listens.
 *
 * @param name - The name of one of the keyspaces, or of the tags.
 * @returns the generation.
 * @throws as {@link invalidateKey}.
 */
export async function flushKeyspace(operated: Operated, name: string): Promise<string> {
  removableNamed(operated, name)
  const generation = markedToken(name, clockOf(operated).token())
  await askedStore(operated, sharedOf(operated).invalidateKeyspace(name, generation))
  return generation
}
