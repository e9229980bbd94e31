import { type ColumnType, POSTGRES_TYPES } from './column-types.ts'
import { identifier, json, literal, literals } from './sql.ts'

/** A recorded column whose type has several texts for one value. */
export interface LooseColumn {
  readonly source: string
  readonly column: string
  readonly type: string
}

/**
 * Types of which people nearly always write the same text as the feed: whole numbers may have leading zeros, but come as
 * numbers, or were checked. All other types, those of extensions too, may have several texts for one value; uuid, numeric,
 * citext, char(n), times, floats, bytea, inet and jsonb certainly do.
 */
const EXACT = ['int2', 'int4', 'int8', 'oid', 'text', 'varchar', 'name', '"char"', 'bool']

/** The type of a column, as an expression. For a domain it is the base type, also through domains of domains. */
const BASE_TYPE = `(WITH RECURSIVE line (type, below) AS (
    SELECT oid, typbasetype FROM pg_type WHERE oid = atttypid
    UNION ALL SELECT pg_type.oid, typbasetype FROM line JOIN pg_type ON pg_type.oid = line.below
  ) SELECT type FROM line WHERE below = 0)`

/** A table, and its columns that are declared to have one text for each row. */
export interface LooseTable {
  readonly table: string
  readonly canonical: readonly string[]
  /** The columns that its map looks at; `null`: all that are recorded. */
  readonly reads: readonly string[] | null
}

/** The loose columns of these tables, as a query. */
const query = (schema: string, tables: readonly LooseTable[]): string => `
  SELECT watched.source, attname::text AS column, format_type(atttypid, atttypmod) AS type
  FROM ${identifier(schema)}.watched
  JOIN pg_attribute ON attrelid = watched.relation AND attname::text = ANY (watched.columns) AND NOT attisdropped
  JOIN pg_type AS base ON base.oid = ${BASE_TYPE}
  LEFT JOIN pg_collation ON pg_collation.oid = attcollation
  JOIN jsonb_to_recordset(${json(tables)}) AS asked ("table" text, canonical jsonb, reads jsonb)
    ON asked."table" = watched.source AND NOT canonical ? attname::text AND coalesce(reads ? attname::text, true)
  WHERE true
    AND (base.typtype <> 'e' AND base.oid <> ALL (${literals(EXACT)}::regtype[]::oid[]) OR NOT collisdeterministic)
  ORDER BY 1, attnum`

/** The same as JSON, in an expression. */
export const looseColumnsSql = (schema: string, tables: readonly LooseTable[]): string =>
  `(SELECT coalesce(json_agg(loose), '[]') FROM (${query(schema, tables)}) AS loose)`

const ADVICE =
  'Give the keyspaces that depend on it a key or an idOf, and then the table canonicalIds: true; tags of it the type of ' +
  'the column; see docs/ids.md'

/** The warning about such a column when a feed opens. */
export const looseColumnWarning = ({ source, column, type }: LooseColumn): string =>
  `the column ${column} of the table ${source} is of the type ${type}, which has several texts for one value. ${ADVICE}`

/** The PostgreSQL types that each of these types may stand for, as an expression of the type `jsonb`. */
export const typesSql = (types: Readonly<Record<string, ColumnType>>): string =>
  json(Object.fromEntries(Object.entries(types).map(([column, type]) => [column, POSTGRES_TYPES[type]])))

/**
 * The columns of a relation whose types are not those that tags expect, as a query. Both arguments are expressions: the
 * relation's number, and what {@link typesSql} makes.
 */
export const mistypedSql = (relation: string, types: string): string => `
  SELECT attname::text AS name, format_type(atttypid, atttypmod) AS type
  FROM jsonb_each(${types}) AS said (name, may_be)
  JOIN pg_attribute ON attrelid = ${relation} AND attname = said.name AND NOT attisdropped
  JOIN pg_type AS base ON base.oid = ${BASE_TYPE}
  LEFT JOIN pg_collation ON pg_collation.oid = attcollation
  WHERE NOT collisdeterministic OR NOT CASE
    WHEN base.typtype = 'e' THEN may_be ? 'text'
    ELSE base.typnamespace = 'pg_catalog'::regnamespace AND may_be ? base.typname::text
  END
  ORDER BY attnum`

/** The same of a watched table, as JSON, in an expression. */
export const mistypedColumnsSql = (
  schema: string,
  table: string,
  types: Readonly<Record<string, ColumnType>>,
): string => {
  const relation = `(SELECT relation FROM ${identifier(schema)}.watched WHERE source = ${literal(table)})`
  return `(SELECT coalesce(json_agg(mistyped), '[]') FROM (${mistypedSql(relation, typesSql(types))}) AS mistyped)`
}

/** The warning about such a column when a feed opens. */
export const mistypedWarning = (table: string, name: string, type: string): string =>
  `the column ${name} of the table ${table} is of the type ${type}, and its tags take it for another one: they are those of ` +
  'no row. Name its own type in tableTags, or none'

/** Makes the installation warn of these tables, with the code 01KEY. */
export const warnOfLooseColumnsSql = (schema: string, tables: readonly LooseTable[]): string => `
DO $loose$
DECLARE
  loose record;
  former text := pg_catalog.current_setting('search_path');
BEGIN
  -- Whatever others have put into their schemas: what is meant here is PostgreSQL's own.
  PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
  FOR loose IN ${query(schema, tables)} LOOP
    RAISE WARNING 'the column % of the table % is of the type %, which has several texts for one value',
      loose.column, loose.source, loose.type USING ERRCODE = '01KEY', HINT = ${literal(ADVICE)};
  END LOOP;
  PERFORM pg_catalog.set_config('search_path', former, true);
END $loose$;`
