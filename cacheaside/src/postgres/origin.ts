import type { Connection } from './connection.ts'
import { RECORDER_MARK, RECORDER_VERSION } from './feed-recorder.ts'
import { SCHEMA_MARK } from './feed-schema.ts'
import { noFeed } from './not-installed.ts'
import { identifier, literal } from './sql.ts'

/** What a session learns of the server when it begins. */
export interface Origin {
  /** What {@link lifeSql} was then. */
  readonly life: string
  /** What {@link filesSql} was then. */
  readonly files: OutboxFiles
  /** The numbers of the system, of its timeline and of the database, and the server's life. */
  readonly identity: string
  /** The same without the server's life. Where the role may not read these numbers, each life counts as another server. */
  readonly server: string
  /** The settings that matter here; durations in milliseconds. Those that the server has. */
  readonly settings: Readonly<Record<string, string>>
  /** The columns that are recorded, by the names of the tables that are watched. */
  readonly watched: Readonly<Record<string, readonly string[]>>
}

/** The numbers of the files that hold the outbox, and its ids. TRUNCATE and ALTER SEQUENCE … RESTART begin new ones. */
export interface OutboxFiles {
  readonly outbox: string
  readonly ids: string
}

/** Tables whose recorders are outdated. */
export interface BadRecorders {
  /** Those whose recorder an earlier version of the library has made. */
  readonly outdated: readonly string[]
  /** Those among them whose recorder was made for another table, and so records nothing. */
  readonly deaf: readonly string[]
}

/**
 * An SQL expression for the life of this server: its start time, and a token that a crash would have removed. A crash of one
 * of its processes makes the server recover, without a new start, and that can take back unwritten commits.
 */
export const lifeSql = (schema: string): string =>
  `concat_ws(' ', extract(epoch FROM pg_postmaster_start_time()), (SELECT token FROM ${identifier(schema)}.life))`

/** An SQL expression for {@link OutboxFiles}. */
export const filesSql = (schema: string): string => {
  const fileOf = (name: string) =>
    `pg_relation_filenode(${literal(`${identifier(schema)}.${name}`)}::regclass)::text`
  return `json_build_object('outbox', ${fileOf('outbox')}, 'ids', ${fileOf('outbox_id_seq')})`
}

const isEarlier = `coalesce(substring(prosrc FROM ${literal(`${RECORDER_MARK}([0-9]+)`)})::int, 0) < ${RECORDER_VERSION}`

/** Whether an earlier version has installed what records a table, of `watched` joined with its recorder in `pg_proc`. */
export const isOutdatedSql = `prosrc IS NOT NULL AND (${isEarlier} OR to_jsonb(watched) ->> 'statements' IS NULL)`

/**
 * Whether the recorder records nothing; over the same join. Recorders of earlier versions record nothing on a table with
 * another number than their own, as all tables of a restored dump have.
 */
export const isDeafSql = `prosrc IS NOT NULL AND ${isEarlier}
  AND substring(prosrc FROM 'TG_RELID <> ''([0-9]+)''::oid') <> watched.relation::oid::text`

/** The settings that matter. */
export const SETTINGS = [
  'statement_timeout',
  'transaction_timeout',
  'idle_in_transaction_session_timeout',
  'synchronous_commit',
]

/** Runs a script that asks for one value, named `value`, in JSON. */
export async function readJson(connection: Connection, script: string): Promise<unknown> {
  const rows = await connection.run(script)
  return JSON.parse(rows.at(-1)?.value ?? 'null')
}

/**
 * The number of the timeline. That of the last checkpoint is not enough: 1. a standby takes over; 2. for minutes, until the
 * next checkpoint has ended, sessions find the old number there; 3. later ones find the new number; 4. both take each other's
 * for another server, and give new generations in turn. Until then the end of recovery tells the new one. It is read first,
 * because the checkpoint removes it.
 *
 * Not by the name of the log's file (`pg_current_wal_lsn`), which some managed servers do not tell.
 */
const TIMELINE = `greatest((SELECT min_recovery_end_timeline FROM pg_control_recovery()),
  (SELECT timeline_id FROM pg_control_checkpoint()))`

interface Found extends Pick<Origin, 'life' | 'files' | 'settings'> {
  readonly database: string
  readonly watched: Origin['watched'] | null
  readonly mayReadControl: boolean
}

/**
 * Reads what a session has to know of the server.
 *
 * @throws Error if there is no change feed in the schema.
 */
