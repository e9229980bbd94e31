import { type Cache, createCache } from 'cacheaside'
import { installFeed, postgresFeed } from 'cacheaside/postgres'
import { type RedisClient, redisShared } from 'cacheaside/redis'
import { Redis } from 'ioredis'
import pg from 'pg'
import { ensureRedisServer } from '../../test/ensure-redis-server.ts'
import { eventually, startRedis } from '../../test/redis-servers.ts'
import { startPostgres } from '../../test/services.ts'
import type { Series } from './scale-report.ts'

const LASTS_MS = 3_000
const MOST_MS = 600_000

/** How long changes take to the shared store while more and more of them come. */
export async function changesPerSecond(): Promise<Series> {
  const scene = await begin()
  const cache = scene.open()
  await scene.drained()
  const points = []
  for (const size of [10, 100, 1_000, 10_000]) {
    scene.lagsMs.length = 0
    const beganMs = performance.now()
    let written = 0
    while (performance.now() - beganMs < LASTS_MS) {
      const due = Math.floor(((performance.now() - beganMs) / 1_000) * size) - written
      // Each change is a statement of its own, as programs write them.
      if (due > 0)
        await scene.pool.query(
          `DO $$ BEGIN FOR i IN 1..${due} LOOP UPDATE spell SET damage = 1 WHERE id = i; END LOOP; END $$`,
        )
      written += Math.max(0, due)
      await new Promise(resolve => setTimeout(resolve, 5))
    }
    const perSecond = (written * 1_000) / (performance.now() - beganMs)
    await scene.drained()
    points.push({ size, amounts: [perSecond, Math.max(0, ...scene.lagsMs)] })
  }
  await scene.end(cache)
  const measures = ['changes written per second', 'longest lag in ms']
  return {
    title: 'Changes through the feed',
    grows: 'changes per second, asked for',
    isLogarithmic: true,
    measures,
    points,
  }
}

/** What becomes of changes that nobody has read for a long time: up to a million, written by one statement each. */
export async function backlog(): Promise<Series> {
  const points = []
  for (const size of [1_000, 10_000, 100_000, 1_000_000]) {
    const scene = await begin()
    await scene.pool.query(
      `INSERT INTO spell SELECT i, 1 FROM generate_series(100001, ${100_000 + size}) AS i`,
    )
    const [held] = (await scene.pool.query('SELECT count(*)::int AS rows FROM cacheaside.outbox')).rows
    const before = process.memoryUsage().rss
    let most = before
    const watching = setInterval(() => {
      most = Math.max(most, process.memoryUsage().rss)
    }, 10)
    const beganMs = performance.now()
    const cache = scene.open()
    await scene.drained()
    clearInterval(watching)
    points.push({
      size,
      amounts: [(performance.now() - beganMs) / 1_000, held.rows, (most - before) / 2 ** 20],
    })
    await scene.end(cache)
  }
  return {
    title: 'A backlog of changes',
    grows: 'changes',
    isLogarithmic: true,
    measures: ['seconds until none is left', 'rows of the outbox', 'MiB more of memory'],
    points,
  }
}

/** A PostgreSQL with a watched table, a Redis, and what opens a cache on both. */
async function begin() {
  const redis = await startRedis({}, ensureRedisServer())
  const postgres = await startPostgres()
  const pool = new pg.Pool({ connectionString: postgres.url })
  await pool.query(`CREATE TABLE spell (id int PRIMARY KEY, damage int);
    INSERT INTO spell SELECT i, 1 FROM generate_series(1, 20000) AS i`)
  await installFeed(pool, { tables: ['spell'], maxRows: 2_000_000 })
  await pool.query('DELETE FROM cacheaside.outbox')
  const lagsMs: number[] = []
  const count = async () =>
    Number(
      (await pool.query('SELECT count(*) AS count FROM (SELECT FROM cacheaside.outbox LIMIT 1) AS waiting'))
        .rows[0].count,
    )
  return {
    pool,
    lagsMs,
    drained: () => eventually(async () => (await count()) === 0, 'the outbox to be empty', MOST_MS),
    open() {
      const client = new Redis({ port: redis.port, lazyConnect: true })
      const cache = createCache({
        shared: redisShared({ client: client as unknown as RedisClient, onWarning() {} }),
        feed: postgresFeed({ pool, tables: { spell: row => [spells.key(row.id)] } }),
        onEvent: event => {
          if (event.type === 'feed-batch') lagsMs.push(event.lagMs)
        },
      })
      const spells = cache.keyspace('spell', { load: async (id: number) => ({ id }) })
      return cache
    },
    async end(cache: Cache) {
      await cache.close()
      await pool.end()
      await Promise.all([redis.stop(), postgres.stop()])
    },
  }
}
