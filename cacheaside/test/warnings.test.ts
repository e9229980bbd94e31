import { Writable } from 'node:stream'
import pg from 'pg'
import { pino } from 'pino'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createDatabase, sharedPostgresUrl } from '../../test/services.ts'
import { Warnings } from '../src/base/warnings.ts'
import {
  type ChangeFeed,
  createCache,
  type FeedOpening,
  type FeedWarningCode,
  type Logger,
  WARNINGS,
} from '../src/index.ts'
import { postgresFeed } from '../src/postgres/index.ts'
import { type RedisClient, redisShared } from '../src/redis/index.ts'
import { SimulatedClock, SimulatedFeed } from '../src/testing/index.ts'
import { startSampling } from '../src/verify/index.ts'
import { notingLogger } from './heard-warnings.ts'
import { auditWorld } from './verify/audit-world.ts'
import { fireball, openWorld, spellTable } from './world.ts'

/** What was said by `process.emitWarning` in this test. */
let emitted: string[]
const note = (warning: Error & { code?: string }) =>
  void emitted.push(`${warning.name} ${warning.code}: ${warning.message}`)
beforeEach(() => {
  emitted = []
  process.on('warning', note)
})
afterEach(() => {
  process.off('warning', note)
})

const eventually = (condition: () => void) => vi.waitFor(condition, { timeout: 20_000, interval: 20 })

describe('a cache without options warns on stderr', () => {
  test('of a Redis that cannot be reached, once and not per read', async () => {
    const { Redis } = await import('ioredis')
    const client = new Redis({ port: 1, lazyConnect: true }) as RedisClient
    const shared = redisShared({ client })
    // On a busy machine the refusal may come later than a read waits for.
    await expect(shared.ready()).rejects.toThrow()
    const cache = createCache({ shared })
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    for (let i = 0; i < 200; i++) await spells.get(i)
    await eventually(() => expect(emitted).not.toEqual([]))
    expect(emitted).toEqual([
      expect.stringMatching(
        /^CacheasideWarning CACHEASIDE_SHARED_UNAVAILABLE: the shared store is unavailable, reads go to the origin: no connection to .*ECONNREFUSED/,
      ),
    ])
    await cache.close()
    await shared.close()
  })

  test('of a change feed that was never installed, once', async () => {
    const pool = new pg.Pool({ connectionString: await createDatabase(sharedPostgresUrl()), max: 2 })
    const cache = createCache({ feed: postgresFeed({ pool, tables: { spell: () => [] } }) })
    await eventually(() => expect(emitted).not.toEqual([]))
    await new Promise(resolve => setImmediate(resolve))
    expect(emitted).toEqual([
      expect.stringMatching(
        /^CacheasideWarning CACHEASIDE_FEED_LOST: the change feed is lost.*run installFeed/,
      ),
    ])
    await cache.close()
    await pool.end()
  })
})

