import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { installFeed } from '../../src/postgres/index.ts'
import { mended, until } from './conditions.ts'
import { connected, openPostgres, type ServerDatabase } from './databases.ts'
import { FeedScene } from './feed-contract.ts'

/** Whether a session waits for a lock on a table. */
const isAwaited = async ({ sql }: ServerDatabase): Promise<boolean> => {
  const rows = await sql(`SELECT FROM pg_locks WHERE NOT granted AND locktype = 'relation'
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`)
  return rows.length > 0
}

const numbered = (most: number): string[] => Array.from({ length: most }, (_, i) => `table_${i}`)

describe('on a busy server', () => {
  let database: ServerDatabase
  let scene: FeedScene

  beforeAll(async () => {
    database = await openPostgres()
  })
  afterAll(() => database.close())
  beforeEach(async () => {
    await database.reset()
    scene = new FeedScene(database)
  })
  afterEach(() => scene.end())

  const create = (tables: readonly string[]) =>
    database.sql(tables.map(table => `CREATE TABLE ${table} (id int PRIMARY KEY)`).join(';'))

  it('installFeed fails no writer who has one of its tables and wants another', async () => {
    await create(['one', 'two'])
    const [writer, installer] = [await connected(database.url), await connected(database.url)]
    await writer.query('BEGIN; INSERT INTO two VALUES (1)')
    // Of two sessions that wait for each other, the one that looks for a deadlock first fails.
    await installer.query(`SET deadlock_timeout = '1h'`)
    const installed = installFeed(installer, { tables: ['one', 'two'] })
    await until('the installation to wait for the writer', () => isAwaited(database))
    await writer.query('INSERT INTO one VALUES (1); COMMIT')
    await installed
    expect((await installer.query('SHOW lock_timeout')).rows).toEqual([{ lock_timeout: '0' }])
    await Promise.all([writer.end(), installer.end()])
  })

  it('installFeed says which tables were not free in time, and has changed nothing', async () => {
    await create(['one', 'two'])
    const [writer, installer] = [await connected(database.url), await connected(database.url)]
    await writer.query('BEGIN; INSERT INTO two VALUES (1)')
    await installer.query(`SET lock_timeout = '200ms'`)
    await expect(installFeed(installer, { tables: ['one', 'two'] })).rejects.toThrow(
      'the tables that are to be watched were not free in time: public.one, public.two',
    )
    expect(await database.sql(`SELECT to_regnamespace('cacheaside') AS found`)).toEqual([{ found: null }])
    await writer.query('COMMIT')
    await Promise.all([writer.end(), installer.end()])
  })

  it('installFeed waits for no writer of a partition that has its triggers, though another one lacks some', async () => {
    await database.sql(`CREATE TABLE sale (id int, day int, PRIMARY KEY (id, day)) PARTITION BY LIST (day);
      CREATE TABLE sale_1 PARTITION OF sale FOR VALUES IN (1)`)
    await scene.install({ tables: ['sale'] })
    await database.sql('CREATE TABLE sale_2 PARTITION OF sale FOR VALUES IN (2)')
    const [writer, installer] = [await connected(database.url), await connected(database.url)]
    await writer.query('BEGIN; INSERT INTO sale VALUES (1, 1)')
    await installer.query(`SET lock_timeout = '200ms'`)
    await installFeed(installer, { tables: ['sale'] })
    await writer.query('COMMIT')
    expect(await database.sql('SELECT FROM cacheaside.gaps()')).toEqual([])
    await Promise.all([writer.end(), installer.end()])
  })

  it('a look fails no writer who has many of its tables and wants another', async () => {
    const tables = numbered(15)
    await create(tables)
    await scene.install({ tables })
    await database.sql(tables.map(table => `ALTER TABLE ${table} DISABLE TRIGGER USER`).join(';'))
    const [writer, relay] = [await connected(database.url), await connected(database.url)]
    await writer.query(
      `BEGIN; ${tables.slice(1).map(table => `INSERT INTO ${table} VALUES (1)`)}`.replaceAll(',', ';'),
    )
    const look = relay.query('SELECT cacheaside.cover() AS problems')
    await until('the look to wait for the writer', () => isAwaited(database))
    await writer.query('INSERT INTO table_0 VALUES (1)')
    const { problems } = (await look).rows[0]
    expect(problems).not.toEqual([])
    await writer.query('COMMIT')
    // The look may have come to table_0 before the writer.
    const early = problems.filter((problem: string) => problem.startsWith('TRIGGERS_MENDED'))
    const late = await mended(async script => (await relay.query(script)).rows)
    const said = [...new Set([...early, ...late])]
    expect(said).toEqual(tables.map(() => expect.stringMatching(/^TRIGGERS_MENDED /)))
    await relay.query('DELETE FROM cacheaside.outbox; INSERT INTO table_7 VALUES (2)')
    expect(await scene.waiting()).toBe(1)
    await Promise.all([writer.end(), relay.end()])
  })

  it('each look mends something, though finding the gaps takes longer than a look may hold locks', async () => {
    await create(['spell'])
    await scene.install({ tables: ['spell'] })
    await database.sql(`ALTER TABLE spell DISABLE TRIGGER USER;
      ALTER FUNCTION cacheaside.gaps_of(text) RENAME TO gaps_found;
      CREATE FUNCTION cacheaside.gaps_of(only_source text) RETURNS TABLE (source text, recorder text, member regclass, name text,
        event text, is_there boolean, wanted text, condition text, urgent boolean, depth int) LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_sleep(0.65); RETURN QUERY SELECT * FROM cacheaside.gaps_found(only_source); END $$`)
    const gaps = () => database.sql('SELECT name FROM cacheaside.gaps_found(NULL)')
    const before = await gaps()
    await database.sql('SELECT cacheaside.cover()')
    expect((await gaps()).length).toBeLessThan(before.length)
  })

  /** How often something looks for all triggers that are missing. */
  const looks = async (script: string): Promise<number> => {
    const client = await connected(database.url)
    await client.query(`BEGIN; SET LOCAL track_functions = 'all'`)
    await client.query(script)
    const { rows } = await client.query(`SELECT sum(calls)::int AS calls FROM pg_stat_xact_user_functions
      WHERE schemaname = 'cacheaside' AND funcname IN ('gaps_of', 'trigger_gaps')`)
    await client.query('COMMIT')
    await client.end()
    return rows[0].calls
  }

  it('triggers are given to many partitions after one look for those that lack them', async () => {
    await database.sql(`CREATE TABLE sale (id int, day int, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
      CREATE FUNCTION make(first int, last int) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
        FOR n IN first..last LOOP
          EXECUTE format('CREATE TABLE sale_%s PARTITION OF sale FOR VALUES FROM (%s) TO (%s)', n, n, n + 1);
        END LOOP; END $$;
      SELECT make(1, 20)`)
    await installFeed(database.pool, { tables: ['sale'] })
    await database.sql('SELECT make(21, 40)')
    expect(await looks('SELECT cacheaside.cover()')).toBeLessThanOrEqual(4)
    await mended(database.sql)
    expect(await database.sql('SELECT FROM cacheaside.gaps()')).toEqual([])
    expect(await looks(`SELECT cacheaside.watch('public.sale', 'sale')`)).toBeLessThanOrEqual(4)
    expect(await database.sql('SELECT FROM cacheaside.gaps()')).toEqual([])
  })

  it('a statement with more than 16 MB of keys is recorded as a change of the whole table, in bounded memory', async () => {
    await database.sql('CREATE TABLE page (url text, v int)')
    await scene.install({ tables: { page: { columns: ['url'] } } })
    for (const script of [
      `INSERT INTO page SELECT repeat('x', 200000) FROM generate_series(1, 100)`,
      'UPDATE page SET v = 1',
      'DELETE FROM page',
    ])
      expect(await scene.changesOf(script, ['page'])).toEqual([['page', 'all']])
  })

  it('unwatch does not wait for a relay, nor keep readers of the table waiting', async () => {
    await create(['spell'])
    await scene.install({ tables: ['spell'] })
    await database.sql('INSERT INTO spell VALUES (1)')
    const session = await scene.open(['spell'])
    const { changes } = await session.take(undefined)
    await database.sql(
      `INSERT INTO spell VALUES (2); SELECT cacheaside.unwatch('spell'); SELECT * FROM spell`,
    )
    await session.settle(changes)
    expect(await scene.waiting()).toBe(0)
  })

  it('unwatch lets others read while it waits for a writer', async () => {
    await create(['spell'])
    await scene.install({ tables: ['spell'] })
    const [writer, other] = [await connected(database.url), await connected(database.url)]
    await writer.query('BEGIN; INSERT INTO spell VALUES (1)')
    const unwatched = other.query(`SELECT cacheaside.unwatch('spell')`)
    await until('it to wait for the writer', () => isAwaited(database))
    expect(await database.sql('SELECT FROM spell')).toEqual([])
    await writer.query('COMMIT')
    await unwatched
    await Promise.all([writer.end(), other.end()])
  })
})

describe('two programs with other search paths that install one feed', () => {
  it('cannot take a name from each other, and are told so', async () => {
    const database = await openPostgres()
    const scene = new FeedScene(database)
    await database.sql(`CREATE SCHEMA one; CREATE TABLE one.spell (id int PRIMARY KEY);
      CREATE SCHEMA two; CREATE TABLE two.spell (id int PRIMARY KEY)`)
    const client = await connected(database.url)
    await client.query('SET search_path = one')
    await installFeed(client, { tables: ['spell'] })
    await client.query('DELETE FROM cacheaside.outbox; SET search_path = two')
    await expect(installFeed(client, { tables: ['spell'] })).rejects.toThrow(
      'the name spell means the table two.spell here, and the feed watches one.spell under that name',
    )
    expect(await scene.changesOf('INSERT INTO one.spell VALUES (1)')).toEqual([['spell', { id: '1' }]])
    await client.query(`SELECT cacheaside.unwatch('spell')`)
    await installFeed(client, { tables: ['spell'] })
    scene.end()
    await client.end()
    await database.close()
  })
})
