import { WIDEST_ROW } from './feed-recorder.ts'

/** From how many rows on a statement is recorded in batches. */
const MOST_SINGLE = 16
/** How many characters the rows of a batch have together, about. */
const BATCH_LENGTH = 4_096
/** If no row has more bytes, each batch gets as many rows as the others. That takes a third of the time of adding up lengths. */
const SHORT_ROW = 256
/** One id is drawn for this many changes of a batch. One for each change would take a tenth of the statement's time. */
export const CHANGES_PER_ID = 8
/** Most rows of one statement that are recorded apart, even if the outbox may hold more. */
const MOST_TOLD_APART = 1_000_000
/**
 * How many bytes the JSON of a statement's rows may have together, about: by the widest of the first rows. Their writer's
 * session needs some ten times as much memory. Without it 90,000 keys of 6 kB took more than 4 GB.
 */
const MOST_BYTES = 16 * 2 ** 20

/**
 * How the statements of writers are recorded: once for each statement, and not for each row. A statement that changes
 * many rows takes less than twice as long as without a feed; with a recorder for each row it took four times as long.
 *
 * The rules of `feed-recorder.ts` hold here too. Values become texts before anything compares them, so that no operator of a
 * column's type is called. All that may fail because of the table happens inside a block that catches errors. The rows are
 * written outside of it, because a writer with many writing subtransactions would slow down everybody else.
 *
 * A column may have the name of any variable. So columns are written with the name of their table; where a name is still
 * ambiguous, it means the variable.
 *
 * Row triggers stay beside it, for changes that fire no statement trigger of the table: see `feed-triggers.ts`.
 */
