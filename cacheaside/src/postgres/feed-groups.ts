import { mistypedSql } from './key-types.ts'

/** How many days a group is still applied after a process has last asked for it. */
const GROUPS_KEPT_DAYS = 30
/** How many groups a table may have: of all versions of a program together, and for each one group of all rows. */
const MOST_GROUPS = 64
/** How often processes say which groups they ask for, in hours. A group is marked as asked for no more often. */
const ASKED_EVERY_HOURS = 1

/**
 * The groups of tags that lie beside the outbox, in `watched.tags`. Only the role that installs the feed adds and removes
 * groups. A relay's role can only mark existing ones as still asked for.
 *
 * @see docs/decisions/0060-groups-of-tags-lie-beside-the-outbox.md
 */
export const GROUPS = `
-- Adds the groups that a program asks for to those that others have asked for, which stay until nobody has asked for them
-- for a while: a process of another version may use them. What somebody else has asked for, and cannot be had any more,
-- because its column is gone, is left out. A group that was not there before has missed what was changed until now.
CREATE OR REPLACE FUNCTION cacheaside.declare_tags(source text, relation regclass, wanted jsonb, types jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_variable
DECLARE
  now_s bigint := extract(epoch FROM clock_timestamp())::bigint;
  known jsonb := coalesce((SELECT w.tags FROM cacheaside.watched AS w WHERE w.source = source), '[]');
  mistyped record;
  merged jsonb;
BEGIN
  SELECT * INTO mistyped FROM (${mistypedSql('relation', 'types')}) AS found LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'the column % of the table % is of the type %, and its tags take it for another one',
      mistyped.name, relation, mistyped.type
      USING ERRCODE = 'datatype_mismatch', HINT = 'Name its own type in tableTags, or none.';
  END IF;
  SELECT jsonb_agg(part ORDER BY part ->> 'tag' COLLATE "C", part ->> 'by' COLLATE "C") INTO merged FROM (
    -- With the moment that stands there, if it is young enough: most of the time there is nothing to be written.
    SELECT part || jsonb_build_object('asked', coalesce((
      SELECT max((other ->> 'asked')::bigint) FROM jsonb_array_elements(known) AS other
      WHERE other - 'asked' = part AND (other ->> 'asked')::bigint > now_s - ${ASKED_EVERY_HOURS * 3_600}
    ), now_s)) AS part FROM jsonb_array_elements(wanted) AS part
    UNION ALL
    SELECT part FROM jsonb_array_elements(known) AS part
    WHERE (part ->> 'asked')::bigint > now_s - ${GROUPS_KEPT_DAYS * 86_400}
      AND NOT EXISTS (SELECT FROM jsonb_array_elements(wanted) AS other
        WHERE other ->> 'tag' = part ->> 'tag' AND other -> 'by' = part -> 'by')
      AND NOT EXISTS (
        SELECT FROM jsonb_array_elements_text(part -> 'by') AS name WHERE NOT EXISTS (
          SELECT FROM pg_attribute WHERE attrelid = relation AND attname = name AND attnum > 0
            AND NOT attisdropped AND attgenerated <> 'v'))
  ) AS both_kinds;
  IF jsonb_array_length(merged) > ${MOST_GROUPS} THEN
    RAISE EXCEPTION 'the tags of the table % are more than ${MOST_GROUPS} groups: those of all versions of the program that '
      'were asked for in the last ${GROUPS_KEPT_DAYS} days', relation
      USING HINT = format('SELECT cacheaside.unwatch(%L) ends them all; then run installFeed.', source);
  END IF;
  IF coalesce(merged, '[]') = known THEN
    RETURN;
  END IF;
  -- The rest of the row is for watch, which is called next, in the same transaction.
  INSERT INTO cacheaside.watched AS w (source, relation, columns, recorder, tags) VALUES (source, relation, '{}', '', merged)
    ON CONFLICT ON CONSTRAINT watched_pkey DO UPDATE SET tags = EXCLUDED.tags;
  IF EXISTS (SELECT FROM jsonb_array_elements(wanted) AS part WHERE NOT EXISTS (
    SELECT FROM jsonb_array_elements(known) AS other
    WHERE other ->> 'tag' = part ->> 'tag' AND other -> 'by' = part -> 'by' AND other -> 'version' = part -> 'version'))
  THEN
    INSERT INTO cacheaside.outbox (source) VALUES (source);
  END IF;
END $function$;

-- The columns that groups need.
CREATE OR REPLACE FUNCTION cacheaside.tag_columns(source text) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT coalesce(array_agg(DISTINCT name ORDER BY name), '{}')
  FROM cacheaside.watched AS w CROSS JOIN jsonb_array_elements(w.tags) AS part
  CROSS JOIN jsonb_array_elements_text(part -> 'by') AS name
  WHERE w.source = $1
$function$;

-- Called by relays: a program that runs still asks for these groups. Says which of them are not there, and adds none.
CREATE OR REPLACE FUNCTION cacheaside.ask_for_tags(wanted jsonb) RETURNS text[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
  now_s bigint := extract(epoch FROM clock_timestamp())::bigint;
  known record;
BEGIN
  FOR known IN
    -- A migration that is at work has just said the same.
    SELECT w.source, w.tags FROM cacheaside.watched AS w WHERE EXISTS (
      SELECT FROM jsonb_array_elements(wanted) AS other CROSS JOIN jsonb_array_elements(w.tags) AS part
      WHERE other ->> 'source' = w.source AND other ->> 'tag' = part ->> 'tag' AND other -> 'by' = part -> 'by'
        AND (part ->> 'asked')::bigint < now_s - ${ASKED_EVERY_HOURS * 3_600}
    ) FOR UPDATE SKIP LOCKED
  LOOP
    UPDATE cacheaside.watched AS w SET tags = (
      SELECT jsonb_agg(CASE WHEN EXISTS (
        SELECT FROM jsonb_array_elements(wanted) AS other
        WHERE other ->> 'source' = known.source AND other ->> 'tag' = part ->> 'tag' AND other -> 'by' = part -> 'by'
      ) THEN part || jsonb_build_object('asked', now_s) ELSE part END ORDER BY place)
      FROM jsonb_array_elements(known.tags) WITH ORDINALITY AS each (part, place)
    ) WHERE w.source = known.source;
  END LOOP;
  RETURN ARRAY(
    SELECT format('%s by (%s)', other ->> 'source', array_to_string(ARRAY(
      SELECT jsonb_array_elements_text(other -> 'by')), ', '))
    FROM jsonb_array_elements(wanted) AS other WHERE NOT EXISTS (
      SELECT FROM cacheaside.watched AS w CROSS JOIN jsonb_array_elements(w.tags) AS part
      WHERE other ->> 'source' = w.source AND other ->> 'tag' = part ->> 'tag' AND other -> 'by' = part -> 'by'
        AND other -> 'version' = part -> 'version')
  );
END $function$;
`
