import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { PATIENCE } from '../../../test/patience.ts'
import { type PostgresServer, startPostgres } from '../../../test/services.ts'
import { systemClock } from '../../src/base/clock.ts'
import type { FeedSession } from '../../src/feed/change-feed.ts'
import { createCache } from '../../src/index.ts'
import { feedStatusText } from '../../src/operate/index.ts'
import {
  type FeedMigrationOptions,
  installFeed,
  type PostgresFeedStatus,
  postgresFeed,
  type ScriptRunner,
  tableTags,
} from '../../src/postgres/index.ts'
import { openPGlite, openPostgres, type TestDatabase } from './databases.ts'

const codes = ({ findings }: PostgresFeedStatus) => findings.map(({ code }) => code).sort()
const tables = {
  spell: { keys: () => [], canonicalIds: true },
  wizard: { keys: () => [], canonicalIds: true },
}
const TABLES = `CREATE TABLE spell (id int PRIMARY KEY, damage int);
  CREATE TABLE wizard (id int PRIMARY KEY); CREATE TABLE tower (id uuid PRIMARY KEY)`

describe.each([
  ['PostgreSQL', openPostgres],
  ['PGlite', openPGlite],
])('status of a feed on %s', (_name, open) => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await open()
  })
  afterAll(() => database.close())
  beforeEach(async () => {
    await database.reset()
    await database.sql(TABLES)
  })
  const runner = () => (database.driver.pool ?? database.driver.pglite) as ScriptRunner
  const feed = () => postgresFeed({ ...database.driver, tables, pollMs: 20 })
  /** Installs the feed, and takes the changes away as which watching a table counts. */
  const install = async (options: Omit<FeedMigrationOptions, 'tables'> = {}) => {
    await installFeed(runner(), { tables, ...options })
    await database.sql('DELETE FROM cacheaside.outbox')
  }
  /** Everything that a look might have changed. */
  const contents = async () => {
    const of = (name: string) => database.sql(`SELECT * FROM cacheaside.${name} ORDER BY 1`)
    return JSON.stringify(
      await Promise.all(['outbox', 'watched', 'feed', 'keyspace', 'life'].map(of)),
      (_, value) => (typeof value === 'bigint' ? String(value) : value),
    )
  }

  test('says that there is none', async () => {
    const status = await feed().status()
    expect(status).toMatchObject({ schema: 'cacheaside', installed: false, tables: [] })
    expect(codes(status)).toEqual(['NOT_INSTALLED'])
  })

  test('says which columns the outbox lacks', async () => {
    await install()
    await database.sql('ALTER TABLE cacheaside.outbox RENAME old TO before')
    expect(await feed().status()).toMatchObject({
      installed: false,
      findings: [
        {
          code: 'NOT_INSTALLED',
          message:
            'the outbox in the schema cacheaside has no column old: rename it back, or remove the feed and install it again',
        },
      ],
    })
  })

  test('says what is watched and what waits, and changes nothing', async () => {
    await install({ maxRows: 10 })
    await database.sql(
      'INSERT INTO spell VALUES (1, 1), (2, 2); DELETE FROM spell WHERE id = 1; INSERT INTO wizard VALUES (1)',
    )
    const before = await contents()
    const status = await feed().status()
    expect(await contents()).toBe(before)
    expect(status).toMatchObject({
      installed: true,
      tables: [
        { name: 'spell', columns: ['id'], isMapped: true },
        { name: 'wizard', columns: ['id'], isMapped: true },
      ],
      outbox: { rows: 4, maxRows: 10, byTable: { spell: 3, wizard: 1 }, oldestMs: expect.any(Number) },
    })
    expect(status).not.toHaveProperty('reader')
    expect(codes(status)).toEqual(['NOT_READ'])
  })

  test('says who has read it last, and that nothing waits', async () => {
    await install()
    const cache = createCache({ feed: feed() })
    onTestFinished(() => cache.close())
    await vi.waitFor(async () => expect((await feed().status()).reader?.kind).toBe('observers'), PATIENCE)
    const status = await feed().status()
    expect(status.reader!.agoMs).toBeLessThan(60_000)
    expect(status).toMatchObject({ outbox: { rows: 0, byTable: {} }, findings: [] })
    expect(status.outbox).not.toHaveProperty('oldestMs')
  })

  test('finds a table that is not watched, one that nobody maps, and a column with several texts', async () => {
    await installFeed(runner(), { tables: ['spell', 'tower'] })
    const loose = postgresFeed({ ...database.driver, tables: { ...tables, tower: () => [] } })
    const status = await loose.status()
    expect(codes(status)).toEqual(['KEY_TYPE', 'NOT_READ', 'NOT_WATCHED'])
    expect((await feed().status()).tables).toMatchObject([
      { isMapped: true },
      { name: 'tower', isMapped: false },
    ])
  })

  test('finds a trigger that is gone or off, and a column that is gone', async () => {
    await install()
    await database.sql(`ALTER TABLE wizard DISABLE TRIGGER ALL; ALTER TABLE spell RENAME COLUMN id TO number`)
    const { findings } = await feed().status()
    const said = findings.map(({ code, message }) => `${code} ${message}`).join('\n')
    expect(said).toMatch(/NOT_WATCHED wizard has no trigger that always fires for INSERT OR UPDATE OR DELETE/)
    expect(said).toMatch(/NOT_WATCHED wizard has no trigger that always fires for TRUNCATE/)
    expect(said).toMatch(/COLUMN_GONE spell has no stored column id any more/)
  })

  test('finds a table that was renamed, replaced or dropped', async () => {
    await install()
    const said = async (script: string) => {
      await database.sql(script)
      const { findings } = await feed().status()
      return findings
        .filter(({ code }) => code !== 'NOT_READ')
        .map(({ code, message }) => `${code} ${message}`)
    }
    expect(await said('ALTER TABLE wizard RENAME TO "Magician"')).toEqual([
      expect.stringMatching(/^TABLE_RENAMED wizard is called public\."Magician" now, /),
    ])
    expect(await said('CREATE TABLE wizard (id int PRIMARY KEY)')).toEqual([
      expect.stringMatching(/^NOT_WATCHED wizard is another table than the one that is watched: /),
    ])
    expect(await said('DROP TABLE wizard, "Magician"')).toEqual([
      'NOT_WATCHED wizard is watched, but was dropped',
    ])
  })

  test('lists the groups of tags, and says which of them this feed asks for', async () => {
    const { wizard } = tableTags({ wizard: { by: ['id'], types: { id: 'integer' } } })
    const { wizard: newer } = tableTags({ wizard: { by: ['id', 'age'] } })
    await database.sql('ALTER TABLE wizard ADD age int')
    await install()
    expect((await feed().status()).tables).toMatchObject([{ tags: [] }, { tags: [] }])
    await installFeed(runner(), { tables: { wizard } })
    const status = await postgresFeed({ ...database.driver, tables: { wizard: newer } }).status()
    const tag = 'table.wizard'
    expect(status.tables.find(({ name }) => name === 'wizard')!.tags).toEqual([
      { tag, by: [], isAskedFor: true, askedAgoMs: expect.any(Number) },
      { tag, by: ['id'], isAskedFor: true, askedAgoMs: expect.any(Number) },
    ])
    expect(status.findings.map(({ code, message }) => `${code} ${message}`)).toContain(
      'NOT_WATCHED the feed does not know the tags of wizard by (age), and relays of other processes pass them over: run installFeed, cacheaside feed install, or the script of feedMigrationSql, again',
    )
    const older = await feed().status()
    expect(feedStatusText(older)).toMatch(
      /watches wizard \(id\)\n {4}tags table\.wizard of all rows: this feed does not ask for them, last asked for \d[^\n]* ago\n {4}tags table\.wizard by id: /,
    )
  })

  test('finds a feed from before there were tags', async () => {
    const { wizard } = tableTags({ wizard: {} })
    await install()
    await database.sql(
      'ALTER TABLE cacheaside.watched DROP COLUMN tags; DROP FUNCTION cacheaside.ask_for_tags(jsonb)',
    )
    const status = await postgresFeed({ ...database.driver, tables: { wizard } }).status()
    expect(codes(status)).toEqual(['NOT_READ', 'OUTDATED'])
    expect(status.tables).toMatchObject([{ tags: [] }, { tags: [] }])
  })

  test('finds an outbox that fills up and lags behind, and a recorder of an earlier version', async () => {
    await install({ maxRows: 3 })
    await database.sql(
      `INSERT INTO spell VALUES (1, 1), (2, 2); UPDATE cacheaside.outbox SET at = at - interval '1 minute'`,
    )
    expect(codes(await feed().status())).toEqual(['FILLING', 'LAG', 'NOT_READ'])
    expect(codes(await feed().status({ lagMs: 3_600_000 }))).toEqual(['FILLING', 'NOT_READ'])
    const [found] = await database.sql(
      `SELECT pg_get_functiondef('cacheaside.record_spell'::regproc) AS text`,
    )
    await database.sql(String(found!.text).replace('-- recorder, version 3', '-- recorder'))
    expect(codes(await feed().status())).toContain('OUTDATED')
  })
})

