/**
 * bentocache with Redis only.
 *
 * @see https://bentocache.dev/docs/cache-drivers
 */
import { BentoCache, bentostore } from 'bentocache'
import { redisDriver } from 'bentocache/drivers/redis'
import type { About, Adapter, Setting } from '../adapter.ts'

export const about: About = {
  name: 'bentocache, L2',
  docs: 'https://bentocache.dev/docs/cache-drivers',
  packages: ['bentocache', 'ioredis'],
  setUp:
    'useL2Layer(redisDriver); getOrSet, delete. Grace period off, as by default; for refreshes grace and timeout: 0, as documented.',
  refreshes: true,
}

export async function open({ redisPort, find, ttlMs, refresh }: Setting): Promise<Adapter> {
  const bento = new BentoCache({
    default: 'shared',
    stores: {
      shared: bentostore().useL2Layer(redisDriver({ connection: { host: '127.0.0.1', port: redisPort } })),
    },
  })
  const keyOf = (id: number) => `spell:${id}`
  const swr = refresh === undefined ? {} : { grace: refresh.staleMs, timeout: 0 }
  return {
    get: id => bento.getOrSet({ key: keyOf(id), ttl: ttlMs, ...swr, factory: () => find(id) }),
    async write(id, change) {
      await change()
      await bento.delete({ key: keyOf(id) })
      return undefined
    },
  }
}
