import { json, literals } from './sql.ts'

/** What a transaction has read or changed, as far as its locks tell. */
export interface Touched {
  /** Those of the tables that were asked for: themselves, or a partition or child table (inheritance) of theirs. */
  readonly asked: readonly string[]
  /** All other tables, materialized views and foreign tables, except those of PostgreSQL itself. */
  readonly others: readonly string[]
  /**
   * Whether this query ran inside the transaction. As a statement by itself it is a transaction of its own, and shows only
   * itself.
   */
  readonly isWithin: boolean
}

/** What names of tables refer to in a session that has just begun. */
export interface Places {
  /** The schemas on its search path, the first one first. */
  readonly path: readonly string[]
  /** Those of the tables that are there. */
  readonly tables: readonly { readonly name: string; readonly schema: string; readonly table: string }[]
}

/**
 * A script for the {@link Places} of names, as one value in JSON, named `places`. A session that a loader has worked in may have
 * another path, another role, or temporary tables. A role finds no table in a schema that it may not use. The script leaves
 * all that as it is.
 */
export const placesSql = (tables: readonly string[]): string => `
SET LOCAL role TO DEFAULT;
SET LOCAL search_path TO DEFAULT;
SELECT pg_catalog.set_config('search_path',
  pg_catalog.concat_ws(', ', nullif(pg_catalog.current_setting('search_path'), ''), 'pg_temp'), true);
SELECT pg_catalog.json_build_object(
  'path', pg_catalog.current_schemas(true),
  'tables', (
    SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object('name', name, 'schema', nspname, 'table', relname)), '[]')
    FROM pg_catalog.unnest(${literals(tables)}) AS given (name)
    JOIN pg_catalog.pg_class ON pg_class.oid = pg_catalog.to_regclass(name)::pg_catalog.oid
    JOIN pg_catalog.pg_namespace ON pg_namespace.oid = relnamespace
  )
)::pg_catalog.text AS places`

/**
 * An SQL query for what its transaction has touched so far, as one value in JSON, named `touched`.
 *
 * A statement locks every table that it may read, whichever way it came to it: by a view, a policy or a function. The lock
 * is held until the transaction ends, also by a plan that was made before, which locks what it names again each time it runs. So the
 * locks of a backend say what its transaction has touched, and texts of statements need not be understood.
 *
 * Nothing is looked up along the search path, which the loader may have set. A table is found by its name, as the feed does:
 * another one may have taken it. The names of the other tables are those that find them along the search path of the places.
 */
export const touchedSql = ({ path, tables }: Places): string => `
WITH RECURSIVE held (relation) AS (
  SELECT DISTINCT relation FROM pg_catalog.pg_locks
  WHERE locktype = 'relation' AND pid = pg_catalog.pg_backend_pid()
    AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
), line (relation, ancestor) AS (
  SELECT relation, relation FROM held
  UNION SELECT line.relation, inhparent FROM line JOIN pg_catalog.pg_inherits ON inhrelid = line.ancestor
), asked (name, relation) AS (
  SELECT name, pg_class.oid
  FROM pg_catalog.jsonb_to_recordset(${json(tables)})
    AS given (name pg_catalog.text, schema pg_catalog.text, "table" pg_catalog.text)
  JOIN pg_catalog.pg_namespace ON nspname = schema
  JOIN pg_catalog.pg_class ON relnamespace = pg_namespace.oid AND relname = "table"
)
SELECT pg_catalog.json_build_object(
  'isWithin', pg_catalog.now() < pg_catalog.statement_timestamp(),
  'asked', (SELECT coalesce(pg_catalog.json_agg(DISTINCT name), '[]') FROM asked JOIN line ON line.ancestor = asked.relation),
  'others', (
    SELECT coalesce(pg_catalog.json_agg(DISTINCT CASE WHEN nspname = (
        SELECT schema FROM pg_catalog.unnest(${literals(path)}) WITH ORDINALITY AS given (schema, place)
        JOIN pg_catalog.pg_namespace AS other ON other.nspname = schema
        JOIN pg_catalog.pg_class AS namesake ON namesake.relnamespace = other.oid AND namesake.relname = pg_class.relname
        ORDER BY place LIMIT 1
      ) THEN pg_catalog.format('%I', pg_class.relname) ELSE pg_catalog.format('%I.%I', nspname, pg_class.relname) END), '[]')
    FROM held JOIN pg_catalog.pg_class ON pg_class.oid = held.relation
    JOIN pg_catalog.pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relkind IN ('r', 'p', 'm', 'f') AND nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'
      AND NOT EXISTS (
        SELECT FROM line JOIN asked ON asked.relation = line.ancestor WHERE line.relation = held.relation
      )
  )
)::pg_catalog.text AS touched`
