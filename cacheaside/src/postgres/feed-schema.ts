/**
 * What a feed installs into the database: one schema with the outbox and the tables beside it, and functions. Each part of the
 * SQL has a file.
 *
 * - Here: the tables, who may own and use them, and how the outbox collapses when it is full.
 * - `feed-triggers.ts`: the triggers of a watched table.
 * - `feed-recorder.ts`, `feed-statement-recorder.ts`: what they call in a writer's transaction, by rows and by statements.
 * - `feed-cover.ts`: how relays find what DDL has changed, and mend triggers.
 * - `feed-groups.ts`: the groups of tags that processes ask for.
 * - `feed-locks.ts`: how locks on tables are taken without failing a writer.
 *
 * `migration.ts` puts it together with the tables of a program. `outbox.ts` and the sessions read what it records.
 */
import { COVER } from './feed-cover.ts'
import { GROUPS } from './feed-groups.ts'
import { LOCKS, WAIT_MS } from './feed-locks.ts'
import { RECORDER, WATCH } from './feed-recorder.ts'
import { CHANGES_PER_ID, STATEMENT_RECORDER } from './feed-statement-recorder.ts'
import { TRIGGERS } from './feed-triggers.ts'
import { identifier, literal } from './sql.ts'

/** The comment that marks the schema as ours. The number grows with incompatible changes. */
export const SCHEMA_MARK = 'cacheaside change feed, version 1'

const LOCK_KEY = `hashtextextended('cacheaside change feed', 0)`

/** Takes turns with other migrations, for a limited time, and refuses a schema that is not a feed's. */
export function schemaCheckSql(schema: string): string {
  return `
DO $lock$
DECLARE
  before text := current_setting('lock_timeout');
  wait_ms bigint := ${WAIT_MS};
  holder text;
BEGIN
  PERFORM set_config('lock_timeout', wait_ms::text, true);
  BEGIN
    PERFORM pg_advisory_xact_lock(${LOCK_KEY});
  EXCEPTION WHEN lock_not_available THEN
    SELECT format('process %s of role %s', pg_locks.pid, usename) INTO holder
      FROM pg_locks LEFT JOIN pg_stat_activity ON pg_stat_activity.pid = pg_locks.pid
      WHERE locktype = 'advisory' AND granted AND objsubid = 1
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND (classid::bigint << 32) | objid::bigint = ${LOCK_KEY} LIMIT 1;
    RAISE EXCEPTION 'the lock of the migrations of change feeds was not free in time: % has it',
      coalesce(holder, 'another session')
      USING ERRCODE = 'lock_not_available', HINT = 'Nothing was changed. Wait for that session, or end it.';
  END;
  PERFORM set_config('lock_timeout', before, true);
END $lock$;
DO $check$
DECLARE
  found oid := to_regnamespace(${literal(identifier(schema))});
BEGIN
  IF found IS NOT NULL AND obj_description(found, 'pg_namespace') IS DISTINCT FROM ${literal(SCHEMA_MARK)} THEN
    RAISE EXCEPTION 'the schema % is not that of a cacheaside change feed of this version', found::regnamespace;
  END IF;
END $check$;`
}

/**
 * Refuses a schema in which somebody else could make the installing role run code: 1. a role that may create schemas makes
 * one of this name, with this comment, and tables in it with triggers of its own; 2. a superuser installs the feed, finds
 * what is there already, writes into those tables, and runs the triggers. Checked after the schema was created: before that,
 * somebody else could still create it.
 */
function ownershipCheckSql(schema: string): string {
  return `
DO $check$
DECLARE
  inside oid := to_regnamespace(${literal(identifier(schema))});
  stranger record;
BEGIN
  SELECT what, pg_get_userbyid(owner) AS name INTO stranger FROM (
    SELECT format('the schema %s', nspname) AS what, nspowner AS owner FROM pg_namespace WHERE oid = inside
    UNION ALL
    SELECT format('the right to create something in the schema %s', nspname), grantee
      FROM pg_namespace CROSS JOIN aclexplode(nspacl)
      WHERE oid = inside AND privilege_type = 'CREATE' AND grantee <> nspowner
    UNION ALL SELECT format('the relation %s', oid::regclass), relowner FROM pg_class WHERE relnamespace = inside
    UNION ALL SELECT format('the function %s', oid::regprocedure), proowner FROM pg_proc WHERE pronamespace = inside
    UNION ALL SELECT format('the type %s', oid::regtype), typowner FROM pg_type WHERE typnamespace = inside
  ) AS found
  WHERE owner <> (SELECT oid FROM pg_roles WHERE rolname = current_user)
    AND owner NOT IN (SELECT oid FROM pg_roles WHERE rolsuper)
  LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION '% belongs to %, who could have it run anything with the rights of %',
      stranger.what, stranger.name, current_user
      USING ERRCODE = 'insufficient_privilege',
        HINT = 'Nothing was changed. Install the feed as the role that owns it (SET ROLE), or in another schema.';
  END IF;
END $check$;`
}

