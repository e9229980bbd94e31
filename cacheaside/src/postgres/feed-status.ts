/** The state of a change feed, read without changing anything: what relays would find, and whether any has looked. */
import type { FeedWarningCode } from '../base/events.ts'
import type { Connection } from './connection.ts'
import { SCHEMA_MARK } from './feed-schema.ts'
import { type LooseColumn, looseColumnsSql, looseColumnWarning } from './key-types.ts'
import { deafRecorders, hiddenRows, noFeed, noTagsKept, notWatched, tagsNotKnown } from './not-installed.ts'
import { hiddenTablesSql, isDeafSql, isOutdatedSql, readJson, SETTINGS, settingsWarnings } from './origin.ts'
import { CLAIM_MS, isWideSql, type Scope } from './outbox.ts'
import { identifier, literal, literals } from './sql.ts'
import { groupsOf, type TagGroup } from './tag-groups.ts'
import { type CrampedTable, crampedTablesSql, crampedWarning } from './temporary-files.ts'

/**
 * The code of a finding about a feed: those of the warnings when it is opened, and
 *
 * | code | |
 * |---|---|
 * | `NOT_INSTALLED` | there is no feed in the schema, or one of another version, or its outbox lacks a column |
 * | `STANDBY` | this server only follows a primary: a relay cannot work here, and no more is read |
 * | `RIGHTS` | the role lacks rights that a relay needs |
 * | `NOT_READ` | no cache has read the outbox lately |
 * | `LAG` | a change has waited for too long |
 * | `FILLING` | the outbox holds more than half of what it may |
 */
export type FeedFindingCode =
  | FeedWarningCode
  | 'NOT_INSTALLED'
  | 'STANDBY'
  | 'RIGHTS'
  | 'NOT_READ'
  | 'LAG'
  | 'FILLING'

/** Something that is wrong with a feed. */
export interface FeedFinding {
  readonly code: FeedFindingCode
  /** A sentence: what is so, and what to do. */
  readonly message: string
}

/** How a table is watched. */
export interface WatchedTableStatus {
  readonly name: string
  /** The columns that are recorded. */
  readonly columns: readonly string[]
  /** Whether this feed says what depends on the table. */
  readonly isMapped: boolean
  /** The groups of the table's tags that lie beside the outbox. */
  readonly tags: readonly WatchedTagsStatus[]
}

/** A group of a table's tags that lies beside the outbox, where every relay applies it. */
export interface WatchedTagsStatus {
  /** The name that its tags begin with. */
  readonly tag: string
  /** Its columns; none: the tag of all rows. */
  readonly by: readonly string[]
  /** Whether this feed asks for it. If not, a process of another version does, or did. */
  readonly isAskedFor: boolean
  /** How many milliseconds ago a process has asked for it, to the hour; left out: not known. */
  readonly askedAgoMs?: number
}

/** How a change feed on PostgreSQL is doing. Plain data. */
export interface PostgresFeedStatus {
  readonly schema: string
  /** Whether there is a feed of this version. Then the rest is known, as far as the role may read it. */
  readonly installed: boolean
  readonly tables: readonly WatchedTableStatus[]
  readonly outbox?: {
    /** Changes that are not applied yet. */
    readonly rows: number
    /** How many it may hold. */
    readonly maxRows: number
    /** How long the oldest has waited, in milliseconds; left out: there is none. */
    readonly oldestMs?: number
    /** How many there are of each table. */
    readonly byTable: Readonly<Record<string, number>>
  }
  /** Who has read the outbox last, and how many milliseconds ago; left out: nobody. */
  readonly reader?: { readonly kind: string; readonly agoMs: number }
  readonly findings: readonly FeedFinding[]
}

/** How a status is judged. */
export interface FeedStatusOptions {
  /** The cache's `guardMs`. Left out: settings of the server are not judged. */
  readonly guardMs?: number | undefined
  /** After how many milliseconds a change has waited for too long. @defaultValue 10,000 */
  readonly lagMs?: number | undefined
}

