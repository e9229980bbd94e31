/** For how long a look of a relay waits for locks in all, in milliseconds. For one lock it waits 100 at most. */
const PATIENCE_MS = 300
/** After how many milliseconds it leaves the rest to the next look. */
const MOST_MENDING_MS = 600

/**
 * Which triggers a watched table should have, and how it is given them.
 *
 * A plain table has a trigger for each kind of statement. A statement trigger does not fire for what is written through
 * another table, and not for what is replicated. So these have row triggers:
 *
 * - partitions, their tables, child tables (inheritance), and tables that have some: always;
 * - every other table: in sessions in the role of a replica, in which statement triggers do not fire; and where it has just
 * become a partition, until a relay has looked. PostgreSQL computes the condition of that trigger once for a statement.
 *
 * The outbox of a feed that an earlier version has installed lacks the columns for batches. Adding them takes a lock that
 * writers wait for, and holding it while waiting for a table would be a deadlock with one of them. So it is done last and
 * alone, and only if the lock is free at once; until then row triggers go on.
 */
export const TRIGGERS = `
-- Whether the outbox has the columns for batches.
CREATE OR REPLACE FUNCTION cacheaside.is_wide() RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT EXISTS (SELECT FROM pg_attribute
    WHERE attrelid = to_regclass('cacheaside.outbox') AND attname = 'changes' AND NOT attisdropped)
$function$;

CREATE OR REPLACE FUNCTION cacheaside.widen() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms' AS $function$
BEGIN
  IF NOT cacheaside.is_wide() THEN
    ALTER TABLE cacheaside.outbox ADD COLUMN rows json, ADD COLUMN changes integer NOT NULL DEFAULT 1;
  END IF;
EXCEPTION WHEN lock_not_available THEN
  -- Somebody writes. The next relay tries again.
  NULL;
END $function$;

-- A publication FOR ALL TABLES also takes the feed's own tables to another server. If that has a feed, too, its own ids
-- would be those of other changes, and replication would stop. So a session in the role of a replica changes nothing here but by a
-- recorder.
CREATE OR REPLACE FUNCTION cacheaside.keep_out() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
  RETURN NULL;
END $function$;

CREATE OR REPLACE FUNCTION cacheaside.keep_replicas_out() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms' AS $function$
DECLARE
  own regclass;
BEGIN
  FOREACH own IN ARRAY ARRAY['cacheaside.outbox', 'cacheaside.watched', 'cacheaside.keyspace', 'cacheaside.feed',
    'cacheaside.outbox_file']::regclass[]
  LOOP
    CONTINUE WHEN EXISTS (SELECT FROM pg_trigger WHERE tgrelid = own AND tgname = 'cacheaside_keep_out' AND tgenabled = 'R');
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = own AND tgname = 'cacheaside_keep_out') THEN
      EXECUTE format('CREATE TRIGGER cacheaside_keep_out BEFORE INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW '
        'WHEN (pg_catalog.pg_trigger_depth() = 0) EXECUTE FUNCTION cacheaside.keep_out()', own);
    END IF;
    EXECUTE format('ALTER TABLE %s ENABLE REPLICA TRIGGER cacheaside_keep_out', own);
  END LOOP;
EXCEPTION WHEN lock_not_available THEN
  -- Somebody writes. The next relay tries again.
  NULL;
END $function$;

-- What each member of a watched table's family lacks, has too much, or has in another state than it should: 'A' fires
-- always, 'R' in the role of a replica, 'O' in any other, and '-' is to be dropped. They are known by their function and
-- their kind, and not by their name, which differs from one version to another. What is urgent may have been missed, or may
-- be at any moment.
--
-- Temporary child tables are not among them: nobody but their session sees their rows, and no other may alter them. Before
-- version 16 a foreign table cannot have a trigger for TRUNCATE.
CREATE OR REPLACE FUNCTION cacheaside.gaps_of(
  only_source text, OUT source text, OUT recorder text, OUT member regclass, OUT name text, OUT event text,
  OUT is_there boolean, OUT wanted text, OUT condition text, OUT urgent boolean, OUT depth int
) RETURNS SETOF record LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  WITH RECURSIVE family AS (
    SELECT watched.source, watched.recorder, watched.statements, watched.relation AS root, pg_class.oid AS member, 0 AS depth,
      watched.statements IS NOT NULL AND cacheaside.is_wide() AND relkind = 'r' AND NOT relispartition
        AND NOT EXISTS (SELECT FROM pg_inherits JOIN pg_class AS heir ON heir.oid = inhrelid
          WHERE heir.oid = pg_class.oid OR inhparent = pg_class.oid AND heir.relpersistence <> 't') AS is_plain,
      relkind
    FROM cacheaside.watched JOIN pg_class ON pg_class.oid = relation WHERE $1 IS NULL OR watched.source = $1
    UNION
    SELECT family.source, family.recorder, family.statements, family.root, inhrelid, depth + 1, false, pg_class.relkind
    FROM family JOIN pg_inherits ON inhparent = family.member
    JOIN pg_class ON pg_class.oid = inhrelid AND relpersistence <> 't'
  ), found AS (
    SELECT family.*, kind.*, there.tgname, there.tgenabled::text AS state,
      max(there.tgenabled::text) FILTER (WHERE kind.place = 5) OVER each_member AS row_state,
      count(there.tgname) FILTER (WHERE kind.place <= 3 AND there.tgenabled IN ('O', 'A')) OVER each_member AS complete
    FROM family CROSS JOIN (VALUES
      (1, 'cacheaside_insert', 'INSERT', 4, false), (2, 'cacheaside_update', 'UPDATE', 16, false),
      (3, 'cacheaside_delete', 'DELETE', 8, false), (4, 'cacheaside_part', 'INSERT OR UPDATE OR DELETE', 29, true),
      (5, 'cacheaside_row', 'INSERT OR UPDATE OR DELETE', 29, false), (6, 'cacheaside_truncate', 'TRUNCATE', 32, false)
    ) AS kind (place, prefix, event, type, has_condition)
    LEFT JOIN LATERAL (
      SELECT tgname, tgenabled FROM pg_trigger
      WHERE tgrelid = family.member AND tgtype & 63 = kind.type AND (tgqual IS NOT NULL) = kind.has_condition
        AND tgattr::text = ''
        AND tgfoid = to_regprocedure(CASE WHEN kind.place <= 3 THEN family.statements ELSE family.recorder END || '()')
      ORDER BY tgenabled = 'A' DESC, tgname LIMIT 1
    ) AS there ON true
    WINDOW each_member AS (PARTITION BY family.source, family.member)
  ), judged AS (
    SELECT *, CASE WHEN place = 6 OR place = 5 AND NOT (is_plain AND complete = 3) THEN 'A'
      WHEN place = 5 THEN 'R' WHEN is_plain THEN 'O' ELSE '-' END AS should
    FROM found
  )
  SELECT source, CASE WHEN place <= 3 THEN statements ELSE recorder END, member::regclass,
    -- A table may be watched twice, and be attached to one that is watched: no two triggers of it have one name.
    coalesce(tgname, prefix || '_' || left(md5(source || ' ' || root::oid), 8)), event, tgname IS NOT NULL, should,
    CASE WHEN has_condition THEN format('WHEN (pg_catalog.pg_partition_root(%L::pg_catalog.regclass) IS NOT NULL)', member::regclass)
      ELSE '' END,
    -- While the row trigger fires always, no other of them is needed.
    CASE place WHEN 6 THEN true WHEN 5 THEN should = 'A' OR state IS DISTINCT FROM 'A'
      ELSE should = 'O' AND row_state IS DISTINCT FROM 'A' AND place <= 3 END, depth
  FROM judged WHERE should IS DISTINCT FROM coalesce(state, '-')
    AND NOT (place = 6 AND relkind = 'f' AND current_setting('server_version_num')::int < 160000)
  ORDER BY depth, member, place
$function$;

CREATE OR REPLACE FUNCTION cacheaside.trigger_gaps(
  OUT source text, OUT recorder text, OUT member regclass, OUT name text, OUT event text, OUT is_there boolean,
  OUT wanted text, OUT condition text, OUT urgent boolean
) RETURNS SETOF record LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT source, recorder, member, name, event, is_there, wanted, condition, urgent FROM cacheaside.gaps_of(NULL)
$function$;

-- Those by which changes may be missed; by the name and in the form in which earlier versions ask.
CREATE OR REPLACE FUNCTION cacheaside.gaps(
  OUT source text, OUT recorder text, OUT member regclass, OUT name text, OUT event text, OUT is_there boolean
) RETURNS SETOF record LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT source, recorder, member, name, event, is_there FROM cacheaside.trigger_gaps() WHERE urgent
$function$;

CREATE OR REPLACE FUNCTION cacheaside.mend(
  source text, recorder text, member regclass, name text, event text, is_there boolean, wanted text, condition text,
  urgent boolean
) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_variable
BEGIN
  IF wanted = '-' THEN
    EXECUTE format('DROP TRIGGER %I ON %s', name, member);
    RETURN;
  END IF;
  IF NOT is_there THEN
    EXECUTE format('CREATE TRIGGER %I AFTER %s ON %s %s FOR EACH %s %s EXECUTE FUNCTION %s()', name, event, member,
      CASE event WHEN 'INSERT' THEN 'REFERENCING NEW TABLE AS cacheaside_new'
        WHEN 'UPDATE' THEN 'REFERENCING OLD TABLE AS cacheaside_old NEW TABLE AS cacheaside_new'
        WHEN 'DELETE' THEN 'REFERENCING OLD TABLE AS cacheaside_old' ELSE '' END,
      CASE WHEN event LIKE '% OR %' THEN 'ROW' ELSE 'STATEMENT' END, condition, recorder);
  END IF;
  IF urgent THEN
    -- What happened before was not recorded, or not all of it: somebody may have disabled the trigger for a while.
    INSERT INTO cacheaside.outbox (source) VALUES (source);
  END IF;
  EXECUTE format('ALTER TABLE %s ENABLE %s TRIGGER %I', member,
    CASE wanted WHEN 'A' THEN 'ALWAYS' WHEN 'R' THEN 'REPLICA' ELSE '' END, name);
END $function$;
DROP FUNCTION IF EXISTS cacheaside.mend(text, text, regclass, text, text, boolean);

-- Whether somebody has taken a trigger away from a watched table, or has disabled it. A new partition or child table has never
-- had one. A table that gets its first child, or loses its last, has its trigger in the other state.
CREATE OR REPLACE FUNCTION cacheaside.was_lost(member regclass, name text, wanted text, urgent boolean) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT urgent AND EXISTS (SELECT FROM cacheaside.watched WHERE relation = member) AND NOT EXISTS (
    SELECT FROM pg_trigger WHERE tgrelid = member AND tgname = name AND (tgenabled IN ('R', 'A') OR tgenabled::text = wanted))
$function$;

-- Mends what gaps there are, for relays, and says which it could not. A writer may want a table that this transaction has
-- altered, and have one that it waits for. So it waits only briefly, ${PATIENCE_MS} ms in all, and ends soon: before PostgreSQL looks for
-- a deadlock, after a second, and fails the writer. The next look does the rest. In an order by chance, so that a table which is
-- busy for long does not keep the others waiting.
CREATE OR REPLACE FUNCTION cacheaside.mend_all() RETURNS text[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  look text := clock_timestamp();
  began timestamptz;
  spent_ms int;
  gap record;
  is_progress boolean := true;
  busy regclass[] := '{}';
  halted text[] := '{}';
  left_open text[] := '{}';
  problems text[] := '{}';
  was_lost boolean;
  lost text[] := '{}';
BEGIN
  WHILE is_progress LOOP
    is_progress := false;
    -- One generation after the other: a trigger on a partitioned table brings those of its partitions with it.
    FOR gap IN SELECT found.* FROM (
        SELECT g.*, relkind, min(depth) OVER (PARTITION BY source) AS next
        FROM cacheaside.gaps_of(NULL) WITH ORDINALITY AS g JOIN pg_class ON pg_class.oid = g.member
        WHERE source <> ALL (halted) AND member <> ALL (busy) AND concat(source, member, name) <> ALL (left_open)
      ) AS found WHERE depth = next ORDER BY md5(concat(member::oid, look)), ordinality
    LOOP
      CONTINUE WHEN gap.member = ANY (busy) OR gap.source = ANY (halted);
      -- Counted from the first lock: however long it takes to find the gaps, each look mends at least one.
      began := coalesce(began, clock_timestamp());
      spent_ms := extract(epoch FROM clock_timestamp() - began) * 1000;
      IF spent_ms > ${MOST_MENDING_MS} THEN
        RETURN problems;
      END IF;
      PERFORM set_config('lock_timeout', greatest(1, least(100, ${PATIENCE_MS} - spent_ms))::text, true);
      was_lost := cacheaside.was_lost(gap.member, gap.name, gap.wanted, gap.urgent);
      BEGIN
        PERFORM cacheaside.mend(gap.source, gap.recorder, gap.member, gap.name, gap.event, gap.is_there, gap.wanted,
          gap.condition, gap.urgent);
        is_progress := true;
        -- One table is told of once.
        IF was_lost AND gap.source <> ALL (lost) THEN
          lost := lost || gap.source;
          problems := problems || format('TRIGGERS_MENDED the triggers of the feed on %s were dropped or disabled, and are '
            'back: what was changed meanwhile counts as one change of the whole table', gap.source);
        END IF;
      EXCEPTION
        WHEN lock_not_available THEN
          busy := busy || gap.member;
          IF gap.relkind = 'p' THEN halted := halted || gap.source; END IF;
          problems := problems || cacheaside.gap_left(gap.member, gap.name, gap.urgent, SQLERRM);
        WHEN OTHERS THEN
          left_open := left_open || concat(gap.source, gap.member, gap.name);
          problems := problems || cacheaside.gap_left(gap.member, gap.name, gap.urgent, SQLERRM);
      END;
    END LOOP;
  END LOOP;
  RETURN problems;
END $function$;

-- What is said of a gap that stays, if it matters.
CREATE OR REPLACE FUNCTION cacheaside.gap_left(member regclass, name text, urgent boolean, reason text) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT CASE WHEN urgent THEN ARRAY[format('NOT_WATCHED %s cannot be given the trigger %s: %s', member, name, reason)]
    ELSE '{}' END
$function$;
`
