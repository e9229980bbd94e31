/**
 * bentocache's tags, with Redis only.
 *
 * @see https://bentocache.dev/docs/tagging
 */
import { BentoCache, bentostore } from 'bentocache'
import { redisDriver } from 'bentocache/drivers/redis'
import { type About, type Adapter, type Setting, tagOf } from '../adapter.ts'

export const about: About = {
  name: 'bentocache, tags, L2',
  docs: 'https://bentocache.dev/docs/tagging',
  packages: ['bentocache', 'ioredis'],
  setUp:
    "useL2Layer(redisDriver); getOrSet with tags, or with the factory's setTags where they are known from the value; deleteByTag.",
  refreshes: false,
  hasTags: true,
  tagKeys: /___bc:t:/,
}

export async function open({ redisPort, find, ttlMs, tagsFrom }: Setting): Promise<Adapter> {
  const bento = new BentoCache({
    default: 'shared',
    stores: {
      shared: bentostore().useL2Layer(redisDriver({ connection: { host: '127.0.0.1', port: redisPort } })),
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