const DEFAULT_LAG_MS = 10_000

/** The rights that a relay needs, by relation or function. As `relayRoleSql` grants them. */
const NEEDS: readonly (readonly [name: string, privileges: readonly string[]])[] = [
  ['outbox', ['SELECT', 'UPDATE', 'DELETE']],
  ['outbox_id_seq', ['SELECT']],
  ['feed', ['SELECT', 'UPDATE']],
  ['keyspace', ['SELECT', 'INSERT', 'UPDATE', 'DELETE']],
  ['life', ['SELECT', 'INSERT']],
  ['watched', ['SELECT']],
]

/** What every version's outbox has. */
const OUTBOX_COLUMNS = ['id', 'at', 'xid', 'source', 'old', 'new']

const READ_ONLY = 'SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY; '

interface Marked {
  readonly standby: boolean
  /** Whether the outbox has batches. */
  readonly wide: boolean
  readonly mark: string | null
  /** The columns that the outbox should have, and has not. */
  readonly gone: readonly string[] | null
  readonly missing: readonly string[] | null
  /** The feed's tables of which a policy may hide rows. */
  readonly hidden: readonly string[]
  readonly settings: Readonly<Record<string, string>> | null
}

interface Details {
  readonly watched: readonly WatchedTable[] | null
  readonly nowS: number
  readonly hasTags: boolean
  readonly rows: number
  readonly oldestMs: number | null
  readonly byTable: Readonly<Record<string, number>> | null
  readonly maxRows: number | null
  readonly reader: string | null
  readonly agoMs: number | null
  readonly loose: readonly LooseColumn[]
  readonly cramped: readonly CrampedTable[]
}

interface WatchedTable {
  readonly source: string
  readonly columns: string[]
  readonly outdated: boolean
  /** Whether its recorder records nothing. */
  readonly deaf: boolean
  /** What the table is called now; `null`: it was dropped. */
  readonly calledNow: string | null
  /** Whether it has the name under which it was found; `null`: that is not known, or it was dropped. */
  readonly isNamed: boolean | null
  /** Whether another table has that name. */
  readonly isReplaced: boolean
  /** As they are stored; no array in a feed that is older than tags. */
  readonly tags: unknown
}

/** Asks for one value, named `value`, in JSON. A standby answers, too. */
async function look(connection: Connection, sql: string): Promise<unknown> {
  const rows = await connection.runWithin(READ_ONLY + sql)
  return JSON.parse(rows.at(-1)!.value!)
}

