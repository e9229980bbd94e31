import type { FeedWarningCode } from '../base/events.ts'
import { type Change, type FeedOpening, type FeedRow, HAPPENED } from '../feed/change-feed.ts'
import type { ColumnType } from './column-types.ts'
import type { Connection, Texts } from './connection.ts'
import { Horizon, IDS_SET_BACK } from './horizon.ts'
import {
  type LooseColumn,
  type LooseTable,
  looseColumnsSql,
  looseColumnWarning,
  mistypedColumnsSql,
  mistypedWarning,
} from './key-types.ts'
import {
  deafRecorders,
  hiddenRows,
  noSettings,
  noTagsKept,
  notWatched,
  oldRecorders,
  tagsNotKnown,
} from './not-installed.ts'
import {
  filesSql,
  hiddenTablesSql,
  lifeSql,
  type Origin,
  type OutboxFiles,
  readBadRecorders,
  readJson,
  readOrigin,
  settingsWarnings,
} from './origin.ts'
import { identifier, json, literal } from './sql.ts'
import { groupsOf, type TagGroup, targetsOfRows } from './tag-groups.ts'
import { type CrampedTable, crampedTablesSql, crampedWarning } from './temporary-files.ts'

/** What a session works with. */
export interface Scope {
  readonly schema: string
  /** The tables of which this process knows what depends on them. */
  readonly tables: readonly string[]
  /** The tables that are not declared to have one id for each row. */
  readonly looseTables: readonly LooseTable[]
  /** The tables whose rows have tags, with the groups that this process asks for. */
  readonly tags: readonly {
    readonly table: string
    readonly groups: readonly TagGroup[]
    readonly types: Readonly<Record<string, ColumnType>>
  }[]
  readonly timeoutMs: number
  /** Within how many milliseconds the work of a dead writer ends, if writers set that themselves. */
  readonly writersEndMs: number | undefined
}

/** How an outbox is read: by relays that share it and take rows out, or by observers that leave them for others. */
export type Reader = 'relays' | 'observers'

/** What each session learns with every batch. */
export interface Poll {
  /** Which life of the server answered. */
  readonly life: string
  /** The snapshot's smallest number of a transaction that ran. */
  readonly xmin: string
  /** The last id that was drawn. */
  readonly drawn: string
  readonly files: OutboxFiles
}

const UPKEEP_EVERY_MS = 10_000
const ASK_EVERY_MS = 3_600_000
/** How long the last sign of one kind of reader keeps the other kind away. */
export const CLAIM_MS = 30_000

/**
 * The outbox on one connection, as both kinds of session use it. It belongs to one life of the server, and to one kind
 * of reader: relays would take rows away from under the eyes of observers.
 */
export class Outbox {
  readonly connection: Connection
  readonly opening: FeedOpening
  readonly scope: Scope
  readonly origin: Origin
  /** The quoted name of its schema. */
  readonly schema: string
  readonly horizon = new Horizon()
  readonly #reader: Reader
  readonly #warned = new Set<string>()
  /** What the last upkeep has found. */
  #problems: ReadonlyMap<string, FeedWarningCode> = new Map()
  #isWide = false
  #upkeepDueMs = Number.NEGATIVE_INFINITY
  #askDueMs = Number.NEGATIVE_INFINITY

  constructor(connection: Connection, opening: FeedOpening, scope: Scope, reader: Reader, origin: Origin) {
    this.connection = connection
    this.opening = opening
    this.scope = scope
    this.origin = origin
    this.schema = identifier(scope.schema)
    this.#reader = reader
  }

  /** Whether a commit that was acknowledged may be gone when the connection is lost. */
  get mayTakeBack(): boolean {
    return this.connection.isShared && (this.origin.settings.synchronous_commit ?? 'off') === 'off'
  }

