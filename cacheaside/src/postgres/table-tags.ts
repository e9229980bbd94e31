import { invalidOption, invalidOptionInWords, knownNames } from '../base/invalid-option.ts'
import { isKeyspaceName, type Tag, type WholeKeyspace, wholeKeyspace } from '../base/key.ts'
import { notAtOnce, silencePromise } from '../base/thrown.ts'
import type { FeedRow, FeedTargets } from '../feed/change-feed.ts'
import {
  type AnyColumnValue,
  COLUMN_TYPES,
  type ColumnType,
  type ColumnValues,
  columnText,
  isColumnType,
} from './column-types.ts'
import type { PostgresFeedMap, PostgresFeedTable } from './postgres-feed.ts'
import { GROUP_VERSION, type TagGroup, tagOf, targetsOfRows } from './tag-groups.ts'

/** How the rows of one table are grouped. */
export interface TableTagsOptions {
  /**
   * The groups that values depend on: a column, or several that make one group together. A change of a row invalidates its
   * group in each of them. If these columns change, it invalidates both the group that the row left and the one that it
   * joined. Left out: none, and there is only `any()`.
   */
  readonly by?: readonly (string | readonly string[])[]
  /**
   * The types of columns named in `by`. Then `where` takes values of the type, and makes of each exactly the text that the
   * feed records: for example of a uuid in capitals, or of a `Date`. `installFeed` refuses a type that is not the column's.
   * Left out: `where` takes texts, whole numbers, booleans and `null`, and a text must be the one that PostgreSQL writes.
   */
  readonly types?: Readonly<Record<string, ColumnType>>
  /** What the tags begin with, the same in every process. @defaultValue `table.` and the name of the table */
  readonly name?: string
}

type Grouping<Options> = Options extends { readonly by: readonly (infer Each)[] } ? Each : never
type ColumnsOf<Each> = Each extends string
  ? Each
  : Each extends readonly (infer Column)[]
    ? Column & string
    : never
type TypesOf<Options> = Options extends { readonly types: infer Types } ? Types : unknown
type ValueOf<Types, Column> = Column extends keyof Types
  ? Types[Column] extends ColumnType
    ? ColumnValues[Types[Column]]
    : AnyColumnValue
  : AnyColumnValue

/** A value for each column of one group, and for no other column. */
type GroupValues<Each, All extends string, Types> = Each extends unknown
  ? { readonly [Column in ColumnsOf<Each>]: ValueOf<Types, Column> | null } & {
      readonly [Column in Exclude<All, ColumnsOf<Each>>]?: never
    }
  : never

/** What {@link TableTags.where} takes, by the options of its table. */
export type TableGroup<Options> = GroupValues<
  Grouping<Options>,
  ColumnsOf<Grouping<Options>>,
  TypesOf<Options>
>

/** The tags of one table by its options. */
export type TableTagsOf<Options> = TableTags<TableGroup<Options>>

/** Refuses types of columns that no group names, where the names are known. */
type Checked<Options> = Options extends { readonly types: infer Types }
  ? string extends keyof Types
    ? unknown
    : { readonly types: { readonly [Column in Exclude<keyof Types, ColumnsOf<Grouping<Options>>>]: never } }
  : unknown

/** The part of a cache that makes tags known. */
export interface TagsCache {
  tags(name: string): unknown
}

/**
 * The tags of the rows of one table, made by {@link tableTags}: keys for the `tags` of a keyspace, and at the same time the
 * table's map and columns, for `installFeed` and `postgresFeed`.
 */
export class TableTags<Group = Readonly<Record<string, unknown>>> {
  /** The map: the tags that a row belongs to. The feed records its columns besides the primary key. */
  readonly keys: (row: FeedRow) => readonly (Tag | WholeKeyspace)[]
  /** The columns that the map looks at. */
  readonly reads: readonly string[]
  /** What is invalidated when the rows are not known: all of these tags. */
  readonly keyspaces: readonly string[]
  /** The groups, as they lie beside the outbox. */
  readonly tags: readonly TagGroup[]
  /** The types of the columns, as far as they are named. */
  readonly types: Readonly<Record<string, ColumnType>>
  /** The columns whose types are named: of these, `where` makes the text that the feed records. */
  readonly canonicalIds: readonly string[]
  readonly #name: string

