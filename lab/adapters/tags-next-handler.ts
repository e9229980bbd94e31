/**
 * A handler that keeps the cache of Next in Redis, driven without Next: get, set with tags, revalidateTag.
 *
 * @see https://github.com/fortedigital/nextjs-cache-handler
 */
import createRedisHandler from '@fortedigital/nextjs-cache-handler/redis-strings'
import { createClient } from 'redis'
import { type About, type Adapter, type Setting, type Spell, tagOf } from '../adapter.ts'

export const about: About = {
  name: 'Next cache handler, redis-strings',
  docs: 'https://github.com/fortedigital/nextjs-cache-handler#redis-strings',
  packages: ['@fortedigital/nextjs-cache-handler', 'redis'],
  setUp:
    'createRedisHandler({ client, keyPrefix }) of redis-strings, without Next: get, SELECT, set with the tags as Next sets the answer of a fetch; UPDATE, revalidateTag.',
  refreshes: false,
  hasTags: true,
  tagKeys: /^nextjs:__sharedTags/,
}

/** It names a client of an older version, of which it uses what is the same in this one. */
type HandlerClient = Parameters<typeof createRedisHandler>[0]['client']
type Stored = Parameters<ReturnType<typeof createRedisHandler>['set']>[1]

export async function open({ redisPort, find, ttlMs, tagsFrom }: Setting): Promise<Adapter> {
  const client = createClient({ url: `redis://127.0.0.1:${redisPort}` })
  client.on('error', () => {})
  await client.connect()
  const handler = createRedisHandler({ client: client as unknown as HandlerClient, keyPrefix: 'nextjs:' })
  const keyOf = (id: number) => `book-${id}`
  return {
    async get(id) {
      const cached = await handler.get(keyOf(id), { implicitTags: [] })
      if (cached !== null && cached !== undefined) return bookIn(cached as Stored)
      const book = await find(id)
      if (book === null) return null
      const tags = (tagsFrom === 'id' ? [id] : book.spells!).map(tagOf)
      await handler.set(keyOf(id), stored(book, tags, ttlMs))
      return book
    },
    async write(id, change) {
      await change()
      await handler.revalidateTag(tagOf(id))
      return undefined
    },
    async writeAll(ids, change) {
      await change()
      for (const id of ids) await handler.revalidateTag(tagOf(id))
    },
  }
}

/** A value as Next hands the answer of a fetch to its handlers. */
function stored(book: Spell, tags: string[], ttlMs: number): Stored {
  const nowS = Math.floor(Date.now() / 1000)
  const ageS = Math.ceil(ttlMs / 1000)
  const at = nowS + ageS
  return {
    lastModified: Date.now(),
    lifespan: {
      lastModifiedAt: nowS,
      staleAge: ageS,
      expireAge: ageS,
      staleAt: at,
      expireAt: at,
      revalidate: ageS,
    },
    tags,
    value: {
      kind: 'FETCH',
      data: { headers: {}, body: JSON.stringify(book), url: '' },
      revalidate: ageS,
    },
  } as unknown as Stored
}

const bookIn = (cached: Stored): Spell =>
  JSON.parse((cached.value as unknown as { data: { body: string } }).data.body) as Spell
