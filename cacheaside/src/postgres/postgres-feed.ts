import { invalidOption, invalidOptionInWords, knownNames, wholeNumber } from '../base/invalid-option.ts'
import { isKeyspaceName } from '../base/key.ts'
import type {
  ChangeFeed,
  FeedMap,
  FeedOpening,
  FeedRow,
  FeedSession,
  FeedTable,
  FeedTargets,
} from '../feed/change-feed.ts'
import type { ColumnType } from './column-types.ts'
import {
  type Connect,
  type Connection,
  type PGliteDatabase,
  type PgPool,
  pgliteConnect,
  poolConnect,
} from './connection.ts'
import { type FeedStatusOptions, type PostgresFeedStatus, readStatus } from './feed-status.ts'
import { checkedColumns, checkedSchema, isDatabase, looseTables } from './migration.ts'
import { ObservingSession } from './observing-session.ts'
import { openOutbox, readPending, type Scope } from './outbox.ts'
import { SharingSession } from './sharing-session.ts'
import type { TagGroup } from './tag-groups.ts'

/**
 * The function from a row to what it invalidates. Where the columns are named, the row has these and no others. Where they
 * are not, it may have any, or those that the function says it has.
 */
export type PostgresFeedMap<Column = string> = unknown extends Column
  ? FeedMap
  : string extends Column
    ? FeedMap
    : [Column] extends [string]
      ? (row: FeedRow<Column>) => FeedTargets
      : never

/** What depends on the rows of a table, and which columns the map needs. */
export interface PostgresFeedTable<Column = string> {
  /** The columns that the feed records. Left out: the primary key. `installFeed` has to be given the same. */
  readonly columns?: readonly (Column & string)[]
  /** What a row invalidates: see {@link FeedTable.keys}. */
  readonly keys: PostgresFeedMap<NoInfer<Column>>
  /** What is invalidated when the rows are not known: see {@link FeedTable.keyspaces}. Left out: every keyspace of the store. */
  readonly keyspaces?: readonly string[] | undefined
  /**
   * `true`, or names of columns: the keyspaces of this table give each row one id, by `key` or `idOf`. It ends the
   * warning of `installFeed` and of the feed about column types with several texts for one value, such as uuid.
   * @defaultValue false
   */
  readonly canonicalIds?: boolean | readonly string[] | undefined
  /** The groups of the table's tags, which `tableTags` makes: what `installFeed` lays beside the outbox. Left out: none. */
  readonly tags?: readonly TagGroup[] | undefined
  /** The columns that the map looks at: the feed warns only of these. Left out: all that are recorded. */
  readonly reads?: readonly string[] | undefined
  /** The types of the columns of tags, as far as they are named. Left out: none. */
  readonly types?: Readonly<Record<string, ColumnType>> | undefined
}

/** The names of each table's columns, as a type; `unknown` for a table that names none. */
type ColumnsByTable = Readonly<Record<string, unknown>>

/** What depends on the rows of each table, by the name under which it is watched. */
export type PostgresFeedTables<Columns = Readonly<Record<string, string>>> = {
  readonly [Table in keyof Columns]:
    | PostgresFeedTable<Columns[Table]>
    | PostgresFeedMap<NoInfer<Columns[Table]>>
}

/**
 * One object for both calls: the tables that `installFeed` is to watch, and that `postgresFeed` maps to keys. Returns its
 * argument; it is there for the types. A row has the columns that its table names, and any where it names none.
 *
 * @example
 * ```ts
 * const tables = feedTables({
 * spell: { columns: ['id', 'wizard_id'], keys: row => [spells.key(row.id), spellsOfWizard.key(row.wizard_id)] },
 * role: () => [permissions.all],
 * })
 * await installFeed(pool, { tables })
 * const feed = postgresFeed({ pool, tables })
 * ```
 */
export function feedTables<const Columns extends ColumnsByTable = ColumnsByTable>(
  tables: PostgresFeedTables<Columns>,
): PostgresFeedTables<Columns> {
  return tables
}

