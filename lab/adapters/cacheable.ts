/**
 * cacheable with its memory as primary and Redis as secondary.
 *
 * @see https://github.com/jaredwray/cacheable/tree/main/packages/cacheable
 */
import KeyvRedis from '@keyv/redis'
import { Cacheable } from 'cacheable'
import type { About, Adapter, Setting } from '../adapter.ts'

export const about: About = {
  name: 'cacheable, L1 + L2',
  docs: 'https://github.com/jaredwray/cacheable/tree/main/packages/cacheable#getorset',
  packages: ['cacheable', '@keyv/redis', 'keyv'],
  setUp:
    'new Cacheable({ secondary: new KeyvRedis(…) }); getOrSet, delete. Blocking, as by default. The memory of other processes is not told.',
  refreshes: false,
}

export async function open({ redisPort, find, ttlMs }: Setting): Promise<Adapter> {
  const cache = new Cacheable({ secondary: new KeyvRedis(`redis://127.0.0.1:${redisPort}`) })
  cache.on('error', () => {})
  return {
    async get(id) {
      return (await cache.getOrSet(`spell:${id}`, () => find(id), { ttl: ttlMs, throwErrors: true })) ?? null
    },
    async write(id, change) {
      await change()
      await cache.delete(`spell:${id}`)
      return undefined
    },
  }
}
