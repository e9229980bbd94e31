import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { PATIENCE } from '../../../test/patience.ts'
import {
  type RedisClusterServers,
  type RedisServer,
  startRedis,
  startRedisCluster,
} from '../../../test/redis-servers.ts'
import { createCache, embeddedShared, type SharedStore } from '../../src/index.ts'
import { answerInquiries, askHotKeys, hotKeys, storeStats } from '../../src/operate/index.ts'
import { SimulatedClock } from '../../src/testing/index.ts'
import { auditedKeyspace } from '../../src/verify/index.ts'
import { CLIENT_LIBRARIES, IOREDIS } from '../redis/clients.ts'
import { openStore } from '../redis/harness.ts'

const keyspaces = [auditedKeyspace('spell', { load: async (id: string) => id })]
let prefixes = 0

describe('hotKeys', () => {
  function simulated() {
    const clock = new SimulatedClock()
    const cache = createCache({ clock, local: { maxEntries: 1_000 } })
    const spells = cache.keyspace('spell', { load: async (id: number) => id })
    return { clock, cache, spells }
  }

  test('counts what is read while it is asked, and where it comes from', async () => {
    const { clock, cache, spells } = simulated()
    await spells.getMany([1, 2, 3])
    const counting = hotKeys(cache, 1_000, 2)
    for (let i = 0; i < 5; i++) await spells.get(1)
    await spells.get(2, { consistency: 'strong' })
    await spells.getMany([2, 4])
    await clock.advance(1_000)
    expect(await counting).toEqual({
      forMs: 1_000,
      reads: 8,
      keys: [
        { key: 'spell:1', count: 5, error: 0, local: 5, shared: 0, origin: 0 },
        { key: 'spell:2', count: 2, error: 0, local: 1, shared: 1, origin: 0 },
      ],
      missedAtMost: 2,
    })
    await cache.close()
  })

  test('ends with the cache, and refuses what it cannot do', async () => {
    const { cache } = simulated()
    const counting = hotKeys(cache, 1_000, 2)
    counting.catch(() => {})
    await expect(hotKeys(cache, 0, 2)).rejects.toMatchObject({ code: 'INVALID_OPTIONS' })
    await expect(hotKeys(cache, 60_001, 2)).rejects.toMatchObject({ code: 'INVALID_OPTIONS' })
    await expect(hotKeys(cache, 1, 101)).rejects.toMatchObject({ code: 'INVALID_OPTIONS' })
    await cache.close()
    await expect(counting).rejects.toMatchObject({ code: 'CLOSED' })
    await expect(hotKeys(cache, 1, 1)).rejects.toMatchObject({ code: 'CLOSED' })
  })

  test('has no questions carried by an embedded store, and says so', async () => {
    const shared = embeddedShared()
    const cache = createCache({ shared })
    expect(() => answerInquiries(cache)).toThrow(
      'a store that carries questions to other processes, got "embedded"',
    )
    await expect(askHotKeys({ shared, keyspaces }, 10, 1)).rejects.toMatchObject({ code: 'INVALID_OPTIONS' })
    await cache.close()
  })
})

/** Two processes that answer, and one that does not, which read spell 1 without end. */
function processes(open: () => SharedStore) {
  const caches = ['Anna', 'Bert', undefined].map(name => {
    const cache = createCache({
      shared: open(),
      local: { maxEntries: 10 },
      logger: { info() {}, warn() {}, error() {} },
    })
    const stop = name === undefined ? () => {} : answerInquiries(cache, { name })
    return { cache, stop, spells: cache.keyspace('spell', { load: async (id: string) => id }) }
  })
  let isOver = false
  const reading = caches.map(async ({ spells }) => {
    while (!isOver) {
      await Promise.all([spells.get('1'), spells.get('1'), spells.get('2')])
      await new Promise(resolve => setImmediate(resolve))
    }
  })
  onTestFinished(async () => {
    isOver = true
    await Promise.all(reading)
    await Promise.all(caches.map(({ cache }) => cache.close()))
  })
  return caches
}

async function addsUp(open: () => SharedStore): Promise<void> {
  const caches = processes(open)
  const operated = { shared: open(), keyspaces }
  const report = await vi.waitFor(async () => {
    const found = await askHotKeys(operated, 200, 1)
    expect([...found.processes].sort()).toEqual(['Anna', 'Bert'])
    expect(found.keys).toMatchObject([{ key: 'spell:1', error: 0 }])
    return found
  }, PATIENCE)
  const [{ count, local, shared, origin }] = report.keys as [(typeof report.keys)[0]]
  expect(local + shared + origin).toBe(count)
  // Two of three reads; each process may have begun and ended in the midst of three.
  expect(Math.abs(count - (2 * report.reads) / 3)).toBeLessThanOrEqual(4)
  const { processes: told } = await storeStats(operated)
  expect(told.map(({ process }) => process).sort()).toEqual(['Anna', 'Bert'])
  expect(told[0]!.stats.keyspaces.spell!.reads.local).toBeGreaterThanOrEqual(0)
  caches[0]!.stop()
  await vi.waitFor(
    async () => expect((await askHotKeys(operated, 10, 1)).processes).toEqual(['Bert']),
    PATIENCE,
  )
}

