/** The laboratory on a real Redis and a real PostgreSQL, as several processes use them. */
import type { ChangeFeed } from 'cacheaside'
import pg from 'pg'
import { pino } from 'pino'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { PATIENCE } from '../../test/patience.ts'
import { type RedisServer, startRedis } from '../../test/redis-servers.ts'
import { createDatabase, sharedPostgresUrl } from '../../test/services.ts'
import type { CacheConfig } from '../src/config.ts'
import type { Database } from '../src/database/database.ts'
import { openPostgres } from '../src/database/postgres.ts'
import { Laboratory } from '../src/laboratory/laboratory.ts'
import { pausableFeed } from '../src/laboratory/switches.ts'
import { withMethod } from '../src/laboratory/with-method.ts'
import { processMetrics } from '../src/metrics-route.ts'
import { installChangeFeed, migrate } from '../src/migrations.ts'
import { parseRedisUrl, type RedisServers } from '../src/redis-url.ts'
import { openServing } from '../src/serving.ts'
import { openSharedStore } from '../src/shared-store.ts'
import { CACHE } from './harness.ts'

const silent = pino({ level: 'silent' })
const ofProcess = processMetrics()
let redis: RedisServer
let database: Database
let psql: pg.Client
let laboratory: Laboratory
/** How often the relay has asked its feed for changes. */
let takes = 0
let end = async () => {}

/** Counts what the relay asks a feed, paused or not. */
const counted = (feed: ChangeFeed): ChangeFeed =>
  withMethod(feed, 'open', async opening => {
    const session = await feed.open(opening)
    return withMethod(session, 'take', asked => {
      takes++
      return session.take(asked)
    })
  })

async function open(shared: CacheConfig['shared']): Promise<void> {
  const config = { ...CACHE, feed: true, shared }
  const store = await openSharedStore(shared, silent)
  takes = 0
  laboratory = await Laboratory.open({
    database,
    shared: store,
    config,
    open: (served, switches) =>
      openServing({
        ...served,
        log: silent,
        processMetrics: ofProcess,
        maxViewers: 2,
        feedThrough: feed => counted(pausableFeed(feed, switches)),
      }),
  })
  end = async () => {
    await laboratory.close()
    await store.close()
  }
}

beforeAll(async () => {
  const url = await createDatabase(sharedPostgresUrl())
  database = openPostgres({ kind: 'postgres', url, poolMax: 10, timeoutMs: 5_000 }, () => {})
  psql = new pg.Client({ connectionString: url })
  ;[redis] = await Promise.all([startRedis(), psql.connect(), migrate(database)])
  await installChangeFeed(database)
})
afterEach(() => end())
afterAll(async () => {
  await psql?.end()
  await database?.close()
  await redis?.stop()
})

const read = (id: string) => laboratory.serving.spells.find(id)
const from = async (id: string) => (await read(id)).from
const hits = (id: string) => vi.waitFor(async () => expect(await from(id)).toBe('shared'), PATIENCE)
const ended = () =>
  vi.waitFor(() => {
    if (laboratory.state.running !== undefined) throw new Error('it is still running')
    return laboratory.state.result!
  }, PATIENCE)

describe('on Redis and PostgreSQL the laboratory', () => {
  beforeEach(async () => {
    await redis.command('FLUSHALL')
    await open({ kind: 'redis', ...(parseRedisUrl(redis.url) as RedisServers), policy: undefined })
  })

  test('tells how it is set, and refuses what the server belongs to others for', () => {
    expect(laboratory.state).toMatchObject({
      settings: { cache: 'on', feedPaused: false, policy: undefined, maxBytes: undefined },
      store: undefined,
    })
    expect(() => laboratory.set({ policy: 'noeviction', maxBytes: 65_536 })).toThrow(
      'policy and maxBytes cannot be changed here.',
    )
    expect(() => laboratory.begin({ name: 'fill' })).toThrow('The cache is on a server')
  })

  test('makes the database slow and values short-lived', async () => {
    await laboratory.set({ databaseDelayMs: 60, ttlMs: 1_000 })
    const { from: source, timings } = await read('1')
    expect([source, timings.totalMs > 50]).toEqual(['origin', true])
    await hits('1')
    expect((await read('1')).ttlMs ?? 0).toBeLessThanOrEqual(1_000)
    await vi.waitFor(async () => expect(await from('1')).toBe('origin'), PATIENCE)
  })

  test.each(['cut', 'hung'] as const)('leaves reads and writes right while the cache is %s', async how => {
    await hits('2')
    await laboratory.set({ cache: how })
    expect(await from('2')).toBe('origin')
    const { value, invalidation } = await laboratory.serving.spells.update('2', { damage: 26 })
    expect({ damage: value?.damage, invalidation }).toEqual({ damage: 26, invalidation: 'queued' })
    expect((await read('2')).value?.damage).toBe(26)
    laboratory.begin({ name: 'crowd', id: '5', readers: 500 })
    expect(await ended()).toMatchObject({ readers: 500, loads: 1, failed: 0 })
    await laboratory.set({ cache: 'on' })
    await hits('2')
    expect((await read('2')).value?.damage).toBe(26)
    expect(laboratory.state.counts).toMatchObject({ failed: 0, stale: 0 })
  })

  test('pauses the feed: what psql has changed is not seen until it goes on', async () => {
    // Before a feed asks for changes it gives keyspaces that are new to it another generation: what was read before falls.
    await vi.waitFor(() => expect(takes).toBeGreaterThan(0), PATIENCE)
    await hits('3')
    await laboratory.set({ feedPaused: true })
    await psql.query('update spell set damage = 99 where id = 3')
    const before = takes
    await vi.waitFor(() => expect(takes).toBeGreaterThan(before + 2), PATIENCE)
    expect(await read('3')).toMatchObject({ from: 'shared', value: { damage: 35 } })
    await laboratory.set({ feedPaused: false })
    await vi.waitFor(async () => expect((await read('3')).value?.damage).toBe(99), PATIENCE)
  })

  test('has 500 readers of one cold key answered by one query', async () => {
    laboratory.begin({ name: 'crowd', id: '4', readers: 500 })
    expect(await ended()).toMatchObject({ readers: 500, loads: 1, failed: 0, uncachedLoads: 500 })
  })

  test('finds no stale answer among readers and a writer, while the cache comes and goes', async () => {
    const judgedMore = async () => {
      const { judged } = laboratory.state.counts
      await vi.waitFor(() => expect(laboratory.state.counts.judged).toBeGreaterThan(judged + 3), PATIENCE)
    }
    laboratory.begin({ name: 'traffic', seconds: 20 })
    for (const change of [{ cache: 'hung' }, { cache: 'on', ttlMs: 5_000 }, { feedPaused: true }] as const) {
      await judgedMore()
      await laboratory.set(change)
    }
    await judgedMore()
    expect(laboratory.state.counts).toMatchObject({ failed: 0, stale: 0 })
    await laboratory.reset()
  })
})

test('on PostgreSQL alone the laboratory chooses policy and memory, and fills it until something has to go', async () => {
  await open(CACHE.shared)
  await laboratory.set({ policy: 'allkeys-lru', maxBytes: 65_536 })
  laboratory.begin({ name: 'fill' })
  expect(await ended()).toMatchObject({ name: 'fill', isFull: true })
  expect(laboratory.state).toMatchObject({ settings: { policy: 'allkeys-lru', maxBytes: 65_536 } })
  expect(laboratory.state.store?.evictions).toBeGreaterThan(0)
})
