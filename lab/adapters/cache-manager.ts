/**
 * cache-manager with one store, Keyv on Redis.
 *
 * @see https://github.com/jaredwray/cacheable/tree/main/packages/cache-manager
 */
import { createKeyv } from '@keyv/redis'
import { createCache } from 'cache-manager'
import type { About, Adapter, Setting } from '../adapter.ts'

export const about: About = {
  name: 'cache-manager',
  docs: 'https://github.com/jaredwray/cacheable/tree/main/packages/cache-manager#wrap',
  packages: ['cache-manager', '@keyv/redis', 'keyv'],
  setUp:
    'createCache({ stores: [createKeyv(redis)] }); wrap, del. For refreshes refreshThreshold. A second store in memory has no bus, so it is not tried.',
  refreshes: true,
}

export async function open({ redisPort, find, ttlMs, refresh }: Setting): Promise<Adapter> {
  const keyv = createKeyv(`redis://127.0.0.1:${redisPort}`)
  keyv.on('error', () => {})
  const cache = createCache({ stores: [keyv] })
  return {
    get: id => cache.wrap(`spell:${id}`, () => find(id), ttlMs, refresh?.leftMs),
    async write(id, change) {
      await change()
      await cache.del(`spell:${id}`)
      return undefined
    },
  }
}