/** Reads the status of the feed in a schema. */
export async function readStatus(
  connection: Connection,
  scope: Scope,
  { guardMs, lagMs = DEFAULT_LAG_MS }: FeedStatusOptions,
): Promise<PostgresFeedStatus> {
  const { mark, standby, gone, missing, hidden, settings, wide } = (await look(
    connection,
    markedSql(scope.schema),
  )) as Marked
  const { schema } = scope
  if (mark !== SCHEMA_MARK) {
    const message =
      mark === null
        ? noFeed(schema)
        : `the schema ${schema} is not that of a change feed of this version: ${mark}`
    return { schema, installed: false, tables: [], findings: [{ code: 'NOT_INSTALLED', message }] }
  }
  if (standby) {
    const message = 'this server is a standby: a feed needs a connection to the primary'
    return { schema, installed: true, tables: [], findings: [{ code: 'STANDBY', message }] }
  }
  if (gone !== null) {
    const message = `the outbox in the schema ${schema} has no column ${gone.join(', ')}: rename it back, or remove the feed and install it again`
    return { schema, installed: false, tables: [], findings: [{ code: 'NOT_INSTALLED', message }] }
  }
  const findings: FeedFinding[] = []
  // With PGlite a writer's transaction ends with its process.
  if (connection.isShared && guardMs !== undefined) {
    for (const message of settingsWarnings(settings ?? {}, guardMs, scope.writersEndMs))
      findings.push({ code: 'SETTING', message })
  }
  for (const table of hidden) findings.push({ code: 'RIGHTS', message: hiddenRows(schema, table) })
  if (missing !== null) {
    const message = `this role lacks rights that a relay needs: ${missing.join(', ')}. Name it in relayRoles of installFeed`
    findings.push({ code: 'RIGHTS', message })
    if (missing.some(right => /USAGE|SELECT/.test(right)))
      return { schema, installed: true, tables: [], findings }
  }
  const details = (await look(connection, detailsSql(scope, wide))) as Details
  findings.push(...(await problemsOf(connection, schema)))
  findings.push(...judge(scope, details, lagMs))
  const { rows, maxRows, oldestMs, byTable, reader, agoMs } = details
  return {
    schema,
    installed: true,
    tables: (details.watched ?? []).map(table => tableStatus(scope, table, details.nowS)),
    outbox: {
      rows,
      maxRows: maxRows ?? 0,
      ...(oldestMs === null ? {} : { oldestMs: Math.max(0, Math.round(oldestMs)) }),
      byTable: byTable ?? {},
    },
    ...(reader === null || agoMs === null ? {} : { reader: { kind: reader, agoMs: Math.round(agoMs) } }),
    findings,
  }
}

function tableStatus(
  scope: Scope,
  { source, columns, tags }: WatchedTable,
  nowS: number,
): WatchedTableStatus {
  const asked = askedFor(scope, source)
  return {
    name: source,
    columns,
    isMapped: scope.tables.includes(source),
    tags: (Array.isArray(tags) ? tags : [])
      .flatMap(found =>
        groupsIn([found]).map(group => ({
          tag: group.tag,
          by: group.by,
          isAskedFor: asked.some(one => isSameGroup(one, group)),
          ...(typeof found.asked === 'number'
            ? { askedAgoMs: Math.max(0, Math.round((nowS - found.asked) * 1000)) }
            : {}),
        })),
      )
      .sort((one, other) => one.by.length - other.by.length),
  }
}

const groupsIn = (tags: unknown): readonly TagGroup[] => groupsOf({ table: tags }).get('table') ?? []

/** The groups that this feed asks for. */
const askedFor = ({ tags }: Scope, source: string): readonly TagGroup[] =>
  tags.find(({ table }) => table === source)?.groups ?? []

const isSameGroup = (one: TagGroup, other: TagGroup): boolean =>
  one.tag === other.tag && one.version === other.version && one.by.join() === other.by.join()

function markedSql(schema: string): string {
  const needs = NEEDS.flatMap(([name, privileges]) =>
    privileges.map(privilege => `(${literal(name)}, ${literal(privilege)})`),
  )
  const within = `to_regnamespace(${literal(identifier(schema))})`
  return `SELECT json_build_object(
  'wide', ${isWideSql(schema)},
  'mark', obj_description(${within}, 'pg_namespace'),
  'standby', pg_is_in_recovery(),
  'gone', (SELECT json_agg(name) FROM unnest(${literals(OUTBOX_COLUMNS)}) AS name WHERE NOT EXISTS (
    SELECT FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
      WHERE relnamespace = ${within} AND relname = 'outbox' AND attname = name)),
  'missing', (SELECT json_agg(right_of ORDER BY right_of) FROM (
    SELECT format('%s ON %s', privilege, need.name) AS right_of
      FROM (VALUES ${needs.join(', ')}) AS need (name, privilege)
      JOIN pg_class ON relnamespace = ${within} AND relname = need.name
      WHERE NOT CASE relkind WHEN 'S' THEN has_sequence_privilege(pg_class.oid, privilege)
        ELSE has_table_privilege(pg_class.oid, privilege) END
    UNION ALL SELECT 'EXECUTE ON cover()' FROM pg_proc
      WHERE pronamespace = ${within} AND proname = 'cover' AND NOT has_function_privilege(pg_proc.oid, 'EXECUTE')
    UNION ALL SELECT 'USAGE ON the schema' FROM pg_namespace
      WHERE oid = ${within} AND NOT has_schema_privilege(oid, 'USAGE')
  ) AS lacking),
  'hidden', ${hiddenTablesSql(schema)},
  'settings', (SELECT json_object_agg(name, setting) FROM pg_settings
    WHERE name IN (${SETTINGS.map(literal).join(', ')}))
)::text AS value`
}

