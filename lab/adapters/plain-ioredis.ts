/**
 * Cache-aside as it is written by hand: GET, on a miss SELECT and an awaited SET; UPDATE, then DEL. Rows that do not
 * exist are not cached.
 *
 * @see https://learn.microsoft.com/azure/architecture/patterns/cache-aside
 */
import { Redis } from 'ioredis'
import type { About, Adapter, Setting, Spell } from '../adapter.ts'

export const about: About = {
  name: 'plain ioredis, awaited SET',
  docs: 'https://learn.microsoft.com/azure/architecture/patterns/cache-aside',
  packages: ['ioredis'],
  setUp:
    'GET, SELECT, awaited SET with PX; UPDATE, DEL. The defaults of the client: offline queue, 20 retries.',
  refreshes: false,
}

export async function open({ redisPort, find, findMany, ttlMs }: Setting): Promise<Adapter> {
  const redis = new Redis({ host: '127.0.0.1', port: redisPort })
  redis.on('error', () => {})
  const keyOf = (id: number) => `spell:${id}`
  return {
    async get(id) {
      const cached = await redis.get(keyOf(id))
      if (cached !== null) return JSON.parse(cached) as Spell
      const spell = await find(id)
      if (spell !== null) await redis.set(keyOf(id), JSON.stringify(spell), 'PX', ttlMs)
      return spell
    },
    async getMany(ids) {
      const cached = await redis.mget(ids.map(keyOf))
      const spells = new Map<number, Spell>()
      for (const text of cached) {
        const spell = text === null ? null : (JSON.parse(text) as Spell)
        if (spell !== null) spells.set(spell.id, spell)
      }
      const missing = ids.filter(id => !spells.has(id))
      for (const spell of missing.length > 0 ? await findMany(missing) : []) {
        spells.set(spell.id, spell)
        await redis.set(keyOf(spell.id), JSON.stringify(spell), 'PX', ttlMs)
      }
      return ids.map(id => spells.get(id) ?? null)
    },
    async write(id, change) {
      await change()
      await redis.del(keyOf(id))
      return undefined
    },
  }
}
