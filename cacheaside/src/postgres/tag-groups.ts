import { CacheError } from '../base/errors.ts'
import { isKeyspaceName, keyOf, type Tag, type WholeKeyspace, wholeKeyspace } from '../base/key.ts'
import type { FeedRow } from '../feed/change-feed.ts'

/**
 * One group of tags of a table: one tag for each combination of values of these columns, and for no columns one tag for
 * all rows. Groups lie beside the outbox, so that relays apply also those that only processes of another version of the
 * program ask for.
 */
export interface TagGroup {
  /** The name that its tags begin with. */
  readonly tag: string
  /** Its columns, in alphabetical order. */
  readonly by: readonly string[]
  /** How tags are made of a row; another number means another way. Then the other fields may differ, but not `tag`. */
  readonly version: number
}

/** How this version of the library makes a tag of a row's columns. */
export const GROUP_VERSION = 1

/** The tag of a group whose rows have these texts in its columns, and `null` where they have none. */
export function tagOf({ tag, by }: TagGroup, texts: readonly (string | null)[]): Tag {
  // The text `null` differs from an absent text.
  const parts = texts.map(text => (text === null ? 'null' : `=${text}`))
  return keyOf(tag, by.length === 0 ? 'any' : [by.join(','), ...parts]) as string as Tag
}

/**
 * What a change of this row invalidates: the tag of its group, or all tags of that name if the row lacks a column. Nothing if
 * the tag is longer than a key may be: then no reader can have asked for it.
 */
function targetOfRow(group: TagGroup, row: FeedRow): Tag | WholeKeyspace | undefined {
  if (group.version !== GROUP_VERSION || !group.by.every(column => Object.hasOwn(row, column)))
    return wholeKeyspace(group.tag)
  try {
    return tagOf(
      group,
      group.by.map(column => row[column]),
    )
  } catch (error) {
    if (error instanceof CacheError && error.code === 'INVALID_KEY') return undefined
    throw error
  }
}

/** What a change of these rows invalidates, by these groups; of all rows if they are not known. */
export function targetsOfRows(
  groups: readonly TagGroup[],
  rows: readonly FeedRow[] | undefined,
): (Tag | WholeKeyspace)[] {
  if (rows === undefined) return [...new Set(groups.map(({ tag }) => tag))].map(wholeKeyspace)
  return groups
    .flatMap(group => rows.map(row => targetOfRow(group, row)))
    .filter(target => target !== undefined)
}

/**
 * The groups that were found beside the outbox, by table. Only the role that has installed the feed writes there, but
 * perhaps with a later version of the library: what cannot be read as a group stands for all tags of its name.
 */
export function groupsOf(found: unknown): ReadonlyMap<string, readonly TagGroup[]> {
  const all = new Map<string, readonly TagGroup[]>()
  for (const [table, groups] of Object.entries((found ?? {}) as Record<string, unknown>)) {
    if (Array.isArray(groups)) all.set(table, groups.flatMap(groupOf))
  }
  return all
}

function groupOf(found: Partial<TagGroup> | null): TagGroup | [] {
  const { tag, by, version } = found ?? {}
  if (!isKeyspaceName(tag)) return []
  const isWhole = Array.isArray(by) && by.every(column => typeof column === 'string')
  return { tag, by: isWhole ? by : [], version: isWhole && typeof version === 'number' ? version : 0 }
}
