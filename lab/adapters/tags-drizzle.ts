/**
 * Drizzle's cache with tables, on Redis. Its own store speaks to Upstash over HTTP; here the same class sends the same commands and
 * scripts to Redis by ioredis.
 *
 * @see https://orm.drizzle.team/docs/cache
 */
import type { Redis as UpstashRedis } from '@upstash/redis'
import { eq, sql } from 'drizzle-orm'
import { UpstashCache } from 'drizzle-orm/cache/upstash'
import { drizzle, type NodePgClient } from 'drizzle-orm/node-postgres'
import { bigint, integer, pgTable } from 'drizzle-orm/pg-core'
import { Redis } from 'ioredis'
import type { About, Adapter, Setting } from '../adapter.ts'

export const about: About = {
  name: 'Drizzle, cache with tables',
  docs: 'https://orm.drizzle.team/docs/cache',
  packages: ['drizzle-orm', '@upstash/redis', 'ioredis'],
  setUp:
    'select with $withCache, of scroll joined with spell, and its UpstashCache, whose commands go to Redis by ioredis, but for HEXPIRE, which this Redis lacks; $cache.invalidate({ tables }) after the commit, which is safer than what Drizzle does by itself: it invalidates while the UPDATE is under way. The statement that Drizzle makes is run as the SELECT of all.',
  refreshes: false,
  hasTags: true,
  tagKeys: /^__CTS__/,
  unfit: {
    'late-tag': 'the tables of a query are known from its statement, before it is run',
    'stamp-evicted': 'a write ends all values that show the table, and what is known of tags with them',
  },
}

const spell = pgTable('spell', { id: bigint({ mode: 'number' }).primaryKey(), version: integer().notNull() })
const scroll = pgTable('scroll', { book: bigint({ mode: 'number' }), spell: bigint({ mode: 'number' }) })

export async function open({ redisPort, find, ttlMs }: Setting): Promise<Adapter> {
  const redis = new Redis({ host: '127.0.0.1', port: redisPort })
  redis.on('error', () => {})
  const client = {
    async query(_statement: unknown, [id]: [number]) {
      const book = await find(id)
      return { rows: book === null ? [] : [[book.id, book.version, book.spells]] }
    },
  }
  const cache = new UpstashCache(upstashOn(redis), { ex: Math.ceil(ttlMs / 1000) }, false)
  const db = drizzle({ client: client as unknown as NodePgClient, cache })
  const invalidate = () => db.$cache.invalidate({ tables: [spell] })
  return {
    async get(id) {
      const [book] = await db
        .select({
          id: sql<number>`${scroll.book}`,
          version: sql<number>`sum(${spell.version})::int`,
          spells: sql<number[]>`array_agg(${spell.id})`,
        })
        .from(scroll)
        .innerJoin(spell, eq(spell.id, scroll.spell))
        .where(eq(scroll.book, id))
        .groupBy(scroll.book)
        .$withCache()
      return book ?? null
    },
    async write(_id, change) {
      await change()
      await invalidate()
      return undefined
    },
    async writeAll(_ids, change) {
      await change()
      await invalidate()
    },
  }
}

/** What the cache uses of Upstash's client. Like that it keeps values as JSON. */
function upstashOn(redis: Redis): UpstashRedis {
  const used = {
    createScript: (lua: string) => ({
      exec: (keys: string[], args: string[]) => redis.eval(lua, keys.length, ...keys, ...args),
    }),
    async hget(key: string, field: string): Promise<unknown> {
      const text = await redis.hget(key, field)
      return text === null ? null : JSON.parse(text)
    },
    pipeline() {
      const pipeline = redis.pipeline()
      return {
        hset(key: string, fields: Readonly<Record<string, unknown>>) {
          for (const [field, value] of Object.entries(fields))
            pipeline.hset(key, field, JSON.stringify(value))
        },
        // Nothing would expire within a trial.
        hexpire() {},
        sadd: (key: string, member: string) => pipeline.sadd(key, member),
        exec: () => pipeline.exec(),
      }
    },
  }
  return used as unknown as UpstashRedis
}
