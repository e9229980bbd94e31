import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createDatabase, type PostgresServer, startPostgres } from '../../../test/services.ts'
import { type Cache, type CacheEvent, createCache, embeddedShared, systemClock } from '../../src/index.ts'
import { installFeed, type PostgresFeedOptions, postgresFeed } from '../../src/postgres/index.ts'
import { faultySharedStore } from '../../src/testing/index.ts'
import { until } from './conditions.ts'
import { connected } from './databases.ts'

/** On a server of its own, which is killed, stopped and restarted. */
describe('a cache with a change feed, when its database', () => {
  let server: PostgresServer
  let url: string
  let pool: pg.Pool
  let caches: Cache[]
  let events: CacheEvent[]
  const rejections: unknown[] = []
  const onRejection = (error: unknown) => rejections.push(error)

  beforeAll(async () => {
    process.on('unhandledRejection', onRejection)
    server = await startPostgres()
  })
  afterAll(async () => {
    process.off('unhandledRejection', onRejection)
    await server.stop()
  })
  beforeEach(async () => {
    caches = []
    events = []
    url = await createDatabase(server.url)
    pool = new pg.Pool({ connectionString: url, max: 5, connectionTimeoutMillis: 2_000 })
    pool.on('error', () => {})
    await pool.query(
      `CREATE TABLE spell (id bigint PRIMARY KEY, name text); INSERT INTO spell VALUES (1, 'Fireball')`,
    )
    await installFeed(pool, { tables: ['spell'] })
    await pool.query('DELETE FROM cacheaside.outbox')
  })
  afterEach(async () => {
    await Promise.all(caches.map(cache => cache.close()))
    await pool.end()
    expect(rejections).toEqual([])
  })

  function start(
    options: { isShared?: boolean; hasFeed?: boolean; feed?: Partial<PostgresFeedOptions> } = {},
  ) {
    const { hasFeed = true } = options
    const store = embeddedShared()
    const feed = postgresFeed({ pool, tables: { spell: row => [spells.key(row.id)] }, ...options.feed })
    const cache = createCache({
      shared: options.isShared ? faultySharedStore(store, { clock: systemClock }) : store,
      ...(hasFeed ? { feed } : {}),
      onEvent: event => events.push(event),
    })
    const spells = cache.keyspace<number, string>('spell', {
      load: async id => (await pool.query('SELECT name FROM spell WHERE id = $1', [id])).rows[0]?.name,
    })
    caches.push(cache)
    return { cache, spells, store }
  }

  const states = () => events.flatMap(event => (event.type === 'feed' ? [event.state] : []))
  const distrusts = () => events.filter(event => event.type === 'feed-distrust').length
  const isOpen = (cache: Cache) => until('the feed to be open', () => cache.stats().feed.open)

  it('is not there at the start, finds it when it comes', async () => {
    await server.kill('SIGINT')
    const { cache, spells } = start()
    await until('the loss to be told', () => states().includes('lost'))
    await server.restart()
    await isOpen(cache)
    expect(await spells.get(1)).toBe('Fireball')
    await pool.query(`UPDATE spell SET name = 'Meteor'`)
    await until('the change', async () => (await spells.get(1)) === 'Meteor')
    // There may be several reasons, one after the other: refused, starting up.
    expect(states().filter(state => state === 'open')).toEqual(['open'])
  })

  it.each([true, false])('restarts, gives new generations and goes on (shared: %s)', async isShared => {
    const { cache, spells } = start({ isShared })
    await isOpen(cache)
    expect(await spells.get(1)).toBe('Fireball')
    expect(distrusts()).toBe(1)
    await server.restart()
    await until(
      'the session to be opened again',
      () => cache.stats().feed.losses > 0 && cache.stats().feed.open,
    )
    await until('new generations', () => distrusts() === 2)
    await pool.query(`UPDATE spell SET name = 'Meteor'`)
    await until('the change', async () => (await spells.get(1)) === 'Meteor')
  })

  it('ends only the session, keeps the cache warm', async () => {
    const { cache, spells, store } = start({ isShared: true })
    await isOpen(cache)
    await until('the value to be stored', async () => {
      await spells.get(1)
      return store.inspect('spell:1')?.startsWith('V') === true
    })
    await pool.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE datname = current_database() AND query LIKE '%cacheaside%' AND pid <> pg_backend_pid()`)
    await until(
      'the session to be opened again',
      () => cache.stats().feed.losses > 0 && cache.stats().feed.open,
    )
    expect(distrusts()).toBe(1)
    expect((await spells.read(1)).from).toBe('shared')
  })

  it('lost one of its processes and recovered, without a new start, gives new generations', async () => {
    const { cache } = start({ isShared: true })
    await isOpen(cache)
    const began = async () => (await pool.query('SELECT pg_postmaster_start_time()::text AS at')).rows[0].at
    const before = await began()
    const { pid } = (await pool.query('SELECT pg_backend_pid() AS pid')).rows[0]
    process.kill(pid, 'SIGKILL')
    await until('new generations', () => distrusts() === 2)
    expect(await began()).toBe(before)
  })

  it('takes back a commit, finds the value before it, and without the feed keeps the value of it', async () => {
    const admin = await connected(url)
    await admin.query(`ALTER SYSTEM SET wal_writer_delay = '10s'`)
    await admin.query('SELECT pg_reload_conf()')
    const seeing = start({ isShared: true })
    const blind = start({ isShared: true, hasFeed: false })
    await isOpen(seeing.cache)
    await admin.query('CHECKPOINT')
    await admin.query(`SET synchronous_commit = off; UPDATE spell SET name = 'Meteor'`)
    await until('the change to be applied', () => seeing.cache.stats().feed.applied > 0)
    for (const { spells } of [seeing, blind]) {
      await until('the change to be cached', async () => {
        const { value, from } = await spells.read(1)
        return value === 'Meteor' && from === 'shared'
      })
    }
    await server.restart()
    const [row] = (await pool.query('SELECT name FROM spell')).rows
    expect(row.name, 'the server has forgotten').toBe('Fireball')
    await until('the old row', async () => (await seeing.spells.get(1)) === 'Fireball')
    expect(await blind.spells.get(1)).toBe('Meteor')
  })

  it('hangs, gives the session up in time, and goes on when it answers', async () => {
    const { cache, spells } = start({ feed: { timeoutMs: 300 } })
    await isOpen(cache)
    await spells.get(1)
    const postmaster = readFileSync(join(server.dataDir, 'postmaster.pid'), 'utf8').split('\n')[0]
    const children = (await pool.query('SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()')).rows
    const pids = [Number(postmaster), ...children.map(({ pid }) => Number(pid))]
    for (const pid of pids) process.kill(pid, 'SIGSTOP')
    await until('the loss to be told', () => states().at(-1) === 'lost')
    expect(await spells.get(1), 'hits are still served').toBe('Fireball')
    for (const pid of pids) process.kill(pid, 'SIGCONT')
    await isOpen(cache)
    await pool.query(`UPDATE spell SET name = 'Meteor'`)
    await until('the change', async () => (await spells.get(1)) === 'Meteor')
  })

  it('is asked by nobody else, does not keep the process alive', async () => {
    const program = `
      import pg from 'pg'
      import { createCache } from 'cacheaside'
      import { postgresFeed } from 'cacheaside/postgres'
      const pool = new pg.Pool({ connectionString: '${url}' })
      const cache = createCache({
        feed: postgresFeed({ pool, tables: { spell: () => [] } }),
        onEvent: event => event.type === 'feed' && console.log(event.state),
      })
      const isOpen = () => cache.stats().feed.open
      const waiting = setInterval(() => isOpen() && clearInterval(waiting), 5)`
    const { stdout, status } = spawnSync(
      process.execPath,
      ['--conditions=source', '--import', 'tsx', '--input-type=module', '--eval', program],
      { cwd: import.meta.dirname, encoding: 'utf8', timeout: 60_000 },
    )
    expect({ stdout, status }).toEqual({ stdout: 'open\n', status: 0 })
  })

  it('has no client to spare, is waited for, and takes nothing from the pool for good', async () => {
    const holders = await Promise.all(Array.from({ length: 5 }, () => pool.connect()))
    const { cache } = start({ feed: { timeoutMs: 200 } })
    await until('the loss to be told', () => states().includes('lost'))
    for (const holder of holders) holder.release()
    await isOpen(cache)
    await cache.close()
    await until('every client to be free', () => pool.totalCount === pool.idleCount)
  })

  it('is reached through a pool that is ended before the cache is closed, lets the pool end', async () => {
    const own = new pg.Pool({ connectionString: url })
    const { cache } = start({ feed: { pool: own } })
    await isOpen(cache)
    await own.end()
    expect(own.totalCount).toBe(0)
    await cache.close()
  })

  it('ends a session in the same breath in which it began, is lost, and ends nothing else', async () => {
    const said = (type: string, text: string) => {
      const length = Buffer.alloc(4)
      length.writeInt32BE(text.length + 4)
      return Buffer.concat([Buffer.from(type), length, Buffer.from(text)])
    }
    const hasty = createServer(socket =>
      socket
        .on('error', () => {})
        .once('data', () => {
          const end = 'SFATAL\0C57P01\0Mterminating connection due to administrator command\0\0'
          socket.end(Buffer.concat([said('R', '\0\0\0\0'), said('Z', 'I'), said('E', end)]))
        }),
    ).listen(0, '127.0.0.1')
    await once(hasty, 'listening')
    const own = new pg.Pool({ host: '127.0.0.1', port: (hasty.address() as AddressInfo).port })
    start({ feed: { pool: own } })
    // An exception that nobody catches would fail the run.
    await until('the loss to be told', () => states().includes('lost'))
    await Promise.all(caches.map(cache => cache.close()))
    await own.end()
    hasty.close()
  })

  it('waits in vain for a synchronous standby, shows what is committed nevertheless', async () => {
    const require = async (standby: string) => {
      await pool.query(`ALTER SYSTEM SET synchronous_standby_names = '${standby}'`)
      await pool.query('SELECT pg_reload_conf()')
    }
    await require('gone')
    let writing: Promise<unknown> | undefined
    const cancel = `SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'`
    try {
      await until('a writer to wait', async () => {
        writing ??= pool.query(`UPDATE spell SET name = name || '!'`).then(() => {
          writing = undefined
        })
        return (await pool.query(cancel.replace('pg_cancel_backend(pid)', ''))).rowCount === 1
      })
      const { cache, spells } = start({ isShared: true })
      await isOpen(cache)
      const before = await spells.get(1)
      await pool.query(cancel)
      await until('the change to be seen', async () => (await spells.get(1)) === `${before}!`)
      expect(states()).not.toContain('lost')
    } finally {
      await require('')
      await writing
    }
  })

  it('has no feed installed, says so until it has', async () => {
    await pool.query('DROP SCHEMA cacheaside CASCADE')
    const { cache } = start()
    await until('the loss to be told', () => states().includes('lost'))
    expect(String(events.find(event => event.type === 'feed')?.error)).toContain('run installFeed')
    await installFeed(pool, { tables: ['spell'] })
    await isOpen(cache)
  })
})
