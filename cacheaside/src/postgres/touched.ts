import { literals } from './sql.ts'

/** What a transaction has read or changed, as far as its locks tell. */
export interface Touched {
  /** Those of the tables that were asked for: themselves, or a partition or child table (inheritance) of theirs. */
  readonly asked: readonly string[]
  /** All other tables, materialized views and foreign tables, but those of PostgreSQL itself. */
  readonly others: readonly string[]
  /** Whether the transaction began before this was asked: a single statement is one of its own, and tells only of itself. */
  readonly isWithin: boolean
}

/**
 * An SQL query for what its transaction has touched so far, as one value in JSON, named `touched`.
 *
 * A statement locks every table that it may read, whichever way it came to it: by a view, a policy or a function. The lock
 * is held until the transaction ends, also by a plan that was made before, which locks what it names again each time it runs. So the
 * locks of a backend say what its transaction has touched, and texts of statements need not be understood.
 *
 * Nothing is looked up along the search path, but for the names of the tables that are asked for.
 */
export const touchedSql = (tables: readonly string[]): string => `
WITH RECURSIVE held (relation) AS (
  SELECT DISTINCT relation FROM pg_catalog.pg_locks
  WHERE locktype = 'relation' AND pid = pg_catalog.pg_backend_pid()
    AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
), line (relation, ancestor) AS (
  SELECT relation, relation FROM held
  UNION SELECT line.relation, inhparent FROM line JOIN pg_catalog.pg_inherits ON inhrelid = line.ancestor
), asked (name, relation) AS (
  SELECT name, pg_catalog.to_regclass(name)::pg_catalog.oid FROM pg_catalog.unnest(${literals(tables)}) AS given (name)
)
SELECT pg_catalog.json_build_object(
  'isWithin', pg_catalog.now() < pg_catalog.statement_timestamp(),
  'asked', (SELECT coalesce(pg_catalog.json_agg(DISTINCT name), '[]') FROM asked JOIN line ON line.ancestor = asked.relation),
  'others', (
    SELECT coalesce(pg_catalog.json_agg(DISTINCT held.relation::pg_catalog.regclass::pg_catalog.text), '[]')
    FROM held JOIN pg_catalog.pg_class ON pg_class.oid = held.relation
    JOIN pg_catalog.pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relkind IN ('r', 'p', 'm', 'f') AND nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'
      AND NOT EXISTS (
        SELECT FROM line JOIN asked ON asked.relation = line.ancestor WHERE line.relation = held.relation
      )
  )
)::pg_catalog.text AS touched`