/** Revokes the right to call the functions in a schema from everybody else. */
function revokeSql(schema: string): string {
  return `
DO $revoke$
DECLARE
  open_to_all regprocedure;
BEGIN
  FOR open_to_all IN
    SELECT DISTINCT oid::regprocedure FROM pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner))) AS acl
    WHERE pronamespace = to_regnamespace(${literal(identifier(schema))}) AND acl.grantee = 0
  LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', open_to_all);
  END LOOP;
END $revoke$;`
}

/**
 * The schema of a feed with everything in it but the tables' own triggers, which `watch` makes. Written for a schema called
 * `cacheaside`; that name is replaced. The functions name their schema, so they do not depend on a search path.
 */
export function feedSchemaSql(schema: string, maxRows: number): string {
  return [
    schemaCheckSql(schema),
    `CREATE SCHEMA IF NOT EXISTS ${identifier(schema)};`,
    ownershipCheckSql(schema),
    `COMMENT ON SCHEMA ${identifier(schema)} IS ${literal(SCHEMA_MARK)};`,
    [TABLES, TRIGGERS, COLLAPSE, RECORDER, STATEMENT_RECORDER, COVER, GROUPS, LOCKS, WATCH]
      .join('')
      // Replaced in one pass: the new name may contain the old one.
      .replace(/cacheaside([._])/g, (_, end) => `${end === '.' ? identifier(schema) : schema}${end}`),
    `INSERT INTO ${identifier(schema)}.feed (max_rows) VALUES (${maxRows})
  ON CONFLICT (one) DO UPDATE SET max_rows = EXCLUDED.max_rows WHERE feed.max_rows <> EXCLUDED.max_rows;`,
    revokeSql(schema),
  ].join('\n')
}

/** The rights that a relay's role needs, and no more: it can read the outbox, but not install or watch anything. */
export function relayRoleSql(schema: string, role: string): string {
  const [inside, to] = [identifier(schema), identifier(role)]
  return `GRANT USAGE ON SCHEMA ${inside} TO ${to};
GRANT SELECT, UPDATE, DELETE ON ${inside}.outbox TO ${to};
GRANT SELECT ON SEQUENCE ${inside}.outbox_id_seq TO ${to};
GRANT SELECT, UPDATE ON ${inside}.feed TO ${to};
GRANT SELECT, INSERT, UPDATE, DELETE ON ${inside}.keyspace TO ${to};
GRANT SELECT, INSERT ON ${inside}.life TO ${to};
GRANT SELECT ON ${inside}.watched TO ${to};
GRANT EXECUTE ON FUNCTION ${inside}.cover(), ${inside}.compare_outbox(), ${inside}.ask_for_tags(jsonb) TO ${to};`
}