describe('a cache warns its logger', () => {
  test('when the store goes and when it is back, once each, however many reads there are between', async () => {
    const { clock, process, network } = openWorld()
    const link = network()
    const { cache, warnings } = process({}, link)
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    await clock.advance(1_000)
    expect(warnings).toEqual([])
    link.fail(undefined, new Error('NOAUTH'))
    for (let i = 0; i < 300; i++) await spells.get(i)
    await clock.advance(4_000)
    expect(warnings).toEqual([
      ['warn', 'SHARED_UNAVAILABLE', 'the shared store is unavailable, reads go to the origin: NOAUTH'],
    ])
    link.restore()
    await clock.advance(2_000)
    expect(warnings.slice(1)).toEqual([
      [
        'info',
        'SHARED_UNAVAILABLE',
        expect.stringMatching(/^the shared store is available again \(it took \d+\.\d s\)$/),
      ],
    ])
  })

  test('of what an outage turns out to be, each reason once and three at most', async () => {
    const { clock, process, network } = openWorld()
    const link = network()
    const { cache, warnings, eventsOf } = process({}, link)
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    await clock.advance(1_000)
    link.hang()
    const read = spells.get(4)
    await clock.advance(1_000)
    await read
    for (const reason of ['closed', 'no connection: closed', 'WRONGPASS', 'closed', 'full', 'LOADING']) {
      link.restore()
      link.fail(undefined, new Error(reason))
      await clock.advance(5_000)
    }
    expect(warnings).toEqual([
      [
        'warn',
        'SHARED_UNAVAILABLE',
        'the shared store is unavailable, reads go to the origin: no answer within 100 ms',
      ],
      ['warn', 'SHARED_UNAVAILABLE', 'the shared store is still unavailable: closed'],
      ['warn', 'SHARED_UNAVAILABLE', 'the shared store is still unavailable: WRONGPASS'],
      ['warn', 'SHARED_UNAVAILABLE', 'the shared store is still unavailable: full'],
    ])
    expect(eventsOf('shared')).toHaveLength(1)
    link.restore()
    await clock.advance(2_000)
  })

  test('three times a minute at most of what comes and goes, and in the end of what stays', async () => {
    const { clock, process, network } = openWorld()
    const link = network()
    const { cache, warnings } = process({}, link)
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    await clock.advance(1_000)
    for (let i = 0; i < 20; i++) {
      link.fail()
      await spells.get(i)
      link.restore()
      await clock.advance(1_500)
    }
    const began = () => warnings.filter(([level]) => level === 'warn')
    expect(began()).toHaveLength(3)
    expect(warnings).toHaveLength(6)
    link.fail()
    await spells.get(99)
    await clock.advance(60_000)
    expect(began()).toHaveLength(4)
    expect(began().at(-1)?.[2]).toMatch(/\(it came and went 17 times since the last warning\)$/)
    link.restore()
    await clock.advance(2_000)
    expect(warnings.at(-1)?.[0]).toBe('info')
  })

  test('of invalidations that are not applied, until they all are', async () => {
    const { clock, process, network } = openWorld()
    const link = network()
    const { cache, warnings } = process({}, link)
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    await clock.advance(1_000)
    link.fail('invalidate')
    await spells.invalidate(4)
    await spells.invalidate(5)
    link.restore()
    await clock.advance(5_000)
    const queued = warnings.filter(([, code]) => code === 'INVALIDATIONS_QUEUED')
    expect(queued.map(([level]) => level)).toEqual(['warn', 'info'])
  })

  test('of no commit in doubt, and none holds up the end of what was queued', async () => {
    const { clock, process, network } = openWorld()
    const link = network()
    const { cache, eventsOf, warnings } = process({}, link)
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    await clock.advance(1_000)
    const lost = () => spells.write(4, () => Promise.reject(new Error('lost'))).catch(() => {})
    await lost()
    await clock.advance(30_000)
    expect(eventsOf('invalidation').map(({ outcome }) => outcome)).toEqual(['in-doubt', 'late'])
    expect(warnings).toEqual([])
    await lost()
    link.fail('invalidate')
    await spells.invalidate(5)
    link.restore()
    await clock.advance(5_000)
    expect(cache.stats().now).toMatchObject({ commitsInDoubt: 1, queuedInvalidations: 1 })
    const queued = () =>
      warnings.filter(([, code]) => code === 'INVALIDATIONS_QUEUED').map(([level]) => level)
    expect(queued()).toEqual(['warn', 'info'])
    await clock.advance(30_000)
    expect(queued()).toEqual(['warn', 'info'])
  })

  test('of a commit that was in doubt when its invalidation cannot be applied, until it is', async () => {
    const { clock, process, network } = openWorld()
    const link = network()
    const { cache, eventsOf, warnings } = process({}, link)
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    await clock.advance(1_000)
    await spells.write(4, () => Promise.reject(new Error('lost'))).catch(() => {})
    link.fail('invalidate')
    await clock.advance(15_000)
    const queued = () =>
      warnings.filter(([, code]) => code === 'INVALIDATIONS_QUEUED').map(([level]) => level)
    expect(queued()).toEqual(['warn'])
    link.restore()
    await clock.advance(5_000)
    expect(queued()).toEqual(['warn', 'info'])
    expect(eventsOf('invalidation').map(({ outcome }) => outcome)).toEqual(['in-doubt', 'queued', 'late'])
  })

  test('of loads that fail where old values hide it, until one succeeds', async () => {
    const { clock, process } = openWorld()
    const { cache, warnings } = process()
    let isDown = false
    const load = async () => {
      if (isDown) throw new Error('the database is down')
      return fireball
    }
    const spells = cache.keyspace('spell', { load, ttlMs: 1_000, staleIfErrorMs: 60_000 })
    await spells.get(4)
    await clock.advance(2_000)
    isDown = true
    for (let i = 0; i < 10; i++) expect(await spells.get(4)).toEqual(fireball)
    isDown = false
    await spells.get(4)
    await clock.drain()
    expect(warnings).toEqual([
      [
        'warn',
        'LOADS_FAIL',
        'loads of spell fail, and old values are served meanwhile: the database is down',
      ],
      ['info', 'LOADS_FAIL', expect.stringMatching(/^loads of spell succeed again/)],
    ])
  })

  test('the same of a batch and of a refresh', async () => {
    const { clock, process } = openWorld()
    const { cache, warnings } = process()
    let isDown = false
    const loadMany = async (ids: readonly number[]) => {
      if (isDown) throw new Error('the database is down')
      return ids.map(id => [id, fireball] as const)
    }
    const batched = cache.keyspace('batched', { loadMany, ttlMs: 1_000, staleIfErrorMs: 60_000 })
    const refreshed = cache.keyspace('refreshed', { loadMany, ttlMs: 1_000, staleMs: 60_000 })
    await batched.getMany([4, 5])
    await refreshed.get(4)
    await clock.advance(2_000)
    isDown = true
    await batched.getMany([4, 5])
    await refreshed.get(4)
    await clock.drain()
    expect(warnings.map(([, code, message]) => `${code} ${message.split(' ')[2]}`)).toEqual([
      'LOADS_FAIL batched',
      'LOADS_FAIL refreshed',
    ])
  })

  test('of stored bytes that cannot be read, once per keyspace', async () => {
    const { process, plant } = openWorld()
    const { cache, warnings } = process()
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    for (const id of [1, 2, 3]) {
      plant(`spell:${id}`, 'Xgarbage')
      await spells.get(id)
    }
    expect(warnings).toEqual([
      ['warn', 'UNREADABLE', expect.stringMatching(/of spell cannot be read.*spell:1/)],
    ])
  })

  test('of broadcasts that never arrive although the store answers, and when they do', async () => {
    const { clock, process, network } = openWorld()
    const link = network()
    link.muteStream()
    const { warnings } = process({ local: { maxEntries: 9 } }, link)
    await clock.advance(60_000)
    link.restore()
    await clock.advance(5_000)
    expect(warnings.map(([level, code]) => `${level} ${code}`)).toEqual([
      'warn STREAM_UNPROVEN',
      'info STREAM_UNPROVEN',
    ])
  })

  test('of a store without room, until it has some', async () => {
    const { process } = openWorld({ maxEntries: 1, policy: 'noeviction' })
    const { cache, warnings } = process()
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    await spells.get(4)
    await spells.get(5)
    await spells.get(6)
    expect(warnings.map(([level, code]) => `${level} ${code}`)).toEqual(['warn SHARED_FULL'])
    await spells.invalidate(4)
    await spells.get(5)
    expect(warnings.map(([level, code]) => `${level} ${code}`)).toEqual([
      'warn SHARED_FULL',
      'info SHARED_FULL',
    ])
  })

  test('of a listener that throws or rejects, once', async () => {
    const { process } = openWorld()
    const thrown = () => {
      throw new Error('a bug in the metrics')
    }
    const { cache, warnings } = process({ onEvent: thrown })
    cache.listen(async () => thrown())
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    await spells.get(4)
    await spells.get(5)
    expect(warnings).toEqual([['warn', 'LISTENER_THREW', expect.stringContaining('a bug in the metrics')]])
  })

  test('of a stale value that a sampler finds, until the last one that was found is right again', async () => {
    const world = await auditWorld()
    const { cache, warnings } = world.process({}, world.network)
    for (const id of [1, 2]) world.plantSpell(id, { id, damage: 77 })
    const sampler = startSampling(cache, { keyspaces: [world.spells], everyMs: 500, graceMs: 1_000 })
    await world.clock.advance(20_000)
    expect(warnings).toEqual([
      ['error', 'STALE_FOUND', expect.stringMatching(/^a stale value of spell was found: spell:\d, for/)],
    ])
    for (const id of [1, 2]) world.plantSpell(id)
    await world.clock.advance(20_000)
    expect(warnings.slice(1)).toEqual([
      [
        'info',
        'STALE_FOUND',
        expect.stringMatching(
          /^the stale value of spell that was found last is not stale any more: spell:\d/,
        ),
      ],
    ])
    world.plantSpell(3, { id: 3, damage: 77 })
    await world.clock.advance(20_000)
    expect(warnings.slice(2)).toEqual([['error', 'STALE_FOUND', expect.stringContaining('spell:3')]])
    await sampler.stop()
  })

  test('of a sampler in trouble, until it can compare again', async () => {
    const world = await auditWorld()
    const { cache, warnings } = world.process({}, world.network)
    world.plantSpell(1)
    const sampler = startSampling(cache, { keyspaces: [world.spells], everyMs: 500, timeoutMs: 300 })
    await world.clock.advance(1_000)
    expect(warnings).toEqual([])
    world.network.fail('view', new Error('NOPERM'))
    await sampler.stop()
    const another = startSampling(cache, { keyspaces: [world.spells], everyMs: 500, timeoutMs: 300 })
    await world.clock.advance(10_000)
    expect(warnings).toEqual([['warn', 'FAULT', 'sampling failed: NOPERM']])
    world.network.restore('view')
    await world.clock.advance(2_000)
    expect(warnings.slice(1)).toEqual([['info', 'FAULT', expect.stringMatching(/^sampling works again/)]])
    await another.stop()
  })

  test('of a map of the feed that throws, until it maps rows of that table again', async () => {
    const { clock, process } = openWorld()
    let isBroken = true
    const keys = () => {
      if (isBroken) throw new TypeError('row.id is gone')
      return []
    }
    const feed = new SimulatedFeed({ clock, tables: { spell: keys, wizard: () => [] } })
    const { warnings } = process({ feed })
    await clock.advance(1_000)
    const commit = async (table: string, rows?: { id: string }[]) => {
      feed.commit(table, rows)
      await clock.advance(1_000)
    }
    const faults = () => warnings.filter(([, code]) => code === 'FAULT')
    await commit('spell', [{ id: '1' }])
    await commit('spell', [{ id: '2' }])
    isBroken = false
    await commit('wizard', [{ id: '1' }])
    await commit('spell') // of the whole table: there is no row to map
    const said = "the feed's map of table spell failed: row.id is gone"
    expect(faults()).toEqual([['warn', 'FAULT', said]])
    await commit('spell', [{ id: '3' }])
    expect(faults().slice(1)).toEqual([
      ['info', 'FAULT', expect.stringMatching(/^the feed's map of table spell works again/)],
    ])
  })

  test('of a writeThrough that throws, once', async () => {
    const { process } = openWorld()
    const { cache, warnings } = process()
    const writeThrough = () => {
      throw new Error('no such row')
    }
    cache.keyspace('spell', { load: spellTable(fireball).find })
    for (let i = 0; i < 3; i++) await cache.write([], () => {}, { writeThrough })
    expect(warnings).toEqual([['warn', 'FAULT', 'writeThrough failed: no such row']])
  })

  test('of what the feed finds, once, until it says that it is mended or does not find it in a new session', async () => {
    const { clock, process } = openWorld()
    const inner = new SimulatedFeed({ clock, tables: { spell: () => [] } })
    let opening: FeedOpening
    let findings: [message: string, code: FeedWarningCode][] = []
    const feed: ChangeFeed = Object.assign(Object.create(inner) as SimulatedFeed, {
      open(given: FeedOpening) {
        opening = given
        for (const [message, code] of findings) given.warn(message, code)
        return inner.open(given)
      },
    })
    findings = [
      ['wizard is not watched', 'NOT_WATCHED'],
      ['id is a uuid', 'KEY_TYPE'],
      ['spell is another table', 'TABLE_REPLACED'],
    ]
    const { warnings } = process({ feed })
    const found = () =>
      warnings.filter(([, code]) => /^FEED_(WARNING|KEY_TYPE)$/.test(code)).map(told => told.join(' '))
    const again = async () => {
      inner.endSessions()
      await clock.advance(5_000)
    }
    await clock.advance(1_000)
    await again()
    const begun = [
      'warn FEED_WARNING wizard is not watched',
      'warn FEED_KEY_TYPE id is a uuid',
      'warn FEED_WARNING spell is another table',
    ]
    // What has happened again is told again.
    expect(found()).toEqual([...begun, 'warn FEED_WARNING spell is another table'])
    opening!.mended('wizard is not watched')
    opening!.mended('nobody has said this')
    findings = []
    await again()
    expect(found().slice(4)).toEqual([
      expect.stringMatching(/^info FEED_WARNING the change feed does not find this any more: wizard is not/),
      expect.stringMatching(/^info FEED_KEY_TYPE the change feed does not find this any more: id is a uuid/),
    ])
  })

  test('of keyspaces that got new generations, by info and each time', async () => {
    const { clock, process } = openWorld()
    const feed = new SimulatedFeed({ clock, tables: { spell: () => [] } })
    const { cache, warnings } = process({ feed })
    cache.keyspace('spell', { load: spellTable(fireball).find })
    await clock.advance(1_000)
    const distrust = () => warnings.filter(([, code]) => code === 'FEED_DISTRUST')
    const before = distrust().length
    for (const times of [1, 2]) {
      feed.restart()
      await clock.advance(61_000)
      expect(distrust()).toHaveLength(before + times)
    }
    expect(distrust().at(-1)).toEqual([
      'info',
      'FEED_DISTRUST',
      expect.stringMatching(/^all cached values of spell are invalid now: /),
    ])
  })

  test('nothing any more once the cache is closed', async () => {
    const { clock, process, network } = openWorld()
    const link = network()
    const { cache, warnings } = process({}, link)
    await clock.drain()
    await cache.close()
    link.fail()
    await clock.advance(10_000)
    expect(warnings).toEqual([])
    link.restore()
  })
})

describe('a logger', () => {
  const clock = new SimulatedClock()
  const sayTo = (logger: Logger) => {
    const warnings = new Warnings(clock, logger)
    const error = new Error('ECONNREFUSED')
    warnings.begin('SHARED_UNAVAILABLE', '', { message: 'it is away', error })
    warnings.end('SHARED_UNAVAILABLE', '', 'it is back')
    return error
  }

  test('of Pino gets the details before the sentence, the error as err', () => {
    const lines: Record<string, unknown>[] = []
    const stream = new Writable({
      write: (line, _, done) => {
        lines.push(JSON.parse(line))
        done()
      },
    })
    sayTo(pino(stream))
    expect(lines).toMatchObject([
      {
        level: 40,
        code: 'CACHEASIDE_SHARED_UNAVAILABLE',
        msg: 'it is away',
        err: { message: 'ECONNREFUSED' },
      },
      { level: 30, code: 'CACHEASIDE_SHARED_UNAVAILABLE', msg: 'it is back (it took 0.0 s)' },
    ])
  })

  test('console gets the sentence before the details', () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {})
    const info = vi.spyOn(console, 'info').mockImplementation(() => {})
    const err = sayTo(console)
    expect(warn.mock.calls).toEqual([['it is away', { code: 'CACHEASIDE_SHARED_UNAVAILABLE', err }]])
    expect(info.mock.calls).toEqual([
      ['it is back (it took 0.0 s)', { code: 'CACHEASIDE_SHARED_UNAVAILABLE' }],
    ])
    vi.restoreAllMocks()
  })

  test('of the kind of Winston, with child and log, gets the sentence first', () => {
    const noted = notingLogger()
    sayTo(Object.assign(noted, { child: () => noted, log: () => {} }))
    expect(noted.heard.map(([, , message]) => message)).toEqual(['it is away', 'it is back (it took 0.0 s)'])
  })

  test('of the kind of NestJS, without info, is told of an end by log', () => {
    const said: unknown[] = []
    sayTo({
      log: (message: string) => said.push(['log', message]),
      warn: (message: string) => said.push(['warn', message]),
      error: (message: string) => said.push(['error', message]),
    })
    expect(said).toEqual([
      ['warn', 'it is away'],
      ['log', 'it is back (it took 0.0 s)'],
    ])
  })

  test('that throws or rejects loses no warning and harms nobody', async () => {
    const warn = () => {
      throw new Error('the disk is full')
    }
    sayTo({ info: async () => warn(), warn, error: warn })
    await eventually(() =>
      expect(emitted).toEqual(['CacheasideWarning CACHEASIDE_SHARED_UNAVAILABLE: it is away']),
    )
  })

  test.each([
    [null, 'logger to be an object with info, warn and error, got null'],
    [true, 'logger to be an object with info, warn and error, got true'],
    ['console', 'logger to be an object with info, warn and error, got "console"'],
    [{}, 'logger.info to be a function, got undefined'],
    [{ warn() {} }, 'logger.info to be a function, got undefined'],
    [{ warn() {}, error: 1, info() {} }, 'logger.error to be a function, got 1'],
  ])('is refused if it is %j', (logger, expected) => {
    const refusal = expect.objectContaining({
      code: 'INVALID_OPTIONS',
      message: expect.stringContaining(`expected ${expected}`),
    })
    expect(() => createCache({ logger: logger as unknown as Logger })).toThrow(refusal)
  })
})

