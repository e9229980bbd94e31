/**
 * cacheable with its memory as primary, Redis as secondary, and its sync over Redis.
 *
 * @see https://github.com/jaredwray/cacheable/tree/main/packages/cacheable
 */
import KeyvRedis from '@keyv/redis'
import { RedisMessageProvider } from '@qified/redis'
import { Cacheable } from 'cacheable'
import type { About, Adapter, Setting } from '../adapter.ts'

export const about: About = {
  name: 'cacheable, L1 + L2 + sync',
  docs: 'https://github.com/jaredwray/cacheable/tree/main/packages/cacheable#cacheablesync---distributed-updates',
  packages: ['cacheable', '@qified/redis', '@keyv/redis', 'keyv'],
  setUp:
    'as cacheable, with sync: { qified: new RedisMessageProvider({ uri }) }, which sends values that were set and keys that were deleted to all processes; its two private clients are given listeners for errors, without which the process ends when a connection breaks.',
  refreshes: false,
}

export async function open({ redisPort, find, ttlMs }: Setting): Promise<Adapter> {
  const uri = `redis://127.0.0.1:${redisPort}`
  const provider = new RedisMessageProvider({ uri })
  // They are private, but without a listener each ends the process when its connection breaks, and no trial of that
  // could be done.
  for (const name of ['pub', 'sub'] as const) provider[name].on('error', () => {})
  const cache = new Cacheable({ secondary: new KeyvRedis(uri), sync: { qified: provider } })
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
