import { identifier, literal, literals } from './sql.ts'

/** A recorded column whose type has several texts for one value. */
export interface LooseColumn {
  readonly source: string
  readonly column: string
  readonly type: string
}

/**
 * Types whose texts, as the feed writes them, are the only ones that people write, or nearly: whole numbers may have zeros
 * in front, but come as numbers, or from somebody who has checked them. Of all others, those of extensions too, it is not
 * known: uuid, numeric, citext, char(n), times, floats, bytea, inet and jsonb have several for certain.
 */
const EXACT = ['int2', 'int4', 'int8', 'oid', 'text', 'varchar', 'name', '"char"', 'bool']

/** The loose columns of these tables, all of them if none are given, as a query. */
const query = (schema: string, tables: readonly string[]): string => `
  SELECT watched.source, attname::text AS column, format_type(atttypid, atttypmod) AS type
  FROM ${identifier(schema)}.watched
  JOIN pg_attribute ON attrelid = watched.relation AND attname::text = ANY (watched.columns) AND NOT attisdropped
  JOIN pg_type AS own ON own.oid = atttypid
  JOIN pg_type AS base ON base.oid = CASE own.typtype WHEN 'd' THEN own.typbasetype ELSE own.oid END
  LEFT JOIN pg_collation ON pg_collation.oid = attcollation
  WHERE watched.source = ANY (${literals(tables)})
    AND (base.typtype <> 'e' AND base.oid <> ALL (${literals(EXACT)}::regtype[]::oid[]) OR NOT collisdeterministic)
  ORDER BY 1, attnum`

/** The same as JSON, in an expression. */
export const looseColumnsSql = (schema: string, tables: readonly string[]): string =>
  `(SELECT coalesce(json_agg(loose), '[]') FROM (${query(schema, tables)}) AS loose)`

const ADVICE =
  'Give the keyspaces that depend on it a key or an idOf, and then the table canonicalIds: true; see docs/ids.md'

/** What is said of such a column by a feed that opens. */
export const looseColumnWarning = ({ source, column, type }: LooseColumn): string =>
  `the column ${column} of the table ${source} is of the type ${type}, which has several texts for one value. ${ADVICE}`

/** Has the installation say it of these tables, as a warning with the code 01KEY. */
export const warnOfLooseColumnsSql = (schema: string, tables: readonly string[]): string => `
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