export const STATEMENT_RECORDER = `
-- Writes a few rows as the recorder of single rows does, so that relays of every version know each of them.
CREATE OR REPLACE FUNCTION cacheaside.record_few(source text, befores jsonb[], afters jsonb[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  number bigint;
BEGIN
  WITH written AS (
    INSERT INTO cacheaside.outbox (source, old, new)
    SELECT record_few.source, before, after FROM unnest(befores, afters) AS pair (before, after)
    RETURNING id
  ) SELECT max(id) INTO number FROM written;
  IF number % 1024 < greatest(cardinality(befores), cardinality(afters)) THEN
    PERFORM cacheaside.collapse();
  END IF;
END $function$;

-- Writes many rows, in batches of a bounded length. To relays of earlier versions each batch is a change of the whole
-- table. An id is drawn for every ${CHANGES_PER_ID} rows, so that ids still tell how many changes there may be at most.
-- Rows of which one is too wide for relays are a change of the whole table.
CREATE OR REPLACE FUNCTION cacheaside.record_batches(source text, texts text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  widest int := (SELECT max(octet_length(one)) FROM unnest(texts) AS one);
  together bigint := greatest(1, ${BATCH_LENGTH}::bigint * cardinality(texts) / pg_column_size(texts));
  drawn bigint;
  number bigint;
BEGIN
  IF widest > ${WIDEST_ROW} THEN
    INSERT INTO cacheaside.outbox (source) VALUES (record_batches.source);
    RETURN;
  END IF;
  IF widest <= ${SHORT_ROW} THEN
    INSERT INTO cacheaside.outbox (source, rows, changes)
      SELECT record_batches.source, ('[' || string_agg(one, ',') || ']')::json, count(*)
      FROM unnest(texts) WITH ORDINALITY AS each (one, place)
      GROUP BY (place - 1) / together ORDER BY (place - 1) / together;
  ELSE
    INSERT INTO cacheaside.outbox (source, rows, changes)
      SELECT record_batches.source, ('[' || string_agg(one, ',') || ']')::json, count(*) FROM (
        SELECT one, sum(length(one)) OVER (ORDER BY place ROWS UNBOUNDED PRECEDING) / ${BATCH_LENGTH} AS batch
        FROM unnest(texts) WITH ORDINALITY AS each (one, place)
      ) AS placed GROUP BY batch ORDER BY batch;
  END IF;
  drawn := 1 + cardinality(texts) / ${CHANGES_PER_ID};
  SELECT max(nextval('cacheaside.outbox_id_seq')) INTO number FROM generate_series(1, drawn);
  IF number % ${1_024 / CHANGES_PER_ID} < drawn THEN
    PERFORM cacheaside.collapse();
  END IF;
END $function$;

-- The columns of a row as JSON, as an expression. Put together as a text, because that takes a third of the time. Where no
-- value can have a character that JSON escapes, it is done at once: that takes half of it.
CREATE OR REPLACE FUNCTION cacheaside.json_of(record text, columns text[]) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT format(CASE WHEN cardinality(columns) < 100 THEN 'CASE WHEN true%1$s THEN format(%2$L%3$s) ELSE ''{''%4$s || ''}'' END'
      ELSE '''{''%4$s || ''}''' END,
    string_agg(format(E'\n        AND %1$s.%2$I IS DISTINCT FROM NULL AND pg_typeof(%1$s.%2$I) = ANY (%3$L::regtype[])',
      record, name, '{int2,int4,int8,uuid,oid}'), '' ORDER BY place),
    '{' || coalesce(string_agg(replace(to_json(name)::text, '%', '%%') || ':"%s"', ',' ORDER BY place), '') || '}',
    string_agg(format(', %s.%I', record, name), '' ORDER BY place),
    string_agg(format(' || %L || coalesce(to_json(%s)::text, ''null'')',
      CASE WHEN place > 1 THEN ',' ELSE '' END || to_json(name) || ':', cacheaside.value_of(record, name)), '' ORDER BY place))
  FROM unnest(columns) WITH ORDINALITY AS each (name, place)
$function$;

-- The body of the recorder of a table's statements.
CREATE OR REPLACE FUNCTION cacheaside.statement_body_of(source text, relation regclass, columns text[]) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT format($body$
#variable_conflict use_variable
DECLARE
  before jsonb;
  after jsonb;
  befores jsonb[];
  afters jsonb[];
  texts text[];
  others text[];
  size bigint;
  widest bigint;
  most bigint;
  number bigint;
BEGIN
  IF TG_RELID <> %2$L::oid AND NOT cacheaside.records(%1$L, TG_RELID) THEN
    RETURN NULL;
  END IF;
  BEGIN
    -- One pair of rows, and whether there are more: mostly there are not. LIMIT, because a session may have plpgsql
    -- complain of more rows than one (plpgsql.extra_errors).
    IF TG_OP = 'UPDATE' THEN
      SELECT %3$s, %4$s,
          (SELECT count(*) FROM (SELECT FROM cacheaside_new LIMIT ${MOST_SINGLE + 1}) AS few)
        INTO before, after, size FROM cacheaside_old AS o CROSS JOIN cacheaside_new AS n
        WHERE %2$L::regclass IS NOT NULL LIMIT 1;
    ELSIF TG_OP = 'INSERT' THEN
      SELECT %4$s, (SELECT count(*) FROM (SELECT FROM cacheaside_new LIMIT ${MOST_SINGLE + 1}) AS few)
        INTO after, size FROM cacheaside_new AS n WHERE %2$L::regclass IS NOT NULL LIMIT 1;
    ELSE
      SELECT %3$s, (SELECT count(*) FROM (SELECT FROM cacheaside_old LIMIT ${MOST_SINGLE + 1}) AS few)
        INTO before, size FROM cacheaside_old AS o WHERE %2$L::regclass IS NOT NULL LIMIT 1;
    END IF;
    IF size > ${MOST_SINGLE} THEN
      IF TG_OP = 'DELETE' THEN
        SELECT max(octet_length(%5$s)) INTO widest FROM (SELECT * FROM cacheaside_old LIMIT ${MOST_SINGLE + 1}) AS o
          WHERE %2$L::regclass IS NOT NULL;
      ELSE
        SELECT max(octet_length(%6$s)) INTO widest FROM (SELECT * FROM cacheaside_new LIMIT ${MOST_SINGLE + 1}) AS n
          WHERE %2$L::regclass IS NOT NULL;
      END IF;
      most := (SELECT least(max_rows, ${MOST_TOLD_APART}, ${MOST_BYTES} / greatest(widest, 1)) FROM cacheaside.feed);
      IF TG_OP <> 'INSERT' THEN
        SELECT array_agg(%5$s) INTO texts FROM (SELECT * FROM cacheaside_old LIMIT most + 1) AS o
          WHERE %2$L::regclass IS NOT NULL;
      END IF;
      IF TG_OP <> 'DELETE' THEN
        SELECT array_agg(%6$s) INTO others FROM (SELECT * FROM cacheaside_new LIMIT most + 1) AS n
          WHERE %2$L::regclass IS NOT NULL;
        -- Mostly no key has changed. Comparing all of them costs a fraction of looking for those that are different.
        texts := CASE WHEN texts IS NULL OR texts = others THEN others
          ELSE ARRAY(SELECT unnest(texts) UNION SELECT unnest(others)) END;
      END IF;
    ELSIF size > 1 AND TG_OP = 'UPDATE' THEN
      -- Which row was which does not matter: all of them are recorded.
      SELECT array_agg(nullif(b, a) ORDER BY place), array_agg(a ORDER BY place) INTO befores, afters
        FROM (SELECT %3$s AS b, row_number() OVER () AS place FROM cacheaside_old AS o) AS was
        FULL JOIN (SELECT %4$s AS a, row_number() OVER () AS place FROM cacheaside_new AS n) AS now
        USING (place) WHERE %2$L::regclass IS NOT NULL;
    ELSIF size > 1 AND TG_OP = 'INSERT' THEN
      SELECT array_agg(%4$s) INTO afters FROM cacheaside_new AS n WHERE %2$L::regclass IS NOT NULL;
    ELSIF size > 1 THEN
      SELECT array_agg(%3$s) INTO befores FROM cacheaside_old AS o WHERE %2$L::regclass IS NOT NULL;
    END IF;
    IF size = 1 THEN
      IF greatest(pg_column_size(before), pg_column_size(after)) > ${WIDEST_ROW} THEN size := -1; END IF;
    ELSIF greatest(pg_column_size(befores), pg_column_size(afters)) > ${WIDEST_ROW} THEN
      IF EXISTS (SELECT FROM unnest(befores || afters) AS each (one) WHERE pg_column_size(one) > ${WIDEST_ROW}) THEN
        size := -1;
      END IF;
    END IF;%7$s
  EXCEPTION WHEN OTHERS THEN
    -- As in the recorder of rows.
    IF left(SQLSTATE, 2) IN ('40', '57') THEN
      RAISE;
    END IF;
    size := -1;
  END;
  IF size = 1 THEN
    INSERT INTO cacheaside.outbox (source, old, new) VALUES (%1$L, nullif(before, after), after) RETURNING id INTO number;
    IF number %% 1024 = 0 THEN PERFORM cacheaside.collapse(); END IF;
  ELSIF size < 0 OR cardinality(texts) > most THEN
    INSERT INTO cacheaside.outbox (source) VALUES (%1$L);
  ELSIF size > ${MOST_SINGLE} THEN
    PERFORM cacheaside.record_batches(%1$L, texts);
  ELSIF size > 1 THEN
    PERFORM cacheaside.record_few(%1$L, befores, afters);
  END IF;
  RETURN NULL;
END $body$, source, relation::oid,
    cacheaside.object_of('o', columns), cacheaside.object_of('n', columns),
    cacheaside.json_of('o', columns), cacheaside.json_of('n', columns),
    cacheaside.readable('before, after, befores, afters, texts, others'))
$function$;
`
