import { createCache, type Keyspace } from 'cacheaside'
import { type RedisClient, redisShared } from 'cacheaside/redis'
import { Redis } from 'ioredis'
import pg from 'pg'
import { ensureRedisServer } from '../../test/ensure-redis-server.ts'
import { startRedis } from '../../test/redis-servers.ts'
import { startPostgres } from '../../test/services.ts'
import { loadableScripts } from '../src/redis/scripts.ts'
import { DEFAULT_MAX_VALUE_BYTES, ValueSizes } from '../src/redis/value-sizes.ts'
import { type Case, measure, measuredRows, timesAwaited } from './measure.ts'
import { middleOf, type Row, rowOf } from './report.ts'

const ROWS = 200_000
const SELECT = { name: 'select', text: 'SELECT id, name, damage FROM spell WHERE id = $1' }
const UPDATE = { name: 'update', text: 'UPDATE spell SET damage = damage + 1 WHERE id = $1' }
/** What stands under a key while its writer is at work, and how the scripts are called by hand. */
const GUARD_TEXT = `W0${'t'.repeat(16)}${'9'.repeat(13)}`
const GUARD_MS = '30000'
const MOST = String(DEFAULT_MAX_VALUE_BYTES)
/** The channel that this process listens to by hand. */
const HEARD = 'hand:@heard'
/** A value's text before its times and behind them, as the library stores it. */
const headOf = (nonce: string) => `V${nonce}${'-'.repeat(29)}${'.'.repeat(16)}000001`
const tailOf = (row: unknown) => `00000001= ${JSON.stringify(row)}`
/** How many hits a measurement of the server's time takes: the server counts it in milliseconds. */
const HITS = 20_000
/**
 * How many rounds are run before those that count: 40,000 operations of each case. Until then V8 still compiles, for both sides,
 * and longer for the one with more code. A service is past that after a minute or so.
 */
const WARM_UP_ROUNDS = 200
/** How many operations a round takes that are not back to back. */
const SOME = 40

/** Misses and writes over Redis and PostgreSQL beside the same by hand, and what a hit costs the Redis. */
export async function databaseRows(
  rounds: number,
): Promise<{ rows: Row[]; versions: Record<string, string> }> {
  const redis = await startRedis({ maxmemory: '1gb', 'maxmemory-policy': 'allkeys-lru' }, ensureRedisServer())
  const postgres = await startPostgres()
  const pool = new pg.Pool({ connectionString: postgres.url })
  await pool.query(`CREATE TABLE spell (id int PRIMARY KEY, name text, damage int);
    INSERT INTO spell SELECT i, 'Spell ' || i, i % 50 FROM generate_series(0, ${ROWS}) AS i; ANALYZE spell`)
  const [client, handedIn, listening] = [1, 2, 3].map(() => new Redis(redis.port)) as [Redis, Redis, Redis]
  let heard = 0
  listening.on('message', () => void heard++)
  await listening.subscribe(HEARD)
  const load = async (id: number) => (await pool.query({ ...SELECT, values: [id] })).rows[0]
  const shared = redisShared({ client: handedIn as unknown as RedisClient, prefix: 'c:' })
  await shared.ready()
  const cache = createCache({ shared })
  const spells = cache.keyspace('spell', { load })
  await spells.get(0)
  const work = await workOver(client, pool, load, spells)
  const cases = casesOf(work)
  await measure(cases, WARM_UP_ROUNDS)
  const rows = await measuredRows(cases, rounds)
  rows.push(
    await cpuRow(
      client,
      () => client.get('c:spell:1'),
      () => spells.get(1),
    ),
    ...(await nowAndThenRows(work, [
      'query and one GET',
      'the scripts of lease and fill by hand, and query',
      'await get, a miss on Redis',
    ])),
    ...(await nowAndThenRows(work, [
      'UPDATE and DEL',
      'the scripts of guard and release by hand, and UPDATE',
      'write: guard, UPDATE, release',
    ])),
  )
  const versions = {
    Redis: /redis_version:(\S+)/.exec(await client.info('server'))?.[1] ?? 'unknown',
    PostgreSQL: (await pool.query('SHOW server_version')).rows[0].server_version as string,
  }
  if (heard === 0) throw new Error('no broadcast was heard')
  await cache.close()
  for (const one of [client, handedIn, listening]) one.disconnect()
  await pool.end()
  await Promise.all([redis.stop(), postgres.stop()])
  return { rows, versions }
}

type Work = Readonly<Record<string, (i: number) => Promise<unknown>>>

