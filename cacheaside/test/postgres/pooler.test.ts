import pg from 'pg'
import { afterEach, describe, expect, it } from 'vitest'
import { startPgBouncer } from '../../../test/pgbouncer.ts'
import { createDatabase, sharedPostgresUrl, startPostgres } from '../../../test/services.ts'
import type { FeedSession } from '../../src/feed/change-feed.ts'
import { installFeed, postgresFeed } from '../../src/postgres/index.ts'
import { SimulatedClock } from '../../src/testing/index.ts'
import { connected, openPooledPostgres } from './databases.ts'
import { essence, feedContract } from './feed-contract.ts'

describe('the change feed on PostgreSQL behind PgBouncer', () => feedContract(openPooledPostgres))

describe('postgresFeed behind PgBouncer', () => {
  const ends: (() => Promise<unknown>)[] = []
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end()
  })

  /** A watched table, and a session of its feed by a pool of its own. */
  async function openFeed(url: string) {
    const foreign = await connected(url)
    ends.push(() => foreign.end())
    await foreign.query('CREATE TABLE spell (id bigint PRIMARY KEY, name text)')
    await installFeed(foreign, { tables: ['spell'] })
    await foreign.query('DELETE FROM cacheaside.outbox')
    return foreign
  }

  function open(url: string): Promise<FeedSession> {
    const pool = new pg.Pool({ connectionString: url })
    pool.on('error', () => {})
    const sessions: FeedSession[] = []
    ends.push(() => {
      for (const session of sessions) session.abandon()
      return pool.end()
    })
    return postgresFeed({ pool, tables: { spell: () => [] } })
      .open({
        clock: new SimulatedClock(),
        guardMs: 10_000,
        isPrivate: false,
        lost: () => {},
        warn: () => {},
        mended: () => {},
      })
      .then(session => {
        sessions.push(session)
        return session
      })
  }

  it('is installed by several at once, over fewer connections to the server', async () => {
    const pooler = await startPgBouncer(sharedPostgresUrl(), { default_pool_size: '2' })
    ends.push(() => pooler.stop())
    const url = pooler.through(await createDatabase(sharedPostgresUrl()))
    const pool = new pg.Pool({ connectionString: url, max: 5 })
    ends.push(() => pool.end())
    await pool.query('CREATE TABLE spell (id bigint PRIMARY KEY)')
    await Promise.all(Array.from({ length: 5 }, () => installFeed(pool, { tables: ['spell'] })))
    const { rows } = await pool.query(`SELECT objid FROM pg_locks WHERE locktype = 'advisory'
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`)
    expect(rows).toEqual([])
    expect((await pool.query('SELECT source FROM cacheaside.watched')).rows).toEqual([{ source: 'spell' }])
  })

  it('holds what it has taken against another relay, and gives it back when it is abandoned', async () => {
    const pooler = await startPgBouncer(sharedPostgresUrl())
    ends.push(() => pooler.stop())
    const direct = await createDatabase(sharedPostgresUrl())
    const foreign = await openFeed(direct)
    const [first, second] = await Promise.all([open(pooler.through(direct)), open(pooler.through(direct))])
    await foreign.query("INSERT INTO spell VALUES (1, 'Fireball')")
    expect((await first.take(undefined)).changes.map(essence)).toEqual([['spell', { id: '1' }]])
    expect((await second.take(undefined)).changes).toEqual([])
    first.abandon()
    await expect
      .poll(async () => (await second.take(undefined)).changes.map(essence), { timeout: 40_000 })
      .toEqual([['spell', { id: '1' }]])
  })

  it('notices that the server was restarted, although its own connection still stands', async () => {
    const server = await startPostgres()
    ends.push(() => server.stop())
    const pooler = await startPgBouncer(server.url)
    ends.push(() => pooler.stop())
    await openFeed(server.url)
    const session = await open(pooler.through(server.url))
    expect((await session.take(undefined)).changes).toEqual([])
    await server.restart()
    await expect(session.take(undefined)).rejects.toThrow('the server was restarted, or is another one')
  })

  it('is refused by a pooler in statement mode, with a reason that says so', async () => {
    const pooler = await startPgBouncer(sharedPostgresUrl(), { pool_mode: 'statement' })
    ends.push(() => pooler.stop())
    const direct = await createDatabase(sharedPostgresUrl())
    const foreign = await openFeed(direct)
    const session = await open(pooler.through(direct))
    await foreign.query("INSERT INTO spell VALUES (1, 'Fireball')")
    await expect(session.take(undefined)).rejects.toThrow(
      'transaction blocks not allowed in statement pooling mode',
    )
  })
})
