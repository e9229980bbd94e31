import { WAIT_MS } from './feed-schema.ts'
import { identifier, literal } from './sql.ts'

/** How long the removal waits for a lock before it gives back those that it has. Less than the server's `deadlock_timeout`. */
const TRY_MS = 100

/**
 * Locks the watched tables and those of the feed, all of them or none. DROP SCHEMA alone would lock the outbox first: 1. a
 * writer has its table; 2. the removal has the outbox, and waits for the table; 3. the writer's trigger waits for the
 * outbox; 4. PostgreSQL ends one of them, perhaps the writer.
 *
 * Locks that were taken within a block are given back when an error ends the block. A table that this role may not lock
 * is left to DROP SCHEMA.
 */
export function lockForRemovalSql(schema: string): string {
  return `
DO $lock$
DECLARE
  inside oid := to_regnamespace(${literal(identifier(schema))});
  before text := current_setting('lock_timeout');
  until timestamptz := clock_timestamp() + ${WAIT_MS} * interval '1 ms';
  watched oid[] := '{}';
  tables text;
BEGIN
  IF to_regclass(${literal(`${identifier(schema)}.watched`)}) IS NOT NULL THEN
    watched := (SELECT array_agg(relation::oid) FROM ${identifier(schema)}.watched);
  END IF;
  SELECT string_agg(format('%I.%I', nspname, relname), ', ' ORDER BY relnamespace = inside, nspname, relname) INTO tables
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relkind IN ('r', 'p') AND (relnamespace = inside OR pg_class.oid = ANY (watched))
      AND has_table_privilege(pg_class.oid, 'UPDATE, DELETE, TRUNCATE');
  WHILE tables IS NOT NULL LOOP
    BEGIN
      PERFORM set_config('lock_timeout', '${TRY_MS}', true);
      EXECUTE 'LOCK TABLE ' || tables || ' IN ACCESS EXCLUSIVE MODE';
      EXIT;
    EXCEPTION WHEN lock_not_available THEN
      IF clock_timestamp() > until THEN
        RAISE EXCEPTION 'the tables of the change feed were not free in time: %', tables
          USING ERRCODE = 'lock_not_available', HINT = 'Nothing was changed. Wait for those who write to them, and repeat.';
      END IF;
    END;
    PERFORM pg_sleep(0.05);
  END LOOP;
  PERFORM set_config('lock_timeout', before, true);
END $lock$;`
}
