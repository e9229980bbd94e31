import { invalidOption, knownNames } from './base/invalid-option.ts'
import { copiedId, type Key } from './base/key.ts'
import type { SnapshotManyOptions } from './call-options.ts'
import { rowsByKey } from './load.ts'
import type { LoadContext } from './options.ts'
import { readSnapshot, type SnapshotPart } from './snapshot.ts'

/** What of a keyspace is needed for it. */
interface Keyed<Id, V, Loaded> {
  key(id: Id): Key
  at(id: Id): SnapshotPart<V, Loaded>
}

/** Several values of one keyspace, all at one moment. Each key is read once. */
export async function snapshotMany<Id, V, Loaded>(
  keyspace: Keyed<Id, V, Loaded>,
  ids: readonly Id[],
  options: SnapshotManyOptions<Id, Loaded>,
): Promise<Map<Id, V>> {
  knownNames('options', options, ['consistency', 'load', 'signal'])
  const { load, consistency: _, ...others } = options
  if (typeof load !== 'function') throw invalidOption('load', 'a function', load)
  // The caller may use its array and its tuples for other ids as soon as this has begun.
  const given = Array.from(ids, id => [keyspace.key(id), id] as const)
  const asked = new Map(given.map(([key, id]) => [key, copiedId(id)]))
  const ofKeys = [...asked.values()]
  const parts = ofKeys.map(id => keyspace.at(id))
  const loadAll = async (context: LoadContext) => {
    const { space } = parts[0]!.read
    return rowsByKey(
      space,
      `the load of ${space.name}.getMany`,
      [...asked.keys()],
      await load(ofKeys, context),
    )
  }
  const values = await readSnapshot(parts, { ...others, load: loadAll })
  const byKey = new Map([...asked.keys()].map((key, i) => [key, values[i] as V | undefined]))
  const found = new Map<Id, V>()
  for (const [key, id] of given) {
    const value = byKey.get(key)
    if (value !== undefined) found.set(id, value)
  }
  return found
}
