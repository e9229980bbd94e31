import { identifier, literal } from './sql.ts'

/**
 * How long a migration waits for another one, and then for its tables, in milliseconds. Any role can hold an advisory lock,
 * even for ever.
 */
export const LOCK_WAIT_MS = 30_000

/** The same as an SQL expression: less where the session's own limits are less, so that the error says what was waited for. */
export const WAIT_MS = `least(${LOCK_WAIT_MS}, (
    SELECT min(CASE name WHEN 'lock_timeout' THEN setting::bigint ELSE setting::bigint * 3 / 4 END)
    FROM pg_settings WHERE name IN ('lock_timeout', 'statement_timeout') AND setting <> '0'))`

/** How long one attempt waits before it gives back the locks that it has: first, and at most. */
const FIRST_TRY_MS = 100
const LONGEST_TRY_MS = 400

/**
 * The body of a block that locks several tables, all of them or none. Without it: 1. a writer has one table; 2. the migration
 * has another one, and waits for that of the writer; 3. the writer wants the other one; 4. PostgreSQL ends one of them,
 * perhaps the writer. So each attempt ends before PostgreSQL looks for a deadlock, and gives the writers a turn.
 *
 * Locks that were taken within a block are given back when an error ends the block.
 *
 * @param tables - An expression for their names, separated by commas; null: there is nothing to do.
 */
const lockTables = (tables: string, mode: string, what: string): string => `
DECLARE
  before text := current_setting('lock_timeout');
  until timestamptz := clock_timestamp() + ${WAIT_MS} * interval '1 ms';
  longest_ms int := least(${LONGEST_TRY_MS}, (SELECT setting::int / 2 FROM pg_settings WHERE name = 'deadlock_timeout'));
  try_ms int := ${FIRST_TRY_MS};
  tables text := ${tables};
BEGIN
  WHILE tables IS NOT NULL LOOP
    BEGIN
      PERFORM set_config('lock_timeout', greatest(1, try_ms)::text, true);
      EXECUTE 'LOCK TABLE ' || tables || ' IN ${mode} MODE';
      EXIT;
    EXCEPTION WHEN lock_not_available THEN
      IF clock_timestamp() > until THEN
        RAISE EXCEPTION '${what} were not free in time: %', replace(tables, 'ONLY ', '')
          USING ERRCODE = 'lock_not_available', HINT = 'Nothing was changed. Wait for those who write to them, and repeat.';
      END IF;
    END;
    PERFORM pg_sleep(0.05);
    try_ms := least(try_ms * 2, longest_ms);
  END LOOP;
  PERFORM set_config('lock_timeout', before, true);
END`

const IS_LOCKABLE = `relkind IN ('r', 'p') AND has_table_privilege(pg_class.oid, 'UPDATE, DELETE, TRUNCATE')`

/** The names of tables as a list; the condition may use `pg_class`, of which a table is a row. */
const namesSql = (order: string, condition: string): string => `(
    SELECT string_agg(format('%I.%I', nspname, relname), ', ' ORDER BY ${order}nspname, relname)
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE ${IS_LOCKABLE} AND (${condition}))`

/**
 * The names of tables of which `watch` would alter something: with their partitions and child tables if they are new, or else
 * only those that lack a trigger. Other partitions may be busy.
 */
const NAMES_TO_WATCH = `(
    SELECT string_agg(DISTINCT concat(CASE WHEN is_new OR relkind = 'p' THEN '' ELSE 'ONLY ' END, format('%I.%I', nspname, relname)), ', ')
    FROM (
      SELECT relation, true AS is_new FROM unnest(sources, relations) AS given (source, relation)
      WHERE NOT EXISTS (SELECT FROM cacheaside.watched AS w
        WHERE w.source = given.source AND w.relation = given.relation AND w.recorder <> '')
      UNION ALL SELECT g.member, false FROM cacheaside.trigger_gaps() AS g WHERE g.urgent AND g.source = ANY (sources)
    ) AS wanted JOIN pg_class ON pg_class.oid = relation JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE ${IS_LOCKABLE})`

/**
 * Locks the watched tables and those of the feed. DROP SCHEMA alone would lock the outbox first, for which a writer's trigger
 * waits. A table that this role may not lock is left to DROP SCHEMA.
 */
export function lockForRemovalSql(schema: string): string {
  const watched = `${identifier(schema)}.watched`
  const inside = `to_regnamespace(${literal(identifier(schema))})`
  return `
DO $lock$
DECLARE
  watched oid[] := '{}';
BEGIN
  IF to_regclass(${literal(watched)}) IS NOT NULL THEN
    watched := (SELECT array_agg(relation::oid) FROM ${watched});
  END IF;
  ${lockTables(
    namesSql(`relnamespace = ${inside}, `, `relnamespace = ${inside} OR pg_class.oid = ANY (watched)`),
    'ACCESS EXCLUSIVE',
    'the tables of the change feed',
  )};
END $lock$;`
}

/** What migrations call before they alter tables. A table that the role may not lock is left to what comes next. */
export const LOCKS = `
-- Locks those of these tables that watch would alter.
CREATE OR REPLACE FUNCTION cacheaside.lock_to_watch(sources text[], relations regclass[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$${lockTables(
  NAMES_TO_WATCH,
  'SHARE ROW EXCLUSIVE',
  'the tables that are to be watched',
)} $function$;

-- Locks a table of which triggers are to be dropped.
CREATE OR REPLACE FUNCTION cacheaside.lock_to_unwatch(relation regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$${lockTables(
  namesSql('', 'pg_class.oid = relation'),
  'ACCESS EXCLUSIVE',
  'the table and its partitions',
)} $function$;
`
