/**
 * Scripts as people write them, each in a process of its own. What is asked of all of them is that they end by themselves
 * once their cache is closed, with the code that they should end with.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { buildScript, LIFTOFF } from '../../test/programs.ts'
import { type RedisServer, startRedis } from '../../test/redis-servers.ts'
import { createDatabase, sharedPostgresUrl } from '../../test/services.ts'

const DEADLINE_MS = 60_000
const folder = mkdtempSync(join(import.meta.dirname, '../../node_modules/.scripts-'))
let scripts = 0
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Runs a script, and answers with how it ended and what it said; with `still running` where it did not end. */
async function run(
  script: string,
  whileRunning?: (said: () => string) => Promise<void>,
): Promise<{ code: number | null | 'still running'; out: string; err: string }> {
  const file = join(folder, `${scripts++}.mjs`)
  await buildScript(script, file)
  const child = spawn(process.execPath, [LIFTOFF, file])
  let [out, err] = ['', '']
  child.stdout.on('data', text => {
    out += text
  })
  child.stderr.on('data', text => {
    err += text
  })
  let isLate = false
  const limit = setTimeout(() => {
    isLate = true
    child.kill('SIGKILL')
  }, DEADLINE_MS)
  const ended = new Promise<{ code: number | null | 'still running'; out: string; err: string }>(resolve => {
    child.on('close', code => {
      clearTimeout(limit)
      resolve({ code: isLate ? 'still running' : code, out, err })
    })
  })
  return Promise.all([ended, whileRunning?.(() => out)]).then(([end]) => end)
}

const IMPORTS = `
import { createCache } from 'cacheaside'
import { redisShared } from 'cacheaside/redis'
const spellTable = { find: async id => ({ id, name: 'Earthquake' }) }
`
const USE = `
const spells = cache.keyspace('spell', { load: spellTable.find })
await spells.get(4)
await spells.write(4, async () => {})
await spells.get(4)
`
const SAID = { code: 0, out: 'done\n' }

describe('a script with an embedded cache ends by itself', () => {
  test('although nothing is closed', async () => {
    expect(await run(`${IMPORTS}; const cache = createCache(); ${USE}; console.log('done')`)).toMatchObject(
      SAID,
    )
  })

  test('after close(), called twice, with an L1', async () => {
    const script = `${IMPORTS}; const cache = createCache({ local: { maxEntries: 9 } }); ${USE}
      await Promise.all([cache.close(), cache.close()]); await cache.close(); console.log('done')`
    expect(await run(script)).toMatchObject({ ...SAID, err: '' })
  })
})

describe('a script that awaits what never settles', () => {
  const limits = 'busyWaitMs: 200, loadTimeoutMs: 300'

  test.each([
    ['get', 'await values.get(1)'],
    ['getMany', 'await values.getMany([1, 2])'],
    [
      'a strong get behind another',
      "await Promise.all([values.get(1), values.get(1, { consistency: 'strong' })])",
    ],
    ['a write that reads', 'await values.write(1, () => values.get(2))'],
  ])('is told LOAD_TIMEOUT, and does not end in the middle (%s)', async (_, awaits) => {
    const script = `${IMPORTS}; const cache = createCache({ ${limits} })
      const values = cache.keyspace('value', { load: () => new Promise(() => {}) }); ${awaits}`
    expect(await run(script)).toMatchObject({ code: 1, err: expect.stringContaining('LOAD_TIMEOUT') })
  })

  test('is not kept from ending by a refresh in the background', async () => {
    const script = `${IMPORTS}; const cache = createCache({ busyWaitMs: 5_000 })
      let loads = 0
      const load = () => (++loads === 1 ? 1 : new Promise(() => {}))
      const values = cache.keyspace('value', { load, ttlMs: 1, staleMs: 60_000 })
      while (loads < 2) { await values.get(1); await new Promise(resolve => setImmediate(resolve)) }
      const began = performance.now()
      process.on('exit', () => console.log(performance.now() - began < 4_000 ? 'done' : 'late'))`
    expect(await run(script)).toMatchObject(SAID)
  })
})

describe('a script with a cache on Redis ends by itself', () => {
  let redis: RedisServer
  beforeAll(async () => {
    redis = await startRedis()
  })
  afterAll(() => redis.stop())

  test.each([
    ['ioredis', `import { Redis } from 'ioredis'`, 'new Redis(URL)'],
    ['iovalkey', `import { Redis } from 'iovalkey'`, 'new Redis(URL)'],
    ['node-redis', `import { createClient } from 'redis'`, 'createClient({ url: URL })'],
  ])('after close(), where a function makes the client (%s)', async (_, imports, client) => {
    const script = `${IMPORTS}; ${imports}
      const URL = '${redis.url}'
      const cache = createCache({ shared: redisShared({ client: () => ${client}, logger: console }) })
      ${USE}; await cache.close(); console.log('done')`
    expect(await run(script)).toMatchObject({ code: 0, out: expect.stringMatching(/^done$/m) })
  })

  test('after close() and the end of the client, where the client is its own', async () => {
    const script = `${IMPORTS}; import { Redis } from 'ioredis'
      const client = new Redis('${redis.url}')
      const cache = createCache({ shared: redisShared({ client }) })
      ${USE}; await cache.close()
      console.log(await client.ping()) // it is the script's, and was left alone
      await client.quit(); console.log('done')`
    expect(await run(script)).toMatchObject({ code: 0, out: 'PONG\ndone\n' })
  })

  test('after the last of several caches on one store was closed, one of them made after another was closed', async () => {
    const script = `${IMPORTS}; import { createClient } from 'redis'
      const shared = redisShared({ client: createClient({ url: '${redis.url}' }) })
      await shared.ready()
      const caches = [createCache({ shared }), createCache({ shared })]
      await caches[0].close()
      let count = 0
      for (const cache of [caches[1], createCache({ shared })]) {
        const spells = cache.keyspace('spell-' + ++count, { load: spellTable.find })
        while ((await spells.read(1)).from !== 'shared');
        await cache.close()
      }
      console.log((await shared.inspect()).nodes.length); console.log('done')`
    expect(await run(script)).toMatchObject({ code: 0, out: '1\ndone\n' })
  })

  test('after close() during an outage: nothing there, and a server that hangs', async () => {
    const script = (url: string) => `${IMPORTS}; import { Redis } from 'ioredis'
      const cache = createCache({ shared: redisShared({ client: () => new Redis('${url}') }) })
      ${USE}; await cache.close(); console.log('done')`
    expect(await run(script('redis://127.0.0.1:1'))).toMatchObject(SAID)
    redis.suspend()
    try {
      expect(await run(script(redis.url))).toMatchObject(SAID)
    } finally {
      redis.resume()
    }
  })

  test('after an error, with the code and the words of the error', async () => {
    const script = `${IMPORTS}; import { Redis } from 'ioredis'
      const cache = createCache({ shared: redisShared({ client: () => new Redis('${redis.url}') }) })
      const spells = cache.keyspace('broken', { load: async () => { throw new Error('no such table') } })
      try { await spells.get(4) } finally { await cache.close() }`
    expect(await run(script)).toMatchObject({ code: 1, err: expect.stringContaining('no such table') })
  })
})

