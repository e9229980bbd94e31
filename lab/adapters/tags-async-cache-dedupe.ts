/**
 * async-cache-dedupe's references, on Redis.
 *
 * @see https://github.com/mcollina/async-cache-dedupe
 */
import { createCache } from 'async-cache-dedupe'
import { Redis } from 'ioredis'
import { type About, type Adapter, type Setting, type Spell, tagOf } from '../adapter.ts'

export const about: About = {
  name: 'async-cache-dedupe, references',
  docs: 'https://github.com/mcollina/async-cache-dedupe#invalidation',
  packages: ['async-cache-dedupe', 'ioredis'],
  setUp:
    'storage redis with invalidation, referencesTTL as long as the ttl; references from the argument, or from the result; invalidateAll.',
  refreshes: false,
  hasTags: true,
  tagKeys: /^(r|k):/,
}

export async function open({ redisPort, find, ttlMs, tagsFrom }: Setting): Promise<Adapter> {
  const client = new Redis({ host: '127.0.0.1', port: redisPort })
  client.on('error', () => {})
  const ttl = Math.ceil(ttlMs / 1000)
  const cache = createCache({
    ttl,
    storage: { type: 'redis', options: { client, invalidation: { referencesTTL: ttl } } },
  }).define(
    'book',
    {
      references: (id: number, _key: string, book: Spell | null) =>
        tagsFrom === 'id' ? [tagOf(id)] : (book?.spells ?? []).map(tagOf),
    },
    (id: number) => find(id),
  )
  return {
    get: id => cache.book(id),
    async write(id, change) {
      await change()
      await cache.invalidateAll(tagOf(id))
      return undefined
    },
    async writeAll(ids, change) {
      await change()
      await cache.invalidateAll(ids.map(tagOf))
    },
  }
}
