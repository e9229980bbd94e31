import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { PATIENCE } from '../../../test/patience.ts'
import {
  type RedisClusterServers,
  type RedisServer,
  serverPrograms,
  startRedis,
  startRedisCluster,
} from '../../../test/redis-servers.ts'
import { createCache } from '../../src/index.ts'
import { explain } from '../../src/operate/index.ts'
import { maxRegisterBytesOf } from '../../src/redis/value-sizes.ts'
import { markedToken } from '../../src/shared/key-mark.ts'
import { valueText } from '../../src/shared/register.ts'
import { auditedKeyspace } from '../../src/verify/index.ts'
import { IOREDIS } from '../redis/clients.ts'
import { openStore, token } from '../redis/harness.ts'
import { explainSuite } from './explain-suite.ts'

let prefixes = 0

describe.each(serverPrograms())('on one $name server', ({ path }) => {
  let server: RedisServer
  let raw: Redis
  beforeAll(async () => {
    server = await startRedis({}, path())
    raw = new Redis(server.port)
  })
  afterAll(async () => {
    raw.disconnect()
    await server.stop()
  })
  const open = () => {
    const prefix = `operate${++prefixes}:`
    return {
      shared: openStore({ client: IOREDIS.single(server.port), prefix }),
      plant: (key: string, text: string, lifeMs: number) => raw.set(prefix + key, text, 'PX', lifeMs),
      async dump() {
        const keys = (await raw.keys(`${prefix}*`)).sort()
        return [keys, await raw.mget(keys)]
      },
    }
  }

  explainSuite(open)

  test('explain tells of a register that belongs to another key, as a reader finds out', async () => {
    const { shared, plant } = open()
    const nonce = markedToken('spell:5', token('random'))
    const nowMs = String(Date.now())
    await plant('spell:4', `V${nonce}${'-'.repeat(29)}${token('g')}000001${nowMs}${nowMs}00000001= 4`, 10_000)
    const spells = auditedKeyspace('spell', { load: async (id: string) => id })
    const found = await explain({ shared, keyspaces: [spells] }, 'spell', ['4'])
    expect(found).toMatchObject({
      register: { state: 'value', mark: 'foreign' },
      readers: { plain: { from: 'origin', why: 'unreadable' } },
    })
  })

  test('explain says of a value that is larger than the store hands out what its readers get', async () => {
    const { shared, plant } = open()
    const cache = createCache({ shared })
    onTestFinished(() => cache.close())
    const options = { load: async (id: string) => id }
    const keyspaces = [auditedKeyspace('spell', options)]
    const spellsOfCache = cache.keyspace('spell', options)
    await shared.ready()
    // Of a process with another bound.
    const text = 'x'.repeat(maxRegisterBytesOf(shared.maxValueBytes!) + 1)
    const nowMs = Date.now()
    const times = { freshMs: 60_000, staleMs: 0, costMs: 1 }
    const nonce = markedToken('spell:4', token('random'))
    const generation = await shared.generation('spell', token('g'))
    await plant('spell:4', valueText(nonce, { ...times, generation, shape: 1, text }, nowMs), 60_000)
    const { readers } = await explain({ shared, keyspaces }, 'spell', ['4'])
    await vi.waitFor(async () => {
      const { from, why, kept } = await spellsOfCache.read('4')
      expect({ from, why, kept, absent: false }).toEqual(readers.plain)
    }, PATIENCE)
    expect(readers).toMatchObject({
      plain: { from: 'origin', why: 'too-large', kept: false },
      strong: { from: 'origin', why: 'too-large', kept: false },
    })
  })

  test('explain rejects with one reason where the store hangs', async () => {
    const hanging = await startRedis({}, path())
    const shared = openStore({ client: IOREDIS.single(hanging.port) })
    hanging.suspend()
    const spells = auditedKeyspace('spell', { load: async (id: string) => id })
    await expect(explain({ shared, keyspaces: [spells], timeoutMs: 300 }, 'spell', ['4'])).rejects.toThrow(
      'the shared store did not answer within 300 ms',
    )
    await hanging.stop()
  })
})

describe.each(serverPrograms())('on a Cluster of $name', ({ path }) => {
  let servers: RedisClusterServers
  let raw: InstanceType<typeof Redis.Cluster>
  beforeAll(async () => {
    servers = await startRedisCluster({}, path())
    raw = new Redis.Cluster([...servers.nodes])
  })
  afterAll(async () => {
    raw.disconnect()
    await servers.stop()
  })

  explainSuite(() => {
    const prefix = `operate${++prefixes}:`
    return {
      shared: openStore({ client: IOREDIS.cluster(servers.nodes), prefix }),
      plant: (key, text, lifeMs) => raw.set(prefix + key, text, 'PX', lifeMs),
      async dump() {
        const found = await Promise.all(raw.nodes('master').map(node => node.keys(`${prefix}*`)))
        const keys = found.flat().sort()
        return [keys, await Promise.all(keys.map(key => raw.get(key)))]
      },
    }
  })
})
