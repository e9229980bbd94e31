/**
 * Cache-aside by hand on node-redis with its client-side cache: replies are kept in the process, and Redis tells it
 * over RESP3 when their keys change.
 *
 * @see https://github.com/redis/node-redis/blob/master/docs/v5.md#client-side-caching
 */
import { createClient } from 'redis'
import type { About, Adapter, Setting, Spell } from '../adapter.ts'

export const about: About = {
  name: 'node-redis, client-side cache',
  docs: 'https://github.com/redis/node-redis/blob/master/docs/v5.md#client-side-caching',
  packages: ['redis'],
  setUp:
    'RESP 3, clientSideCache { ttl: 0, maxEntries: 0, evictPolicy: LRU } as documented; GET, SELECT, awaited SET with PX; UPDATE, DEL.',
  refreshes: false,
}

export async function open({ redisPort, find, ttlMs }: Setting): Promise<Adapter> {
  const redis = createClient({
    url: `redis://127.0.0.1:${redisPort}`,
    RESP: 3,
    clientSideCache: { ttl: 0, maxEntries: 0, evictPolicy: 'LRU' },
  })
  redis.on('error', () => {})
  await redis.connect()
  return {
    async get(id) {
      const cached = await redis.get(`spell:${id}`)
      if (cached !== null) return JSON.parse(cached) as Spell
      const spell = await find(id)
      if (spell !== null) await redis.set(`spell:${id}`, JSON.stringify(spell), { PX: ttlMs })
      return spell
    },
    async write(id, change) {
      await change()
      await redis.del(`spell:${id}`)
      return undefined
    },
  }
}
