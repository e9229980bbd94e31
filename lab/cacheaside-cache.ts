/** cacheaside, wired as its README shows; the adapters differ in the levels. */
import { createCache, type Keyspace } from 'cacheaside'
import { installFeed, postgresFeed } from 'cacheaside/postgres'
import { redisShared } from 'cacheaside/redis'
import { Redis } from 'ioredis'
import type pg from 'pg'
import type { Adapter, Setting, Spell } from './adapter.ts'

/** Puts the triggers and the outbox of the feed into the database. */
export async function prepareFeed(pool: pg.Pool): Promise<void> {
  await installFeed(pool, { tables: ['spell'] })
}

/** Opens a cache with these levels. */
export async function openCache(
  { redisPort, pool, find, findMany, ttlMs, refresh }: Setting,
  levels: { local: boolean; feed: boolean },
): Promise<Adapter> {
  const client = new Redis({ host: '127.0.0.1', port: redisPort, lazyConnect: true })
  const shared = redisShared({ client, onWarning: () => {} })
  await shared.ready()
  let spells: Keyspace<number, Spell>
  const cache = createCache({
    shared,
    ...(levels.local ? { local: { maxBytes: 16 * 2 ** 20 } } : {}),
    ...(levels.feed ? { feed: postgresFeed({ pool, tables: { spell: row => [spells.key(row.id)] } }) } : {}),
  })
  spells = cache.keyspace<number, Spell>('spell', {
    load: async id => (await find(id)) ?? undefined,
    loadMany: async ids => (await findMany(ids)).map(spell => [spell.id, spell] as const),
    ttlMs,
    // Otherwise an absence is remembered for a minute, which would heal what the other adapters are counted for.
    absentTtlMs: ttlMs,
    ...(refresh === undefined ? {} : { staleMs: refresh.staleMs }),
  })
  return {
    get: id => spells.get(id),
    async getMany(ids) {
      const values = await spells.getMany(ids)
      return ids.map(id => values.get(id) ?? null)
    },
    async write(id, change) {
      const { invalidation, fenced } = await spells.write(id, change)
      return fenced ? invalidation : `${invalidation}, not fenced`
    },
  }
}
