/**
 * Tags as they are written by hand: a set per tag, which names the keys under it. The steps are those of the Redis example for
 * the cache handler of Next: SET, then SADD; to invalidate SMEMBERS, DEL of the keys, DEL of the set.
 *
 * @see https://github.com/vercel/next.js/tree/canary/examples/cache-handler-redis
 */
import { Redis } from 'ioredis'
import { type About, type Adapter, type Setting, type Spell, tagOf } from '../adapter.ts'

export const about: About = {
  name: 'plain ioredis, a set per tag',
  docs: 'https://github.com/vercel/next.js/tree/canary/examples/cache-handler-redis',
  packages: ['ioredis'],
  setUp:
    "GET, SELECT, SET, SADD of the key to each tag's set; UPDATE, SMEMBERS, DEL. The steps of Next's example of a cache handler on Redis; its file needs Next itself, so it is not run as it is.",
  refreshes: false,
  hasTags: true,
  tagKeys: /^tag:/,
}

export async function open({ redisPort, find, ttlMs, tagsFrom }: Setting): Promise<Adapter> {
  const redis = new Redis({ host: '127.0.0.1', port: redisPort })
  redis.on('error', () => {})
  const keyOf = (id: number) => `book:${id}`
  const invalidate = async (row: number) => {
    const set = `tag:${tagOf(row)}`
    const keys = await redis.smembers(set)
    if (keys.length > 0) await redis.del(...keys)
    await redis.del(set)
  }
  return {
    async get(id) {
      const cached = await redis.get(keyOf(id))
      if (cached !== null) return JSON.parse(cached) as Spell
      const book = await find(id)
      if (book === null) return null
      await redis.set(keyOf(id), JSON.stringify(book), 'PX', ttlMs)
      for (const row of tagsFrom === 'id' ? [id] : book.spells!)
        await redis.sadd(`tag:${tagOf(row)}`, keyOf(id))
      return book
    },
    async write(id, change) {
      await change()
      await invalidate(id)
      return undefined
    },
    async writeAll(ids, change) {
      await change()
      for (const id of ids) await invalidate(id)
    },
  }
}
