/**
 * cacheable's tags, with its memory as primary and Redis as secondary.
 *
 * @see https://github.com/jaredwray/cacheable/tree/main/packages/cacheable
 */
import KeyvRedis from '@keyv/redis'
import { Cacheable } from 'cacheable'
import { type About, type Adapter, type Setting, type Spell, tagOf } from '../adapter.ts'

export const about: About = {
  name: 'cacheable, tags',
  docs: 'https://github.com/jaredwray/cacheable/tree/main/packages/cacheable#tag-based-invalidation',
  packages: ['cacheable', '@keyv/redis', 'keyv'],
  setUp:
    'new Cacheable({ secondary: new KeyvRedis(…), tags: true }) in every process; getOrSet with tags, or get and set with tags where they are known from the value; tags.invalidateTags.',
  refreshes: false,
  hasTags: true,
  tagKeys: /--cacheable--tags--/,
}

export async function open({ redisPort, find, ttlMs, tagsFrom }: Setting): Promise<Adapter> {
  const cache = new Cacheable({ secondary: new KeyvRedis(`redis://127.0.0.1:${redisPort}`), tags: true })
  cache.on('error', () => {})
  return {
    async get(id) {
      const key = `book:${id}`
      if (tagsFrom === 'id') {
        const options = { ttl: ttlMs, throwErrors: true, tags: [tagOf(id)] }
        return (await cache.getOrSet(key, () => find(id), options)) ?? null
      }
      const cached = await cache.get<Spell>(key)
      if (cached !== undefined) return cached
      const book = await find(id)
      await cache.set(key, book, { ttl: ttlMs, tags: (book?.spells ?? []).map(tagOf) })
      return book
    },
    async write(id, change) {
      await change()
      await cache.tags.invalidateTag(tagOf(id))
      return undefined
    },
    async writeAll(ids, change) {
      await change()
      await cache.tags.invalidateTags(ids.map(tagOf))
    },
  }
}
