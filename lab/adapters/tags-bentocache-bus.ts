/**
 * bentocache's tags, with a memory level, Redis, and its bus.
 *
 * @see https://bentocache.dev/docs/tagging
 */
import { BentoCache, bentostore } from 'bentocache'
import { memoryDriver } from 'bentocache/drivers/memory'
import { redisBusDriver, redisDriver } from 'bentocache/drivers/redis'
import { type About, type Adapter, type Setting, tagOf } from '../adapter.ts'

export const about: About = {
  name: 'bentocache, tags, L1 + L2 + bus',
  docs: 'https://bentocache.dev/docs/tagging',
  packages: ['bentocache', '@boringnode/bus', 'ioredis'],
  setUp:
    "L1, L2 and bus as in bentocache-bus; getOrSet with tags, or with the factory's setTags where they are known from the value; deleteByTag.",
  refreshes: false,
  hasTags: true,
  tagKeys: /___bc:t:/,
}

export async function open({ redisPort, find, ttlMs, tagsFrom }: Setting): Promise<Adapter> {
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
  return {
    get: id =>
      bento.getOrSet({
        key: `book:${id}`,
        ttl: ttlMs,
        ...(tagsFrom === 'id' ? { tags: [tagOf(id)] } : {}),
        factory: async ({ setTags }) => {
          const book = await find(id)
          if (tagsFrom === 'value') setTags((book?.spells ?? []).map(tagOf))
          return book
        },
      }),
    async write(id, change) {
      await change()
      await bento.deleteByTag({ tags: [tagOf(id)] })
      return undefined
    },
    async writeAll(ids, change) {
      await change()
      await bento.deleteByTag({ tags: ids.map(tagOf) })
    },
  }
}
