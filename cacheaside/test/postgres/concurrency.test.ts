import pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { FeedSession } from '../../src/feed/change-feed.ts'
import { installFeed, type PostgresFeedOptions, postgresFeed, removeFeed } from '../../src/postgres/index.ts'
import { until } from './conditions.ts'
import { connected, openPostgres } from './databases.ts'
import { essence, FeedScene } from './feed-contract.ts'

/** What takes several sessions: there is only one in PGlite. */
/** From then on every row of a statement is recorded by itself. */
const BY_ROWS = 'CREATE TABLE heir () INHERITS (spell); SELECT cacheaside.cover()'

describe('the change feed on PostgreSQL, with several sessions,', () => {
  let database: Awaited<ReturnType<typeof openPostgres>>
  let scene: FeedScene
  let clients: pg.Client[]

  const client = async (url = database.url) => {
    const opened = await connected(url)
    clients.push(opened)
    return opened
  }

  beforeAll(async () => {
    database = await openPostgres()
  })
  afterAll(() => database.close())
  beforeEach(async () => {
    clients = []
    await database.reset()
    await database.sql('CREATE TABLE spell (id bigint PRIMARY KEY, name text)')
    scene = new FeedScene(database)
    await scene.install({ tables: ['spell'] })
  })
  afterEach(async () => {
    scene.end()
    await Promise.all(clients.map(each => each.end().catch(() => {})))
  })

  it('has relays share the work: each change is handed to one of them, and none is lost', async () => {
    await database.sql(`${BY_ROWS}; DELETE FROM cacheaside.outbox`)
    const sessions = await Promise.all([1, 2, 3].map(() => scene.open(['spell'])))
    await database.sql('INSERT INTO spell SELECT generate_series(1, 4000)')
    const taken: string[] = []
    const work = async (session: FeedSession) => {
      while ((await scene.waiting()) > 0) {
        const { changes } = await session.take(undefined)
        taken.push(...changes.map(({ rows }) => rows![0]!.id))
        if (changes.length > 0) await session.settle(changes)
      }
    }
    await Promise.all(sessions.map(work))
    expect(taken).toHaveLength(4_000)
    expect(new Set(taken).size).toBe(4_000)
  })

  it('hands out nothing that another relay holds, and says that something is left', async () => {
    const [first, second] = [await scene.open(['spell']), await scene.open(['spell'])]
    await database.sql('INSERT INTO spell VALUES (1)')
    await first.take(undefined)
    await database.sql('INSERT INTO spell VALUES (2)')
    expect((await second.take(undefined)).changes.map(essence)).toEqual([['spell', { id: '2' }]])
    await second.settle([])
    await database.sql('DELETE FROM cacheaside.outbox WHERE new->>$$id$$ = $$2$$')
    expect(await second.take(undefined)).toEqual({ changes: [], more: false, drained: false })
    await first.settle([])
  })

  it.each([false, true])(
    'does not wait for a long transaction, and then misses nothing of it (private: %s)',
    async isPrivate => {
      const session = await scene.open(['spell'], { isPrivate })
      const long = await client()
      await long.query('BEGIN')
      await long.query('INSERT INTO spell VALUES (1)')
      await database.sql('INSERT INTO spell VALUES (2)')
      expect((await scene.all(session)).map(essence)).toEqual([['spell', { id: '2' }]])
      await database.sql('INSERT INTO spell VALUES (3)')
      expect((await scene.all(session)).map(essence)).toEqual([['spell', { id: '3' }]])
      await long.query('COMMIT')
      expect((await scene.all(session)).map(essence)).toEqual([['spell', { id: '1' }]])
    },
  )

  it('hands an observer what was begun before its session and committed in it', async () => {
    const long = await client()
    await long.query('BEGIN')
    await long.query('INSERT INTO spell VALUES (1)')
    const session = await scene.open(['spell'], { isPrivate: true })
    await long.query('COMMIT')
    expect((await scene.all(session)).map(essence)).toEqual([['spell', { id: '1' }]])
  })

  it('keeps rows of a long transaction until every observer could see them', async () => {
    const slow = await scene.open(['spell'], { isPrivate: true })
    const busy = await scene.open(['spell'], { isPrivate: true })
    const long = await client()
    await long.query('BEGIN')
    await long.query('INSERT INTO spell VALUES (1)')
    for (let seconds = 0; seconds < 30; seconds++) {
      await scene.all(slow)
      await scene.all(busy)
      await scene.clock.advance(1_000)
    }
    await long.query('COMMIT')
    for (let seconds = 0; seconds < 6; seconds++) {
      await scene.all(busy)
      await scene.clock.advance(1_000)
    }
    expect((await scene.all(slow)).map(essence)).toEqual([['spell', { id: '1' }]])
  })

  it('hands the changes of a relay that was killed to another one', async () => {
    const killed = await scene.open(['spell'])
    await database.sql('INSERT INTO spell VALUES (1)')
    const { changes } = await killed.take(undefined)
    expect(changes).toHaveLength(1)
    await database.sql(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE datname = current_database() AND state = 'idle in transaction'`)
    await until('the loss to be told', () => scene.losses.length > 0)
    const heir = await scene.open(['spell'])
    let handed: unknown[] = []
    await until('the change to be free', async () => {
      const batch = await heir.take(undefined)
      handed = batch.changes.map(essence)
      return handed.length > 0
    })
    expect(handed).toEqual([['spell', { id: '1' }]])
    await expect(killed.settle(changes)).rejects.toThrow()
    expect(await scene.waiting()).toBe(1)
  })

  it('takes the changes back from a relay that vanished without a word', async () => {
    const vanished = await scene.open(['spell'], { timeoutMs: 1_000 })
    await database.sql('INSERT INTO spell VALUES (1)')
    expect((await vanished.take(undefined)).changes).toHaveLength(1)
    const heir = await scene.open(['spell'])
    await until('its transaction to be ended by the server', async () => {
      const { changes } = await heir.take(undefined)
      return changes.length === 1
    })
    await until('the loss to be told', () => scene.losses.length > 0)
    expect(String(scene.losses[0])).toContain('idle-in-transaction timeout')
  })

  it('lets nobody wait: neither the relay for writers, nor writers for the relay', async () => {
    const writer = await client()
    await writer.query('BEGIN; INSERT INTO spell VALUES (1)')
    await database.sql('INSERT INTO spell VALUES (2)')
    const session = await scene.open(['spell'])
    const { changes } = await session.take(undefined)
    expect(changes.map(essence)).toEqual([['spell', { id: '2' }]])
    await writer.query(`SET LOCAL lock_timeout = '5s'; UPDATE spell SET name = 'x' WHERE id = 2; COMMIT`)
    await session.settle(changes)
    expect(await scene.waiting()).toBe(2)
  })

  it('does not replace a recorder because a role quotes all names', async () => {
    await database.sql(
      'SET quote_all_identifiers = on; SELECT cacheaside.cover(); RESET quote_all_identifiers; SELECT cacheaside.cover()',
    )
    expect(await scene.waiting()).toBe(0)
  })

  it('has a relay mend for longer than a statement of its role may take', async () => {
    await database.sql(`CREATE OR REPLACE FUNCTION cacheaside.columns_gone() RETURNS text[] LANGUAGE sql
      AS $$ SELECT '{}'::text[] FROM pg_sleep(0.8) $$`)
    const pool = new pg.Pool({ connectionString: database.url, statement_timeout: 600 })
    const session = await scene.open(['spell'], { pool })
    expect((await session.take(undefined)).changes).toEqual([])
    await session.close()
    await pool.end()
  })

  it('fails no writer on an old snapshot whose rows it would collapse with others that have gone', async () => {
    await installFeed(database.sql, { tables: ['spell'], maxRows: 100 })
    await database.sql(`${BY_ROWS}; DELETE FROM cacheaside.outbox`)
    await database.sql('INSERT INTO spell SELECT generate_series(1, 50)')
    const old = await client()
    await old.query('BEGIN ISOLATION LEVEL REPEATABLE READ')
    await old.query('SELECT count(*) FROM spell')
    expect(await scene.all(await scene.open(['spell']))).toHaveLength(50)
    await old.query('INSERT INTO spell SELECT generate_series(51, 3050); COMMIT')
    expect(await scene.waiting()).toBeLessThanOrEqual(100 + 1_024)
  })

  it('passes the deleted rows that an old snapshot keeps once in each look for what is to be mended', async () => {
    const old = await client()
    await old.query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM spell')
    await database.sql(`INSERT INTO cacheaside.outbox (source) SELECT 'spell' FROM generate_series(1, 3000);
      DELETE FROM cacheaside.outbox`)
    const [passed] = await database.sql(`BEGIN; SELECT cacheaside.cover();
      SELECT pg_stat_get_xact_tuples_returned('cacheaside.outbox_pkey'::regclass)::int AS rows`)
    await database.sql('COMMIT')
    expect(passed!.rows).toBeLessThan(2 * 3_000)
  })

  it('passes them once in the first look of a session, and not again when it takes what comes behind them', async () => {
    const old = await client()
    await old.query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM spell')
    await database.sql(`INSERT INTO cacheaside.outbox (source) SELECT 'spell' FROM generate_series(1, 3000);
      DELETE FROM cacheaside.outbox; INSERT INTO spell VALUES (1)`)
    const scripts: string[] = []
    database.pool.once('connect', opened => {
      const query = opened.query.bind(opened) as (script: string) => unknown
      const record = (script: string) => {
        scripts.push(script)
        return query(script)
      }
      Object.assign(opened, { query: record })
    })
    const session = await scene.open(['spell'])
    scripts.length = 0
    expect((await session.take(undefined)).changes).toHaveLength(1)
    await session.settle([])
    const [passed] = await database.sql(`BEGIN; ${scripts.slice(0, 2).join(';')};
      SELECT pg_stat_get_xact_tuples_returned('cacheaside.outbox_pkey'::regclass)::int AS rows`)
    await database.sql('COMMIT')
    expect(passed!.rows).toBeGreaterThan(3_000)
    expect(passed!.rows).toBeLessThan(2 * 3_000)
  })

  it('keeps within its limit under writers at once that all see old snapshots', async () => {
    await installFeed(database.sql, { tables: ['spell'], maxRows: 500 })
    const writers = await Promise.all([1, 2, 3, 4].map(() => client()))
    await Promise.all(
      writers.map(async (writer, i) => {
        for (let n = 0; n < 20; n++) {
          const first = (i * 20 + n) * 200
          await writer.query(`BEGIN ISOLATION LEVEL REPEATABLE READ;
            INSERT INTO spell SELECT generate_series(${first}, ${first + 199}); COMMIT`)
        }
      }),
    )
    // Of 16,000. Each of the four may have looked while another one was faster, and look again 1,024 rows later.
    expect(await scene.waiting()).toBeLessThanOrEqual(500 + 4 * 1_024)
  })

  it('fails no serializable writer beside another, though both find the outbox full', async () => {
    await installFeed(database.sql, { tables: ['spell'], maxRows: 100 })
    await database.sql('INSERT INTO spell SELECT generate_series(1, 1000)')
    const [one, other] = await Promise.all([client(), client()])
    for (const each of [one, other]) await each.query('BEGIN ISOLATION LEVEL SERIALIZABLE')
    await one.query('INSERT INTO spell SELECT generate_series(10001, 13000)')
    await other.query('INSERT INTO spell SELECT generate_series(20001, 23000)')
    await one.query('COMMIT')
    await other.query('COMMIT')
    expect((await database.sql('SELECT count(*)::int AS n FROM spell'))[0]!.n).toBe(7_000)
  })

  it('records a row of a partition that was attached after the writer’s snapshot was taken', async () => {
    await database.sql(
      'CREATE TABLE log (day int PRIMARY KEY) PARTITION BY RANGE (day); CREATE TABLE heir () INHERITS (spell)',
    )
    await scene.install({ tables: ['log', 'spell'] })
    const writer = await client()
    await writer.query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM spell')
    await database.sql(`CREATE TABLE log_1 PARTITION OF log FOR VALUES FROM (1) TO (2); CREATE TABLE late () INHERITS (spell);
      SELECT cacheaside.cover(); DELETE FROM cacheaside.outbox`)
    await writer.query('INSERT INTO log VALUES (1); INSERT INTO late VALUES (7); COMMIT')
    expect(await scene.changesOf('', ['log', 'spell'])).toEqual([
      ['log', { day: '1' }],
      ['spell', { id: '7' }],
    ])
  })

  it('collapses under concurrent writers and relays without losing anything', async () => {
    await installFeed(database.sql, { tables: ['spell'], maxRows: 500 })
    const writers = await Promise.all([1, 2, 3].map(() => client()))
    const session = await scene.open(['spell'])
    let writing = true
    const told = new Set<string>()
    const relaying = (async () => {
      while (writing || (await scene.waiting()) > 0) {
        const { changes } = await session.take(undefined)
        for (const { rows = [{ id: 'all' }] } of changes) for (const { id } of rows) told.add(id)
        if (changes.length > 0) await session.settle(changes)
      }
    })()
    await Promise.all(
      writers.map(async (writer, i) => {
        for (let n = 0; n < 20; n++) {
          const first = (i * 20 + n) * 200
          const level = n % 3 === 0 ? 'REPEATABLE READ' : 'READ COMMITTED'
          await writer.query(`BEGIN ISOLATION LEVEL ${level};
            INSERT INTO spell SELECT generate_series(${first}, ${first + 199}); COMMIT`)
        }
      }),
    )
    writing = false
    await relaying
    const missing = Array.from({ length: 12_000 }, (_, id) => String(id)).filter(id => !told.has(id))
    expect(told.has('all') || missing.length === 0).toBe(true)
    expect(await scene.waiting()).toBe(0)
  })

  it('records a row that is no text in UTF-8 as a change of the whole table: no relay could read it', async () => {
    const url = new URL(database.url)
    url.pathname += '_ascii'
    await database.sql(
      `CREATE DATABASE ${url.pathname.slice(1)} ENCODING SQL_ASCII LOCALE 'C' TEMPLATE template0`,
    )
    const other = await client(url.href)
    await other.query(
      'CREATE TABLE spell (id text PRIMARY KEY); CREATE TABLE log (id text); CREATE TABLE old () INHERITS (log)',
    )
    await installFeed(other, { tables: { spell: {}, log: { columns: ['id'] } } })
    await other.query('DELETE FROM cacheaside.outbox')
    for (const rows of [`('é')`, `(E'\\xff')`, `('a'), (E'\\xfe')`])
      await other.query(`INSERT INTO spell VALUES ${rows}`)
    await other.query(`INSERT INTO spell SELECT id || E'\\xfd' FROM generate_series(1, 20) AS id`)
    await other.query(`INSERT INTO log VALUES (E'\\xff')`)
    const { rows } = await other.query(
      'SELECT source, coalesce(old, new, rows::jsonb) AS row FROM cacheaside.outbox ORDER BY id',
    )
    expect(rows.map(({ source, row }) => [source, row])).toEqual([
      ['spell', { id: 'é' }],
      ['spell', null],
      ['spell', null],
      ['spell', null],
      ['log', null],
    ])
  })

  it('is removed while somebody writes, who does not fail', async () => {
    const writer = await client()
    await writer.query('BEGIN; LOCK TABLE spell IN ROW EXCLUSIVE MODE')
    const remover = await client()
    const removed = removeFeed(remover)
    await until('the removal to wait for the writer', async () => {
      const [row] = await database.sql(
        `SELECT count(*)::int AS waits FROM pg_locks WHERE NOT granted AND relation = 'spell'::regclass`,
      )
      return row!.waits === 1
    })
    await writer.query('INSERT INTO spell VALUES (1)')
    await writer.query('COMMIT')
    await removed
    expect((await remover.query('SHOW lock_timeout')).rows).toEqual([{ lock_timeout: '0' }])
    await writer.query('INSERT INTO spell VALUES (2)')
  })

  it('is not removed, and has changed nothing, where a writer does not end in time', async () => {
    const writer = await client()
    await writer.query('BEGIN; INSERT INTO spell VALUES (1)')
    const remover = await client()
    await remover.query(`SET lock_timeout = '300ms'`)
    await expect(removeFeed(remover)).rejects.toThrow(
      'the tables of the change feed were not free in time: public.spell, cacheaside.feed',
    )
    await writer.query('COMMIT')
    expect(await scene.changesOf('INSERT INTO spell VALUES (2)')).toHaveLength(2)
  })

  describe('and roles:', () => {
    const ROLES = ['feed_writer', 'feed_relay']
    const as = (role: string) => {
      const url = new URL(database.url)
      url.username = role
      url.password = 'secret'
      return url.href
    }

    beforeEach(async () => {
      for (const role of ROLES)
        await database.sql(`DO $$ BEGIN
          IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '${role}') THEN
            CREATE ROLE ${role} LOGIN PASSWORD 'secret';
          END IF; END $$`)
      await database.sql(
        `GRANT USAGE ON SCHEMA public TO feed_writer, feed_relay; GRANT ALL ON spell TO feed_writer`,
      )
    })
    afterEach(() => database.sql(`DROP OWNED BY feed_writer, feed_relay; SET ROLE NONE`))

    it('a writer needs no right on the feed, and gets none by its triggers', async () => {
      const writer = await client(as('feed_writer'))
      await writer.query(
        `INSERT INTO spell VALUES (1); UPDATE spell SET id = 2; DELETE FROM spell; TRUNCATE spell`,
      )
      await expect(writer.query('SELECT * FROM cacheaside.outbox')).rejects.toThrow('permission denied')
      await expect(writer.query('SELECT cacheaside.cover()')).rejects.toThrow('permission denied')
      expect((await scene.changesOf('')).length).toBe(4)
    })

    it('a writer cannot make a trigger run what it has put in the way', async () => {
      await database.sql(`GRANT CREATE ON SCHEMA public TO feed_writer`)
      const writer = await client(as('feed_writer'))
      await writer.query(`CREATE FUNCTION public.jsonb_build_object(text, text) RETURNS jsonb LANGUAGE sql
          AS $$ SELECT '{"id": "stolen"}'::jsonb $$;
        CREATE FUNCTION pg_temp.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT now() - interval '1 y' $$;
        SET search_path = pg_temp, public, pg_catalog;
        INSERT INTO public.spell VALUES (1)`)
      expect(await scene.changesOf('')).toEqual([['spell', { id: '1' }]])
    })

    it('a relay needs what relayRoles give it, and no more', async () => {
      const pool = new pg.Pool({ connectionString: as('feed_relay') })
      try {
        const open = (isPrivate: boolean) => scene.open(['spell'], { pool, isPrivate })
        await expect(open(false)).rejects.toThrow('permission denied')
        await installFeed(database.sql, { tables: ['spell'], relayRoles: ['feed_relay'] })
        const session = await open(false)
        await session.remember(['spell'], 'store 1')
        expect(await session.remembered()).toEqual(new Map([['spell', 'store 1']]))
        await database.sql('INSERT INTO spell VALUES (1)')
        expect((await scene.all(session)).map(essence)).toEqual([['spell', { id: '1' }]])
        await expect(pool.query('SELECT * FROM spell')).rejects.toThrow('permission denied')
        await expect(pool.query(`SELECT cacheaside.unwatch('spell')`)).rejects.toThrow('permission denied')
        await session.close()
        await database.sql(`UPDATE cacheaside.feed SET reader_at = reader_at - interval '31 s'`)
        const observer = await open(true)
        for (let seconds = 0; seconds < 25; seconds++) {
          await scene.clock.advance(1_000)
          await scene.all(observer)
        }
      } finally {
        scene.end()
        await pool.end()
      }
    })

    it('a relay that may not read the system’s number and timeline goes by its life alone', async () => {
      await database.sql(
        'REVOKE EXECUTE ON FUNCTION pg_control_system(), pg_control_checkpoint() FROM PUBLIC',
      )
      const pool = new pg.Pool({ connectionString: as('feed_relay') })
      try {
        await installFeed(database.sql, { tables: ['spell'], relayRoles: ['feed_relay'] })
        expect((await scene.open(['spell'], { pool })).origin).toMatch(/^unknown \d+ [\d.]+ [0-9a-f-]{36}$/)
      } finally {
        scene.end()
        await pool.end()
        await database.sql('GRANT EXECUTE ON FUNCTION pg_control_system(), pg_control_checkpoint() TO PUBLIC')
      }
    })
  })

  describe('and settings:', () => {
    const warningsWith = async (options: string, feed: Partial<PostgresFeedOptions> = {}) => {
      const pool = new pg.Pool({ connectionString: database.url, options })
      try {
        const session = await scene.open(['spell'], { pool, ...feed })
        const { mayTakeBack } = session
        return { warnings: scene.warnings, mayTakeBack }
      } finally {
        scene.end()
        await pool.end()
      }
    }

    it('warns of limits that are off, with the numbers', async () => {
      const { warnings, mayTakeBack } = await warningsWith('')
      expect(warnings.map(text => text.split(':')[0])).toEqual([
        'statement_timeout is off',
        'transaction_timeout is off',
        'idle_in_transaction_session_timeout is off',
      ])
      expect(warnings[0]).toContain('Set it below 6667 ms, two thirds of guardMs (10000)')
      expect(mayTakeBack).toBe(false)
    })

    it('warns of limits that are too long, and not of those that will do', async () => {
      const { warnings } = await warningsWith(
        '-c statement_timeout=6667 -c transaction_timeout=6666 -c idle_in_transaction_session_timeout=5s',
      )
      expect(warnings.map(text => text.split(':')[0])).toEqual(['statement_timeout is 6667 ms'])
    })

    it('warns of tables of which one statement can change more than temporary files may hold', async () => {
      await database.sql(
        `INSERT INTO spell SELECT n, repeat(md5(n::text), 40) FROM generate_series(1, 1000) AS n`,
      )
      const change = `SET temp_file_limit = '1MB'; SET work_mem = '64kB'; UPDATE spell SET name = name || '!'`
      const writer = await client()
      await expect(writer.query(change)).rejects.toThrow('temporary file size exceeds')
      // A table that is locked, as while it is rewritten, keeps no relay waiting.
      await writer.query('VACUUM spell')
      await writer.query('BEGIN; LOCK TABLE spell')
      const { warnings } = await warningsWith('-c temp_file_limit=1MB')
      await writer.query('COMMIT')
      expect(warnings).toContain(
        'temp_file_limit is 1 MB: a statement that changes most rows of the table spell (2 MB) fails, because the feed has the ' +
          'server keep the old and the new rows until its end. Set it to more than twice the size of the table, or change ' +
          'fewer rows at once',
      )
      const { findings } = await postgresFeed({
        pool: new pg.Pool({
          connectionString: database.url,
          options: '-c temp_file_limit=1MB',
          idleTimeoutMillis: 1,
        }),
        tables: { spell: () => [] },
      }).status()
      expect(findings.map(({ code }) => code)).toContain('SETTING')
      await database.sql(`${BY_ROWS}; DELETE FROM cacheaside.outbox`)
      await writer.query(change)
      const all = (await warningsWith('-c temp_file_limit=1MB')).warnings
      expect(all.filter(text => text.startsWith('temp_file_limit'))).toHaveLength(1)
    })

    it('judges the limit that writers set themselves in its place, where that is told', async () => {
      expect((await warningsWith('', { writersEndMs: 6666 })).warnings).toEqual([])
      const { warnings } = await warningsWith('-c statement_timeout=5s', { writersEndMs: 6667 })
      expect(warnings.map(text => text.split(':')[0])).toEqual(['writersEndMs is 6667 ms'])
    })

    it('says nothing to a writer who has PL/pgSQL warn of all that it can', async () => {
      const writer = await client()
      const notices: unknown[] = []
      writer.on('notice', ({ message }) => notices.push(message))
      await writer.query(
        `SET plpgsql.extra_warnings = 'all'; INSERT INTO spell SELECT generate_series(1, 30)`,
      )
      await writer.query(
        `UPDATE spell SET name = 'x' WHERE id < 4; UPDATE spell SET name = 'y'; DELETE FROM spell`,
      )
      expect(notices).toEqual([])
    })

    it('warns of commits that may be taken back', async () => {
      const { warnings, mayTakeBack } = await warningsWith('-c synchronous_commit=off')
      expect(warnings.at(-1)).toContain('synchronous_commit is off')
      expect(mayTakeBack).toBe(true)
    })

    it('is not failed by what others commit where everything is serializable', async () => {
      const pool = new pg.Pool({
        connectionString: database.url,
        options: '-c default_transaction_isolation=serializable',
      })
      const other = await client()
      try {
        await other.query('BEGIN; UPDATE cacheaside.feed SET reader_at = clock_timestamp()')
        const opening = scene.open(['spell'], { pool })
        await until('the relay to wait', async () => {
          // Not asked by `other`: its transaction keeps the first answer of pg_stat_activity.
          const rows = await database.sql(
            'SELECT pid FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted AND datname = current_database()',
          )
          return rows.length > 0
        })
        await other.query('COMMIT')
        expect(await scene.all(await opening)).toEqual([])
      } finally {
        scene.end()
        await pool.end()
      }
    })

    it('is removed, and installed by several at once, where a role’s defaults are read only and repeatable read', async () => {
      const options = '-c default_transaction_read_only=on -c default_transaction_isolation=repeatable\\ read'
      const pool = new pg.Pool({ connectionString: database.url, options })
      try {
        await removeFeed(pool)
        await Promise.all([1, 2, 3].map(() => installFeed(pool, { tables: ['spell'] })))
      } finally {
        await pool.end()
      }
      await database.sql('DELETE FROM cacheaside.outbox')
      expect(await scene.changesOf('INSERT INTO spell VALUES (1)')).toEqual([['spell', { id: '1' }]])
    })

    it('is not troubled by a role’s defaults: read only, repeatable read, another search path', async () => {
      const pool = new pg.Pool({
        connectionString: database.url,
        options:
          '-c default_transaction_read_only=on -c default_transaction_isolation=repeatable\\ read -c search_path=nowhere -c standard_conforming_strings=off',
      })
      try {
        const session = await scene.open(['spell'], { pool })
        await database.sql('INSERT INTO spell VALUES (1)')
        expect((await scene.all(session)).map(essence)).toEqual([['spell', { id: '1' }]])
        await session.remember(["it's"], '\\')
        expect(await session.remembered()).toEqual(new Map([["it's", '\\']]))
      } finally {
        scene.end()
        await pool.end()
      }
    })
  })
})