const TABLES = `
-- One row per change that was not applied yet, or per batch of them, whose rows are an array in \`rows\`. With none of the
-- three it stands for the whole table. Vacuum comes early, by count and not by size, and never takes the lock that would shorten the file: writers wait for it.
CREATE TABLE IF NOT EXISTS cacheaside.outbox (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  source text NOT NULL,
  old jsonb,
  new jsonb,
  rows json,
  changes integer NOT NULL DEFAULT 1
) WITH (
  autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0,
  autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 10000, vacuum_truncate = false
);
CREATE TABLE IF NOT EXISTS cacheaside.watched (
  source text PRIMARY KEY,
  relation regclass NOT NULL,
  columns text[] NOT NULL,
  recorder text NOT NULL
);
-- The name under which the table was found, and what it looked like when it was last looked at. A table that was renamed
-- may be watched under both names, for as long as programs of two versions run.
DO $upgrade$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'cacheaside.watched'::regclass AND attname = 'shape') THEN
    ALTER TABLE cacheaside.watched ADD COLUMN named text, ADD COLUMN shape text,
      DROP CONSTRAINT IF EXISTS watched_relation_key;
  END IF;
  -- The groups of tags that processes of any version ask for.
  IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'cacheaside.watched'::regclass AND attname = 'tags') THEN
    ALTER TABLE cacheaside.watched ADD COLUMN tags jsonb;
  END IF;
  -- The recorder of its statements.
  IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'cacheaside.watched'::regclass AND attname = 'statements') THEN
    ALTER TABLE cacheaside.watched ADD COLUMN statements text;
  END IF;
END $upgrade$;
-- Under which life of the store and of this server each keyspace was last given a generation.
CREATE TABLE IF NOT EXISTS cacheaside.keyspace (
  name text PRIMARY KEY,
  identity text NOT NULL
);
-- How large the outbox may be, and who reads it: relays that take rows out, or observers that leave them for others.
CREATE TABLE IF NOT EXISTS cacheaside.feed (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  max_rows bigint NOT NULL,
  reader text,
  reader_at timestamptz
);
-- PostgreSQL empties an unlogged table when it recovers from a crash, and where a standby takes over. So the token in
-- it lasts exactly as long as the server is certain to have taken no commit back.
CREATE UNLOGGED TABLE IF NOT EXISTS cacheaside.life (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  token text NOT NULL DEFAULT gen_random_uuid()::text
);
-- The file of the outbox that relays have seen last.
CREATE TABLE IF NOT EXISTS cacheaside.outbox_file (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  file oid NOT NULL
);
INSERT INTO cacheaside.outbox_file (file) VALUES (pg_relation_filenode('cacheaside.outbox'::regclass)) ON CONFLICT DO NOTHING;
`

const COLLAPSE = `
-- The smallest id is looked for once and the largest never: where an old snapshot keeps deleted rows, each passes all of them.
CREATE OR REPLACE FUNCTION cacheaside.is_full() RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  most bigint := (SELECT max_rows FROM cacheaside.feed);
  least bigint := (SELECT min(id) FROM cacheaside.outbox);
BEGIN
  IF least IS NULL OR ((SELECT last_value FROM cacheaside.outbox_id_seq) - least) * ${CHANGES_PER_ID} < most THEN
    RETURN false;
  END IF;
  IF NOT cacheaside.is_wide() THEN
    RETURN (SELECT count(*) FROM (SELECT FROM cacheaside.outbox LIMIT most + 1) AS counted) > most;
  END IF;
  RETURN (SELECT sum(changes) FROM (SELECT changes FROM cacheaside.outbox LIMIT most + 1) AS counted) > most;
END $function$;

-- Takes 4,096 rows out, and puts one per table in their place: the oldest, the newest, or those of this transaction.
CREATE OR REPLACE FUNCTION cacheaside.collapse_some(which text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
  EXECUTE format($query$
    WITH taken AS MATERIALIZED (
      SELECT id FROM cacheaside.outbox WHERE %s ORDER BY id %s LIMIT 4096 FOR UPDATE SKIP LOCKED
    ), gone AS (
      DELETE FROM cacheaside.outbox AS row USING taken WHERE row.id = taken.id RETURNING row.source
    )
    INSERT INTO cacheaside.outbox (source) SELECT DISTINCT source FROM gone$query$,
    CASE which WHEN 'own' THEN 'xid = pg_current_xact_id()' ELSE 'true' END,
    CASE which WHEN 'newest' THEN 'DESC' ELSE 'ASC' END);
END $function$;

-- Keeps the outbox bounded, also while no relay runs, in the transaction of the writer whose row was the one in 1,024.
-- Both or neither: nothing is lost in between. Rows that a relay holds are left to it.
--
-- A transaction that sees an old snapshot cannot delete what others have deleted since, which are the oldest rows as a
-- rule; then it takes the newest that it sees, or those that are its own. One that is serializable does not even look:
-- two that both look, and both write, would fail one another.
CREATE OR REPLACE FUNCTION cacheaside.collapse() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
  IF current_setting('transaction_isolation') = 'serializable' OR NOT cacheaside.is_full() THEN
    RETURN;
  END IF;
  IF current_setting('transaction_isolation') = 'read committed' THEN
    PERFORM cacheaside.collapse_some('oldest');
    RETURN;
  END IF;
  BEGIN
    PERFORM cacheaside.collapse_some('oldest');
    RETURN;
  EXCEPTION WHEN serialization_failure THEN NULL;
  END;
  BEGIN
    PERFORM cacheaside.collapse_some('newest');
    RETURN;
  EXCEPTION WHEN serialization_failure THEN NULL;
  END;
  PERFORM cacheaside.collapse_some('own');
END $function$;
`