/** Whether a relation in a schema has the name under which a watched table was found. A feed of an earlier version knows none. */
const isNamedSql = (namespace: string, relation: string): string =>
  `ARRAY[${namespace}.nspname, ${relation}.relname]::text[] = parse_ident(to_jsonb(watched) ->> 'named')`

function detailsSql({ schema, looseTables }: Scope, isWide: boolean): string {
  const inside = identifier(schema)
  const counted = isWide ? 'coalesce(sum(changes), 0)' : 'count(*)'
  return `SELECT json_build_object(
  'watched', (SELECT json_agg(json_build_object('source', source, 'columns', columns, 'outdated',
      ${isOutdatedSql}, 'deaf', ${isDeafSql}, 'tags', to_jsonb(watched) -> 'tags',
      'calledNow', CASE WHEN it.oid IS NOT NULL THEN format('%I.%I', place.nspname, it.relname) END, 'isNamed', ${isNamedSql('place', 'it')},
      'isReplaced', EXISTS (SELECT FROM pg_class AS other JOIN pg_namespace AS there ON there.oid = other.relnamespace
        WHERE other.relkind IN ('r', 'p') AND other.oid <> relation AND ${isNamedSql('there', 'other')})) ORDER BY source)
    FROM ${inside}.watched LEFT JOIN pg_proc ON pg_proc.oid = to_regprocedure(recorder || '()')
    LEFT JOIN pg_class AS it ON it.oid = relation LEFT JOIN pg_namespace AS place ON place.oid = it.relnamespace),
  'nowS', extract(epoch FROM clock_timestamp()),
  'hasTags', to_regprocedure(${literal(`${inside}.ask_for_tags(jsonb)`)}) IS NOT NULL,
  'rows', (SELECT ${counted} FROM ${inside}.outbox),
  'oldestMs', (SELECT extract(epoch FROM clock_timestamp() - min(at)) * 1000 FROM ${inside}.outbox),
  'byTable', (SELECT json_object_agg(source, changes)
    FROM (SELECT source, ${counted} AS changes FROM ${inside}.outbox GROUP BY source) AS counted),
  'maxRows', (SELECT max_rows FROM ${inside}.feed),
  'reader', (SELECT reader FROM ${inside}.feed),
  'agoMs', (SELECT extract(epoch FROM clock_timestamp() - reader_at) * 1000 FROM ${inside}.feed),
  'loose', ${looseColumnsSql(schema, looseTables)},
  'cramped', ${crampedTablesSql(schema)}
)::text AS value`
}

