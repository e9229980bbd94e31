/**
 * cachified on node-redis through its Redis adapter.
 *
 * @see https://github.com/epicweb-dev/cachified
 */
import { cachified } from '@epic-web/cachified'
import { redisCacheAdapter } from 'cachified-redis-adapter'
import { createClient } from 'redis'
import type { About, Adapter, Setting } from '../adapter.ts'

export const about: About = {
  name: 'cachified',
  docs: 'https://github.com/epicweb-dev/cachified#manually-working-with-the-cache',
  packages: ['@epic-web/cachified', 'cachified-redis-adapter', 'redis'],
  setUp:
    'cachified() with the Redis adapter; after a write cache.delete(key). For refreshes staleWhileRevalidate.',
  refreshes: true,
}

export async function open({ redisPort, find, ttlMs, refresh }: Setting): Promise<Adapter> {
  const redis = createClient({ url: `redis://127.0.0.1:${redisPort}` })
  redis.on('error', () => {})
  await redis.connect()
  const cache = redisCacheAdapter({
    get: key => redis.get(key),
    del: key => redis.del(key),
    set: (key, value, options) => redis.set(key, value, options),
  })
  const swr = refresh === undefined ? {} : { staleWhileRevalidate: refresh.staleMs }
  return {
    get: id => cachified({ key: `spell:${id}`, cache, ttl: ttlMs, ...swr, getFreshValue: () => find(id) }),
    async write(id, change) {
      await change()
      await cache.delete(`spell:${id}`)
      return undefined
    },
  }
}
