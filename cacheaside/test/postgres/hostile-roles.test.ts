import type pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createDatabase, type PostgresServer, startPostgres } from '../../../test/services.ts'
import { type FeedMigrationOptions, installFeed, removeFeed, tableTags } from '../../src/postgres/index.ts'
import { connected } from './databases.ts'

/**
 * Roles that have some rights in a database, and try to have others' code run theirs. A superuser has installed the feed;
 * `deed` writes down with whose rights it was run.
 */
const DEED = `
  CREATE TABLE public.deeds (what text, rights text);
  GRANT ALL ON public.deeds TO PUBLIC;
  CREATE FUNCTION public.deed(what text) RETURNS text LANGUAGE plpgsql AS $$
  BEGIN INSERT INTO public.deeds VALUES (what, current_user); RETURN '1'; END $$;
  GRANT CREATE ON SCHEMA public TO PUBLIC; GRANT CREATE ON DATABASE CURRENT TO PUBLIC`

/** A type, named so that text and JSON can be made of it only by its owner's own functions. */
const EVIL_TYPE = `
  CREATE TYPE evil AS (v int);
  CREATE FUNCTION evil_text(evil) RETURNS text LANGUAGE sql AS $$ SELECT public.deed('cast to text') $$;
  CREATE CAST (evil AS text) WITH FUNCTION evil_text(evil) AS IMPLICIT;
  CREATE FUNCTION evil_json(evil) RETURNS json LANGUAGE sql AS $$ SELECT to_json(public.deed('cast to json')) $$;
  CREATE CAST (evil AS json) WITH FUNCTION evil_json(evil) AS IMPLICIT;
  CREATE FUNCTION evil_jsonb(evil) RETURNS jsonb LANGUAGE sql AS $$ SELECT to_jsonb(public.deed('cast to jsonb')) $$;
  CREATE CAST (evil AS jsonb) WITH FUNCTION evil_jsonb(evil) AS IMPLICIT;
  CREATE FUNCTION evil_equal(evil, evil) RETURNS bool LANGUAGE sql AS $$ SELECT public.deed('operator =') = '1' $$;
  CREATE OPERATOR = (LEFTARG = evil, RIGHTARG = evil, FUNCTION = evil_equal);
  CREATE FUNCTION evil_format(text, evil) RETURNS text LANGUAGE sql AS $$ SELECT public.deed('format') $$;
  ALTER FUNCTION evil_format(text, evil) RENAME TO format;
  CREATE FUNCTION evil_typeof(evil) RETURNS regtype LANGUAGE sql AS $$ SELECT public.deed('pg_typeof')::regtype $$;
  ALTER FUNCTION evil_typeof(evil) RENAME TO pg_typeof;`

