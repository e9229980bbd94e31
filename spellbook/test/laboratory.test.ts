/** The laboratory: what it disturbs, what it counts, and that everything ends. */
import { SimulatedClock, SimulatedFeed } from 'cacheaside/testing'
import type { FastifyInstance, InjectOptions } from 'fastify'
import { pino } from 'pino'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { PATIENCE } from '../../test/patience.ts'
import { createApp } from '../src/app.ts'
import type { CacheConfig } from '../src/config.ts'
import type { Database } from '../src/database/database.ts'
import { openPGlite } from '../src/database/pglite.ts'
import { SUBJECT } from '../src/laboratory/experiments.ts'
import { Laboratory } from '../src/laboratory/laboratory.ts'
import { StaleJudge } from '../src/laboratory/stale-judge.ts'
import { pausableFeed, undisturbed } from '../src/laboratory/switches.ts'
import { processMetrics } from '../src/metrics-route.ts'
import { migrate } from '../src/migrations.ts'
import { openServing } from '../src/serving.ts'
import { openSharedStore } from '../src/shared-store.ts'
import { CACHE } from './harness.ts'

const silent = pino({ level: 'silent' })
const ofProcess = processMetrics()
let database: Database
let laboratory: Laboratory

async function openLaboratory(config: CacheConfig = CACHE): Promise<Laboratory> {
  const shared = await openSharedStore(config.shared, silent)
  return Laboratory.open({
    database,
    shared,
    config,
    open: served => openServing({ ...served, log: silent, processMetrics: ofProcess, maxViewers: 2 }),
  })
}

beforeAll(async () => {
  database = await openPGlite({ kind: 'pglite', folder: undefined })
  await migrate(database)
})
afterAll(() => database.close())
beforeEach(async () => {
  laboratory = await openLaboratory()
})
afterEach(() => laboratory.close())

const spells = () => laboratory.serving.spells
const from = async (id: string) => (await spells().find(id)).from
const ended = () =>
  vi.waitFor(() => {
    if (laboratory.state.running !== undefined) throw new Error('it is still running')
    return laboratory.state.result!
  }, PATIENCE)
const subjects = async () =>
  (
    await database.query<{ count: number }>('select count(*)::int as count from spell where name = $1', [
      SUBJECT,
    ])
  )[0]!.count

describe('the switches', () => {
  test('make the database slow, and hits are not', async () => {
    await laboratory.set({ databaseDelayMs: 60 })
    const first = await spells().find('1')
    expect(first).toMatchObject({ from: 'origin' })
    expect(first.timings.totalMs).toBeGreaterThan(50)
    expect((await spells().find('1')).from).toBe('shared')
  })

  test.each(['cut', 'hung'] as const)(
    'leave reads and writes right while the cache is %s, and after it',
    async how => {
      expect([await from('2'), await from('2')]).toEqual(['origin', 'shared'])
      await laboratory.set({ cache: how })
      expect(await from('2')).toBe('origin')
      const { value, invalidation } = await spells().update('2', { damage: 26 })
      expect({ damage: value?.damage, invalidation }).toEqual({ damage: 26, invalidation: 'queued' })
      expect((await spells().find('2')).value?.damage).toBe(26)
      await laboratory.set({ cache: 'on' })
      await vi.waitFor(async () => expect(await from('2')).toBe('shared'), PATIENCE)
      expect((await spells().find('2')).value?.damage).toBe(26)
      expect(laboratory.state.counts.stale).toBe(0)
    },
  )

  test('open the cache again with another policy, size and time to live, while it is used', async () => {
    const reading = Promise.all(Array.from({ length: 50 }, () => spells().find('3')))
    const writing = spells().update('3', { damage: 36 })
    await laboratory.set({ policy: 'allkeys-lru', maxBytes: 65_536, ttlMs: 5_000 })
    await Promise.all([reading, writing])
    expect(laboratory.state.settings).toMatchObject({ policy: 'allkeys-lru', maxBytes: 65_536, ttlMs: 5_000 })
    const { value, ttlMs } = await spells().find('3')
    expect(value?.damage).toBe(36)
    expect(ttlMs ?? 0).toBeLessThanOrEqual(5_000)
    expect(laboratory.state.counts).toMatchObject({ failed: 0, stale: 0 })
    expect(laboratory.serving.administered?.cache).toBe(spells().cache)
  })

  test('pause the feed: a change waits, and is told when it goes on', async () => {
    const clock = new SimulatedClock()
    const switches = undisturbed()
    const inner = new SimulatedFeed({ clock, tables: {} })
    const feed = pausableFeed(inner, switches)
    const opening = { isPrivate: true, lost: () => {} } as unknown as Parameters<typeof feed.open>[0]
    const session = await feed.open(opening)
    switches.feedPaused = true
    inner.commit('spell', [{ id: 4 }])
    expect((await session.take(undefined)).changes).toEqual([])
    switches.feedPaused = false
    expect((await session.take(undefined)).changes.map(({ table }) => table)).toEqual(['spell'])
    await session.close()
  })

  test('are as they were after a reset, and so are the counts', async () => {
    await laboratory.set({ databaseDelayMs: 30, cache: 'hung', policy: 'noeviction' })
    await spells().find('1')
    await laboratory.reset()
    const { settings, defaults, counts } = laboratory.state
    expect(settings).toEqual(defaults)
    expect(counts).toMatchObject({ reads: 0, failed: 0, loads: 0 })
    expect([await from('1'), await from('1')]).toEqual(['origin', 'shared'])
  })

  test('that are not here are not turned', () => {
    expect(() => laboratory.set({ feedPaused: true })).toThrow('feedPaused cannot be changed here.')
  })
})

