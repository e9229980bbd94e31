import { type Key, keyspaceOf } from '../base/key.ts'
import type { Change, FeedTable } from './change-feed.ts'

/** What a batch of changes comes down to. Many changes may need the same invalidation, and one change several. */
export interface Plan {
  readonly keys: ReadonlyMap<Key, readonly Change[]>
  readonly keyspaces: ReadonlyMap<string, readonly Change[]>
}

/**
 * Which keys and keyspaces a batch of changes invalidates.
 *
 * A change whose keys cannot be told is never dropped: the keyspaces of its table stand in for them, and where the
 * table has none, or is not known here, all keyspaces do.
 *
 * @param everyKeyspace - The names of all keyspaces of the store.
 * @param report - Told of a map that throws, once per change, and of a table that has none.
 */
export function planOf(
  changes: readonly Change[],
  tables: ReadonlyMap<string, FeedTable>,
  everyKeyspace: () => Iterable<string>,
  report: (table: string, error: unknown) => void,
): Plan {
  const keys = new Map<Key, Change[]>()
  const keyspaces = new Map<string, Change[]>()
  for (const change of changes) {
    const table = tables.get(change.table)
    const mapped =
      table === undefined ? undefined : keysOf(change, table, error => report(change.table, error))
    if (table === undefined) report(change.table, new Error('no map for this table'))
    if (mapped !== undefined) for (const key of mapped) add(keys, key, change)
    else for (const name of table?.keyspaces ?? everyKeyspace()) add(keyspaces, name, change)
  }
  return { keys, keyspaces }
}

/** The keys of a change, or `undefined` if they cannot be told. */
function keysOf(
  change: Change,
  table: FeedTable,
  report: (error: unknown) => void,
): ReadonlySet<Key> | undefined {
  if (change.rows === undefined) return undefined
  const keys = new Set<Key>()
  try {
    for (const row of change.rows) {
      for (const key of table.keys(row)) {
        keyspaceOf(key)
        keys.add(key)
      }
    }
  } catch (error) {
    report(error)
    return undefined
  }
  return keys
}

function add<Target>(all: Map<Target, Change[]>, target: Target, change: Change): void {
  const changes = all.get(target)
  if (changes === undefined) all.set(target, [change])
  else if (changes.at(-1) !== change) changes.push(change)
}
