import { invalidOption, invalidOptionInWords, knownNames, wholeNumber } from '../base/invalid-option.ts'
import { isKeyspaceName } from '../base/key.ts'
import { COLUMN_TYPES, type ColumnType, isColumnType } from './column-types.ts'
import { READ_COMMITTED } from './connection.ts'
import { lockForRemovalSql } from './feed-locks.ts'
import { feedSchemaSql, relayRoleSql, schemaCheckSql } from './feed-schema.ts'
import { type LooseTable, typesSql, warnOfLooseColumnsSql } from './key-types.ts'
import { identifier, json, literal, literals } from './sql.ts'
import type { TagGroup } from './tag-groups.ts'

/**
 * What a migration has to know of a table: the columns that the feed records. Left out: the primary key. The rest is for
 * `postgresFeed`, and is ignored here.
 */
export type WatchedTable =
  | {
      readonly columns?: readonly string[]
      readonly keys?: (row: never) => unknown
      readonly keyspaces?: readonly string[] | undefined
      /** Ends the warning that a column's type has several texts for one value: see `PostgresFeedTable`. */
      readonly canonicalIds?: boolean | readonly string[] | undefined
      /** The groups of its tags: see `tableTags`. */
      readonly tags?: readonly TagGroup[] | undefined
      /** The columns that the map looks at: see `PostgresFeedTable`. */
      readonly reads?: readonly string[] | undefined
      /** The types of the columns of tags, as far as they are named. */
      readonly types?: Readonly<Record<string, ColumnType>> | undefined
    }
  | ((row: never) => unknown)

/** The options of {@link feedMigrationSql} and {@link installFeed}. */
export interface FeedMigrationOptions {
  /**
   * The tables to watch: names as SQL reads them (`spell`, `archive.spell`, `"Spell"`), found along the search path of the
   * migration. The `tables` of `postgresFeed` may be given as they are.
   */
  readonly tables: readonly string[] | Readonly<Record<string, WatchedTable>>
  /**
   * A schema for the feed alone: lower-case letters, digits and `_`. Every shared store needs a feed of its own.
   * @defaultValue `'cacheaside'`
   */
  readonly schema?: string
  /**
   * How many rows the outbox may hold. One change in 1,024 checks it: if there are more, the oldest 4,096 collapse into one
   * per table, which invalidates all the table's keyspaces. Writers in REPEATABLE READ exceed it by at most a few thousand
   * rows. Writers in SERIALIZABLE do not check: if there are no others, only relays bring the outbox within it, every ten
   * seconds. @defaultValue 100,000
   */
  readonly maxRows?: number
  /** Roles, besides the one that runs this, under which relays run. @defaultValue none */
  readonly relayRoles?: readonly string[]
}

/**
 * Something that can run a script of several statements: a `pg` pool or client, a PGlite, the `sql` of postgres.js, a DataSource
 * of TypeORM, or a function, such as `script => db.execute(sql.raw(script))` with Drizzle.
 */
export type ScriptRunner =
  | ((script: string) => Promise<unknown>)
  | { unsafe(script: string): PromiseLike<unknown> }
  | { exec(script: string): Promise<unknown> }
  | { query(script: string): Promise<unknown> }

const DEFAULT_MAX_ROWS = 100_000

/** The schema of a feed if none is given. */
export const DEFAULT_SCHEMA = 'cacheaside'

/**
 * The columns of a table that the feed is to record, checked; `undefined`: its primary key.
 *
 * @throws CacheError `INVALID_OPTIONS`
 * @internal
 */
export function checkedColumns(table: string, watched: WatchedTable): readonly string[] | undefined {
  if (typeof watched === 'function') return undefined
  // Of a text nothing is shown: it may be a password.
  if (typeof watched === 'string')
    throw invalidOptionInWords(`tables.${table}`, 'a function or an object', 'a text')
  if (typeof watched !== 'object' || watched === null)
    throw invalidOption(`tables.${table}`, 'a function or an object', watched)
  knownNames(`tables.${table}`, watched, [
    'columns',
    'keys',
    'keyspaces',
    'canonicalIds',
    'tags',
    'reads',
    'types',
  ])
  const { columns, canonicalIds } = watched
  if (canonicalIds !== undefined && typeof canonicalIds !== 'boolean' && !areTexts(canonicalIds))
    throw invalidOption(`tables.${table}.canonicalIds`, 'true, false, or names of columns', canonicalIds)
  if (columns !== undefined && !(Array.isArray(columns) && columns.length > 0))
    throw invalidOption(`tables.${table}.columns`, 'the names of one column or more', columns)
  checkTags(table, watched)
  return columns
}