describe.each([15, 18] as const)('on PostgreSQL %s', version => {
  let server: PostgresServer
  let url: string
  let clients: pg.Client[]
  let root: pg.Client

  beforeAll(async () => {
    server = await startPostgres(version)
    const admin = await connected(server.url)
    await admin.query(`CREATE ROLE owner_of_spell LOGIN PASSWORD 'x'; CREATE ROLE relay_role LOGIN PASSWORD 'x';
      CREATE ROLE writer_role LOGIN PASSWORD 'x'; CREATE ROLE stranger LOGIN PASSWORD 'x'`)
    await admin.end()
  })
  afterAll(() => server.stop())

  beforeEach(async () => {
    clients = []
    url = await createDatabase(server.url)
    root = await as()
    await root.query(DEED.replace('DATABASE CURRENT', `DATABASE ${new URL(url).pathname.slice(1)}`))
    const owner = await as('owner_of_spell')
    await owner.query(`CREATE TABLE spell (id int PRIMARY KEY, name text); GRANT ALL ON spell TO writer_role`)
  })
  afterEach(() => Promise.all(clients.map(client => client.end())))

  /** A session of a role; of the superuser if none is named. */
  async function as(role?: string): Promise<pg.Client> {
    const address = new URL(url)
    if (role !== undefined) {
      address.username = role
      address.password = 'x'
    }
    const client = await connected(address.href)
    clients.push(client)
    return client
  }

  const install = (options: Partial<FeedMigrationOptions> = {}, client = root) =>
    installFeed(client, { tables: ['spell'], relayRoles: ['relay_role'], ...options })
  const deeds = async () =>
    (await root.query('SELECT DISTINCT what, rights FROM deeds WHERE rights = current_user')).rows
  const recorded = async () =>
    (await root.query(`SELECT coalesce(new, old) AS row FROM cacheaside.outbox ORDER BY id`)).rows.map(
      ({ row }) => row,
    )

  describe('the owner of a watched table', () => {
    let owner: pg.Client
    beforeEach(async () => {
      await install()
      await root.query('DELETE FROM cacheaside.outbox')
      owner = await as('owner_of_spell')
    })

    it('runs no code of its own types with the rights of the installer', async () => {
      await owner.query(EVIL_TYPE)
      await owner.query(`ALTER TABLE spell DROP CONSTRAINT spell_pkey; ALTER TABLE spell ALTER id TYPE evil USING row(id)::evil;
        ALTER TABLE spell ALTER id DROP NOT NULL; INSERT INTO spell VALUES (row(1)::evil, 'x'); UPDATE spell SET name = 'y', id = row(2)::evil; DELETE FROM spell`)
      // A superuser that writes would run casts and operators of the statement itself, so it says none.
      await root.query(`INSERT INTO spell DEFAULT VALUES; DELETE FROM spell`)
      expect(await deeds()).toEqual([])
      expect(await recorded()).toEqual([
        { id: '(1)' },
        { id: '(2)' },
        { id: '(2)' },
        { id: null },
        { id: null },
      ])
      // A statement of many rows compares them, too.
      await owner.query(`INSERT INTO spell SELECT row(n)::evil, 'x' FROM generate_series(1, 20) AS n; UPDATE spell SET name = 'y';
        DELETE FROM spell`)
      expect(await deeds()).toEqual([])
      expect((await root.query('SELECT sum(changes)::int AS n FROM cacheaside.outbox')).rows).toEqual([
        { n: 65 },
      ])
      const own = 'CREATE TRIGGER t AFTER INSERT ON spell FOR EACH STATEMENT EXECUTE FUNCTION'
      await root.query('GRANT USAGE ON SCHEMA cacheaside TO owner_of_spell')
      await expect(owner.query(`${own} cacheaside.statement_spell()`)).rejects.toThrow(
        'permission denied for function',
      )
    })

    it('has nothing of a domain, an array, a range or an enum of its own run either', async () => {
      await owner.query(`${EVIL_TYPE}
        CREATE FUNCTION evil_check(int) RETURNS bool LANGUAGE sql AS $$ SELECT public.deed('domain') = '1' $$;
        CREATE DOMAIN evil_domain AS int DEFAULT public.deed('default')::int CHECK (evil_check(VALUE));
        CREATE TYPE mood AS ENUM ('sad', 'glad');
        CREATE FUNCTION mood_text(mood) RETURNS text LANGUAGE sql AS $$ SELECT public.deed('cast of an enum') $$;
        CREATE CAST (mood AS text) WITH FUNCTION mood_text(mood) AS IMPLICIT;
        CREATE TYPE wide AS RANGE (subtype = int);
        CREATE FUNCTION wide_text(wide) RETURNS text LANGUAGE sql AS $$ SELECT public.deed('cast of a range') $$;
        CREATE CAST (wide AS text) WITH FUNCTION wide_text(wide) AS IMPLICIT;
        CREATE FUNCTION row_text(spell) RETURNS text LANGUAGE sql AS $$ SELECT public.deed('cast of a row') $$;
        CREATE CAST (spell AS text) WITH FUNCTION row_text(spell) AS IMPLICIT;`)
      const kinds: [type: string, value: string, text: string][] = [
        ['evil_domain', '7', '7'],
        ['mood', `'glad'`, 'glad'],
        ['wide', `'[1,3)'`, '[1,3)'],
        ['evil[]', `ARRAY[row(3)::evil]`, '{(3)}'],
        ['mood[]', `ARRAY['sad']::mood[]`, '{sad}'],
      ]
      for (const [type, value] of kinds) {
        await owner.query(`ALTER TABLE spell DROP COLUMN id; ALTER TABLE spell ADD id ${type}`)
        await owner.query(
          `TRUNCATE deeds; INSERT INTO spell (id) VALUES (${value}); UPDATE spell SET name = 'x'; DELETE FROM spell`,
        )
        expect(await deeds(), type).toEqual([])
      }
      expect(new Set(await recorded())).toEqual(
        new Set(kinds.flatMap(([, , text]) => [{ id: text }, { id: text }, { id: text }])),
      )
    })

    it('has nothing run that it puts in the way: functions on the path, in pg_temp, in settings', async () => {
      await owner.query(`${EVIL_TYPE}
        CREATE FUNCTION public.jsonb_build_object(text, text) RETURNS jsonb LANGUAGE sql AS $$ SELECT to_jsonb(public.deed('path')) $$;
        CREATE FUNCTION public.pg_partition_root(oid) RETURNS regclass LANGUAGE sql AS $$ SELECT public.deed('path')::regclass $$;
        CREATE FUNCTION pg_temp.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT now() $$;
        CREATE TABLE pg_temp.outbox (id bigint); CREATE TABLE pg_temp.watched (id bigint);
        CREATE DOMAIN pg_temp.jsonb AS text CHECK (public.deed('type') = '1');
        SET search_path = pg_temp, public, pg_catalog;
        INSERT INTO public.spell VALUES (1); RESET search_path`)
      expect(await deeds()).toEqual([])
      expect(await recorded()).toEqual([{ id: '1' }])
    })

    it('may make and attach partitions, and change hands, though nobody else may call the recorder', async () => {
      await owner.query(`CREATE TABLE log (day int PRIMARY KEY) PARTITION BY RANGE (day)`)
      await install({ tables: ['log'] })
      await owner.query(`CREATE TABLE log_1 PARTITION OF log FOR VALUES FROM (1) TO (2); CREATE TABLE log_2 (day int NOT NULL);
        ALTER TABLE log ATTACH PARTITION log_2 FOR VALUES FROM (2) TO (3)`)
      await root.query(`DELETE FROM cacheaside.outbox; ALTER TABLE log OWNER TO stranger`)
      await root.query('SELECT cacheaside.cover()')
      const stranger = await as('stranger')
      await stranger.query(`CREATE TABLE log_3 PARTITION OF log FOR VALUES FROM (3) TO (4)`)
      await root.query('DELETE FROM cacheaside.outbox')
      await stranger.query('INSERT INTO log VALUES (1), (3)')
      expect(await recorded()).toEqual([{ day: '1' }, { day: '3' }])
    })

    it('records nothing with the recorder on another table', async () => {
      await root.query('GRANT USAGE ON SCHEMA cacheaside TO owner_of_spell')
      await owner.query(`CREATE TABLE mine (id int);
        CREATE TRIGGER t AFTER INSERT OR UPDATE OR DELETE ON mine FOR EACH ROW EXECUTE FUNCTION cacheaside.record_spell();
        CREATE TRIGGER s AFTER TRUNCATE ON mine FOR EACH STATEMENT EXECUTE FUNCTION cacheaside.record_spell();
        INSERT INTO mine VALUES (1); UPDATE mine SET id = 2; DELETE FROM mine; TRUNCATE mine`)
      expect(await recorded()).toEqual([])
    })
  })

  describe('a relay', () => {
    it('may not attach the recorder, from its first installation on, nor call what is inside', async () => {
      await install()
      const relay = await as('relay_role')
      await relay.query(`CREATE TEMP TABLE mine (id int)`)
      await expect(
        relay.query(
          `CREATE TRIGGER t AFTER INSERT ON mine FOR EACH ROW EXECUTE FUNCTION cacheaside.record_spell()`,
        ),
      ).rejects.toThrow('permission denied for function')
      const { rows } =
        await root.query(`SELECT proname FROM pg_proc WHERE pronamespace = 'cacheaside'::regnamespace
        AND has_function_privilege('relay_role', oid, 'EXECUTE')`)
      expect(rows.map(({ proname }) => proname).sort()).toEqual(['ask_for_tags', 'compare_outbox', 'cover'])
    })

    it('may say that groups of tags are still asked for, and neither add nor change nor remove any', async () => {
      const tables = tableTags({ spell: { by: ['name'] } })
      await install({ tables })
      const stored = async () =>
        (await root.query('SELECT source, columns, tags::text FROM cacheaside.watched ORDER BY source')).rows
      const before = await stored()
      const evil = [
        { source: 'spell', tag: 'evil', by: ['name'], version: 1 },
        { source: 'spell', tag: 'table.spell', by: ['id'], version: 1 },
        { source: 'spell', tag: 'table.spell', by: 'name', version: 9 },
        { source: `spell'; DROP TABLE deeds; --`, tag: null, by: [] },
      ]
      for (const role of ['relay_role', 'writer_role', 'owner_of_spell', 'stranger']) {
        const client = await as(role)
        if (role === 'relay_role')
          await client.query('SELECT cacheaside.ask_for_tags($1)', [JSON.stringify(evil.toSpliced(2, 1))])
        for (const statement of [
          `SELECT cacheaside.declare_tags('spell', 'spell', '${JSON.stringify(evil.slice(0, 1))}', '{}')`,
          `SELECT cacheaside.watch('spell', 'spell', '{name}')`,
          `SELECT cacheaside.tag_columns('spell')`,
          `UPDATE cacheaside.watched SET tags = '${JSON.stringify(evil.slice(0, 1))}'`,
          `UPDATE cacheaside.watched SET tags = NULL`,
          `DELETE FROM cacheaside.watched`,
          `INSERT INTO cacheaside.watched (source, relation, columns, recorder, tags) VALUES ('x', 'spell', '{}', '', '[]')`,
          ...(role === 'relay_role' ? [] : [`SELECT cacheaside.ask_for_tags('[]')`]),
        ])
          await expect(client.query(statement), `${role}: ${statement}`).rejects.toThrow(/permission denied/)
      }
      expect(await stored()).toEqual(before)
      expect(await deeds()).toEqual([])
    })

    it('has nothing run with its rights by what the owner of a table calls its columns, or makes of its types', async () => {
      const owner = await as('owner_of_spell')
      await owner.query(`${EVIL_TYPE} ALTER TABLE spell ADD "n'; SELECT public.deed('name'); --" evil`)
      const hostile = `n'; SELECT public.deed('name'); --`
      await install({ tables: tableTags({ spell: { by: [hostile, 'name'] } }) as never })
      await install({ tables: tableTags({ spell: { by: ['name'], types: { name: 'text' } } }) })
      await owner.query(`INSERT INTO spell VALUES (1, 'x', row(1)::evil)`)
      const relay = await as('relay_role')
      await relay.query('SELECT cacheaside.cover()')
      expect(await deeds()).toEqual([])
      expect((await recorded()).at(-1)).toEqual({ id: '1', [hostile]: '(1)', name: 'x' })
    })

    it('has nothing run by cover that the owner of a table has put under a watched name', async () => {
      await install()
      const owner = await as('owner_of_spell')
      await owner.query(`${EVIL_TYPE} DROP TABLE spell;
        CREATE TABLE spell (id evil, name text DEFAULT public.deed('default'));
        CREATE FUNCTION evil_trigger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM public.deed('trigger'); RETURN NEW; END $$;
        CREATE TRIGGER t BEFORE INSERT ON spell FOR EACH ROW EXECUTE FUNCTION evil_trigger()`)
      const relay = await as('relay_role')
      const { rows } = await relay.query('SELECT cacheaside.cover() AS problems')
      expect(rows[0].problems[0]).toMatch(/^TABLE_REPLACED spell /)
      expect(await deeds()).toEqual([])
      await root.query('DELETE FROM cacheaside.outbox')
      await owner.query(`INSERT INTO spell VALUES (row(4)::evil, 'x')`)
      expect(await recorded()).toEqual([{ id: '(4)' }])
      expect(await deeds()).toEqual([])
    })
  })

  describe('installFeed', () => {
    it('runs nothing that somebody has put on the path of the role that installs it', async () => {
      const stranger = await as('stranger')
      await stranger.query(`
        CREATE FUNCTION public.hashtextextended(text, int) RETURNS bigint LANGUAGE sql AS $$ SELECT public.deed('path')::bigint $$;
        CREATE FUNCTION public.set_config(text, text, text) RETURNS text LANGUAGE sql AS $$ SELECT public.deed('path') $$;
        CREATE FUNCTION public.to_regnamespace(unknown_text text) RETURNS oid LANGUAGE sql AS $$ SELECT public.deed('path')::oid $$;
        CREATE FUNCTION public.different(bigint, int) RETURNS bool LANGUAGE sql AS $$ SELECT public.deed('operator') = '1' $$;
        CREATE OPERATOR public.<> (LEFTARG = bigint, RIGHTARG = int, FUNCTION = public.different);
        CREATE DOMAIN public.regclass AS text CHECK (public.deed('type') = '1')`)
      await root.query('SET search_path = public, pg_catalog')
      await install()
      await install({ maxRows: 7 })
      expect((await root.query('SHOW search_path')).rows).toEqual([{ search_path: 'public, pg_catalog' }])
      expect(await deeds()).toEqual([])
      await removeFeed(root)
      expect(await deeds()).toEqual([])
    })

    it('leaves a search path alone that the transaction around it has set', async () => {
      await root.query(`CREATE SCHEMA archive; CREATE TABLE archive.page (id int PRIMARY KEY);
        BEGIN; SET LOCAL search_path = archive`)
      await install({ tables: ['page'] })
      expect((await root.query('SHOW search_path')).rows).toEqual([{ search_path: 'archive' }])
      await root.query('COMMIT')
      expect((await root.query('SELECT named FROM cacheaside.watched')).rows).toEqual([
        { named: 'archive.page' },
      ])
    })

    it.each([
      ['the schema', '', /the schema cacheaside belongs to stranger/],
      [
        'a relation in it',
        'CREATE TABLE cacheaside.outbox (id int);',
        /cacheaside.outbox belongs to stranger/,
      ],
      [
        'a function in it',
        'CREATE FUNCTION cacheaside.said(int) RETURNS text LANGUAGE sql AS $$ SELECT public.deed($q$said$q$) $$;',
        /function cacheaside.said\(integer\) belongs to stranger/,
      ],
    ])('refuses %s that another role has made beforehand', async (what, script, message) => {
      const stranger = await as('stranger')
      await stranger.query(
        `CREATE SCHEMA cacheaside; COMMENT ON SCHEMA cacheaside IS 'cacheaside change feed, version 1'; ${script}`,
      )
      if (what !== 'the schema') await root.query('ALTER SCHEMA cacheaside OWNER TO postgres')
      await expect(install()).rejects.toThrow(message)
      expect((await root.query(`SELECT FROM pg_trigger WHERE NOT tgisinternal`)).rows).toEqual([])
      await root.query('ALTER SCHEMA cacheaside OWNER TO postgres; DROP SCHEMA cacheaside CASCADE')
      await install()
    })

    it('refuses a schema in which another role may create something', async () => {
      await install()
      await root.query('GRANT CREATE ON SCHEMA cacheaside TO stranger')
      await expect(install()).rejects.toThrow(
        /right to create something in the schema cacheaside belongs to stranger/,
      )
    })

    it('may be run by the owner of the tables, who needs no other right, and again', async () => {
      const owner = await as('owner_of_spell')
      await install({ relayRoles: [] }, owner)
      await install({ relayRoles: [] }, owner)
      await expect(install()).rejects.toThrow(/the schema cacheaside belongs to owner_of_spell/)
      await root.query('SET ROLE owner_of_spell')
      await install({ relayRoles: [] })
    })

    it('and removeFeed wait a limited time for the lock that any role can hold, and say who has it', async () => {
      await install()
      const stranger = await as('stranger')
      await stranger.query(`SELECT pg_advisory_lock(hashtextextended('cacheaside change feed', 0))`)
      const { rows } = await stranger.query('SELECT pg_backend_pid() AS pid')
      await root.query(`SET lock_timeout = '50ms'`)
      const message = `was not free in time: process ${rows[0].pid} of role stranger has it`
      await expect(install()).rejects.toThrow(message)
      await expect(removeFeed(root)).rejects.toThrow(message)
      expect((await root.query('SHOW lock_timeout')).rows).toEqual([{ lock_timeout: '50ms' }])
      await stranger.query('SELECT pg_advisory_unlock_all()')
      await install()
    })

    it('mends what an earlier version has installed, whose recorder ran casts and could be attached by all', async () => {
      await install()
      await root.query(EARLIER)
      const relay = await as('relay_role')
      const outdated = async () =>
        (
          await relay.query(`SELECT source FROM cacheaside.watched JOIN pg_proc ON pg_proc.oid = to_regprocedure(recorder || '()')
          WHERE prosrc NOT LIKE '%-- recorder, version 3%'`)
        ).rows
      expect(await outdated()).toEqual([{ source: 'spell' }])
      const owner = await as('owner_of_spell')
      const changeType = `${EVIL_TYPE} ALTER TABLE spell DROP CONSTRAINT spell_pkey;
        ALTER TABLE spell ALTER id TYPE evil USING row(id)::evil`
      await owner.query(`BEGIN; ${changeType}; INSERT INTO spell VALUES (row(1)::evil, 'x')`)
      expect((await owner.query('SELECT * FROM deeds')).rows, 'the control').toEqual([
        { what: 'cast to text', rights: 'postgres' },
      ])
      await owner.query('ROLLBACK')

      await install()
      expect(await outdated()).toEqual([])
      expect(
        (await root.query(`SELECT tgname FROM pg_trigger WHERE tgrelid = 'spell'::regclass ORDER BY 1`)).rows,
        'and takes no lock for it',
      ).toEqual([{ tgname: 'cacheaside_row' }, { tgname: 'cacheaside_truncate' }])
      await root.query('SELECT cacheaside.cover()')
      await root.query('DELETE FROM cacheaside.outbox')
      await owner.query(`${changeType}; INSERT INTO spell VALUES (row(1)::evil, 'x')`)
      expect(await deeds()).toEqual([])
      expect(await recorded()).toEqual([{ id: '(1)' }])
      await relay.query(`CREATE TEMP TABLE mine (id int)`)
      await expect(
        relay.query(
          `CREATE TRIGGER t AFTER INSERT ON mine FOR EACH ROW EXECUTE FUNCTION cacheaside.record_spell()`,
        ),
      ).rejects.toThrow('permission denied for function')
    })
  })
})

