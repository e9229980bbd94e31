import { createCache } from 'cacheaside'
import { type RedisClient, redisShared } from 'cacheaside/redis'
import { Redis } from 'ioredis'
import { createClient } from 'redis'
import { ensureRedisServer } from '../../test/ensure-redis-server.ts'
import { type RedisServer, startRedis } from '../../test/redis-servers.ts'
import { type Case, spellOf, timesAtOnce, timesAwaited } from './measure.ts'

const KEYS = 100
const AT_ONCE = 256
/** More than are asked for at once: a read must not find another one of its key to wait for. */
const MANY_KEYS = 1024
/** More than a process remembers: none of them is known when it is read in order. */
const STRANGE_KEYS = 30_000
const ids = Array.from({ length: KEYS }, (_, id) => id)
const load = async (id: number) => spellOf(id)
const rawName = (id: number) => `raw:${id}`
const parsed = (text: string | null) => JSON.parse(text!)

/** What a cache on Redis takes beside the same client used by hand. */
export async function redisCases(): Promise<{ cases: Case[]; redis: string; close: () => Promise<void> }> {
  const server = await startRedis({}, ensureRedisServer())
  const client = new Redis(server.port)
  const pipelining = new Redis({ port: server.port, enableAutoPipelining: true })
  const nodeRedis = createClient({ url: `redis://127.0.0.1:${server.port}` })
  await nodeRedis.connect()
  for (let id = 0; id < MANY_KEYS; id++) await client.set(rawName(id), JSON.stringify(spellOf(id)))
  const handedIn = [new Redis(server.port), new Redis(server.port), new Redis(server.port)] as const
  const onIoredis = await opened('i', handedIn[0] as unknown as RedisClient)
  const onIoredisWithTags = await opened('t', handedIn[1] as unknown as RedisClient, true)
  const onNodeRedis = await opened('n', nodeRedis as unknown as RedisClient)
  const strange = await opened('s', handedIn[2] as unknown as RedisClient, false, STRANGE_KEYS)
  let strangeId = 0
  const get = (id: number) => client.get(rawName(id)).then(parsed)
  const getPipelined = (id: number) => pipelining.get(rawName(id)).then(parsed)
  const cases: Case[] = [
    { name: 'ioredis GET and parse', operations: 500, run: n => timesAwaited(n, i => get(i % KEYS)) },
    {
      name: 'await get, ioredis',
      against: 'ioredis GET and parse',
      goal: 1.08,
      operations: 500,
      run: n => timesAwaited(n, i => onIoredis.get(i % KEYS)),
    },
    {
      name: 'await get of a value that is not remembered, ioredis',
      against: 'ioredis GET and parse',
      operations: 500,
      run: n => timesAwaited(n, () => strange.get(strangeId++ % STRANGE_KEYS)),
    },
    {
      name: 'await get with three tags, ioredis',
      against: 'await get, ioredis',
      operations: 500,
      run: n => timesAwaited(n, i => onIoredisWithTags.get(i % KEYS)),
    },
    {
      name: 'node-redis GET and parse',
      operations: 500,
      run: n => timesAwaited(n, i => nodeRedis.get(rawName(i % KEYS)).then(parsed)),
    },
    {
      name: 'await get, node-redis',
      against: 'node-redis GET and parse',
      goal: 1.08,
      operations: 500,
      run: n => timesAwaited(n, i => onNodeRedis.get(i % KEYS)),
    },
    {
      name: '100 auto-pipelined GETs and parse',
      operations: 100,
      run: n => timesAwaited(n, () => Promise.all(ids.map(getPipelined))),
    },
    {
      name: 'MGET of 100 and parse',
      against: '100 auto-pipelined GETs and parse',
      operations: 100,
      run: n => timesAwaited(n, () => client.mget(ids.map(rawName)).then(texts => texts.map(parsed))),
    },
    {
      name: 'await getMany of 100, ioredis',
      against: '100 auto-pipelined GETs and parse',
      goal: 0.45,
      operations: 100,
      run: n => timesAwaited(n, () => onIoredis.getMany(ids)),
    },
    {
      name: '256 auto-pipelined GETs at once and parse',
      operations: 10_000,
      run: n => timesAtOnce(n, AT_ONCE, i => getPipelined(i % MANY_KEYS)),
    },
    {
      name: '256 gets at once, ioredis',
      against: '256 auto-pipelined GETs at once and parse',
      goal: 1.15,
      operations: 10_000,
      run: n => timesAtOnce(n, AT_ONCE, i => onIoredis.get(i % MANY_KEYS)),
    },
  ]
  const redis = /redis_version:(\S+)/.exec(await client.info('server'))?.[1] ?? 'unknown'
  return { cases, redis, close: () => ended(server, [client, pipelining, ...handedIn], nodeRedis) }
}

async function opened(prefix: string, client: RedisClient, hasTags = false, keys = MANY_KEYS) {
  const shared = redisShared({ client, prefix: `${prefix}:` })
  await shared.ready()
  // What is found later has to be there.
  const cache = createCache({ shared, fill: 'blocking', sharedTimeoutMs: 1_500 })
  const one = cache.tags<number>('one')
  const tags = (id: number) => [one.key(id % 10), one.key(100 + id), one.key(5_000)]
  const spells = cache.keyspace('spell', { load, ...(hasTags ? { tags } : {}) })
  for (let at = 0; at < keys; at += KEYS) await spells.getMany(Array.from({ length: KEYS }, (_, i) => at + i))
  if ((await spells.read(keys - 1)).from !== 'shared')
    throw new Error('the values of the bench were not stored')
  return spells
}

async function ended(server: RedisServer, clients: Redis[], nodeRedis: { destroy(): void }): Promise<void> {
  for (const client of clients) client.disconnect()
  nodeRedis.destroy()
  await server.stop()
}