  /**
   * The columns of a row of the outbox, as {@link changeOf} reads them. A feed of an earlier version has no batches. If it is
   * brought up to date during the session, a batch counts as a change of the whole table until the next upkeep.
   */
  get columns(): string {
    return changeColumns(this.#isWide)
  }

  /** How many changes a row of the outbox stands for, as an expression. */
  get changes(): string {
    return this.#isWide ? 'changes' : '1'
  }

  /** The SQL of a {@link Poll}, as arguments of `json_build_object`. */
  get pollSql(): string {
    const { schema } = this.scope
    return `'life', ${lifeSql(schema)}, 'xmin', pg_snapshot_xmin(pg_current_snapshot())::text,
  'drawn', (${drawnSql(schema)}), 'files', ${filesSql(schema)}`
  }

  /**
   * Learns from a poll, and rejects that of another life of the server, and of an outbox that is not the one that it was.
   * By the ids alone that could be missed: 1. they start again; 2. they overtake the last one that was seen; 3. a poll
   * finds nothing strange, and looks for no row up to that id.
   */
  learn({ life, xmin, drawn, files }: Poll): void {
    if (files.outbox !== this.origin.files.outbox)
      throw new Error('the outbox was emptied or rewritten by hand (TRUNCATE, VACUUM FULL)')
    if (life !== this.origin.life) throw new Error('the server was restarted, or is another one')
    if (files.ids !== this.origin.files.ids) throw new Error(IDS_SET_BACK)
    this.horizon.see(drawn)
    this.horizon.learn(xmin)
  }

  /**
   * Tells others from time to time that the outbox is in use, moves the horizon, and gives new partitions their triggers.
   *
   * @returns whether it was time for it.
   */
  async upkeep(): Promise<boolean> {
    const nowMs = this.opening.clock.nowMs()
    if (nowMs < this.#upkeepDueMs) return false
    this.#upkeepDueMs = nowMs + UPKEEP_EVERY_MS
    const reader = literal(this.#reader)
    // A moment to come is one from before the clock was set back.
    const claim = `interval '${CLAIM_MS} ms'`
    const isLate = `reader_at NOT BETWEEN clock_timestamp() - ${claim} AND clock_timestamp() + ${claim}`
    // A role's limit for its statements may be less than what mending takes, and then nothing would ever be mended.
    const limit = this.connection.isShared ? `SET LOCAL statement_timeout = ${this.scope.timeoutMs};\n` : ''
    const rows = await this.connection.run(
      `${limit}${drawnSql(this.scope.schema)};
-- Observers have removed rows that the relays' store was never told of, so nothing remembered of it counts.
DELETE FROM ${this.schema}.keyspace
  WHERE EXISTS (SELECT FROM ${this.schema}.feed WHERE reader <> ${reader} AND ${isLate});
UPDATE ${this.schema}.feed SET reader = ${reader}, reader_at = clock_timestamp()
  WHERE reader = ${reader} OR reader IS NULL OR ${isLate};
SELECT reader, to_json(${this.schema}.cover())::text AS problems, pg_current_xact_id()::text AS xid,
  ${isWideSql(this.scope.schema)}::text AS wide, has_function_privilege(to_regprocedure(${literal(`${this.schema}.ask_for_tags(jsonb)`)}), 'EXECUTE')::text AS may_ask
  FROM ${this.schema}.feed`,
    )
    const found = Object.assign({}, ...rows) as Record<string, string>
    if (found.problems === undefined) throw new Error(noSettings(this.scope.schema))
    const { drawn, reader: holder, problems, xid, wide, may_ask: mayAsk } = found
    this.#isWide = wide === 'true'
    this.horizon.mark(drawn!, xid!)
    const ofTags = holder === this.#reader ? await this.#askForTags(mayAsk === 'true') : []
    this.#tell([...(JSON.parse(problems!) as string[]), ...ofTags])
    if (holder === this.#reader) return true
    throw new Error(
      `the change feed in the schema ${this.scope.schema} is read by ${holder}, less than ${CLAIM_MS / 1000} s ago. ` +
        'Caches with a shared store (relays) and caches without one (observers) each need a feed of their own',
    )
  }

  /** Tells new problems, and those that the last upkeep found and this one did not. */
  #tell(problems: readonly string[]): void {
    const found = new Map<string, FeedWarningCode>()
    for (const problem of problems) {
      // A feed that an earlier version has installed knows no codes.
      const [, code = 'NOT_WATCHED', message = problem] = /^([A-Z_]+) (.*)$/s.exec(problem) ?? []
      found.set(message, code as FeedWarningCode)
      this.warn(message, code as FeedWarningCode)
    }
    for (const [message, code] of this.#problems) {
      if (found.has(message)) continue
      this.#warned.delete(message)
      // What has happened is told by one upkeep, and cannot be mended.
      if (!HAPPENED.has(code)) this.opening.mended(message)
    }
    this.#problems = found
  }

  /**
   * Marks the tags of this program as still asked for, so that they are kept, and checks that they exist.
   *
   * @returns what should be mended, a code before each.
   */
  async #askForTags(may: boolean): Promise<readonly string[]> {
    const { tags } = this.scope
    const nowMs = this.opening.clock.nowMs()
    if (tags.length === 0 || nowMs < this.#askDueMs) return []
    if (!may) {
      return [`OUTDATED ${noTagsKept(tags.map(({ table }) => table))}`]
    }
    const wanted = tags.flatMap(({ table, groups }) =>
      groups.map(({ tag, by, version }) => ({ source: table, tag, by, version })),
    )
    const unknown = (await readJson(
      this.connection,
      `SELECT to_json(${this.schema}.ask_for_tags(${json(wanted)}))::text AS value`,
    )) as string[]
    // If any is missing, the next upkeep asks again.
    if (unknown.length === 0) this.#askDueMs = nowMs + ASK_EVERY_MS
    return unknown.map(group => `NOT_WATCHED ${tagsNotKnown(group)}`)
  }

  /** Warns once per session, and again after it was mended. */
  warn(message: string, code: FeedWarningCode): void {
    if (this.#warned.has(message)) return
    this.#warned.add(message)
    this.opening.warn(message, code)
  }
}

/**
 * Finds the outbox on a connection, claims it, and says what should be mended.
 *
 * @throws Error if there is none, or the other kind of reader uses it.
 */
export async function openOutbox(
  connection: Connection,
  opening: FeedOpening,
  scope: Scope,
  reader: Reader,
): Promise<Outbox> {
  const origin = await readOrigin(connection, scope.schema)
  const outbox = new Outbox(connection, opening, scope, reader, origin)
  await outbox.upkeep()
  // With PGlite a writer's transaction ends with its process.
  if (connection.isShared) {
    const { settings } = origin
    for (const message of settingsWarnings(settings, opening.guardMs, scope.writersEndMs))
      outbox.warn(message, 'SETTING')
  }
  const cramped = await readJson(connection, `SELECT ${crampedTablesSql(scope.schema)}::text AS value`)
  for (const table of cramped as CrampedTable[]) outbox.warn(crampedWarning(table), 'SETTING')
  const loose = await readJson(
    connection,
    `SELECT ${looseColumnsSql(scope.schema, scope.looseTables)}::text AS value`,
  )
  for (const column of loose as LooseColumn[]) opening.warn(looseColumnWarning(column), 'KEY_TYPE')
  for (const { table, types } of scope.tags) await warnOfTypes(outbox, table, types)
  for (const table of scope.tables) {
    if (origin.watched[table] === undefined) outbox.warn(notWatched(table), 'NOT_WATCHED')
  }
  const hidden = await readJson(connection, `SELECT ${hiddenTablesSql(scope.schema)}::text AS value`)
  for (const table of hidden as string[]) outbox.warn(hiddenRows(scope.schema, table), 'SETTING')
  const { outdated, deaf } = await readBadRecorders(connection, scope.schema)
  if (deaf.length > 0) outbox.warn(deafRecorders(deaf), 'NOT_WATCHED')
  if (outdated.length > 0) outbox.warn(oldRecorders(outdated), 'OUTDATED')
  return outbox
}

/** Tags that are made for a wrong type of a column belong to no row, or to the wrong one. */
async function warnOfTypes(
  outbox: Outbox,
  table: string,
  types: Readonly<Record<string, ColumnType>>,
): Promise<void> {
  if (Object.keys(types).length === 0) return
  const { connection, scope } = outbox
  const mistyped = (await readJson(
    connection,
    `SELECT ${mistypedColumnsSql(scope.schema, table, types)}::text AS value`,
  )) as { name: string; type: string }[]
  for (const { name, type } of mistyped) outbox.warn(mistypedWarning(table, name, type), 'KEY_TYPE')
}

/** The last id that was drawn, as a query. */
const drawnSql = (schema: string): string =>
  `SELECT CASE WHEN is_called THEN last_value ELSE 0 END::text AS drawn FROM ${identifier(schema)}.outbox_id_seq`

const changeColumns = (isWide: boolean): string =>
  `id::text AS id, source, old::text AS old, new::text AS new, ${isWide ? 'rows' : 'NULL'}::text AS rows,
  ${isWide ? 'changes' : '1'}::text AS changes, (extract(epoch FROM clock_timestamp() - at) * 1000)::text AS age_ms`

/** Whether the outbox has the columns for batches: an expression. */
export const isWideSql = (schema: string): string =>
  `EXISTS (SELECT FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
  WHERE relnamespace = to_regnamespace(${literal(identifier(schema))}) AND relname = 'outbox' AND attname = 'changes')`

const MOST_PENDING = 10_000

/** Reads the oldest changes of the outbox, also those that a relay has locked. */
export async function readPending(connection: Connection, schema: string): Promise<Change[]> {
  const isWide = (await readJson(
    connection,
    `SELECT to_json(${isWideSql(schema)})::text AS value`,
  )) as boolean
  const rows = await connection.run(
    `SELECT ${changeColumns(isWide)} FROM (
  SELECT *, sum(${isWide ? 'changes' : '1'}) OVER (ORDER BY id) - ${isWide ? 'changes' : '1'} AS ahead
  FROM (SELECT * FROM ${identifier(schema)}.outbox ORDER BY outbox.id LIMIT ${MOST_PENDING}) AS oldest
) AS counted WHERE ahead < ${MOST_PENDING} ORDER BY counted.id`,
  )
  return rows.map(row => changeOf(row))
}

/**
 * All groups of tags that lie beside the outbox, as one value in JSON, named `groups`. They are looked for by way of a
 * value of the whole row, because an earlier version that has installed the feed knows no such column.
 *
 * To be asked for after the changes, in the same transaction: 1. a process of a newer version declares a group, and a reader
 * of it loads; 2. a row changes; 3. a relay of an older version, that had read the groups before, takes the change. What
 * is read after the change was taken was there when it was committed.
 */
export const groupsSql = (schema: string): string =>
  `SELECT (SELECT pg_catalog.json_object_agg(w.source, pg_catalog.to_jsonb(w) OPERATOR(pg_catalog.->) 'tags')
  FROM ${identifier(schema)}.watched AS w)::pg_catalog.text AS groups`

const NO_GROUPS: ReadonlyMap<string, readonly TagGroup[]> = new Map()

/** Takes what {@link groupsSql} has found out of the rows of a script. */
export function withGroups(rows: readonly Texts[]): Change[] {
  const groups = groupsOf(JSON.parse(rows.at(-1)?.groups ?? 'null'))
  return rows.slice(0, -1).map(row => changeOf(row, groups))
}

/** A row of the outbox as a change, which invalidates the tags of these groups. */
export function changeOf({ id, source, changes, age_ms, ...texts }: Texts, groups = NO_GROUPS): Change {
  const rows = rowsOf(texts)
  const table = source ?? ''
  const change = {
    id: id ?? '',
    table,
    rows,
    count: Number(changes ?? 1),
    ageMs: Math.max(0, Number(age_ms)),
  }
  const ofTable = groups.get(table)
  return ofTable === undefined ? change : Object.assign(change, { declared: targetsOfRows(ofTable, rows) })
}

/** The rows of a change, or of a batch; `undefined`: any row of the table. */
function rowsOf({ old, new: now, rows }: Texts): readonly FeedRow[] | undefined {
  if (rows != null) return JSON.parse(rows) as FeedRow[]
  const found = [old, now].filter(text => text != null).map(text => JSON.parse(text) as FeedRow)
  return found.length === 0 ? undefined : found
}
