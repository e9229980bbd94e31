/**
 * Stands in the recorder of every table, followed by a number. A smaller number is from an earlier version of the library.
 */
export const RECORDER_MARK = '-- recorder, version '

/** The number that this version of the library writes. */
export const RECORDER_VERSION = 3

/**
 * How many bytes the recorded columns of a row may take; a wider row counts as the whole table. Relays take 500 rows at
 * once, and one that is too much for them would hold up all others for ever.
 */
export const WIDEST_ROW = 262_144

/**
 * The functions that run in the transaction of a writer. Three rules hold for them.
 *
 * **No writer fails because of the feed.** What cannot be recorded as a row is recorded as a change of the whole table.
 *
 * **Nothing is evaluated whose meaning a lesser role can choose.** The recorder has the rights of the role that installed the
 * feed, and the types of the columns belong to others: 1. the owner of a watched table makes a type, and a cast from it to
 * `text`; 2. the owner changes the key's type to it; 3. a recorder that said `NEW.id::text` would run the owner's function
 * with the installer's rights. So a value becomes a text by the output function of its type, through `format`: only a
 * superuser can make one. `to_jsonb` and `row_to_json` would look for casts as well.
 *
 * **A session may be older than the table's columns.** plpgsql keeps the plan of an expression, with the types that it found.
 * Otherwise: 1. a session writes; 2. somebody changes the type of the key; 3. every further write of that session fails. The
 * plan of an expression that holds a constant of the type `regclass` depends on that table, and is made again when the table
 * was altered; so each expression begins with one. It costs nothing when the plan runs.
 *
 * **The number of a table is only a shortcut.** A dump takes the recorder along as it is, and the restored table has another
 * number. The table's name in `watched` is restored correctly, because it is a `regclass`. A recorder whose number does not
 * fit looks there, and relays replace its number: see `rewrite`.
 */