/** Checks that tags are what `tableTags` has made, or left out. */
function checkTags(table: string, { tags, types }: Exclude<WatchedTable, (row: never) => unknown>): void {
  if (tags !== undefined && !(Array.isArray(tags) && tags.every(group => isKeyspaceName(group?.tag))))
    throw invalidOption(`tables.${table}.tags`, 'made by tableTags', tags)
  for (const [column, type] of Object.entries(types ?? {})) {
    if (!isColumnType(type))
      throw invalidOption(`tables.${table}.types.${column}`, `one of ${COLUMN_TYPES.join(', ')}`, type)
  }
}

const areTexts = (given: unknown): given is readonly string[] =>
  Array.isArray(given) && given.every(one => typeof one === 'string')

/**
 * A schema's name, checked. It is dropped as a whole with the feed, so it must not be one that others live in.
 *
 * @throws CacheError `INVALID_OPTIONS`
 * @internal
 */
export function checkedSchema(schema: string = DEFAULT_SCHEMA): string {
  const usable = typeof schema === 'string' && /^[a-z_][a-z0-9_]{0,39}$/.test(schema)
  if (!usable || /^(?:public|information_schema|pg_.*)$/.test(schema)) {
    throw invalidOption('schema', "a schema of the feed's own: at most 40 of a-z, 0-9 and _", schema)
  }
  return schema
}

/**
 * The script that installs the change feed, for a migration of your own. It may be run any number of times: watched tables
 * are left alone, without a lock on them, and added tables are watched from then on. A table that was left out is still
 * watched; `SELECT cacheaside.unwatch('spell')` ends that.
 *
 * Run it in one transaction, as the owner of the tables: only the owner may make a trigger fire always. It refuses a schema
 * in which something belongs to another role, and a name that leads to another table than the one that is watched under it.
 * It waits for other migrations for at most 30 seconds, and as long for a moment in which nobody writes to the tables that are
 * new. It holds writers up for 0.4 s at a time, and has none of them fail. Its transaction should be in READ COMMITTED: in
 * another isolation level it may fail beside another migration. Needs PostgreSQL 13 or later.
 *
 * @throws CacheError `INVALID_OPTIONS`
 */
export function feedMigrationSql(options: FeedMigrationOptions): string {
  if (isDatabase(options))
    throw invalidOptionInWords('options', 'an object: installFeed(pool, { tables })', 'a database')
  knownNames('options', options, ['tables', 'schema', 'maxRows', 'relayRoles'])
  const schema = checkedSchema(options.schema)
  const { maxRows = DEFAULT_MAX_ROWS, relayRoles = [] } = options
  wholeNumber('maxRows', maxRows, 1, 1e9)
  if (typeof options.tables !== 'object' || options.tables === null) {
    throw invalidOption('tables', 'the tables to watch', options.tables)
  }
  const tables = columnsByTable(options.tables)
  return [
    pinnedPathSql(schema),
    feedSchemaSql(schema, maxRows),
    // Only the names of the tables are looked up along the session's search path.
    formerPathSql(schema),
    lockToWatchSql(
      schema,
      tables.map(([table]) => table),
    ),
    ...tables.map(([table, columns]) => watchSql(schema, table, columns, options.tables)),
    ...relayRoles.map(role => relayRoleSql(schema, role)),
    warnOfLooseColumnsSql(schema, looseTables(options.tables)),
    // Comes last: until the transaction ends, writers wait for its lock.
    `SELECT ${identifier(schema)}.widen(), ${identifier(schema)}.keep_replicas_out();`,
  ].join('\n')
}

/** Comes after everything that may wait for something else, and before the first table is altered. */
const lockToWatchSql = (schema: string, tables: readonly string[]): string => {
  const relations = tables.map(table => `${literal(table)}::pg_catalog.regclass`).join(', ')
  return `SELECT ${identifier(schema)}.lock_to_watch(${literals(tables)}, ARRAY[${relations}]::pg_catalog.regclass[]);`
}

function watchSql(
  schema: string,
  table: string,
  columns: string,
  tables: FeedMigrationOptions['tables'],
): string {
  const watched = Array.isArray(tables) ? undefined : (tables as Record<string, WatchedTable>)[table]
  const { tags = [], types = {} } = typeof watched === 'object' ? watched : {}
  const [inside, name] = [identifier(schema), literal(table)]
  const relation = `${name}::pg_catalog.regclass`
  return `SELECT ${inside}.declare_tags(${name}, ${relation}, ${json(tags)}, ${typesSql(types)});
SELECT ${inside}.watch(${name}, ${relation}, ${columns});`
}

/**
 * From here on, until the end of the transaction or until the former path is back, no name is looked up in a schema of
 * others: a role may have put a function there that fits better than the intended one.
 */
const pinnedPathSql = (schema: string): string => `
SELECT pg_catalog.set_config(${literal(`${schema}.search_path`)}, pg_catalog.current_setting('search_path'), true);
SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);`