describe('status of a feed on PostgreSQL', () => {
  let database: Awaited<ReturnType<typeof openPostgres>>
  beforeAll(async () => {
    database = await openPostgres()
    await database.sql(TABLES)
    await installFeed(database.pool, { tables })
  })
  afterAll(() => database.close())

  /** A pool of a role that has only these rights. */
  async function poolOf(name: string, grants: string): Promise<pg.Pool> {
    const role = `${name}_${new URL(database.url).pathname.slice(1)}`.slice(0, 60)
    await database.sql(`CREATE ROLE ${role} LOGIN PASSWORD 'sesame'; ${grants.replaceAll('ROLE', role)}`)
    const url = new URL(database.url)
    url.username = role
    url.password = 'sesame'
    const pool = new pg.Pool({ connectionString: String(url), max: 2 })
    onTestFinished(async () => {
      await pool.end()
      await database.sql(`DROP OWNED BY ${role}; DROP ROLE ${role}`)
    })
    return pool
  }

  test('says which rights a role lacks that a relay needs, by the words of GRANT', async () => {
    const none = await postgresFeed({ pool: await poolOf('none', ''), tables }).status()
    expect(codes(none)).toEqual(['RIGHTS'])
    expect(none.findings[0]!.message).toMatch(/USAGE ON the schema/)
    const reads = await poolOf(
      'reads',
      'GRANT USAGE ON SCHEMA cacheaside TO ROLE; GRANT SELECT ON ALL TABLES IN SCHEMA cacheaside TO ROLE; GRANT SELECT ON ALL SEQUENCES IN SCHEMA cacheaside TO ROLE',
    )
    const status = await postgresFeed({ pool: reads, tables }).status()
    expect(codes(status)).toEqual(['NOT_READ', 'RIGHTS'])
    expect(status.findings[0]!.message).toMatch(
      /: DELETE ON keyspace, DELETE ON outbox, EXECUTE ON cover\(\), INSERT ON keyspace, INSERT ON life, UPDATE ON feed, /,
    )
    expect(status.tables).toHaveLength(2)
  })

  test('finds nothing missing where the role was named when the feed was installed', async () => {
    const pool = await poolOf('relay', '')
    const { rows } = await pool.query('SELECT current_user AS name')
    await installFeed(database.pool, { tables, relayRoles: [rows[0].name] })
    expect(codes(await postgresFeed({ pool, tables }).status())).toEqual(['NOT_READ'])
  })

  test('says where row-level security may hide changes from a role, as a relay of it does', async () => {
    const pool = await poolOf('blind', '')
    const { rows } = await pool.query('SELECT current_user AS name')
    await installFeed(database.pool, { tables, relayRoles: [rows[0].name] })
    await database.sql('ALTER TABLE cacheaside.outbox ENABLE ROW LEVEL SECURITY')
    onTestFinished(async () => {
      await database.sql(`ALTER TABLE cacheaside.outbox DISABLE ROW LEVEL SECURITY;
        UPDATE cacheaside.feed SET reader = NULL, reader_at = NULL`)
    })
    const feed = postgresFeed({ pool, tables })
    const message = expect.stringContaining('ALTER TABLE cacheaside.outbox DISABLE ROW LEVEL SECURITY')
    expect((await feed.status()).findings).toContainEqual({ code: 'RIGHTS', message })
    const warned: unknown[] = []
    const session = await feed.open({
      clock: systemClock,
      guardMs: 10_000,
      isPrivate: false,
      lost: () => {},
      warn: text => warned.push(text),
      mended: () => {},
    })
    session.abandon()
    expect(warned).toContainEqual(message)
    expect(codes(await postgresFeed({ pool: database.pool, tables }).status())).not.toContain('RIGHTS')
  })

  test('judges the limits of time by guardMs, if it is told', async () => {
    const quiet = await postgresFeed({ pool: database.pool, tables }).status()
    expect(codes(quiet)).toEqual(['NOT_READ'])
    const judged = await postgresFeed({ pool: database.pool, tables }).status({ guardMs: 10_000 })
    expect(codes(judged)).toContain('SETTING')
  })

  test('rejects where the database is away, and gives its connection back', async () => {
    const away = new pg.Pool({ connectionString: 'postgres://127.0.0.1:1/none' })
    await expect(postgresFeed({ pool: away, tables }).status()).rejects.toThrow(/ECONNREFUSED/)
    await away.end()
    const idle = database.pool.idleCount
    await postgresFeed({ pool: database.pool, tables }).status()
    expect(database.pool.idleCount).toBeGreaterThanOrEqual(idle)
  })
})

