/**
 * bentocache with a memory level, Redis, and its bus.
 *
 * @see https://bentocache.dev/docs/multi-tier
 */
import { BentoCache, bentostore } from 'bentocache'
import { memoryDriver } from 'bentocache/drivers/memory'
import { redisBusDriver, redisDriver } from 'bentocache/drivers/redis'
import type { About, Adapter, Setting } from '../adapter.ts'

export const about: About = {
  name: 'bentocache, L1 + L2 + bus',
  docs: 'https://bentocache.dev/docs/multi-tier',
  packages: ['bentocache', '@boringnode/bus', 'ioredis'],
  setUp:
    'useL1Layer(memoryDriver), useL2Layer(redisDriver), useBus(redisBusDriver); getOrSet, delete. Grace period off, errors of L2 suppressed, bus retried: as by default.',
  refreshes: true,
}

export async function open({ redisPort, find, ttlMs, refresh }: Setting): Promise<Adapter> {
  const connection = { host: '127.0.0.1', port: redisPort }
  const bento = new BentoCache({
    default: 'tiered',
    stores: {
      tiered: bentostore()
        .useL1Layer(memoryDriver({ maxSize: '10mb' }))
        .useL2Layer(redisDriver({ connection }))
        .useBus(redisBusDriver({ connection })),
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
