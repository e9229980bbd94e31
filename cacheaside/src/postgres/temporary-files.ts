import { identifier } from './sql.ts'

/** A table of which a statement can change more rows than temporary files may hold. */
export interface CrampedTable {
  readonly source: string
  readonly limitBytes: number
  readonly bytes: number
}

/**
 * The watched tables of which a statement that changes all rows fails, as JSON, in an expression. The triggers for statements
 * have PostgreSQL keep the old and the new rows until the statement ends, beyond `work_mem` in temporary files. Row triggers,
 * as partitions have them, do not. Sizes are those of the last VACUUM or ANALYZE. The functions that measure a table would
 * wait for the session that has locked it, for as long as that session rewrites it.
 */
export const crampedTablesSql = (schema: string): string =>
  `(SELECT coalesce(json_agg(json_build_object('source', source, 'limitBytes', most, 'bytes', bytes) ORDER BY source), '[]')
  FROM ${identifier(schema)}.watched JOIN pg_class ON pg_class.oid = relation
  LEFT JOIN pg_class AS aside ON aside.oid = pg_class.reltoastrelid CROSS JOIN LATERAL (
    SELECT setting::bigint * 1024 AS most, current_setting('block_size')::bigint
      * (greatest(pg_class.relpages, 0) + greatest(aside.relpages, 0)) AS bytes
    FROM pg_settings WHERE name = 'temp_file_limit'
  ) AS sizes
  WHERE most > 0 AND 2 * bytes > most AND EXISTS (SELECT FROM pg_trigger WHERE tgrelid = relation
    AND tgfoid = to_regprocedure(to_jsonb(watched) ->> 'statements' || '()')))`

/** The warning about such a table. */
export const crampedWarning = ({ source, limitBytes, bytes }: CrampedTable): string =>
  `temp_file_limit is ${inMB(limitBytes)}: a statement that changes most rows of the table ${source} (${inMB(bytes)}) fails, ` +
  'because the feed has the server keep the old and the new rows until its end. Set it to more than twice the size of the ' +
  'table, or change fewer rows at once'

const inMB = (bytes: number): string => `${Math.ceil(bytes / 2 ** 20)} MB`