/** What {@link postgresFeed} is made with. */
export interface PostgresFeedOptions<Columns = Readonly<Record<string, string>>> {
  /**
   * A `pg` pool, of which the feed keeps one client. It needs at least a second one for the rest of the program. Left out:
   * `pglite` is given.
   */
  readonly pool?: PgPool
  /** Or a PGlite. Left out: `pool` is given. */
  readonly pglite?: PGliteDatabase
  /**
   * For each table, by the name under which it is watched, what depends on its rows: a function from a row to keys, or
   * that function with more about it. Rows hold texts: see {@link FeedRow}. {@link feedTables} makes it for `installFeed` too.
   */
  readonly tables: PostgresFeedTables<Columns>
  /** The schema that the feed was installed in. @defaultValue `'cacheaside'` */
  readonly schema?: string
  /** How often the outbox is read, in milliseconds. After a write of this cache it is read at once. @defaultValue 250 */
  readonly pollMs?: number
  /**
   * After how many milliseconds without an answer the database counts as away. A relay that vanishes keeps the changes that
   * it has taken for at most twice as long. @defaultValue 5000
   */
  readonly timeoutMs?: number
  /**
   * Within how many milliseconds the database ends the work of a dead writer, if every writer sets that in each of its
   * transactions (`SET LOCAL statement_timeout`), as it must behind a pooler. Left out: the settings of the feed's own
   * session count as those of the writers.
   */
  readonly writersEndMs?: number
}

/** The change feed on PostgreSQL: what a relay needs, and a look at how it is doing. */
export interface PostgresFeed extends ChangeFeed {
  /**
   * Reads how the feed is doing, in read-only transactions of a connection that is closed again.
   *
   * @throws an error that says why the database cannot be asked.
   */
  status(options?: FeedStatusOptions): Promise<PostgresFeedStatus>
}

const DEFAULT_POLL_MS = 250
const DEFAULT_TIMEOUT_MS = 5_000
const OPTION_NAMES = ['pool', 'pglite', 'tables', 'schema', 'pollMs', 'timeoutMs', 'writersEndMs']

/**
 * The change feed on PostgreSQL 13 or later, or on PGlite: triggers write every row change by anyone into an outbox, in
 * the same transaction, and the cache's relay takes it from there. `installFeed` makes the triggers.
 *
 * Caches whose store is shared, as on Redis, also share the outbox. Where each process has a store of its own, as the
 * embedded one, each sees every change.
 *
 * @throws CacheError `INVALID_OPTIONS`
 *
 * @example
 * ```ts
 * const cache = createCache({
 *   feed: postgresFeed({ pool, tables: { spell: row => [spells.key(row.id)] } }),
 * })
 * const spells = cache.keyspace('spell', { load: (id: number) => table.find(id) })
 * ```
 */
export function postgresFeed<const Columns extends ColumnsByTable = ColumnsByTable>(
  options: PostgresFeedOptions<Columns>,
): PostgresFeed {
  const connect = checkedDriver(options)
  const tables = checkedTables(options.tables as PostgresFeedTables)
  const { pollMs = DEFAULT_POLL_MS, timeoutMs = DEFAULT_TIMEOUT_MS, writersEndMs } = options
  wholeNumber('pollMs', pollMs, 10, 60_000)
  wholeNumber('timeoutMs', timeoutMs, 100, 60_000)
  if (writersEndMs !== undefined) wholeNumber('writersEndMs', writersEndMs, 1, 2 ** 31 - 1)
  const schema = checkedSchema(options.schema)
  const scope: Scope = {
    schema,
    tables: [...tables.keys()],
    looseTables: looseTables(options.tables as PostgresFeedTables),
    tags: tagsByTable(options.tables as PostgresFeedTables),
    timeoutMs,
    writersEndMs,
  }
  return {
    name: 'postgres',
    tables,
    tagNames: [...new Set(scope.tags.flatMap(({ groups }) => groups.map(({ tag }) => tag)))],
    pollMs,
    timeoutMs,
    open: opening => open(connect, scope, opening),
    pending: () => once(connect, connection => readPending(connection, scope.schema)),
    status: (options = {}) => once(connect, connection => readStatus(connection, scope, options)),
  }
}

