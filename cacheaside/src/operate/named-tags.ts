/** Tags as a person types them, by the names of the program's tags. */
import { invalidOption } from '../base/invalid-option.ts'
import { isKeyspaceName, keyOf, type Tag } from '../base/key.ts'
import { type ColumnType, columnText } from '../postgres/column-types.ts'
import type { WatchedTable } from '../postgres/migration.ts'
import { type TagGroup, tagOf } from '../postgres/tag-groups.ts'
import { keyspacesOf, type Operated } from './target.ts'

/** The groups of one table's tags, and the types of their columns as far as they are named. */
interface TableGroups {
  readonly groups: readonly TagGroup[]
  readonly types: Readonly<Record<string, ColumnType>>
}

/**
 * The names of the program's tags: those that the file names, and those of tables that its feed or its migration has.
 *
 * @throws CacheError `INVALID_OPTIONS` for what is no name, or also names a keyspace.
 */
export function tagNamesOf(operated: Operated): readonly string[] {
  const { tags = [], feed } = operated
  if (!Array.isArray(tags))
    throw invalidOption('tags', 'an array of what cache.tags returns, or of names', tags)
  const named = (tags as NonNullable<Operated['tags']>).map(one =>
    typeof one === 'string' ? one : one?.name,
  )
  const names = new Set([...named, ...(feed?.tagNames ?? []), ...groupsByName(operated).keys()])
  const keyspaces = new Set(keyspacesOf(operated).map(({ name }) => name))
  for (const name of names) {
    if (!isKeyspaceName(name))
      throw invalidOption('tags', 'an array of what cache.tags returns, or of names', tags)
    if (keyspaces.has(name)) throw invalidOption('tags', 'named otherwise than any keyspace', name)
  }
  return [...names].sort()
}

/**
 * The tag that a person has typed. A table's tag is typed as `any`, or as `COLUMN=VALUE` for each column of its group; a
 * column without `=` is NULL. Any other tag is typed as the parts of its id.
 *
 * @param name - One of {@link tagNamesOf}.
 * @throws CacheError `INVALID_OPTIONS` for a group that is not declared; `INVALID_KEY` for what is no id.
 */
export function tagNamed(operated: Operated, name: string, parts: readonly string[]): Tag {
  const table = groupsByName(operated).get(name)
  if (table !== undefined) return tagOfTable(name, table, parts)
  return keyOf(name, parts.length === 1 ? parts[0] : parts) as string as Tag
}

/** The groups of the tables' tags, by the name of the tags. */
function groupsByName({ migration }: Operated): ReadonlyMap<string, TableGroups> {
  const found = new Map<string, TableGroups>()
  const tables = migration?.tables ?? {}
  if (Array.isArray(tables)) return found
  for (const table of Object.values(tables as Readonly<Record<string, WatchedTable>>)) {
    const { tags: groups = [], types = {} } = typeof table === 'object' ? table : {}
    if (groups.length > 0) found.set(groups[0]!.tag, { groups, types })
  }
  return found
}

function tagOfTable(name: string, { groups, types }: TableGroups, parts: readonly string[]): Tag {
  const values = new Map(parts.join() === 'any' ? [] : parts.map(columnGiven))
  const by = [...values.keys()].sort()
  const group = groups.find(known => known.by.join() === by.join())
  if (group === undefined) {
    const known = groups.map(one => one.by.map(column => `${column}=VALUE`).join(' ') || 'any')
    throw invalidOption(`the tag of ${name}`, known.join(', or '), parts.join(' '))
  }
  const texts = group.by.map(column => {
    const type = types[column]
    const text = values.get(column)!
    const isBoolean = type === 'boolean' && (text === 'true' || text === 'false')
    return columnText(`${name}.${column}`, type, isBoolean ? text === 'true' : text)
  })
  return tagOf(group, texts)
}

function columnGiven(part: string): readonly [column: string, value: string | null] {
  const at = part.indexOf('=')
  return at === -1 ? [part, null] : [part.slice(0, at), part.slice(at + 1)]
}
