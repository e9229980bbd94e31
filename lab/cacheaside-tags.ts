/** cacheaside with tags, those of tables where there is a feed, wired as its documents show; the adapters differ in the levels. */
import { type Cache, createCache } from 'cacheaside'
import { installFeed, postgresFeed, tableTags } from 'cacheaside/postgres'
import { redisShared } from 'cacheaside/redis'
import { Redis } from 'ioredis'
import type pg from 'pg'
import type { Adapter, Setting, Spell } from './adapter.ts'

const tables = tableTags({ scroll: { by: ['book'] }, spell: { by: ['id'] } })

/** Puts the triggers, the outbox and the groups of the feed into the database. */
export async function prepareTags(pool: pg.Pool): Promise<void> {
  await installFeed(pool, { tables })
}

/** Tags that only writers name. */
function namesIn(cache: Cache) {
  const [rows, shelves] = [cache.tags<number>('row'), cache.tags<number>('shelf')]
  return { spell: (id: number) => rows.key(id), shelf: (book: number) => shelves.key(book) }
}

/** Opens a cache with these levels. */
export async function openTags(
  { redisPort, pool, find, findMany, ttlMs, tagsFrom }: Setting,
  levels: { local: boolean; feed: boolean },
): Promise<Adapter> {
  const client = new Redis({ host: '127.0.0.1', port: redisPort, lazyConnect: true })
  const shared = redisShared({ client, allowUnsafePolicy: true, onWarning: () => {} })
  await shared.ready()
  const cache = createCache({
    shared,
    ...(levels.local ? { local: { maxBytes: 16 * 2 ** 20 } } : {}),
    ...(levels.feed ? { feed: postgresFeed({ pool, tables }) } : {}),
  })
  const { spell, shelf } = levels.feed
    ? {
        spell: (id: number) => tables.spell.where({ id }),
        shelf: (book: number) => tables.scroll.where({ book }),
      }
    : namesIn(cache)
  const books = cache.keyspace<number, Spell>('book', {
    load: async id => (await find(id)) ?? undefined,
    ttlMs,
    tags: id => [shelf(id), ...(tagsFrom === 'id' ? [spell(id)] : [])],
    tagsOf: book => (book?.spells ?? []).map(spell),
  })
  return {
    get: id => books.get(id),
    async getMany(ids) {
      const parts = ids.map(id => books.at(id))
      const load = async () => {
        const found = new Map((await findMany(ids)).map(book => [book.id, book]))
        return ids.map(id => found.get(id))
      }
      return (await cache.snapshot(parts, { load })).map(book => book ?? null)
    },
    async write(id, change) {
      const { invalidation, fenced } = await cache.write([spell(id)], change)
      return fenced ? invalidation : `${invalidation}, not fenced`
    },
    async writeAll(ids, change) {
      await cache.write(ids.map(spell), change)
    },
  }
}