  /** @internal */
  constructor(name: string, groups: readonly (readonly string[])[], types: TableTagsOptions['types'] = {}) {
    const tags = [[], ...groups].map(by => ({ tag: name, by, version: GROUP_VERSION }))
    this.#name = name
    this.tags = tags
    this.reads = [...new Set(groups.flat())].sort()
    this.keyspaces = [name]
    this.types = types
    this.canonicalIds = Object.keys(types)
    this.keys = row => targetsOfRows(tags, [row])
  }

  /** What its tags begin with. */
  get name(): string {
    return this.#name
  }

  /** Every tag of the table, for a map: what depends on any row or group of it is invalidated. */
  get all(): WholeKeyspace {
    return wholeKeyspace(this.#name)
  }

  /**
   * The tag of all rows: each change in the table, made by anyone, invalidates the values that have it.
   *
   * **For tables that are seldom written**, such as a list of countries. Each write to the table invalidates all values with
   * this tag, and all of them are loaded again. For a table that is written often, name a group.
   */
  any(): Tag {
    return tagOf(this.tags[0]!, [])
  }

  /**
   * The tag of one group of rows: those with these values in these columns. A change of a row of the group, a new row in it
   * or one less invalidates the values that have this tag. `null` is a group of its own.
   *
   * @param group - A value for each column of one group that was declared, and for no other column.
   * @throws CacheError `INVALID_OPTIONS` if there is no group of these columns, or no column has such a value;
   * `INVALID_KEY` if a value is malformed, or the tag too long.
   */
  where(group: Group): Tag {
    if (typeof group !== 'object' || group === null)
      throw invalidOption('where', 'given an object of columns', group)
    const values = group as Readonly<Record<string, unknown>>
    const by = Object.keys(values)
      .filter(column => values[column] !== undefined)
      .sort()
    const found = this.tags.find(
      tags => by.length > 0 && tags.by.length === by.length && by.every((column, i) => column === tags.by[i]),
    )
    if (found === undefined) {
      const known = this.tags.filter(tags => tags.by.length > 0).map(tags => `{ ${tags.by.join(', ')} }`)
      throw invalidOptionInWords(`${this.#name}.where`, `one of ${known.join(', ')}`, `{ ${by.join(', ')} }`)
    }
    return tagOf(
      found,
      by.map(column => columnText(`${this.#name}.where.${column}`, this.types[column], values[column])),
    )
  }

  /**
   * The table with a map of your own besides these tags: what a row invalidates by either of the two.
   *
   * @param table - As in `postgresFeed`. Where it names no columns, the primary key is recorded, as without tags.
   */
  with<const Own = unknown>(
    table: PostgresFeedTable<Own> | PostgresFeedMap<NoInfer<Own>>,
  ): PostgresFeedTable & { readonly types: TableTags['types'] } {
    const own: PostgresFeedTable = (
      typeof table === 'function' ? { keys: table } : table
    ) as PostgresFeedTable
    if (typeof own?.keys !== 'function')
      throw invalidOption(`${this.#name}.with`, 'given a function from a row to keys', own?.keys)
    const { columns, keyspaces, canonicalIds } = own
    const ownKeys = own.keys as (row: FeedRow) => FeedTargets
    return {
      columns,
      keys: (row: FeedRow) => {
        const own: unknown = ownKeys(row)
        if (silencePromise(own)) throw notAtOnce(`the map of ${this.#name}`)
        return [...(own as FeedTargets), ...targetsOfRows(this.tags, [row])]
      },
      keyspaces: keyspaces === undefined ? undefined : [...keyspaces, this.#name],
      canonicalIds: canonicalIds === true || [
        ...(canonicalIds || []),
        // Canonical texts of the tags do not make the map's own use of a column canonical.
        ...(columns === undefined ? [] : this.canonicalIds.filter(column => !columns.includes(column))),
      ],
      tags: this.tags,
      types: this.types,
    } as never
  }
}

/**
 * Tags for whole tables and for groups of their rows, from one definition: the keys for the `tags` of keyspaces, the map
 * of the change feed, and the columns that it records. No writer has to name them: each change of a row, made by anyone,
 * invalidates what depends on it. The tags are known to the cache that is given the feed.
 *
 * @param tables - How the rows of each table are grouped, by the name under which the table is watched.
 * @throws CacheError `INVALID_OPTIONS`
 * @see docs/tables.md
 *
 * @example
 * ```ts
 * const { comment } = tableTags({ comment: { by: ['post_id'] } })
 * await installFeed(pool, { tables: { comment } })
 * const cache = createCache({ feed: postgresFeed({ pool, tables: { comment } }) })
 * const comments = cache.keyspace('comments-of-post', {
 *   load: (postId: number) => table.commentsOf(postId),
 *   tags: postId => [comment.where({ post_id: postId })],
 * })
 * ```
 */
export function tableTags<const Tables extends Readonly<Record<string, TableTagsOptions>>>(
  tables: Tables & { readonly [Table in keyof Tables]: Checked<Tables[Table]> },
): { readonly [Table in keyof Tables]: TableTagsOf<Tables[Table]> }
/**
 * The same, made known to a cache without the feed.
 *
 * @param cache - Whose keyspaces name the tags.
 * @throws CacheError `INVALID_OPTIONS`
 */
export function tableTags<const Tables extends Readonly<Record<string, TableTagsOptions>>>(
  cache: TagsCache,
  tables: Tables & { readonly [Table in keyof Tables]: Checked<Tables[Table]> },
): { readonly [Table in keyof Tables]: TableTagsOf<Tables[Table]> }
/** The tables come last; a cache may come before them. */
export function tableTags(...given: unknown[]): Readonly<Record<string, TableTags>> {
  const cache = given.length > 1 ? (given[0] as TagsCache) : undefined
  if (given.length > 1 && typeof cache?.tags !== 'function') throw invalidOption('cache', 'a cache', cache)
  const tables = given.at(-1)
  if (typeof tables !== 'object' || tables === null) throw invalidOption('tables', 'an object', tables)
  if (Array.isArray(tables))
    throw invalidOptionInWords('tables', "an object: { comment: { by: ['post_id'] } }", 'an array')
  const made: Record<string, TableTags> = {}
  const names = new Map<string, string>()
  for (const [table, options] of Object.entries(tables)) {
    const tags = tagsOfTable(table, options)
    const other = names.get(tags.name)
    if (other !== undefined)
      throw invalidOption(`tables.${table}.name`, `another one than that of ${other}`, tags.name)
    names.set(tags.name, table)
    made[table] = tags
  }
  for (const name of names.keys()) cache?.tags(name)
  return made
}

function tagsOfTable(table: string, options: TableTagsOptions): TableTags {
  // Of a text nothing is shown: it may be a password.
  if (typeof options === 'string') throw invalidOptionInWords(`tables.${table}`, 'an object', 'a text')
  knownNames(`tables.${table}`, options, ['by', 'types', 'name'])
  const { by = [], types = {}, name = `table.${table}` } = options
  if (!isKeyspaceName(name)) {
    const expected = 'given, as 1 to 64 letters, digits, "_", "." or "-"'
    throw invalidOption(`tables.${table}.name`, expected, name)
  }
  if (!Array.isArray(by)) throw invalidOption(`tables.${table}.by`, 'an array of columns', by)
  const groups = new Map<string, readonly string[]>()
  for (const each of by) {
    const columns = [each].flat()
    if (!(columns.length > 0 && columns.every(isColumnName) && new Set(columns).size === columns.length))
      throw invalidOption(`tables.${table}.by`, 'made of names of columns, without commas', each)
    const inOrder = columns.sort()
    groups.set(inOrder.join(','), inOrder)
  }
  knownNames(`tables.${table}.types`, types, [...groups.values()].flat())
  for (const [column, type] of Object.entries(types)) {
    if (!isColumnType(type))
      throw invalidOption(`tables.${table}.types.${column}`, `one of ${COLUMN_TYPES.join(', ')}`, type)
  }
  return new TableTags(name, [...groups.values()], types)
}

/** A comma would make two groups of columns look like one. */
const isColumnName = (name: unknown): name is string =>
  typeof name === 'string' && name.length > 0 && name.length <= 63 && !name.includes(',')