export const RECORDER = `
-- The text of a value by its type's output function. How a session likes to see dates, numbers or bytes must not matter.
-- Two types are written as their casts to text write them, because keys have always been written so. A domain is written
-- as the type that it is made of, as \`where\` does.
CREATE OR REPLACE FUNCTION cacheaside.said(value anyelement) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
SET DateStyle = ISO SET TimeZone = UTC SET IntervalStyle = postgres SET extra_float_digits = 1 SET bytea_output = hex
SET lc_monetary = 'C' SET quote_all_identifiers = off AS $function$
DECLARE
  kind oid := pg_typeof(value);
  below oid;
BEGIN
  LOOP
    below := (SELECT typbasetype FROM pg_type WHERE oid = kind);
    EXIT WHEN below = 0;
    IF below IS NULL THEN
      RAISE EXCEPTION 'the type % came after this snapshot', kind;
    END IF;
    kind := below;
  END LOOP;
  RETURN CASE kind
    WHEN 'bool'::regtype THEN CASE format('%s', value) WHEN 't' THEN 'true' ELSE 'false' END
    WHEN 'bpchar'::regtype THEN rtrim(format('%s', value), ' ')
    ELSE format('%s', value)
  END;
END $function$;

-- Null, unless it is null only for triggers: the value of a generated column that is not stored is made when it is read.
CREATE OR REPLACE FUNCTION cacheaside.blank(member oid, name text) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
  IF EXISTS (SELECT FROM pg_attribute WHERE attrelid = member AND attname = name AND attgenerated = 'v') THEN
    RAISE EXCEPTION 'the column % is not stored', name USING ERRCODE = 'undefined_column';
  END IF;
  RETURN NULL;
END $function$;

-- Whether a table belongs to a watched one, at this moment. A transaction with an old snapshot cannot know, and then it
-- does: one change too many is better than one too few.
CREATE OR REPLACE FUNCTION cacheaside.belongs(member oid, root oid) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
  RETURN current_setting('transaction_isolation') <> 'read committed'
    OR root IN (SELECT relid FROM pg_partition_ancestors(member))
    OR root IN (
      WITH RECURSIVE above AS (
        SELECT member AS relation UNION SELECT inhparent FROM above JOIN pg_inherits ON inhrelid = above.relation
      )
      SELECT relation FROM above
    );
END $function$;

-- Whether a change of this table is one of the watched table of that name. Asked where the number in a recorder does not
-- fit. Without the row of \`watched\`, as after a dump of the definitions alone, it is.
CREATE OR REPLACE FUNCTION cacheaside.records(source text, member oid) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_variable
DECLARE
  root oid;
BEGIN
  -- An old snapshot may see an old row. A serializable transaction that reads it could fail.
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RETURN true;
  END IF;
  root := (SELECT w.relation FROM cacheaside.watched AS w WHERE w.source = source);
  RETURN root IS NULL OR cacheaside.belongs(member, root);
END $function$;

-- The text of a column of OLD or NEW, as an expression. Most keys have a type that has only one form.
CREATE OR REPLACE FUNCTION cacheaside.value_of(record text, name text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT format($expression$CASE WHEN %1$s.%2$I IS NOT DISTINCT FROM NULL THEN %3$s
        WHEN pg_typeof(%1$s.%2$I) = ANY ('{int2,int4,int8,numeric,text,varchar,name,uuid,oid}'::regtype[])
          THEN format('%%s', %1$s.%2$I)
        ELSE cacheaside.said(%1$s.%2$I) END$expression$, record, name,
    CASE WHEN current_setting('server_version_num')::int < 180000 THEN 'NULL'
      ELSE format('cacheaside.blank(TG_RELID, %L)', name) END)
$function$;

-- The same behind the name of the column.
CREATE OR REPLACE FUNCTION cacheaside.text_of(record text, name text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT format(E'\\n      %L, %s', name, cacheaside.value_of(record, name))
$function$;

-- The columns of a row as an object, as an expression. A function takes 100 arguments at most.
CREATE OR REPLACE FUNCTION cacheaside.object_of(record text, columns text[]) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT CASE WHEN cardinality(columns) > 50 THEN '(' || string_agg(part, ' || ' ORDER BY batch) || ')'
    ELSE coalesce(string_agg(part, ''), 'jsonb_build_object()') END FROM (
    SELECT batch, format('jsonb_build_object(%s)', string_agg(cacheaside.text_of(record, name), ',' ORDER BY place)) AS part
    FROM unnest(columns) WITH ORDINALITY AS each (name, place) CROSS JOIN LATERAL (SELECT (place - 1) / 50 AS batch) AS of_place
    GROUP BY batch
  ) AS parts
$function$;

-- A statement that fails where relays could not read these variables: a database whose encoding is not UTF8 may hold bytes that
-- are no text in UTF-8. One such row would fail every relay, for ever.
CREATE OR REPLACE FUNCTION cacheaside.readable(variables text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT CASE WHEN getdatabaseencoding() = 'UTF8' THEN ''
    ELSE format(E'\\n    PERFORM convert_to(concat(%s), ''UTF8'');', variables) END
$function$;

-- The body of the recorder of a table. Anyone who could attach it to another table would record nothing.
CREATE OR REPLACE FUNCTION cacheaside.body_of(source text, relation regclass, columns text[]) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT format($body$
${RECORDER_MARK}${RECORDER_VERSION}
#variable_conflict use_variable
DECLARE
  before jsonb;
  after jsonb;
  number bigint;
BEGIN
  IF TG_RELID <> %2$L::oid AND pg_partition_root(TG_RELID) IS DISTINCT FROM %2$L::regclass
    AND NOT cacheaside.records(%1$L, TG_RELID)
  THEN
    RETURN NULL;
  END IF;
  BEGIN
    IF TG_OP IN ('UPDATE', 'DELETE') THEN
      before := CASE WHEN %2$L::regclass IS NOT NULL THEN %3$s END;
    END IF;
    IF TG_OP IN ('UPDATE', 'INSERT') THEN
      after := CASE WHEN %2$L::regclass IS NOT NULL THEN %4$s END;
    END IF;%5$s
  EXCEPTION WHEN OTHERS THEN
    -- A transaction that has to be repeated, or a server that shuts down, is none of our business.
    IF left(SQLSTATE, 2) IN ('40', '57') THEN
      RAISE;
    END IF;
    -- A column was renamed or dropped, or cannot be written as a text. That is not the writer's fault, and the whole
    -- table is always right.
    before := NULL;
    after := NULL;
  END;
  IF greatest(pg_column_size(before), pg_column_size(after)) > ${WIDEST_ROW} THEN
    before := NULL;
    after := NULL;
  END IF;
  IF before = after THEN before := NULL; END IF;
  INSERT INTO cacheaside.outbox (source, old, new) VALUES (%1$L, before, after) RETURNING id INTO number;
  IF number %% 1024 = 0 THEN PERFORM cacheaside.collapse(); END IF;
  RETURN NULL;
END $body$, source, relation::oid,
    cacheaside.object_of('OLD', columns), cacheaside.object_of('NEW', columns),
    cacheaside.readable('before, after'))
$function$;
`