describe('the experiments', () => {
  test('500 readers of one cold key cause one query, and 500 without a cache', async () => {
    await spells().find('4')
    await laboratory.set({ databaseDelayMs: 20 })
    laboratory.begin({ name: 'crowd', id: '4', readers: 500 })
    expect(await ended()).toMatchObject({ readers: 500, loads: 1, failed: 0, uncachedLoads: 500 })
  })

  test('filling makes room, and keeps what is read often', async () => {
    await laboratory.set({ maxBytes: 65_536 })
    laboratory.begin({ name: 'fill' })
    const result = await ended()
    if (result.name !== 'fill' || !('kept' in result)) throw new Error(JSON.stringify(result))
    expect(result.isFull).toBe(true)
    expect(result.evictions).toBeGreaterThan(0)
    const share = (kept: readonly boolean[]) => kept.filter(Boolean).length / kept.length
    expect(share(result.kept.slice(0, result.often))).toBeGreaterThan(share(result.kept.slice(result.often)))
    expect(result.kept).toContain(false)
  })

  test('a writer among readers finds no stale answer, with a cache that comes and goes, and leaves nothing behind', async () => {
    const judgedMore = async () => {
      const { judged } = laboratory.state.counts
      await vi.waitFor(() => expect(laboratory.state.counts.judged).toBeGreaterThan(judged + 3), PATIENCE)
    }
    laboratory.begin({ name: 'traffic', seconds: 20 })
    await judgedMore()
    await laboratory.set({ cache: 'cut' })
    await judgedMore()
    await laboratory.set({ cache: 'on', policy: 'allkeys-lfu' })
    await judgedMore()
    expect(laboratory.state.counts).toMatchObject({ failed: 0, stale: 0 })
    await laboratory.reset()
    expect(laboratory.state).toMatchObject({ running: undefined, result: undefined })
    expect(await subjects()).toBe(0)
  })

  test('run one at a time, keep their cache, and end when the laboratory closes', async () => {
    laboratory.begin({ name: 'traffic', seconds: 20 })
    expect(() => laboratory.begin({ name: 'fill' })).toThrow('An experiment is running: traffic.')
    await vi.waitFor(async () => expect(await subjects()).toBe(1), PATIENCE)
    await laboratory.close()
    expect(await subjects()).toBe(0)
    await expect(laboratory.set({ ttlMs: 2_000 })).rejects.toThrow('The laboratory is closed.')
  })

  test('what a killed one has left behind is removed at the start', async () => {
    await database.query('insert into spell (name, damage) values ($1, 1)', [SUBJECT])
    const other = await openLaboratory()
    expect(await subjects()).toBe(0)
    await other.close()
  })
})

