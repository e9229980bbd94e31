/**
 * Finds and mends changes of a watched table's definition. Relays run it every ten seconds, with the rights of the role that
 * installed the feed.
 */
export const COVER = `
-- What of a table can change without a trigger: which tables it is made of, its columns, the expressions of those that
-- are generated, the labels of its enums, the parts of its composite types. A row of the catalog has another xmin after
-- each change, also after ALTER COLUMN ... TYPE ... USING, which leaves the type as it was and changes the values.
CREATE OR REPLACE FUNCTION cacheaside.shape(relation regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  WITH RECURSIVE family AS (
    SELECT relation::oid AS member UNION SELECT inhrelid FROM family JOIN pg_inherits ON inhparent = member
      JOIN pg_class ON pg_class.oid = inhrelid AND relpersistence <> 't'
  ), types (type) AS (
    SELECT atttypid FROM pg_attribute WHERE attrelid = relation AND attnum > 0
    UNION SELECT unnest(ARRAY[typelem, typbasetype]) FROM types JOIN pg_type ON pg_type.oid = types.type
  )
  SELECT md5(concat_ws(';',
    (SELECT string_agg(concat_ws(' ', member, (
      SELECT string_agg(xmin::text, ' ' ORDER BY inhseqno) FROM pg_inherits WHERE inhrelid = member AND member <> relation
    )), ',' ORDER BY member) FROM family),
    (SELECT string_agg(concat_ws(' ', attnum, pg_attribute.xmin, pg_attrdef.xmin), ',' ORDER BY attnum)
      FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum AND attgenerated <> ''
      WHERE attrelid = relation AND attnum > 0),
    (SELECT string_agg(concat_ws(' ', pg_enum.oid, enumlabel), ',' ORDER BY pg_enum.oid)
      FROM pg_enum WHERE enumtypid IN (SELECT type FROM types)),
    (SELECT string_agg(concat_ws(' ', part.attrelid, part.attnum, part.xmin), ',' ORDER BY part.attrelid, part.attnum)
      FROM pg_attribute AS whole JOIN pg_type ON pg_type.oid = whole.atttypid AND typtype = 'c'
      JOIN pg_attribute AS part ON part.attrelid = typrelid
      WHERE whole.attrelid = relation AND whole.attnum > 0)
  ))
$function$;

-- The shape of a watched table, and its name if that is not the one under which it was found: something else may answer to
-- that name, such as a view.
CREATE OR REPLACE FUNCTION cacheaside.shape_of(known cacheaside.watched) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT cacheaside.shape(known.relation)
    || CASE WHEN to_regclass(known.named) = known.relation OR known.named IS NULL THEN '' ELSE ' ' || known.relation END
$function$;

-- Records a change of the whole table if its shape is not the one that was seen last.
CREATE OR REPLACE FUNCTION cacheaside.compare_shape(source text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_variable
DECLARE
  known record;
BEGIN
  -- Another relay that is just doing it need not be waited for.
  SELECT w.shape AS seen, cacheaside.shape_of(w) AS now INTO known
    FROM cacheaside.watched AS w WHERE w.source = source AND w.shape IS DISTINCT FROM cacheaside.shape_of(w)
    FOR UPDATE SKIP LOCKED;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  UPDATE cacheaside.watched AS w SET shape = known.now WHERE w.source = source;
  IF known.seen IS NOT NULL THEN
    INSERT INTO cacheaside.outbox (source) VALUES (source);
  END IF;
END $function$;

-- Whether the name of a watched table leads to the table still. The name counts: where another table has taken it, that
-- one is watched from then on. Returns what should be mended by hand; a code stands before each.
CREATE OR REPLACE FUNCTION cacheaside.follow(source text) RETURNS text[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_variable
DECLARE
  known cacheaside.watched := (SELECT w FROM cacheaside.watched AS w WHERE w.source = source);
  is_there boolean := EXISTS (SELECT FROM pg_class WHERE oid = known.relation);
  namesake oid := to_regclass(known.named);
BEGIN
  IF is_there AND (known.named IS NULL OR namesake = known.relation) THEN
    RETURN '{}';
  END IF;
  IF namesake IS NOT NULL AND (SELECT relkind FROM pg_class WHERE oid = namesake) IN ('r', 'p') THEN
    BEGIN
      PERFORM cacheaside.watch(source, namesake, known.columns);
      RETURN ARRAY[format('TABLE_REPLACED %s is another table than before, and is watched from now on', source)];
    EXCEPTION WHEN OTHERS THEN
      -- Nobody records what is changed there. As long as it is so, every look counts as a change.
      INSERT INTO cacheaside.outbox (source) VALUES (source);
      RETURN ARRAY[format('NOT_WATCHED %s is another table than the one that is watched: %s', source, SQLERRM)];
    END;
  END IF;
  IF is_there THEN
    RETURN ARRAY[format('TABLE_RENAMED %s is called %s now, and is still recorded under its old name: '
      'run installFeed for the new one', source, known.relation)];
  END IF;
  UPDATE cacheaside.watched AS w SET shape = 'dropped' WHERE w.source = source AND w.shape IS DISTINCT FROM 'dropped';
  IF FOUND THEN
    INSERT INTO cacheaside.outbox (source) VALUES (source);
  END IF;
  RETURN ARRAY[format('NOT_WATCHED %s is watched, but was dropped', source)];
END $function$;

-- The columns that are recorded and cannot be read any more.
CREATE OR REPLACE FUNCTION cacheaside.columns_gone() RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT coalesce(array_agg(format('COLUMN_GONE %s has no stored column %s any more: each change counts as one of the '
    'whole table until installFeed has run again', source, name)), '{}')
  FROM cacheaside.watched JOIN pg_class ON pg_class.oid = relation CROSS JOIN unnest(columns) AS name
  WHERE NOT EXISTS (SELECT FROM pg_attribute
    WHERE attrelid = relation AND attname = name AND NOT attisdropped AND attgenerated <> 'v')
$function$;

-- Begins a new life where the outbox has another file than before: somebody has emptied it (TRUNCATE), and with it changes
-- that nobody had applied. So every keyspace gets a new generation, by relays of all versions. VACUUM FULL cannot be told
-- from that.
--
-- Where ids were set back and rows with larger ones are there, writers would fail when they come to those. So the ids begin
-- behind them, in a new file of the sequence: setval would move ids without any session noticing.
CREATE OR REPLACE FUNCTION cacheaside.compare_outbox() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms' AS $function$
DECLARE
  now oid := pg_relation_filenode('cacheaside.outbox'::regclass);
  -- Only behind the last id: where an old snapshot keeps deleted rows, looking for the largest of all would pass them. In
  -- one statement, so that all rows that it sees were written before that id is read.
  largest bigint := (SELECT max(id) FROM cacheaside.outbox WHERE id > (
    SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM cacheaside.outbox_id_seq));
BEGIN
  BEGIN
    UPDATE cacheaside.outbox_file SET file = now WHERE file <> now;
    IF FOUND THEN
      UPDATE cacheaside.life SET token = DEFAULT;
    END IF;
  EXCEPTION WHEN lock_not_available THEN
    -- Another relay is just doing it.
    NULL;
  END;
  IF largest IS NOT NULL THEN
    EXECUTE format('ALTER SEQUENCE cacheaside.outbox_id_seq RESTART WITH %s', largest + 1);
  END IF;
EXCEPTION WHEN lock_not_available THEN
  -- Somebody has just drawn an id. The next look tries again.
  NULL;
END $function$;

-- Closes what gaps there are. Waits only briefly, because writers would wait behind it. Returns what is left to be done
-- by hand. Names are quoted as \`watch\` does, or relays would replace the recorders.
CREATE OR REPLACE FUNCTION cacheaside.cover() RETURNS text[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms'
SET quote_all_identifiers = off AS $function$
DECLARE
  known record;
  began timestamptz := clock_timestamp();
  problems text[] := '{}';
BEGIN
  FOR known IN SELECT source, relation, recorder FROM cacheaside.watched ORDER BY source LOOP
    -- Tables that were replaced are altered here. As in mend_all.
    PERFORM set_config('lock_timeout',
      greatest(1, least(100, 300 - (extract(epoch FROM clock_timestamp() - began) * 1000)::int))::text, true);
    BEGIN
      problems := problems || cacheaside.follow(known.source);
      IF EXISTS (SELECT FROM pg_class WHERE oid = known.relation) THEN
        PERFORM cacheaside.rewrite(known.source);
        PERFORM cacheaside.compare_shape(known.source);
        PERFORM cacheaside.allow(known.recorder, known.relation);
      END IF;
    EXCEPTION WHEN OTHERS THEN
      problems := problems || format('NOT_COMPARED %s cannot be compared with what is watched: %s', known.source, SQLERRM);
    END;
  END LOOP;
  problems := problems || cacheaside.mend_all();
  PERFORM set_config('lock_timeout', '100ms', true);
  FOR turn IN 1..16 LOOP
    EXIT WHEN NOT cacheaside.is_full();
    PERFORM cacheaside.collapse();
  END LOOP;
  PERFORM cacheaside.widen();
  PERFORM cacheaside.keep_replicas_out();
  PERFORM cacheaside.compare_outbox();
  RETURN problems || cacheaside.columns_gone();
END $function$;
`
