import { spawnSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ensurePgDump, type PgDump } from '../../../test/ensure-pg-dump.ts'
import {
  createDatabase,
  type PostgresServer,
  postgresVersions,
  serverEnvironment,
  startPostgres,
} from '../../../test/services.ts'
import type { FeedSession } from '../../src/feed/change-feed.ts'
import { installFeed, type PostgresFeedTables, postgresFeed, tableTags } from '../../src/postgres/index.ts'
import { SimulatedClock } from '../../src/testing/index.ts'
import { connected } from './databases.ts'
import { essence } from './feed-contract.ts'

const SPELL = `"Arch.ive"."Spell ""s"`
const TABLES = `CREATE SCHEMA "Arch.ive"; CREATE SCHEMA hidden;
  CREATE DOMAIN hidden.code AS char(4); CREATE TYPE hidden.mood AS ENUM ('sad', 'glad');
  CREATE TABLE ${SPELL} ("Id" hidden.code, mood hidden.mood, PRIMARY KEY ("Id", mood));
  CREATE TABLE log (day int, number int, PRIMARY KEY (day, number)) PARTITION BY RANGE (day);
  CREATE TABLE log_1 PARTITION OF log FOR VALUES FROM (1) TO (2);
  CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child () INHERITS (parent);
  CREATE TABLE item (id int PRIMARY KEY, owner int)`

describe('a database that pg_dump has dumped and pg_restore has restored', () => {
  const { item } = tableTags({ item: { by: ['owner'] } })
  const tables = {
    [SPELL]: { keys: () => [], canonicalIds: true },
    log: () => [],
    parent: () => [],
    item,
  } as PostgresFeedTables
  const ends: (() => unknown)[] = []
  let programs: PgDump
  let server: PostgresServer
  let folder: string
  let source: pg.Client
  let restored: pg.Client
  let urls: { source: string; restored: string }

  /** Runs one of the programs. A later one sets what an earlier server does not know; that is no fault of the dump. */
  const faultsOf = (program: string, args: string[]) => {
    const { stderr } = spawnSync(program, args, { encoding: 'utf8', env: serverEnvironment() })
    return stderr.split('\n').filter(line => line.includes('error:') && !line.includes('transaction_timeout'))
  }
  const restore = (url: string, ...options: string[]) =>
    faultsOf(programs.pgRestore, [...options, `--dbname=${url}`, join(folder, 'dump')])
  const open = async (url: string, warnings: string[] = []): Promise<FeedSession> => {
    const pool = new pg.Pool({ connectionString: url })
    pool.on('error', () => {})
    const session = await postgresFeed({ pool, tables }).open({
      clock: new SimulatedClock(),
      guardMs: 10_000,
      isPrivate: false,
      lost: () => {},
      warn: (message, code) => void (code === 'SETTING' || warnings.push(message)),
      mended: () => {},
    })
    ends.push(() => {
      session.abandon()
      return pool.end()
    })
    return session
  }
  const all = async (session: FeedSession) => {
    const { changes } = await session.take(undefined)
    await session.settle(changes)
    return changes
  }

  beforeAll(async () => {
    programs = ensurePgDump()
    server = await startPostgres(postgresVersions.findLast(version => version <= programs.major))
    ends.push(() => server.stop())
    folder = await mkdtemp(join(tmpdir(), 'cacheaside-dump-'))
    ends.push(() => rm(folder, { recursive: true }))
    urls = { source: await createDatabase(server.url), restored: await createDatabase(server.url) }
    source = await connected(urls.source)
    restored = await connected(urls.restored)
    ends.push(() => Promise.all([source.end(), restored.end()]))
    await source.query(TABLES)
    await installFeed(source, { tables })
    await all(await open(urls.source))
    await source.query(`INSERT INTO item VALUES (1, 7); INSERT INTO ${SPELL} VALUES ('a', 'sad')`)
    expect(
      faultsOf(programs.pgDump, ['--format=custom', `--file=${join(folder, 'dump')}`, urls.source]),
    ).toEqual([])
    expect(restore(urls.restored)).toEqual([])
  }, 180_000)
  afterAll(async () => {
    for (const end of ends.reverse()) await end()
  })

  it('records from the first change on, and hands out what the dump has brought', async () => {
    await restored.query(`INSERT INTO item VALUES (2, 8); INSERT INTO log VALUES (1, 1); INSERT INTO child VALUES (3);
      UPDATE ${SPELL} SET mood = 'glad'; INSERT INTO item SELECT n, 9 FROM generate_series(11, 40) AS n`)
    const warnings: string[] = []
    const changes = await all(await open(urls.restored, warnings))
    expect(changes.slice(0, 6).map(essence)).toEqual([
      ['item', { id: '1', owner: '7' }],
      [SPELL, { Id: 'a', mood: 'sad' }],
      ['item', { id: '2', owner: '8' }],
      ['log', { day: '1', number: '1' }],
      ['parent', { id: '3' }],
      [SPELL, { Id: 'a', mood: 'sad' }, { Id: 'a', mood: 'glad' }],
    ])
    expect(changes[6]!.rows).toHaveLength(30)
    expect(changes[0]!.declared).toEqual([item.where({ owner: 7 }), item.any()])
    expect(new Set(changes.slice(7).map(change => essence(change).join()))).toEqual(
      new Set([SPELL, 'item', 'log', 'parent'].map(table => `${table},all`)),
    )
    expect(warnings).toEqual([])
  })

  it('is another origin, also where it was restored over the one that it was dumped from', async () => {
    const before = await open(urls.source)
    expect((await open(urls.restored)).origin).not.toBe(before.origin)
    await source.query('DROP TABLE log')
    expect(restore(urls.source, '--clean', '--if-exists')).toEqual([])
    await expect(before.take(undefined)).rejects.toThrow('the outbox was emptied or rewritten by hand')
    expect((await open(urls.source)).origin).not.toBe(before.origin)
  })
})