describe('the judge of answers', () => {
  const spell = (updated_at: string) => ({ id: 1, name: 'x', damage: 1, created_at: updated_at, updated_at })
  const OLD = spell('2026-01-01T00:00:00.000Z')
  const NEW = spell('2026-01-01T00:00:00.001Z')

  test('counts what is older than a write that had ended when the read began', () => {
    const judge = new StaleJudge()
    judge.begin('1')
    const early = judge.due('1')
    judge.end('1', { updatedAt: NEW.updated_at })
    judge.judge(early, OLD)
    expect(judge).toMatchObject({ judged: 0, stale: 0 })
    judge.judge(judge.due('1'), NEW)
    judge.judge(judge.due('1'), OLD)
    expect(judge).toMatchObject({ judged: 2, stale: 1 })
  })

  test('counts a spell that had been deleted', () => {
    const judge = new StaleJudge()
    judge.begin('1')
    judge.end('1', { updatedAt: undefined })
    judge.judge(judge.due('1'), undefined)
    judge.judge(judge.due('1'), OLD)
    expect(judge).toMatchObject({ judged: 2, stale: 1 })
  })

  test('says nothing where writes have overlapped, or one has failed, until another one', () => {
    const judge = new StaleJudge()
    judge.begin('1')
    judge.begin('1')
    judge.end('1', { updatedAt: NEW.updated_at })
    judge.end('1', { updatedAt: OLD.updated_at })
    expect(judge.due('1')).toBeUndefined()
    judge.begin('1')
    judge.end('1')
    expect(judge.due('1')).toBeUndefined()
    judge.begin('1')
    judge.end('1', { updatedAt: NEW.updated_at })
    expect(judge.due('1')).toEqual({ updatedAt: NEW.updated_at })
  })
})

describe('over HTTP', () => {
  let app: FastifyInstance
  const ask = (method: 'GET' | 'POST', path: string, more: Omit<InjectOptions, 'method' | 'url'> = {}) =>
    app.inject({ method, url: `/laboratory/${path}`, headers: { host: 'localhost' }, ...more })
  beforeEach(async () => {
    app = await createApp({
      log: silent,
      service: () => ({ ...laboratory.serving, ping: async () => {}, laboratory }),
    })
  })
  afterEach(() => app.close())

  test('tells how it is set, changes that, and begins an experiment', async () => {
    expect((await ask('GET', 'state')).json().settings.cache).toBe('on')
    const changed = await ask('POST', 'settings', { payload: { ttlMs: 9_000 } })
    expect([changed.statusCode, changed.json().settings.ttlMs]).toEqual([200, 9_000])
    const begun = await ask('POST', 'experiments', { payload: { name: 'crowd', readers: 3 } })
    expect([begun.statusCode, begun.json().running]).toEqual([202, 'crowd'])
    expect(await ended()).toMatchObject({ loads: 1 })
    const reset = await ask('POST', 'reset', { payload: {} })
    expect([reset.statusCode, reset.json().settings.ttlMs]).toEqual([200, CACHE.ttlMs])
  })

  test.each([
    ['settings', { databaseDelayMs: 2_001 }],
    ['settings', { databaseDelayMs: -1 }],
    ['settings', { maxBytes: 2 ** 40 }],
    ['settings', { policy: 'mine' }],
    ['settings', { cache: 'on', more: 1 }],
    ['settings', { feedPaused: true }],
    ['experiments', { name: 'crowd', readers: 501 }],
    ['experiments', { name: 'crowd', id: '1; drop table spell' }],
    ['experiments', { name: 'traffic', seconds: 21 }],
    ['experiments', { name: 'rm' }],
    ['reset', { more: 1 }],
  ])('refuses %s %o', async (path, payload) => {
    const answer = await ask('POST', path, { payload })
    expect(answer.statusCode).toBe(400)
    expect(answer.headers['content-type']).toMatch(/^application\/problem\+json/)
  })

  test.each([
    [
      'another site',
      {
        payload: '{}',
        headers: { host: 'localhost', origin: 'http://evil.example', 'content-type': 'application/json' },
      },
      403,
    ],
    [
      'a form',
      { payload: 'a=b', headers: { host: 'localhost', 'content-type': 'application/x-www-form-urlencoded' } },
      415,
    ],
    [
      'a form of plain text',
      { payload: '{}', headers: { host: 'localhost', 'content-type': 'text/plain' } },
      415,
    ],
    ['nothing', { headers: { host: 'localhost' } }, 400],
    ['another machine', { payload: {}, remoteAddress: '203.0.113.7' }, 403],
    ['another name', { payload: {}, headers: { host: 'evil.example' } }, 403],
  ] as const)('is closed to %s', async (_who, more, status) => {
    expect((await ask('POST', 'reset', more as never)).statusCode).toBe(status)
  })

  test('is not there where it is off', async () => {
    const without = await createApp({
      log: silent,
      service: () => ({ ...laboratory.serving, ping: async () => {} }),
    })
    const answer = await without.inject({ url: '/laboratory/state', headers: { host: 'localhost' } })
    expect([answer.statusCode, answer.json().detail]).toEqual([404, 'There is no laboratory: LAB is off.'])
    await without.close()
  })
})
