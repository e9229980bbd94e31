import { identifier, literal } from './sql.ts'

/** The comment on the schema, by which it is known to be ours; the number grows with incompatible changes. */
export const SCHEMA_MARK = 'cacheaside change feed, version 1'

/** Takes turns with other migrations, and refuses a schema that is somebody else's. */
export function schemaCheckSql(schema: string): string {
  return `
SELECT pg_advisory_xact_lock(hashtextextended('cacheaside change feed', 0));
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
 * The schema of a feed with everything in it but the tables' own triggers, which `watch` makes. Written for a schema
 * called `cacheaside`, and read with that name replaced: the functions must not depend on anybody's search path.
 */
export function feedSchemaSql(schema: string, maxRows: number): string {
  return [
    schemaCheckSql(schema),
    `CREATE SCHEMA IF NOT EXISTS ${identifier(schema)};`,
    `COMMENT ON SCHEMA ${identifier(schema)} IS ${literal(SCHEMA_MARK)};`,
    [TABLES, COLLAPSE, GAPS, COVER, WATCH, UNWATCH]
      .join('')
      .replaceAll('cacheaside.', `${identifier(schema)}.`)
      .replaceAll('cacheaside_', `${schema}_`),
    `INSERT INTO ${identifier(schema)}.feed (max_rows) VALUES (${maxRows})
  ON CONFLICT (one) DO UPDATE SET max_rows = EXCLUDED.max_rows WHERE feed.max_rows <> EXCLUDED.max_rows;`,
    `REVOKE ALL ON ALL FUNCTIONS IN SCHEMA ${identifier(schema)} FROM PUBLIC;`,
  ].join('\n')
}

/** What a role needs under which relays run, and no more: it can read the outbox, but not install or watch anything. */
export function relayRoleSql(schema: string, role: string): string {
  const [inside, to] = [identifier(schema), identifier(role)]
  return `GRANT USAGE ON SCHEMA ${inside} TO ${to};
GRANT SELECT, UPDATE, DELETE ON ${inside}.outbox TO ${to};
GRANT SELECT ON SEQUENCE ${inside}.outbox_id_seq TO ${to};
GRANT SELECT, UPDATE ON ${inside}.feed TO ${to};
GRANT SELECT, INSERT, UPDATE, DELETE ON ${inside}.keyspace TO ${to};
GRANT SELECT, INSERT ON ${inside}.life TO ${to};
GRANT SELECT ON ${inside}.watched TO ${to};
GRANT EXECUTE ON FUNCTION ${inside}.cover() TO ${to};`
}

const TABLES = `
-- One row per change that was not applied yet. With neither an old nor a new row it stands for the whole table. Vacuum
-- comes early, by count and not by size, and never takes the lock that would shorten the file: writers wait for it.
CREATE TABLE IF NOT EXISTS cacheaside.outbox (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  source text NOT NULL,
  old jsonb,
  new jsonb
) WITH (
  autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0,
  autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 10000, vacuum_truncate = false
);
CREATE TABLE IF NOT EXISTS cacheaside.watched (
  source text PRIMARY KEY,
  relation regclass NOT NULL UNIQUE,
  columns text[] NOT NULL,
  recorder text NOT NULL
);
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
`

const COLLAPSE = `
-- Keeps the outbox bounded, also while no relay runs: takes its oldest rows out and puts one per table in their place,
-- in the transaction of whoever wrote the row that was looked at. Both or neither: nothing is lost in between. Rows
-- that a relay holds are left to it. A transaction that sees an old snapshot cannot delete what others have written
-- since, and takes only what is its own.
CREATE OR REPLACE FUNCTION cacheaside.collapse() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  most bigint := (SELECT max_rows FROM cacheaside.feed);
BEGIN
  IF (SELECT max(id) - min(id) FROM cacheaside.outbox) < most
    OR (SELECT count(*) FROM (SELECT FROM cacheaside.outbox LIMIT most + 1) AS counted) <= most
  THEN
    RETURN;
  END IF;
  WITH oldest AS MATERIALIZED (
    SELECT id FROM cacheaside.outbox
    WHERE current_setting('transaction_isolation') = 'read committed' OR xid = pg_current_xact_id()
    ORDER BY id LIMIT 4096 FOR UPDATE SKIP LOCKED
  ), gone AS (
    DELETE FROM cacheaside.outbox AS row USING oldest WHERE row.id = oldest.id RETURNING row.source
  )
  INSERT INTO cacheaside.outbox (source) SELECT DISTINCT source FROM gone;
END $function$;
`

const GAPS = `
-- Which triggers are missing, or do not fire always, on watched tables, their partitions and heirs. A partition is
-- given a row trigger by PostgreSQL itself when it is attached, but no trigger for TRUNCATE.
CREATE OR REPLACE FUNCTION cacheaside.gaps(
  OUT source text, OUT recorder text, OUT member regclass, OUT name text, OUT event text, OUT is_there boolean
) RETURNS SETOF record LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  WITH RECURSIVE family AS (
    SELECT watched.source, watched.recorder, pg_class.oid AS member, 0 AS depth
    FROM cacheaside.watched JOIN pg_class ON pg_class.oid = relation
    UNION ALL
    SELECT family.source, family.recorder, inhrelid, depth + 1
    FROM family JOIN pg_inherits ON inhparent = family.member
  )
  SELECT family.source, family.recorder, family.member::regclass, kind.name, kind.event, tgname IS NOT NULL
  FROM family CROSS JOIN (VALUES
    ('cacheaside_row', 'INSERT OR UPDATE OR DELETE'), ('cacheaside_truncate', 'TRUNCATE')
  ) AS kind (name, event)
  LEFT JOIN pg_trigger ON tgrelid = family.member AND tgname = kind.name
    AND tgfoid = to_regprocedure(family.recorder || '()')
  WHERE tgenabled IS DISTINCT FROM 'A'
  ORDER BY depth, family.member, kind.name
$function$;

CREATE OR REPLACE FUNCTION cacheaside.mend(
  source text, recorder text, member regclass, name text, event text, is_there boolean
) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_variable
BEGIN
  IF NOT is_there THEN
    EXECUTE format('CREATE TRIGGER %I AFTER %s ON %s FOR EACH %s EXECUTE FUNCTION %s()', name, event, member,
      CASE event WHEN 'TRUNCATE' THEN 'STATEMENT' ELSE 'ROW' END, recorder);
  END IF;
  -- What happened before was not recorded, or not all of it: somebody may have disabled the trigger for a while.
  INSERT INTO cacheaside.outbox (source) VALUES (source);
  -- Always: also in sessions that apply what was replicated from elsewhere.
  EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', member, name);
END $function$;
`

const COVER = `
-- Closes the gaps that new partitions have left, with the rights of whoever installed the feed. Waits only briefly,
-- because writers would wait behind it. Returns what is left to be done by hand.
CREATE OR REPLACE FUNCTION cacheaside.cover() RETURNS text[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms' AS $function$
DECLARE
  gap record;
  left_open text[] := '{}';
  problems text[] := ARRAY(
    SELECT format('%s is watched, but was dropped', source)
    FROM cacheaside.watched WHERE NOT EXISTS (SELECT FROM pg_class WHERE pg_class.oid = relation)
  );
BEGIN
  LOOP
    -- Looked up anew each time: a trigger on a partitioned table brings those of its partitions with it.
    SELECT * INTO gap FROM cacheaside.gaps() AS g WHERE g.member || g.name <> ALL (left_open) LIMIT 1;
    EXIT WHEN NOT FOUND;
    BEGIN
      PERFORM cacheaside.mend(gap.source, gap.recorder, gap.member, gap.name, gap.event, gap.is_there);
    EXCEPTION WHEN OTHERS THEN
      left_open := left_open || (gap.member || gap.name);
      problems := problems || format('%s cannot be given the trigger %s: %s', gap.member, gap.name, SQLERRM);
    END;
  END LOOP;
  RETURN problems;
END $function$;
`

const WATCH = `
-- Watches a table from now on. The function behind its triggers is written for its columns, which costs writers less
-- than looking them up by name would.
CREATE OR REPLACE FUNCTION cacheaside.watch(source text, relation regclass, columns text[] DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_variable
DECLARE
  recorder text := format('cacheaside.%I',
    'record_' || CASE WHEN octet_length(source) <= 56 THEN source ELSE md5(source) END);
  missing text;
  settings text := '';
  body text;
  gap record;
BEGIN
  IF (SELECT relkind FROM pg_class WHERE oid = relation) NOT IN ('r', 'p') THEN
    RAISE EXCEPTION '% is not a table', relation;
  END IF;
  columns := coalesce(columns, (
    SELECT array_agg(attname::text ORDER BY place)
    FROM pg_index CROSS JOIN unnest(indkey) WITH ORDINALITY AS part (number, place)
    JOIN pg_attribute ON attrelid = indrelid AND attnum = part.number
    WHERE indrelid = relation AND indisprimary
  ));
  IF columns IS NULL THEN
    RAISE EXCEPTION 'the table % has no primary key: name the columns that its feed is to record', relation;
  END IF;
  SELECT name INTO missing FROM unnest(columns) AS name WHERE NOT EXISTS (
    SELECT FROM pg_attribute
    WHERE attrelid = relation AND attname = name AND attnum > 0 AND NOT attisdropped AND attgenerated <> 'v'
  );
  IF missing IS NOT NULL THEN
    RAISE EXCEPTION 'the table % has no stored column %', relation, missing;
  END IF;
  -- How a writer's session likes to see dates, numbers or bytes must not matter. Most keys have only one form.
  IF EXISTS (
    SELECT FROM pg_attribute WHERE attrelid = relation AND attname = ANY (columns)
      AND atttypid <> ALL ('{int2,int4,int8,numeric,text,varchar,bpchar,name,uuid,bool,oid}'::regtype[])
  ) THEN
    settings := 'SET DateStyle = ISO SET TimeZone = UTC SET IntervalStyle = postgres SET extra_float_digits = 1 '
      'SET bytea_output = hex';
  END IF;
  body := format($body$
DECLARE
  before jsonb;
  after jsonb;
  number bigint;
BEGIN
  BEGIN
    IF TG_OP IN ('UPDATE', 'DELETE') THEN before := jsonb_build_object(%2$s); END IF;
    IF TG_OP IN ('UPDATE', 'INSERT') THEN after := jsonb_build_object(%3$s); END IF;
  EXCEPTION WHEN undefined_column THEN
    -- A column was renamed or dropped. That is not the writer's fault, and the whole table is always right.
    before := NULL;
    after := NULL;
  END;
  IF before = after THEN before := NULL; END IF;
  INSERT INTO cacheaside.outbox (source, old, new) VALUES (%1$L, before, after) RETURNING id INTO number;
  IF number %% 1024 = 0 THEN PERFORM cacheaside.collapse(); END IF;
  RETURN NULL;
END $body$, source,
    (SELECT string_agg(format('%1$L, OLD.%1$I::text', name), ', ') FROM unnest(columns) AS name),
    (SELECT string_agg(format('%1$L, NEW.%1$I::text', name), ', ') FROM unnest(columns) AS name));
  IF NOT EXISTS (SELECT FROM pg_proc WHERE oid = to_regprocedure(recorder || '()') AND prosrc = body) THEN
    EXECUTE format('CREATE OR REPLACE FUNCTION %s() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER '
      'SET search_path = pg_catalog, pg_temp %s AS %L', recorder, settings, body);
    -- What was recorded before has another form.
    INSERT INTO cacheaside.outbox (source) VALUES (source);
  END IF;
  INSERT INTO cacheaside.watched AS known VALUES (source, relation, columns, recorder)
    ON CONFLICT ON CONSTRAINT watched_pkey DO UPDATE
    SET relation = EXCLUDED.relation, columns = EXCLUDED.columns, recorder = EXCLUDED.recorder
    WHERE (known.relation, known.columns, known.recorder)
      IS DISTINCT FROM (EXCLUDED.relation, EXCLUDED.columns, EXCLUDED.recorder);
  LOOP
    SELECT * INTO gap FROM cacheaside.gaps() AS g WHERE g.source = source LIMIT 1;
    EXIT WHEN NOT FOUND;
    PERFORM cacheaside.mend(gap.source, gap.recorder, gap.member, gap.name, gap.event, gap.is_there);
  END LOOP;
END $function$;
`

const UNWATCH = `
CREATE OR REPLACE FUNCTION cacheaside.unwatch(source text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_variable
DECLARE
  recorder text;
BEGIN
  DELETE FROM cacheaside.watched AS w WHERE w.source = source RETURNING w.recorder INTO recorder;
  IF FOUND THEN
    EXECUTE format('DROP FUNCTION IF EXISTS %s() CASCADE', recorder);
  END IF;
  DELETE FROM cacheaside.outbox AS o WHERE o.source = source;
END $function$;
`