export async function readOrigin(connection: Connection, schema: string): Promise<Origin> {
  const compare = `${identifier(schema)}.compare_outbox()`
  // A feed that an earlier version has installed has no such function, and where a role may not call it, `cover` does.
  const { mark, compares } = (await readJson(
    connection,
    `SELECT json_build_object(
  'mark', obj_description(to_regnamespace(${literal(identifier(schema))}), 'pg_namespace'),
  'compares', has_function_privilege(to_regprocedure(${literal(compare)}), 'EXECUTE'))::text AS value`,
  )) as { mark: string | null; compares: boolean | null }
  if (mark !== SCHEMA_MARK) {
    throw new Error(
      mark === null
        ? noFeed(schema)
        : `the schema ${schema} is not that of a change feed of this version: ${mark}`,
    )
  }
  const found = (await readJson(
    connection,
    `INSERT INTO ${identifier(schema)}.life DEFAULT VALUES ON CONFLICT DO NOTHING;
${compares === true ? `SELECT ${compare};` : ''}
SELECT json_build_object(
  'life', ${lifeSql(schema)},
  'files', ${filesSql(schema)},
  'database', (SELECT oid::text FROM pg_database WHERE datname = current_database()),
  'settings', (SELECT json_object_agg(name, setting) FROM pg_settings
    WHERE name IN (${SETTINGS.map(literal).join(', ')})),
  'watched', (SELECT json_object_agg(source, columns) FROM ${identifier(schema)}.watched),
  'mayReadControl', has_function_privilege('pg_control_system()', 'execute')
    AND has_function_privilege('pg_control_checkpoint()', 'execute')
    AND has_function_privilege('pg_control_recovery()', 'execute')
)::text AS value`,
  )) as Found
  const control = found.mayReadControl
    ? await readJson(
        connection,
        `SELECT to_json(concat_ws(' ', (SELECT system_identifier FROM pg_control_system()),
  ${TIMELINE}))::text AS value`,
      )
    : 'unknown'
  const { life, files, database, settings, watched, mayReadControl } = found
  const server = `${control} ${database}`
  const identity = `${server} ${life}`
  return {
    life,
    files,
    identity,
    server: mayReadControl ? server : identity,
    settings,
    watched: watched ?? {},
  }
}

/** The feed's own tables of which a policy (row-level security) may hide rows from this role, as JSON, in an expression. */
export const hiddenTablesSql = (schema: string): string =>
  `(SELECT coalesce(json_agg(relname ORDER BY relname), '[]') FROM pg_class
  WHERE relnamespace = to_regnamespace(${literal(identifier(schema))}) AND relrowsecurity AND row_security_active(oid))`

/** Reads which recorders are outdated. To be called after a relay has mended what it can. */
export async function readBadRecorders(connection: Connection, schema: string): Promise<BadRecorders> {
  return (await readJson(
    connection,
    `SELECT json_build_object(
  'outdated', coalesce(json_agg(source ORDER BY source) FILTER (WHERE ${isOutdatedSql}), '[]'),
  'deaf', coalesce(json_agg(source ORDER BY source) FILTER (WHERE ${isDeafSql}), '[]')
)::text AS value
FROM ${identifier(schema)}.watched LEFT JOIN pg_proc ON pg_proc.oid = to_regprocedure(recorder || '()')`,
  )) as BadRecorders
}

/**
 * What is wrong with the server's settings. A guard outlives a writer that died by at most `guardMs`, and is renewed every
 * third of that; if the dead writer's work can go on for longer, it may commit when no guard stands any more. They are read
 * in the relay's own session, which should come from the writers' pool. Behind a pooler they are not the writers' settings:
 * then `writersEndMs` has to say what the writers set.
 */
export function settingsWarnings(
  settings: Origin['settings'],
  guardMs: number,
  writersEndMs: number | undefined,
): string[] {
  const leastMs = Math.ceil((guardMs * 2) / 3)
  const effects: Record<string, string> = {
    statement_timeout: 'a statement of a dead writer may commit after its guard has ended',
    transaction_timeout: 'a transaction of a dead writer may commit after its guard has ended',
    idle_in_transaction_session_timeout:
      'a transaction that a dead writer left open may keep its locks after its guard has ended',
    writersEndMs: 'the work of a dead writer may commit after its guard has ended',
  }
  const warnings: string[] = []
  const found: Origin['settings'] =
    writersEndMs === undefined ? settings : { writersEndMs: String(writersEndMs) }
  for (const [name, effect] of Object.entries(effects)) {
    const ms = Number(found[name])
    if (found[name] === undefined || (ms > 0 && ms < leastMs)) continue
    warnings.push(
      `${name} is ${ms === 0 ? 'off' : `${ms} ms`}: ${effect}. ` +
        `Set it below ${leastMs} ms, two thirds of guardMs (${guardMs})` +
        (name === 'writersEndMs' ? '' : `, for example: ALTER ROLE … SET ${name} = '5s'`),
    )
  }
  if (settings.synchronous_commit === 'off') {
    warnings.push(
      'synchronous_commit is off: a crash may take back a commit that readers have seen. ' +
        'So every loss of a session gives all keyspaces new generations',
    )
  }
  return warnings
}