async function open(connect: Connect, scope: Scope, opening: FeedOpening): Promise<FeedSession> {
  const connection = await connect(opening.lost)
  try {
    const outbox = await openOutbox(connection, opening, scope, opening.isPrivate ? 'observers' : 'relays')
    const session = opening.isPrivate ? await ObservingSession.begin(outbox) : new SharingSession(outbox)
    connection.unref()
    return session
  } catch (error) {
    connection.abandon()
    throw error
  }
}

/** Uses a connection once. */
async function once<T>(connect: Connect, use: (connection: Connection) => Promise<T>): Promise<T> {
  const connection = await connect(() => {})
  try {
    const result = await use(connection)
    connection.close()
    return result
  } catch (error) {
    connection.abandon()
    throw error
  }
}

function checkedDriver(options: Pick<PostgresFeedOptions, 'pool' | 'pglite'>): Connect {
  if (typeof options !== 'object' || options === null) throw invalidOption('options', 'an object', options)
  if (isDatabase(options))
    throw invalidOptionInWords('options', 'an object: postgresFeed({ pool, tables })', 'the database itself')
  knownNames('options', options, OPTION_NAMES)
  const { pool, pglite } = options
  if ((pool === undefined) === (pglite === undefined))
    throw invalidOptionInWords('either pool or pglite', 'given', pool === undefined ? 'neither' : 'both')
  if (pool === undefined) {
    if (typeof pglite?.exec !== 'function') throw invalidOption('pglite', 'a PGlite', pglite)
    return pgliteConnect(pglite)
  }
  if (typeof pool?.connect !== 'function') throw invalidOption('pool', 'a pg Pool', pool)
  // A client has the method, too, and each session needs a new one.
  if ('connectionParameters' in pool) throw invalidOptionInWords('pool', 'a pg Pool', 'a single client')
  const max = (pool as { options?: { max?: number } }).options?.max
  // The feed keeps one client, and would leave none to the program.
  if (max !== undefined && max < 2) throw invalidOption("the pool's max", '2 or more', max)
  return poolConnect(pool)
}

function checkedTables(given: PostgresFeedTables): ReadonlyMap<string, FeedTable> {
  if (typeof given !== 'object' || given === null) throw invalidOption('tables', 'an object', given)
  if (Array.isArray(given))
    throw invalidOptionInWords('tables', 'an object: { spell: row => [spells.key(row.id)] }', 'an array')
  const tables = new Map<string, FeedTable>()
  for (const [name, table] of Object.entries(given)) {
    const columns = checkedColumns(name, table) ?? []
    const { keys, keyspaces } = typeof table === 'function' ? { keys: table } : table
    if (typeof keys !== 'function')
      throw invalidOption(`tables.${name}.keys`, 'a function from a row to keys', keys)
    if (keyspaces !== undefined && !(Array.isArray(keyspaces) && keyspaces.every(isKeyspaceName)))
      throw invalidOption(`tables.${name}.keyspaces`, 'names of keyspaces', keyspaces)
    tables.set(name, { keys: row => keys(completeRow(name, row, columns)), keyspaces })
  }
  if (tables.size === 0) throw invalidOption('tables', 'one table or more', given)
  return tables
}

/** The groups of tags of each table that has any. */
const tagsByTable = (given: PostgresFeedTables): Scope['tags'] =>
  Object.entries(given).flatMap(([table, watched]) => {
    const { tags: groups = [], types = {} } = typeof watched === 'object' ? watched : {}
    return groups.length === 0 ? [] : [{ table, groups, types }]
  })

/**
 * A row with all columns that the map names. A map may answer with no key where a column is null, and would not notice a
 * missing column: 1. a version of the program that names one more column has installed the feed; 2. a version that does not
 * know the column starts, and installs its own feed; 3. rows come without it. So this throws, and then the keyspaces are
 * invalidated instead.
 */
function completeRow(table: string, row: FeedRow, columns: readonly string[]): FeedRow {
  const missing = columns.find(column => !Object.hasOwn(row, column))
  if (missing === undefined) return row
  throw new Error(
    `the feed does not record the column ${missing} of the table ${table}: run installFeed again`,
  )
}