describe('a feed on a standby', () => {
  let server: PostgresServer
  let pool: pg.Pool

  beforeAll(async () => {
    server = await startPostgres()
    const installer = new pg.Client(server.url)
    await installer.connect()
    await installer.query(TABLES)
    await installFeed(installer, { tables })
    await installer.end()
    await server.kill('SIGINT')
    // https://www.postgresql.org/docs/current/warm-standby.html#STANDBY-SERVER-OPERATION
    await writeFile(join(server.dataDir, 'standby.signal'), '')
    await server.restart()
    pool = new pg.Pool({ connectionString: server.url })
  })
  afterAll(async () => {
    await pool.end()
    await server.stop()
  })

  test('says by its status that it is one, and reads no more', async () => {
    const status = await postgresFeed({ pool, tables }).status()
    expect(status).toEqual({
      schema: 'cacheaside',
      installed: true,
      tables: [],
      findings: [
        { code: 'STANDBY', message: 'this server is a standby: a feed needs a connection to the primary' },
      ],
    })
  })

  test('that takes over has one origin, before its next checkpoint and after it', async () => {
    const origin = async () => {
      const session = await openSession(pool)
      session.abandon()
      return session.origin
    }
    const timeline = async () =>
      (await pool.query('SELECT timeline_id FROM pg_control_checkpoint()')).rows[0].timeline_id
    const { rows } = await pool.query("SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'")
    process.kill(rows[0].pid, 'SIGSTOP')
    await pool.query('SELECT pg_promote()')
    expect(await timeline()).toBe(1)
    const before = await origin()
    process.kill(rows[0].pid, 'SIGCONT')
    await pool.query('CHECKPOINT')
    expect(await timeline()).toBe(2)
    expect(await origin()).toBe(before)
    expect(before).toMatch(/^\d+ 2 \d+ /)
    const session = await openSession(pool)
    session.abandon()
    expect(before.startsWith(`${session.server} `), 'the server, and then its life').toBe(true)
    expect(session.server).toMatch(/^\d+ 2 \d+$/)
  })
})

const openSession = (pool: pg.Pool): Promise<FeedSession> =>
  postgresFeed({ pool, tables }).open({
    clock: systemClock,
    guardMs: 10_000,
    isPrivate: false,
    lost: () => {},
    warn: () => {},
    mended: () => {},
  })