describe('askHotKeys on a Redis', () => {
  let server: RedisServer
  beforeAll(async () => {
    server = await startRedis()
  })
  afterAll(() => server.stop())

  test.each(CLIENT_LIBRARIES)('adds up what the processes say that answer, by $name', async library => {
    const prefix = `hot${++prefixes}:`
    await addsUp(() => openStore({ client: library.single(server.port), prefix }))
  })

  test('is not told by processes under another prefix', async () => {
    processes(() => openStore({ client: IOREDIS.single(server.port), prefix: 'others:' }))
    const shared = openStore({ client: IOREDIS.single(server.port), prefix: 'ours:' })
    expect(await askHotKeys({ shared, keyspaces }, 50, 5)).toMatchObject({
      processes: [],
      reads: 0,
      keys: [],
    })
  })

  test('passes over questions and answers that are none', async () => {
    const prefix = `hot${++prefixes}:`
    processes(() => openStore({ client: IOREDIS.single(server.port), prefix }))
    const shared = openStore({ client: IOREDIS.single(server.port), prefix })
    await vi.waitFor(
      async () => expect((await askHotKeys({ shared, keyspaces }, 10, 1)).processes).toHaveLength(2),
      PATIENCE,
    )
    const raw = new Redis(server.port)
    const liar = raw.duplicate()
    onTestFinished(() => {
      raw.disconnect()
      liar.disconnect()
    })
    for (const question of [
      '',
      'x',
      '{"ask":"top"}',
      '{"ask":"top","forMs":1e9,"most":1}',
      '{"ask":1}',
      'null',
    ])
      await raw.publish(`${prefix}@ask`, `${'t'.repeat(16)} ${question}`)
    await liar.subscribe(`${prefix}@ask`)
    liar.on('message', (_channel, message) => {
      const [token] = message.split(' ')
      const lies = [
        '',
        '{',
        'null',
        '{"process":1}',
        '{"process":"liar"}',
        '{"process":"liar","top":{"reads":"x"}}',
      ]
      for (const lie of [...lies, '{"process":"liar","top":{"reads":1,"missedAtMost":0,"keys":[{"key":4}]}}'])
        void raw.publish(`${prefix}@answer:${token}`, lie)
    })
    const { processes: told, keys } = await askHotKeys({ shared, keyspaces }, 50, 5)
    expect([...told].sort()).toEqual(['Anna', 'Bert'])
    expect(keys.map(({ key }) => key).sort()).toEqual(['spell:1', 'spell:2'])
  })

  test('takes the statistics of a process with 300 keyspaces', async () => {
    const prefix = `hot${++prefixes}:`
    const shared = openStore({ client: IOREDIS.single(server.port), prefix })
    const cache = createCache({ shared })
    onTestFinished(() => cache.close())
    for (let i = 0; i < 300; i++) cache.keyspace(`spell-${i}`, { load: async (id: string) => id })
    answerInquiries(cache, { name: 'Anna' })
    await vi.waitFor(async () => {
      const [answer] = await shared.ask!('{"ask":"stats"}', 50)
      expect(Object.keys(JSON.parse(answer!).stats.keyspaces)).toHaveLength(300)
    }, PATIENCE)
  })

  test('leaves no connection behind, nor does a process that has closed its cache', async () => {
    const raw = new Redis(server.port)
    onTestFinished(() => raw.disconnect())
    const listeners = async () =>
      String(await raw.client('LIST', 'TYPE', 'PUBSUB'))
        .split('\n')
        .filter(line => line.includes('id=')).length
    await vi.waitFor(async () => expect(await listeners()).toBe(0), PATIENCE)
    const shared = openStore({ client: IOREDIS.single(server.port), prefix: 'left:' })
    const cache = createCache({ shared })
    answerInquiries(cache)
    await askHotKeys({ shared, keyspaces }, 10, 1)
    // The broadcast, and the questions.
    await vi.waitFor(async () => expect(await listeners()).toBe(2), PATIENCE)
    await cache.close()
    await vi.waitFor(async () => expect(await listeners()).toBe(0), PATIENCE)
  })

  test('rejects with one reason where the store is away', async () => {
    const shared = openStore({ client: IOREDIS.single(1) })
    await expect(askHotKeys({ shared, keyspaces }, 10, 1)).rejects.toThrow(/ECONNREFUSED/)
  })
})

describe('askHotKeys on a Cluster', () => {
  let servers: RedisClusterServers
  beforeAll(async () => {
    servers = await startRedisCluster()
  })
  afterAll(() => servers.stop())

  test.each(CLIENT_LIBRARIES)('adds up what the processes say that answer, by $name', async library => {
    const prefix = `hot${++prefixes}:`
    await addsUp(() => openStore({ client: library.cluster(servers.nodes), prefix }))
  })
})
