import { createCache } from 'cacheaside'
import { type RedisClient, redisShared } from 'cacheaside/redis'
import { Redis } from 'ioredis'
import pg from 'pg'
import { ensureRedisServer } from '../../test/ensure-redis-server.ts'
import { startRedis } from '../../test/redis-servers.ts'
import { startPostgres } from '../../test/services.ts'
import { type Case, measuredRows, timesAwaited } from './measure.ts'
import { middleOf, type Row, rowOf } from './report.ts'

const ROWS = 200_000
const SELECT = { name: 'select', text: 'SELECT id, name, damage FROM spell WHERE id = $1' }
const UPDATE = { name: 'update', text: 'UPDATE spell SET damage = damage + 1 WHERE id = $1' }
/** How many hits a measurement of the server's time takes: the server counts it in milliseconds. */
const HITS = 20_000

/** Misses and writes over Redis and PostgreSQL beside the same by hand, and what a hit costs the Redis. */
export async function databaseRows(
  rounds: number,
): Promise<{ rows: Row[]; versions: Record<string, string> }> {
  const redis = await startRedis({ maxmemory: '1gb', 'maxmemory-policy': 'allkeys-lru' }, ensureRedisServer())
  const postgres = await startPostgres()
  const pool = new pg.Pool({ connectionString: postgres.url })
  await pool.query(`CREATE TABLE spell (id int PRIMARY KEY, name text, damage int);
    INSERT INTO spell SELECT i, 'Spell ' || i, i % 50 FROM generate_series(0, ${ROWS}) AS i; ANALYZE spell`)
  const [client, handedIn] = [new Redis(redis.port), new Redis(redis.port)]
  const load = async (id: number) => (await pool.query({ ...SELECT, values: [id] })).rows[0]
  const shared = redisShared({ client: handedIn as unknown as RedisClient, prefix: 'c:' })
  await shared.ready()
  const cache = createCache({ shared })
  const spells = cache.keyspace('spell', { load })
  await spells.get(0)
  let [bareId, coldId] = [0, 0]
  const cases: Case[] = [
    {
      name: 'query and one GET',
      operations: 200,
      run: n => timesAwaited(n, () => client.get(`bare:${bareId++ % ROWS}`).then(() => load(bareId % ROWS))),
    },
    {
      name: 'await get, a miss on Redis',
      against: 'query and one GET',
      goal: 1.1,
      operations: 200,
      run: n => timesAwaited(n, () => spells.get(++coldId % ROWS)),
    },
    {
      name: 'UPDATE and DEL',
      operations: 200,
      run: n =>
        timesAwaited(n, i => pool.query({ ...UPDATE, values: [i] }).then(() => client.del(`c:spell:${i}`))),
    },
    {
      name: 'write: guard, UPDATE, release',
      against: 'UPDATE and DEL',
      goal: 1.15,
      operations: 200,
      run: n => timesAwaited(n, i => spells.write(i, () => pool.query({ ...UPDATE, values: [i] }))),
    },
  ]
  const rows = await measuredRows(cases, rounds)
  rows.push(
    await cpuRow(
      client,
      () => client.get('c:spell:1'),
      () => spells.get(1),
    ),
  )
  const versions = {
    Redis: /redis_version:(\S+)/.exec(await client.info('server'))?.[1] ?? 'unknown',
    PostgreSQL: (await pool.query('SHOW server_version')).rows[0].server_version as string,
  }
  await cache.close()
  for (const one of [client, handedIn]) one.disconnect()
  await pool.end()
  await Promise.all([redis.stop(), postgres.stop()])
  return { rows, versions }
}

/** The server's own time for a hit, beside that for a GET of the same key. Heartbeats and what else there is included. */
async function cpuRow(
  client: Redis,
  bare: () => Promise<unknown>,
  hit: () => Promise<unknown>,
): Promise<Row> {
  const usedUs = async () => {
    const info = await client.info('cpu')
    return ['sys', 'user'].reduce(
      (sum, kind) => sum + 1e6 * Number(new RegExp(`used_cpu_${kind}:([\\d.]+)`).exec(info)?.[1]),
      0,
    )
  }
  const costUs = async (run: () => Promise<unknown>) => {
    const before = await usedUs()
    await timesAwaited(HITS, run)
    return ((await usedUs()) - before) / HITS
  }
  const [ofHits, ratios]: [number[], number[]] = [[], []]
  for (let round = 0; round < 5; round++) {
    const [first, second] = round % 2 === 0 ? [bare, hit] : [hit, bare]
    const [one, other] = [await costUs(first), await costUs(second)]
    const [ofGet, ofHit] = round % 2 === 0 ? [one, other] : [other, one]
    ofHits.push(ofHit)
    ratios.push(ofHit / ofGet)
  }
  return rowOf({
    name: 'time of the Redis for a hit',
    value: { amount: middleOf(ofHits), unit: 'µs' },
    against: 'a GET of the same key',
    goal: 1.2,
    ratios,
  })
}