test('warnings hold a hundred causes of each code, and say once that there are more', () => {
  const { heard, ...logger } = notingLogger()
  const warnings = new Warnings(new SimulatedClock(), logger)
  for (let i = 0; i < 1_000; i++) warnings.once('UNREADABLE', `keyspace ${i}`, { message: `${i}` })
  for (let i = 0; i < 1_000; i++) warnings.once('UNREADABLE', `keyspace ${i}`, { message: `${i}` })
  expect(heard).toHaveLength(101)
  expect(heard.at(-1)?.slice(0, 2)).toEqual(['warn', 'MORE'])
})

test('info goes to a logger only, the end of what was said goes wherever its beginning went', async () => {
  const warnings = new Warnings(new SimulatedClock(), undefined)
  warnings.each('FEED_OPEN', { message: 'the change feed is open' })
  warnings.begin('FEED_LOST', '', { message: 'lost' })
  warnings.end('FEED_LOST', '', 'found')
  await eventually(() => expect(emitted).toHaveLength(2))
  expect(emitted).toEqual([
    'CacheasideWarning CACHEASIDE_FEED_LOST: lost',
    'CacheasideWarning CACHEASIDE_FEED_LOST: found (it took 0.0 s)',
  ])
  expect(WARNINGS.FEED_OPEN).toBe('info')
})
