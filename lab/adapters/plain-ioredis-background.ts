/**
 * Cache-aside as it is written by hand by those who do not want to wait for the cache: as `plain-ioredis`, but the SET
 * is sent and not awaited.
 */
import { Redis } from 'ioredis'
import type { About, Adapter, Setting, Spell } from '../adapter.ts'

export const about: About = {
  name: 'plain ioredis, background SET',
  docs: 'https://learn.microsoft.com/azure/architecture/patterns/cache-aside',
  packages: ['ioredis'],
  setUp: 'GET, SELECT, SET with PX that nobody waits for; UPDATE, awaited DEL. The defaults of the client.',
  refreshes: false,
}

export async function open({ redisPort, find, ttlMs }: Setting): Promise<Adapter> {
  const redis = new Redis({ host: '127.0.0.1', port: redisPort })
  redis.on('error', () => {})
  return {
    async get(id) {
      const cached = await redis.get(`spell:${id}`)
      if (cached !== null) return JSON.parse(cached) as Spell
      const spell = await find(id)
      if (spell !== null)
        redis.set(`spell:${id}`, JSON.stringify(spell), 'PX', ttlMs).catch(() => {
          // A cache that cannot be filled is no reason to fail.
        })
      return spell
    },
    async write(id, change) {
      await change()
      await redis.del(`spell:${id}`)
      return undefined
    },
  }
}
