import { mkdtempSync, rmSync } from 'node:fs'
import { createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { PATIENCE } from '../../../test/patience.ts'
import { type RedisServer, startRedis, startRedisCluster } from '../../../test/redis-servers.ts'
import { createCache, embeddedShared } from '../../src/index.ts'
import { type DoctorReport, examineAll } from '../../src/operate/index.ts'
import { installFeed, postgresFeed } from '../../src/postgres/index.ts'
import { auditedKeyspace } from '../../src/verify/index.ts'
import { openPostgres } from '../postgres/databases.ts'
import { IOREDIS } from '../redis/clients.ts'
import { openStore, token } from '../redis/harness.ts'

const spells = auditedKeyspace('spell', { load: async (id: number) => id, idFromKey: ([id]) => Number(id) })
const keyspaces = [spells]
const codes = ({ findings }: DoctorReport) =>
  findings.map(({ severity, area, code }) => `${severity} ${area} ${code}`)

describe('examineAll on a Redis', () => {
  let server: RedisServer
  beforeAll(async () => {
    const protectedSettings = { 'enable-protected-configs': 'yes' }
    server = await startRedis({ maxmemory: '100mb', 'maxmemory-policy': 'allkeys-lru', ...protectedSettings })
  })
  afterAll(() => server.stop())
  const open = (way = {}) => openStore({ client: IOREDIS.single(server.port, way) })
  const registers = async () => {
    const keys = ((await server.command('KEYS', '*')) as string[]).sort()
    return Promise.all(keys.map(async key => [key, await server.command('GET', key)]))
  }

  test('finds nothing wrong where nothing is, says what it has looked at, and changes no register', async () => {
    const shared = open()
    const cache = createCache({ shared })
    onTestFinished(() => cache.close())
    const spellsOfCache = cache.keyspace('spell', { load: async (id: number) => id })
    await vi.waitFor(async () => {
      await spellsOfCache.getMany([1, 2, 3])
      expect(await registers()).toHaveLength(4)
    }, PATIENCE)
    const before = await registers()
    const report = await examineAll({ shared, keyspaces })
    expect(await registers()).toEqual(before)
    expect(codes(report)).toEqual(['advice feed NO_FEED'])
    expect(report.nodes).toMatchObject([{ policy: 'allkeys-lru', usedBytes: expect.any(Number) }])
    const examined = report.examined.join('\n')
    expect(examined).toMatch(
      /^redis [\d.]+ at 127\.0\.0\.1:\d+, allkeys-lru, \d+\.\d MiB of 100\.0 MiB \(standalone\)$/m,
    )
    expect(examined).toMatch(/^a round trip to the store takes \d+ ms from here$/m)
    expect(examined).toMatch(/^spell: 3 registers, 3 looked at/m)
    expect(examined).toContain('the options of the cache (the defaults: the file has no cache) and of spell')
  })

  test('names a register that is too large for the time limit of the store', async () => {
    const text = [auditedKeyspace('text', { load: async (id: string) => id })]
    const store = open()
    const found = async () => (await examineAll({ shared: store, keyspaces: text })).findings
    await server.command('SET', 'text:1', 'x'.repeat(999_999))
    expect((await found()).map(({ code }) => code)).not.toContain('LARGE_VALUE')
    await server.command('SET', 'text:2', 'x'.repeat(1_000_000))
    expect(await found()).toContainEqual({
      severity: 'warn',
      area: 'store',
      code: 'LARGE_VALUE',
      message: expect.stringMatching(/^text:2 holds 1000000 characters: while a process reads it/),
    })
    await server.command('SET', 'text:2', 'x'.repeat(2 ** 20 + 1))
    const message = expect.stringMatching(
      /^text:2 holds 1048577 characters: more than maxValueBytes \(1048576\)/,
    )
    expect(await found()).toContainEqual({ severity: 'warn', area: 'store', code: 'LARGE_VALUE', message })
    await server.command('DEL', 'text:1', 'text:2')
  })

  test('tells all that is found when a program starts, as bad if the server is refused', async () => {
    await server.command('CONFIG', 'SET', 'maxmemory-policy', 'volatile-ttl')
    expect(codes(await examineAll({ shared: open(), keyspaces }))).toContain('bad store EVICTS_GUARDS')
    await server.command('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru', 'maxmemory', '0')
    expect(codes(await examineAll({ shared: open(), keyspaces }))).toContain('warn store UNBOUNDED')
    await server.command('CONFIG', 'SET', 'maxmemory', '100mb')
  })

  test('tells of connections that the server has refused', async () => {
    await server.command('CONFIG', 'SET', 'maxclients', '1')
    await createConnection(server.port, '127.0.0.1').resume().toArray()
    await server.command('CONFIG', 'SET', 'maxclients', '1000')
    const report = await examineAll({ shared: open(), keyspaces })
    expect(codes(report)).toContain('advice store CONNECTIONS')
    await server.command('CONFIG', 'RESETSTAT')
    expect(codes(await examineAll({ shared: open(), keyspaces }))).not.toContain('advice store CONNECTIONS')
  })

  test('tells what a user may not do', async () => {
    await server.command('ACL', 'SETUSER', 'lame', 'on', '>word', '~*', '&*', '+@all', '-publish')
    const report = await examineAll({ shared: open({ username: 'lame', password: 'word' }), keyspaces })
    expect(codes(report)).toContain('bad store PERMISSION')
    expect(JSON.stringify(report)).not.toContain('word')
  })

  test('tells of memory that is nearly used up and not evicted', async () => {
    // Large beside what connections take.
    await server.command('SET', 'filler', 'x'.repeat(20 * 2 ** 20))
    const { usedBytes = 0 } = (await examineAll({ shared: open(), keyspaces })).nodes[0]!
    await server.command(
      'CONFIG',
      'SET',
      'maxmemory-policy',
      'noeviction',
      'maxmemory',
      Math.round(usedBytes * 1.03),
    )
    const report = await examineAll({ shared: open(), keyspaces })
    await server.command('DEL', 'filler')
    await server.command('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru', 'maxmemory', '100mb')
    expect(codes(report)).toContain('warn store MEMORY')
  })

  test('tells why a server stores nothing, until that has ended', async () => {
    const set = (...settings: (string | number)[]) => server.command('CONFIG', 'SET', ...settings)
    const found = async () =>
      (await examineAll({ shared: open(), keyspaces })).findings.filter(
        ({ code }) => code === 'STORES_NOTHING',
      )
    const refusing = (message: RegExp) => [
      { severity: 'bad', area: 'store', code: 'STORES_NOTHING', message: expect.stringMatching(message) },
    ]
    // Of a policy that evicts, too: nothing of others has an end.
    await set('maxmemory-policy', 'volatile-lru', 'maxmemory', 1)
    expect(await found()).toEqual(
      refusing(/ stores nothing now: OOM .* and volatile-lru finds nothing to evict: /),
    )
    await set('maxmemory-policy', 'allkeys-lru', 'maxmemory', '100mb', 'min-replicas-to-write', 1)
    expect(await found()).toEqual(
      refusing(/NOREPLICAS .*; 0 replicas follow it, fewer than min-replicas-to-write/),
    )
    const [, before] = (await server.command('CONFIG', 'GET', 'dir')) as string[]
    const gone = mkdtempSync(join(tmpdir(), 'cacheaside-gone-'))
    await set('min-replicas-to-write', 0, 'save', '3600 1', 'dir', gone)
    rmSync(gone, { recursive: true })
    await server.command('BGSAVE')
    await vi.waitFor(
      async () => expect(await found()).toEqual(refusing(/MISCONF .*; its log says what /)),
      PATIENCE,
    )
    await set('save', '', 'dir', before!)
    expect(await found()).toEqual([])
  })

  test('says that a server cannot be asked, and examines the rest', async () => {
    const shared = openStore({ client: IOREDIS.single(1) })
    const report = await examineAll({ shared, keyspaces, cache: { leaseMs: 5_000 } })
    expect(codes(report)).toEqual(['bad store UNREACHABLE', 'bad options OPTIONS', 'advice feed NO_FEED'])
    expect(report.findings[0]!.message).toMatch(/^the store cannot be asked: .*ECONNREFUSED/)
  })
})

test('examineAll says where every primary of a Cluster is', async () => {
  const servers = await startRedisCluster()
  onTestFinished(() => servers.stop())
  const { nodes, examined } = await examineAll({
    shared: openStore({ client: IOREDIS.cluster(servers.nodes) }),
    keyspaces,
  })
  expect(nodes).toHaveLength(3)
  expect(examined.filter(line => line.endsWith('(cluster)'))).toHaveLength(3)
})

test('examineAll says of an embedded store that it is one', async () => {
  const report = await examineAll({ shared: embeddedShared(), keyspaces })
  expect(report.examined[0]).toMatch(/^this store is embedded/)
  expect(codes(report)).toEqual(['advice feed NO_FEED'])
})

test('examineAll advises by what the loads of stored values have cost', async () => {
  const shared = embeddedShared()
  const generation = await shared.generation('spell', token('generation'))
  const fill = { generation, shape: 1, freshMs: 600_000, staleMs: 0, costMs: 130, text: '1' }
  for (const key of [1, 2, 3, 4, 5, 6].map(id => `spell:${id}`)) {
    await shared.lease(key, token(key), 10_000)
    await shared.fill(key, `L${token(key)}`, fill)
  }
  const report = await examineAll({ shared, keyspaces })
  expect(codes(report).sort()).toEqual(['advice feed NO_FEED', 'advice options WAITS_AT_EXPIRY'])
})

describe('examineAll on a change feed', () => {
  const tables = { spell: () => [], wizard: () => [] }
  let database: Awaited<ReturnType<typeof openPostgres>>
  beforeAll(async () => {
    database = await openPostgres()
    await database.sql('CREATE TABLE spell (id int PRIMARY KEY); CREATE TABLE wizard (id int PRIMARY KEY)')
  })
  afterAll(() => database.close())

  test('tells what should be mended, with the settings that its guards need', async () => {
    const feed = postgresFeed({ pool: database.pool, tables })
    const operated = { shared: embeddedShared(), keyspaces, feed }
    expect(codes(await examineAll(operated))).toEqual(['bad feed NOT_INSTALLED'])
    await installFeed(database.pool, { tables: ['spell'] })
    const report = await examineAll(operated)
    expect(codes(report)).toContain('bad feed NOT_WATCHED')
    expect(codes(report)).toContain('warn feed SETTING')
    expect(report.examined).toContainEqual(
      expect.stringMatching(/^the change feed in cacheaside watches spell; \d+ changes wait$/),
    )
  })

  test('says that the database cannot be asked, without its password', async () => {
    const { default: pg } = await import('pg')
    const pool = new pg.Pool({ connectionString: 'postgres://me:sesame@127.0.0.1:1/none' })
    const report = await examineAll({
      shared: embeddedShared(),
      keyspaces,
      feed: postgresFeed({ pool, tables }),
    })
    await pool.end()
    expect(codes(report)).toEqual(['bad feed UNREACHABLE'])
    expect(JSON.stringify(report)).not.toContain('sesame')
  })
})