/** What has to be mended by hand or by a relay, if this role may ask: these functions belong to the installer. */
async function problemsOf(connection: Connection, schema: string): Promise<FeedFinding[]> {
  const inside = identifier(schema)
  const may = (await readJson(
    connection,
    `${READ_ONLY}SELECT coalesce(json_agg(proname), '[]')::text AS value FROM pg_proc
  WHERE pronamespace = to_regnamespace(${literal(inside)}) AND proname = ANY (${literals(['gaps', 'columns_gone'])})
    AND has_function_privilege(oid, 'EXECUTE')`,
  )) as string[]
  const findings: FeedFinding[] = []
  if (may.includes('gaps')) {
    const gaps = (await readJson(
      connection,
      `${READ_ONLY}SELECT coalesce(json_agg(format('%s has no trigger that always fires for %s', member, event)), '[]')::text
  AS value FROM ${inside}.gaps()`,
    )) as string[]
    for (const gap of gaps)
      findings.push({
        code: 'NOT_WATCHED',
        message: `${gap}: a relay mends it within ten seconds, or installFeed does`,
      })
  }
  if (may.includes('columns_gone')) {
    const gone = (await readJson(
      connection,
      `${READ_ONLY}SELECT to_json(${inside}.columns_gone())::text AS value`,
    )) as string[]
    for (const message of gone)
      findings.push({ code: 'COLUMN_GONE', message: message.replace(/^COLUMN_GONE /, '') })
  }
  return findings
}

function judge(scope: Scope, details: Details, lagMs: number): FeedFinding[] {
  const findings: FeedFinding[] = []
  const found = (code: FeedFindingCode, message: string) => findings.push({ code, message })
  const watched = details.watched ?? []
  for (const table of scope.tables) {
    if (!watched.some(({ source }) => source === table)) found('NOT_WATCHED', notWatched(table))
  }
  findings.push(...watched.flatMap(renamed))
  const deaf = watched.filter(table => table.deaf).map(({ source }) => source)
  if (deaf.length > 0) found('NOT_WATCHED', deafRecorders(deaf))
  const outdated = watched.filter(table => table.outdated).map(({ source }) => source)
  if (outdated.length > 0)
    found(
      'OUTDATED',
      `the recorder of ${outdated.join(', ')} comes from an earlier version: run installFeed again`,
    )
  for (const { table, groups } of scope.tags) {
    if (!details.hasTags) {
      found('OUTDATED', noTagsKept([table]))
      continue
    }
    const known = groupsIn(watched.find(({ source }) => source === table)?.tags)
    for (const group of groups)
      if (!known.some(one => isSameGroup(one, group)))
        found('NOT_WATCHED', tagsNotKnown(`${table} by (${group.by.join(', ')})`))
  }
  for (const column of details.loose) found('KEY_TYPE', looseColumnWarning(column))
  for (const table of details.cramped) found('SETTING', crampedWarning(table))
  const { rows, maxRows, oldestMs, agoMs } = details
  if (agoMs === null || Math.abs(agoMs) > CLAIM_MS) {
    const unread = unreadFor(agoMs)
    found('NOT_READ', `${unread}: changes by others reach no cache until one does`)
  }
  if (oldestMs !== null && oldestMs > lagMs)
    found(
      'LAG',
      `a change has waited for ${Math.round(oldestMs / 1000)} s: values of its rows may be stale for as long`,
    )
  if (maxRows !== null && rows > maxRows / 2)
    found(
      'FILLING',
      `the outbox holds ${rows} of ${maxRows} changes; above that, whole tables are invalidated instead of rows`,
    )
  return findings
}

/** What relays find of a table that was renamed, replaced or dropped. */
function renamed({ source, calledNow, isNamed, isReplaced }: WatchedTable): FeedFinding[] {
  if (isReplaced) {
    const message = `${source} is another table than the one that is watched: a relay watches it within ten seconds, or installFeed does`
    return [{ code: 'NOT_WATCHED', message }]
  }
  if (calledNow === null) return [{ code: 'NOT_WATCHED', message: `${source} is watched, but was dropped` }]
  if (isNamed !== false) return []
  const message = `${source} is called ${calledNow} now, and is still recorded under its old name: run installFeed for the new one`
  return [{ code: 'TABLE_RENAMED', message }]
}

function unreadFor(agoMs: number | null): string {
  if (agoMs === null) return 'no cache has ever read the outbox'
  if (agoMs < 0) return 'no cache has read the outbox since the clock of the database was set back'
  return `no cache has read the outbox for ${Math.round(agoMs / 1000)} s`
}
