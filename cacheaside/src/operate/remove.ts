/** What somebody removes by hand. Removing is always safe: what was there is loaded again by its next reader. */
import { markedToken } from '../shared/key-mark.ts'
import { askedStore, clockOf, keyNamed, keyspaceNamed, type Operated, sharedOf } from './target.ts'

/**
 * Invalidates one value in the store, and so in every process that listens.
 *
 * @param keyspace - The name of one of the keyspaces.
 * @param id - The parts of the id as texts; one for an id that is no tuple.
 * @returns the key.
 * @throws CacheError `INVALID_OPTIONS` for an unknown keyspace, `INVALID_KEY` for what is no id of it; an error that says why the
 *   store has not confirmed it: then it may have been done or not, and may be done again.
 */
export async function invalidateKey(
  operated: Operated,
  keyspace: string,
  id: readonly string[],
): Promise<string> {
  const { key } = keyNamed(operated, keyspace, id)
  await askedStore(operated, sharedOf(operated).invalidate(key))
  return key
}

/**
 * Gives a keyspace a new generation: no value of it is found any more, in any process that listens.
 *
 * @returns the generation.
 * @throws as {@link invalidateKey}.
 */
export async function flushKeyspace(operated: Operated, keyspace: string): Promise<string> {
  const { name } = keyspaceNamed(operated, keyspace)
  const generation = markedToken(name, clockOf(operated).token())
  await askedStore(operated, sharedOf(operated).invalidateKeyspace(name, generation))
  return generation
}