/** What differs in a feed that the first version has installed: its recorder, its triggers' names, its columns. */
const EARLIER = `
  CREATE OR REPLACE FUNCTION cacheaside.record_spell() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp AS $$
  DECLARE before jsonb; after jsonb;
  BEGIN
    IF TG_OP IN ('UPDATE', 'DELETE') THEN before := jsonb_build_object('id', OLD.id::text); END IF;
    IF TG_OP IN ('UPDATE', 'INSERT') THEN after := jsonb_build_object('id', NEW.id::text); END IF;
    IF before = after THEN before := NULL; END IF;
    INSERT INTO cacheaside.outbox (source, old, new) VALUES ('spell', before, after);
    RETURN NULL;
  END $$;
  GRANT EXECUTE ON FUNCTION cacheaside.record_spell() TO PUBLIC;
  ALTER TABLE cacheaside.watched DROP COLUMN named, DROP COLUMN shape, ADD UNIQUE (relation), DROP COLUMN statements;
  ALTER TABLE cacheaside.outbox DROP COLUMN rows, DROP COLUMN changes;
  DROP FUNCTION cacheaside.statement_spell() CASCADE;
  DO $$ DECLARE one record; BEGIN
    FOR one IN SELECT tgname FROM pg_trigger WHERE tgrelid = 'spell'::regclass AND tgqual IS NOT NULL LOOP
      EXECUTE format('DROP TRIGGER %I ON spell', one.tgname);
    END LOOP;
    FOR one IN SELECT tgname FROM pg_trigger WHERE tgrelid = 'spell'::regclass LOOP
      EXECUTE format('ALTER TABLE spell ENABLE ALWAYS TRIGGER %I', one.tgname);
    END LOOP;
  END $$;
  DO $$ DECLARE one record; BEGIN
    FOR one IN SELECT tgname FROM pg_trigger WHERE tgrelid = 'spell'::regclass LOOP
      EXECUTE format('ALTER TRIGGER %I ON spell RENAME TO %I', one.tgname, regexp_replace(one.tgname, '_[0-9a-f]{8}$', ''));
    END LOOP;
  END $$`