describe('a script with a change feed ends by itself', () => {
  test('after close() and the end of its pool', async () => {
    const url = await createDatabase(sharedPostgresUrl())
    const script = `${IMPORTS}; import pg from 'pg'
      import { installFeed, postgresFeed } from 'cacheaside/postgres'
      const pool = new pg.Pool({ connectionString: '${url}' })
      await pool.query('create table spell (id int primary key)')
      const tables = { spell: { columns: ['id'], keys: row => [spells.key(row.id)] } }
      await installFeed(pool, { tables })
      const cache = createCache({ feed: postgresFeed({ pool, tables }) })
      let isOpen = false
      cache.listen(({ type }) => { isOpen ||= type === 'feed' })
      const spells = cache.keyspace('spell', { load: spellTable.find })
      await spells.get(4)
      while (!isOpen) await pool.query('select 1')
      await cache.close(); await pool.end(); console.log('done')`
    expect(await run(script)).toMatchObject(SAID)
  })

  test('after close() and the end of its pool, while its session is being opened', async () => {
    const url = await createDatabase(sharedPostgresUrl())
    const script = `${IMPORTS}; import pg from 'pg'
      import { installFeed, postgresFeed } from 'cacheaside/postgres'
      const pool = new pg.Pool({ connectionString: '${url}' })
      await pool.query('create table spell (id int primary key)')
      await installFeed(pool, { tables: ['spell'] })
      const lock = async isGranted => {
        const text = "select from pg_locks where relation = 'cacheaside.feed'::regclass and granted = $1"
        for (;;) if ((await pool.query(text, [isGranted])).rowCount > 0) return
      }
      console.log('installed')
      await lock(true)
      const cache = createCache({ feed: postgresFeed({ pool, tables: { spell: () => [] } }) })
      await lock(false)
      await cache.close(); console.log('closed'); await pool.end(); console.log('done')`
    const holder = new pg.Client({ connectionString: url })
    await holder.connect()
    const ended = await run(script, async said => {
      await vi.waitFor(() => expect(said()).toContain('installed'), DEADLINE_MS)
      await holder.query('begin; lock cacheaside.feed')
      await vi.waitFor(() => expect(said()).toContain('closed'), DEADLINE_MS)
      // All that the program still has is the session that waits for the lock.
      const others = async () =>
        (
          await holder.query(
            'select pg_stat_clear_snapshot() from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()',
          )
        ).rowCount
      await vi.waitFor(async () => expect(await others()).toBeLessThan(2), DEADLINE_MS)
      await holder.query('rollback')
    })
    await holder.end()
    expect(ended).toMatchObject({ code: 0, out: 'installed\nclosed\ndone\n' })
  })

  test('after asking for the status of a feed, which nothing else waits for', async () => {
    const url = await createDatabase(sharedPostgresUrl())
    const script = `${IMPORTS}; import pg from 'pg'
      import { installFeed, postgresFeed } from 'cacheaside/postgres'
      const pool = new pg.Pool({ connectionString: '${url}' })
      await pool.query('create table spell (id int primary key)')
      await installFeed(pool, { tables: ['spell'] })
      await pool.end()
      const another = new pg.Pool({ connectionString: '${url}', allowExitOnIdle: true })
      const feed = postgresFeed({ pool: another, tables: { spell: () => [] } })
      await feed.status()
      await feed.pending()
      console.log('done')`
    expect(await run(script)).toMatchObject(SAID)
  })

  test('after close(), and that of its PGlite', async () => {
    const script = `${IMPORTS}; import { PGlite } from '@electric-sql/pglite'
      import { installFeed, postgresFeed } from 'cacheaside/postgres'
      const pglite = await PGlite.create()
      await pglite.exec('create table spell (id int primary key)')
      const tables = { spell: { columns: ['id'], keys: row => [spells.key(row.id)] } }
      await installFeed(pglite, { tables })
      const cache = createCache({ feed: postgresFeed({ pglite, tables }) })
      const spells = cache.keyspace('spell', { load: spellTable.find })
      await spells.get(4); await cache.close(); await pglite.close(); console.log('done')`
    expect(await run(script)).toMatchObject(SAID)
  })
})