/** What is measured: the library's way, the usual way by hand, and the library's commands by hand. */
async function workOver(
  client: Redis,
  pool: pg.Pool,
  load: (id: number) => Promise<unknown>,
  spells: Keyspace<number, unknown>,
): Promise<Work> {
  const script = await scriptsBy(client)
  let [bareId, coldId, tokens] = [0, 0, 0]
  const token = () => `.${String(++tokens).padStart(15, '0')}`
  const update = (id: number) => pool.query({ ...UPDATE, values: [id] })
  const guarded = async (id: number, channel: string) => {
    const mine = token()
    await script('guard', `hand:${id}`, channel, `invalidated ${id}`, mine, GUARD_MS, '0')
    await update(id)
    await script('release', `hand:${id}`, channel, `invalidated ${id}`, mine)
  }
  return {
    'query and one GET': () => client.get(`bare:${bareId++ % ROWS}`).then(() => load(bareId % ROWS)),
    'the script of the lease by hand, and query': () =>
      script('create', `hand:${bareId++ % ROWS}`, MOST, '15000', `L${token()}`).then(() =>
        load(bareId % ROWS),
      ),
    // The fill is sent when the caller has gone on, as the library sends it.
    async 'the scripts of lease and fill by hand, and query'() {
      const [key, mine] = [`hand:${bareId++ % ROWS}`, token()]
      await script('create', key, MOST, '15000', `L${mine}`)
      const row = await load(bareId % ROWS)
      process.nextTick(() => {
        void script('fill', key, `L${mine}`, headOf(mine), tailOf(row), '600000', '600000')
      })
    },
    'await get, a miss on Redis': () => spells.get(++coldId % ROWS),
    'UPDATE and DEL': id => update(id).then(() => client.del(`c:spell:${id}`)),
    async 'SET of a guard, UPDATE and DEL'(id) {
      await client.set(`hand:${id}`, GUARD_TEXT, 'PX', GUARD_MS)
      await update(id)
      await client.del(`hand:${id}`)
    },
    'the scripts of guard and release by hand, and UPDATE': id => guarded(id, 'hand:@broadcast'),
    'the same, by a process that listens to both broadcasts': id => guarded(id, HEARD),
    'write: guard, UPDATE, release': id => spells.write(id, () => update(id)),
  }
}

const GOALS: Readonly<Record<string, number>> = {
  'await get, a miss on Redis': 1.1,
  'write: guard, UPDATE, release': 1.15,
}

/** One after the other. Reads are held against the first, writes against the first of them. */
const casesOf = (work: Work): Case[] =>
  Object.entries(work).map(([name, run]) => {
    const against = /UPDATE|broadcasts/.test(name) ? 'UPDATE and DEL' : 'query and one GET'
    return {
      name,
      ...(name === against ? {} : { against }),
      ...(GOALS[name] === undefined ? {} : { goal: GOALS[name] }),
      operations: 200,
      run: n => timesAwaited(n, run),
    }
  })

/** Calls a script of the library by name, through a client that the library does not know. */
async function scriptsBy(client: Redis) {
  const { create, fill, guard, release } = loadableScripts(false, new ValueSizes(DEFAULT_MAX_VALUE_BYTES))
  const shas = new Map<string, string>()
  let calls = 0
  for (const { name, source } of [create, fill, guard, release])
    shas.set(name, (await client.script('LOAD', source)) as string)
  return (name: string, key: string, ...args: string[]) =>
    client.evalsha(shas.get(name)!, 1, key, ...args, `${name} ${++calls}`)
}

/**
 * What a caller waits for where work is not back to back: one operation every two milliseconds or so. What is done behind its
 * answer has ended before the next one, and client and servers have slept.
 */
async function nowAndThenRows(work: Work, names: readonly [string, ...string[]]): Promise<Row[]> {
  const medianNs = async (name: string) => {
    const taken: number[] = []
    for (let i = 0; i < SOME; i++) {
      await new Promise(resolve => setTimeout(resolve, 1 + 2 * Math.random()))
      const beganMs = performance.now()
      await work[name]!(i)
      taken.push((performance.now() - beganMs) * 1e6)
    }
    return middleOf(taken)
  }
  const taken = new Map<string, number[]>(names.map(name => [name, []]))
  for (let round = 0; round < 16; round++)
    for (const name of round % 2 === 0 ? names : names.toReversed())
      taken.get(name)!.push(await medianNs(name))
  const label = (name: string) => `${name}, now and then`
  const [bare, ...others] = names
  const ofBare = taken.get(bare)!
  return [
    rowOf({ name: label(bare), value: { amount: middleOf(ofBare), unit: 'ns' } }),
    ...others.map(name => {
      const times = taken.get(name)!
      const ratios = times.map((time, i) => time / ofBare[i]!)
      return rowOf({
        name: label(name),
        value: { amount: middleOf(times), unit: 'ns' },
        against: label(bare),
        ratios,
      })
    }),
  ]
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
