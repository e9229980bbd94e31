import { described } from '../base/invalid-option.ts'
import { type Key, keyspaceOf, type Tag, type WholeKeyspace, wholeNameOf } from '../base/key.ts'
import { notAtOnce, silencePromise } from '../base/thrown.ts'
import type { Change, FeedTable } from './change-feed.ts'

/** The invalidations for a batch of changes. Many changes may need the same invalidation, and one change several. */
export interface Plan {
  readonly keys: ReadonlyMap<Key | Tag, readonly Change[]>
  readonly keyspaces: ReadonlyMap<string, readonly Change[]>
}

/**
 * Which keys and keyspaces a batch of changes invalidates.
 *
 * A change whose keys are not known is never dropped. Then the keyspaces of its table are invalidated; if the table has none
 * or is not known here, all keyspaces are.
 *
 * @param everyKeyspace - The names of all keyspaces of the store.
 * @param onFault - Told of a map that throws, once per change, and of a table that has none.
 * @param named - Told of each keyspace that a map names, as a whole or by a key.
 */
export function planOf(
  changes: readonly Change[],
  tables: ReadonlyMap<string, FeedTable>,
  everyKeyspace: () => Iterable<string>,
  onFault: (table: string, error: unknown) => void,
  named: (table: string, keyspace: string) => void = () => {},
): Plan {
  const keys = new Map<Key | Tag, Change[]>()
  const keyspaces = new Map<string, Change[]>()
  for (const change of changes) {
    const table = tables.get(change.table)
    const mapped =
      table === undefined ? undefined : targetsOf(change, table, error => onFault(change.table, error))
    if (table === undefined) onFault(change.table, new Error('no map for this table'))
    for (const key of mapped?.keys ?? []) {
      named(change.table, keyspaceOf(key))
      add(keys, key, change)
    }
    for (const name of mapped?.keyspaces ?? []) named(change.table, name)
    for (const name of mapped?.keyspaces ?? table?.keyspaces ?? everyKeyspace()) add(keyspaces, name, change)
    // Another process may have declared it, so this one may not know the name.
    for (const target of change.declared ?? []) {
      const name = wholeNameOf(target)
      if (name === undefined) add(keys, target as Tag, change)
      else add(keyspaces, name, change)
    }
  }
  return { keys, keyspaces }
}

/** What a change invalidates; `undefined` if that is not known. */
function targetsOf(
  change: Change,
  table: FeedTable,
  onFault: (error: unknown) => void,
): { readonly keys: ReadonlySet<Key | Tag>; readonly keyspaces: ReadonlySet<string> } | undefined {
  if (change.rows === undefined) return undefined
  const keys = new Set<Key | Tag>()
  const keyspaces = new Set<string>()
  try {
    for (const row of change.rows) {
      const targets: unknown = table.keys(row)
      if (silencePromise(targets)) throw notAtOnce('the map')
      // A key alone would be taken apart into its characters.
      if (typeof targets !== 'object' || targets === null)
        throw new TypeError(`expected the map to return an array of keys, got ${described(targets)}`)
      for (const target of targets as Iterable<Key | Tag | WholeKeyspace>) {
        const name = wholeNameOf(target)
        if (name !== undefined) keyspaces.add(name)
        else {
          keyspaceOf(target as Key | Tag)
          keys.add(target as Key | Tag)
        }
      }
    }
  } catch (error) {
    onFault(error)
    return undefined
  }
  return { keys, keyspaces }
}

function add<Target>(all: Map<Target, Change[]>, target: Target, change: Change): void {
  const changes = all.get(target)
  if (changes === undefined) all.set(target, [change])
  else if (changes.at(-1) !== change) changes.push(change)
}