const formerPathSql = (schema: string): string =>
  `SELECT pg_catalog.set_config('search_path', pg_catalog.current_setting(${literal(`${schema}.search_path`)}), true);`

/**
 * The tables that are not declared to have one id for each row.
 *
 * @internal
 */
export function looseTables(tables: FeedMigrationOptions['tables']): readonly LooseTable[] {
  if (Array.isArray(tables)) return tables.map(table => ({ table, canonical: [], reads: null }))
  return Object.entries(tables as Readonly<Record<string, WatchedTable>>).flatMap(([table, watched]) => {
    const { canonicalIds = [], reads = null } = typeof watched === 'function' ? {} : watched
    if (canonicalIds === true) return []
    return [{ table, canonical: canonicalIds === false ? [] : canonicalIds, reads }]
  })
}

/** The tables, each with its columns as an SQL expression. */
function columnsByTable(tables: FeedMigrationOptions['tables']): [string, string][] {
  if (Array.isArray(tables)) {
    if (!tables.every(table => typeof table === 'string'))
      throw invalidOption('tables', 'the names of tables', tables)
    return tables.map(table => [table, 'NULL'])
  }
  const all = Object.entries(tables as Readonly<Record<string, WatchedTable>>)
  // Always in the same order, so that two migrations of different programs do not wait for each other's rows.
  return all
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([table, watched]) => {
      const columns = checkedColumns(table, watched)
      return [table, columns === undefined ? 'NULL' : literals(columns)]
    })
}

/**
 * Installs the change feed, or brings it up to date: runs {@link feedMigrationSql}. Several processes may do so at
 * once.
 *
 * @throws CacheError `INVALID_OPTIONS`; the database's error, and then nothing was changed.
 */
export async function installFeed(sql: ScriptRunner, options: FeedMigrationOptions): Promise<void> {
  await runScript(sql, beginning(sql) + feedMigrationSql(options))
}

/**
 * Removes the change feed: its triggers, and its schema with everything in it. Nothing happens if there is none. A
 * cache that still uses it reports that it is lost. It waits for writers as `feedMigrationSql` waits for other migrations,
 * holds them up for some hundred milliseconds at most, and has none of them fail.
 *
 * @throws CacheError `INVALID_OPTIONS`; an error of the database if the schema is not a feed's.
 */
export async function removeFeed(
  sql: ScriptRunner,
  options: { readonly schema?: string } = {},
): Promise<void> {
  const schema = checkedSchema(options.schema)
  await runScript(
    sql,
    `${beginning(sql)}${pinnedPathSql(schema)}${schemaCheckSql(schema)}
${lockForRemovalSql(schema)}
DROP SCHEMA IF EXISTS ${identifier(schema)} CASCADE;
${formerPathSql(schema)}`,
  )
}

/**
 * What a migration begins with if it is a transaction of its own: with a pool of pg, and with the `sql` of postgres.js outside
 * of a transaction. In REPEATABLE READ, which may be a role's default, one that has waited for another one sees what was there
 * before that. Others may be in a transaction, in which that cannot be said after a query.
 */
function beginning(sql: ScriptRunner): string {
  const { connect, totalCount, begin } = Object(sql) as Readonly<Record<string, unknown>>
  const isPool = typeof connect === 'function' && typeof totalCount === 'number'
  return isPool || typeof begin === 'function' ? READ_COMMITTED : ''
}

/**
 * Runs a script. The drivers send a text without parameters as one message, which PostgreSQL runs as one transaction.
 *
 * @throws CacheError `INVALID_OPTIONS` for something that cannot run it; the database's error.
 * @internal
 */
export async function runScript(sql: ScriptRunner, script: string): Promise<void> {
  const { unsafe, raw, exec, query } = Object(sql) as Readonly<Record<string, unknown>>
  if (typeof sql !== 'function') {
    if (typeof exec === 'function') await (sql as { exec(script: string): unknown }).exec(script)
    else if (typeof query === 'function') await (sql as { query(script: string): unknown }).query(script)
    else throw invalidOption('sql', A_RUNNER, sql)
    return
  }
  if (typeof unsafe === 'function') await unsafe.call(sql, script)
  // Knex is a function too, and takes the script for the name of a table.
  else if (typeof raw === 'function') throw invalidOptionInWords('sql', A_RUNNER, 'Knex')
  else await sql(script)
}

/**
 * Whether something is a pool, a client or a PGlite, which strangers give where options belong.
 *
 * @internal
 */
export function isDatabase(given: unknown): boolean {
  const seen = Object(given) as Readonly<Record<string, unknown>>
  return typeof seen.query === 'function' || typeof seen.connect === 'function'
}

const A_RUNNER = 'a pool or client of pg, a PGlite, or a function that runs a script'