/**
 * Watching a table, and ending it. They run with the rights of the role that calls them.
 */
export const WATCH = `
-- Takes a recorder from everybody but the one who installs the feed.
CREATE OR REPLACE FUNCTION cacheaside.keep(recorder text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
  -- Only where it is needed: each time, every session would have to compile the function again.
  IF EXISTS (SELECT FROM pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner))) AS acl
    WHERE pg_proc.oid = to_regprocedure(recorder || '()') AND acl.grantee = 0)
  THEN
    EXECUTE format('REVOKE ALL ON FUNCTION %s() FROM PUBLIC', recorder);
  END IF;
END $function$;

-- Who may attach a recorder: nobody but the owner of its table, who needs it where a partition is made or attached.
CREATE OR REPLACE FUNCTION cacheaside.allow(recorder text, relation regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_variable
DECLARE
  owner oid := (SELECT relowner FROM pg_class WHERE oid = relation);
  made oid := to_regprocedure(recorder || '()');
BEGIN
  PERFORM cacheaside.keep(recorder);
  IF NOT has_function_privilege(owner, made, 'EXECUTE') THEN
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s() TO %I', recorder, pg_get_userbyid(owner));
  END IF;
END $function$;

-- Writes the function of a recorder, unless it is there with this body. Says whether it has.
CREATE OR REPLACE FUNCTION cacheaside.write_recorder(source text, recorder text, body text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_variable
BEGIN
  FOR turn IN 1..2 LOOP
    IF EXISTS (SELECT FROM pg_proc WHERE oid = to_regprocedure(recorder || '()') AND prosrc = body) THEN
      RETURN false;
    END IF;
    -- Somebody else may be just doing it: two at once would fail.
    PERFORM FROM cacheaside.watched AS w WHERE w.source = source FOR UPDATE;
  END LOOP;
  EXECUTE format('CREATE OR REPLACE FUNCTION %s() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER '
    'SET search_path = pg_catalog, pg_temp AS %L', recorder, body);
  RETURN true;
END $function$;

-- Replaces the recorders of a table if this feed would write others: a restored dump has the numbers of other tables, and
-- a server of a later version reads other columns.
CREATE OR REPLACE FUNCTION cacheaside.rewrite(source text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_variable
DECLARE
  known cacheaside.watched := (SELECT w FROM cacheaside.watched AS w WHERE w.source = source);
BEGIN
  IF cacheaside.write_recorder(source, known.recorder, cacheaside.body_of(source, known.relation, known.columns)) THEN
    -- What it has recorded may have had another form, or was missed.
    INSERT INTO cacheaside.outbox (source) VALUES (source);
  END IF;
  IF known.statements IS NOT NULL THEN
    PERFORM cacheaside.write_recorder(source, known.statements,
      cacheaside.statement_body_of(source, known.relation, known.columns));
    PERFORM cacheaside.keep(known.statements);
  END IF;
EXCEPTION WHEN lock_not_available THEN
  -- Another relay is just doing it.
  NULL;
END $function$;

-- Watches a table from now on. The function behind its triggers is written for its columns, which costs writers less
-- than looking them up by name would.
CREATE OR REPLACE FUNCTION cacheaside.watch(source text, relation regclass, columns text[] DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET quote_all_identifiers = off AS $function$
#variable_conflict use_variable
DECLARE
  short text := CASE WHEN octet_length(source) <= 53 THEN source ELSE md5(source) END;
  recorder text := format('cacheaside.%I',
    'record_' || CASE WHEN octet_length(source) <= 56 THEN source ELSE md5(source) END);
  statements text := format('cacheaside.%I', 'statement_' || short);
  is_new boolean := NOT EXISTS (
    SELECT FROM cacheaside.watched AS w WHERE w.source = source AND w.relation = relation AND w.recorder <> '');
  named text := (SELECT format('%I.%I', nspname, relname)
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE pg_class.oid = relation);
  other regclass;
  missing text;
  gap record;
BEGIN
  IF (SELECT relkind FROM pg_class WHERE oid = relation) NOT IN ('r', 'p') THEN
    RAISE EXCEPTION '% is not a table', relation;
  END IF;
  IF (SELECT relpersistence FROM pg_class WHERE oid = relation) = 't' THEN
    RAISE EXCEPTION 'the table % is temporary, and hides those of its name from this session', relation;
  END IF;
  -- Two programs with other search paths may mean two tables by one name. The first one would not be recorded any more.
  other := (SELECT w.relation FROM cacheaside.watched AS w
    WHERE w.source = source AND w.recorder <> '' AND w.relation <> relation AND to_regclass(w.named) = w.relation);
  IF other IS NOT NULL THEN
    RAISE EXCEPTION 'the name % means the table % here, and the feed watches % under that name', source, relation, other
      USING HINT = format('Name each of them with its schema. If the feed is not to watch %s any more: '
        'SELECT cacheaside.unwatch(%L)', other, source);
  END IF;
  columns := coalesce(columns, (
    SELECT array_agg(attname::text ORDER BY place)
    FROM pg_index CROSS JOIN unnest(indkey) WITH ORDINALITY AS part (number, place)
    JOIN pg_attribute ON attrelid = indrelid AND attnum = part.number
    WHERE indrelid = relation AND indisprimary
  ));
  IF columns IS NULL AND NOT EXISTS (SELECT FROM cacheaside.watched AS w WHERE w.source = source AND tags IS NOT NULL) THEN
    RAISE EXCEPTION 'the table % has no primary key: name the columns that its feed is to record', relation;
  END IF;
  -- And what tags need: also those that only programs of another version know.
  columns := coalesce(columns, '{}') ||
    ARRAY(SELECT name FROM unnest(cacheaside.tag_columns(source)) AS name WHERE name <> ALL (coalesce(columns, '{}')));
  SELECT name INTO missing FROM unnest(columns) AS name WHERE NOT EXISTS (
    SELECT FROM pg_attribute
    WHERE attrelid = relation AND attname = name AND attnum > 0 AND NOT attisdropped AND attgenerated <> 'v'
  );
  IF missing IS NOT NULL THEN
    RAISE EXCEPTION 'the table % has no stored column %', relation, missing;
  END IF;
  IF cacheaside.write_recorder(source, recorder, cacheaside.body_of(source, relation, columns)) THEN
    -- What was recorded before has another form.
    INSERT INTO cacheaside.outbox (source) VALUES (source);
  END IF;
  PERFORM cacheaside.allow(recorder, relation);
  PERFORM cacheaside.write_recorder(source, statements, cacheaside.statement_body_of(source, relation, columns));
  PERFORM cacheaside.keep(statements);
  INSERT INTO cacheaside.watched AS known (source, relation, columns, recorder, named, statements)
    VALUES (source, relation, columns, recorder, named, statements)
    ON CONFLICT ON CONSTRAINT watched_pkey DO UPDATE
    SET relation = EXCLUDED.relation, columns = EXCLUDED.columns, recorder = EXCLUDED.recorder, named = EXCLUDED.named,
      statements = EXCLUDED.statements
    WHERE (known.relation, known.columns, known.recorder, known.named, known.statements)
      IS DISTINCT FROM (EXCLUDED.relation, EXCLUDED.columns, EXCLUDED.recorder, EXCLUDED.named, EXCLUDED.statements);
  LOOP
    -- What works, though not in the best way, is left to relays: they take no lock for which they would have to wait.
    -- One generation after the other, as in mend_all.
    FOR gap IN SELECT * FROM (
        SELECT g.*, min(g.depth) OVER () AS next FROM cacheaside.gaps_of(source) AS g WHERE is_new OR g.urgent
      ) AS found WHERE depth = next
    LOOP
      PERFORM cacheaside.mend(gap.source, gap.recorder, gap.member, gap.name, gap.event, gap.is_there, gap.wanted,
        gap.condition, gap.urgent);
    END LOOP;
    EXIT WHEN NOT FOUND;
  END LOOP;
  PERFORM cacheaside.compare_shape(source);
END $function$;

CREATE OR REPLACE FUNCTION cacheaside.unwatch(source text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_variable
DECLARE
  known cacheaside.watched := (SELECT w FROM cacheaside.watched AS w WHERE w.source = source);
BEGIN
  PERFORM cacheaside.lock_to_unwatch(known.relation);
  DELETE FROM cacheaside.watched AS w WHERE w.source = source;
  IF known.recorder <> '' THEN
    EXECUTE format('DROP FUNCTION IF EXISTS %s() CASCADE', known.recorder);
  END IF;
  IF known.statements IS NOT NULL THEN
    EXECUTE format('DROP FUNCTION IF EXISTS %s() CASCADE', known.statements);
  END IF;
  -- What a relay has just taken it settles. Waiting for it would hold up all who want the table.
  DELETE FROM cacheaside.outbox WHERE id IN (
    SELECT o.id FROM cacheaside.outbox AS o WHERE o.source = source FOR UPDATE SKIP LOCKED);
END $function$;
`
