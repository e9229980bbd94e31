import { describe, expect, test } from 'vitest'
import type { Cache, CacheEvent, CacheOptions, SharedStore } from '../src/index.ts'
import { createCache, embeddedShared } from '../src/index.ts'
import { StatsFold } from '../src/stats-fold.ts'
import { faultySharedStore, SimulatedClock } from '../src/testing/index.ts'
import { quiet } from './heard-warnings.ts'
import { fireball, openWorld, type Spell, spellTable } from './world.ts'

/** Something of everything: hits at every level, joins, misses, errors, writes, outages. */
async function live(clock: SimulatedClock, cache: Cache, link: ReturnType<typeof faultySharedStore>) {
  const table = spellTable(fireball)
  let fails = false
  const spells = cache.keyspace('spell', {
    ttlMs: 5_000,
    staleMs: 1_000,
    staleIfErrorMs: 60_000,
    refreshAhead: 1,
    load: async (id: number) => {
      if (fails) throw new Error('the origin is away')
      return table.find(id)
    },
  })
  const raw = cache.keyspace<number, () => number>('raw', { load: async () => () => 4 })
  await clock.drain()
  await Promise.all([spells.get(4), spells.get(4), spells.getMany([4, 5, 6]), raw.get(1)])
  await clock.drain()
  for (let i = 0; i < 30; i++) {
    await spells.getMany([4, 5])
    await spells.get(6, { consistency: 'strong' })
    await clock.advance(400)
  }
  fails = true
  await clock.advance(6_500)
  await Promise.allSettled([spells.get(4), spells.get(7)])
  fails = false
  await spells.write(4, () => table.update(4, 31), { writeThrough: true })
  await spells
    .write(5, () => {
      throw 'in doubt'
    })
    .catch(() => {})
  await spells.invalidate(4)
  await spells.invalidateAll()
  link.fail()
  await Promise.all([spells.get(4), spells.invalidate(5), spells.write(6, () => {})])
  link.muteStream()
  await clock.advance(3_000)
  link.restore()
  await clock.advance(20_000)
}

function open(options: Omit<CacheOptions, 'clock' | 'shared'> = {}) {
  const clock = new SimulatedClock()
  const inner: SharedStore = embeddedShared({ clock, maxEntries: 40 })
  const link = faultySharedStore(inner, { clock })
  const cache = createCache({ local: { maxEntries: 3 }, logger: quiet, ...options, clock, shared: link })
  return { clock, link, cache }
}

describe('stats', () => {
  test('are the fold of the events that were reported', async () => {
    const events: CacheEvent[] = []
    const { clock, link, cache } = open({ onEvent: event => void events.push(event) })
    await live(clock, cache, link)
    const fold = new StatsFold()
    for (const name of ['spell', 'raw']) fold.of(name)
    for (const event of events) fold.fold(event)
    expect(Object.assign(fold.snapshot(), { now: cache.stats().now })).toEqual(cache.stats())
    const seen = new Set(events.map(({ type }) => type))
    expect([...seen].sort()).toEqual(
      [
        'discard',
        'fill',
        'guard',
        'invalidation',
        'keyspace-invalidation',
        'load',
        'read',
        'refresh',
        'shared',
        'stream',
        'write',
      ].sort(),
    )
    await cache.close()
  })

  test('are the same whether anybody listens or not', async () => {
    const heard = open({ onEvent: () => {} })
    const unheard = open()
    await live(heard.clock, heard.cache, heard.link)
    await live(unheard.clock, unheard.cache, unheard.link)
    expect(unheard.cache.stats()).toEqual(heard.cache.stats())
    expect(unheard.cache.stats().keyspaces.spell!.reads.local).toBeGreaterThan(0)
    await Promise.all([heard.cache.close(), unheard.cache.close()])
  })

  test('count one read per caller and key, and one load per call of the loader', async () => {
    const { process } = openWorld()
    const { cache } = process({ local: { maxEntries: 10 } })
    const spells = cache.keyspace('spell', { loadMany: spellTable(fireball).findMany })
    await Promise.all([spells.get(4), spells.get(4), spells.getMany([4, 5]), spells.read(5)])
    await spells.get(4)
    expect(cache.stats().keyspaces.spell).toMatchObject({
      reads: { local: 1, shared: 0, origin: 5 },
      why: { missing: 5, fresh: 1 },
      joined: 3,
      absent: 2,
      loads: { loaded: 2, failed: 0 },
    })
  })

  test('count reads that failed apart from those that were answered', async () => {
    const { process } = openWorld()
    const { cache, eventsOf } = process()
    const spells = cache.keyspace<number, Spell>('spell', { load: () => Promise.reject(new Error('boom')) })
    await expect(spells.get(4)).rejects.toThrow('boom')
    expect(eventsOf('read')).toMatchObject([{ key: 'spell:4', outcome: 'failed' }])
    expect(eventsOf('load')).toEqual([
      {
        type: 'load',
        keyspace: 'spell',
        keys: ['spell:4'],
        id: expect.any(Number),
        flights: [eventsOf('read')[0]!.id],
        outcome: 'failed',
        costMs: 0,
        waitMs: 0,
        error: expect.any(Error),
      },
    ])
    expect(cache.stats().keyspaces.spell).toMatchObject({
      reads: { origin: 0 },
      failedReads: { failed: 1 },
      loads: { failed: 1 },
    })
  })

  test('handed out are a copy, which does not change any more and may be changed', async () => {
    const { process } = openWorld()
    const { cache } = process()
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    const before = cache.stats()
    await spells.get(4)
    expect(before.keyspaces.spell!.reads.origin).toBe(0)
    ;(before.keyspaces.spell!.reads as { origin: number }).origin = 99
    expect(cache.stats().keyspaces.spell!.reads.origin).toBe(1)
  })

  test('tell what L1 holds, and what it let go', async () => {
    const { clock, process } = openWorld()
    const { cache } = process({ local: { maxEntries: 3 } })
    const values = cache.keyspace('value', { load: async (id: number) => id, ttlMs: 1_000, ttlJitter: 0 })
    for (let id = 0; id < 10; id++) await values.get(id)
    await clock.drain()
    expect(cache.stats()).toMatchObject({ local: { evicted: 7, expired: 0 }, now: { localEntries: 3 } })
    expect(cache.stats().now.localBytes).toBeGreaterThan(3 * 130)
    await clock.advance(1_000)
    for (let id = 0; id < 10; id++) values.peek(id)
    expect(cache.stats()).toMatchObject({
      local: { evicted: 7, expired: 3 },
      now: { localEntries: 0, localBytes: 0 },
    })
  })
})

describe('a listener', () => {
  test('hears every event until it is taken off', async () => {
    const { process } = openWorld()
    const { cache, events } = process()
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    const heard: CacheEvent[] = []
    const stop = cache.listen(event => void heard.push(event))
    await spells.get(4)
    await spells.invalidate(4)
    expect(heard).toEqual(events)
    stop()
    stop()
    const before = heard.length
    await spells.get(4)
    expect(heard).toHaveLength(before)
  })

  test.each<[string, () => void]>([
    [
      'throws',
      () => {
        throw new Error('a broken listener')
      },
    ],
    [
      'rejects',
      async () => {
        throw new Error('a broken listener')
      },
    ],
  ])('that %s harms neither reads nor writes nor the other listeners', async (_, onEvent) => {
    const { clock, process, network } = openWorld()
    const link = network()
    const { cache, events } = process({ onEvent, local: { maxEntries: 1 } }, link)
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find, staleMs: 1_000, ttlMs: 1_000 })
    await clock.drain()
    expect(await spells.get(4)).toEqual(fireball)
    expect(await spells.getMany([4, 5])).toEqual(new Map([[4, fireball]]))
    await clock.advance(1_500)
    expect(await spells.get(4)).toEqual(fireball)
    await clock.drain()
    expect(await spells.write(4, () => 'done')).toMatchObject({ value: 'done', fenced: true })
    link.fail()
    expect(await spells.invalidate(4)).toBe('queued')
    link.restore()
    await clock.advance(3_000)
    expect(new Set(events.map(({ type }) => type)).size).toBeGreaterThan(7)
  })

  test('that listens twice hears everything twice, and each is taken off for itself', async () => {
    const { process } = openWorld()
    const { cache, events } = process()
    const heard: CacheEvent[] = []
    const listener = (event: CacheEvent) => void heard.push(event)
    const stops = [cache.listen(listener), cache.listen(listener)]
    await cache.invalidate([])
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    await spells.invalidate(4)
    expect(heard).toHaveLength(2 * events.length)
    stops[0]!()
    stops[0]!()
    heard.length = 0
    await spells.invalidate(4)
    expect(heard).toHaveLength(1)
    stops[1]!()
    await spells.invalidate(4)
    expect(heard).toHaveLength(1)
  })

  test('that begins during an event hears the next, and one that is taken off during it hears it no more', async () => {
    const { process } = openWorld()
    const { cache } = process()
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    const heard: string[] = []
    const once = (round: number) => {
      const stop = cache.listen(() => {
        heard.push(`round ${round}`)
        stop()
        stopLater()
        if (round < 1_000) once(round + 1)
      })
    }
    once(1)
    const stopLater = cache.listen(() => void heard.push('later'))
    await spells.invalidate(4)
    expect(heard).toEqual(['round 1'])
    await spells.invalidate(4)
    expect(heard).toEqual(['round 1', 'round 2'])
  })

  test('may call the cache from any event', async () => {
    const { clock, process, network } = openWorld()
    const link = network()
    let depth = 0
    let calls = 0
    const { cache, eventsOf } = process({ local: { maxEntries: 2 } }, link)
    const spells = cache.keyspace<number, number>('spell', {
      load: async id => id,
      ttlMs: 1_000,
      staleMs: 1_000,
    })
    const work: Promise<unknown>[] = []
    cache.listen(event => {
      // What it asks for is reported in turn: a listener that answers every event calls for ever.
      if (depth > 0 || calls === 1_000) return
      depth++
      calls++
      const key = 'key' in event ? Number(event.key.split(':')[1]) : 1
      spells.peek(key)
      work.push(spells.get(key), spells.invalidate(key + 1), spells.getMany([key, key + 2]))
      cache.stats()
      depth--
    })
    await clock.advance(10)
    for (let id = 0; id < 20; id++) {
      await spells.get(id)
      await clock.advance(70)
    }
    link.interrupt('test')
    link.fail()
    await spells.get(3)
    link.restore()
    await clock.advance(5_000)
    await Promise.all(work)
    expect(calls).toBe(1_000)
    expect(eventsOf('stream').length).toBeLessThan(10)
    expect(cache.stats().now.localEntries).toBeLessThanOrEqual(2)
  })

  test('that invalidates what L1 is evicting leaves its books in order', async () => {
    const { clock, process } = openWorld()
    const { cache } = process({ local: { maxEntries: 3 } })
    const values = cache.keyspace('value', { load: async (id: number) => id })
    const work: Promise<unknown>[] = []
    cache.listen(event => {
      if (event.type !== 'discard') return
      for (let id = 0; id < 60; id++) work.push(cache.invalidate([values.key(id)]))
    })
    for (let id = 0; id < 60; id++) await values.get(id)
    await Promise.all(work)
    await clock.drain()
    expect(cache.stats().local.evicted).toBeGreaterThan(5)
    for (let id = 0; id < 60; id++) await cache.invalidate([values.key(id)])
    expect(cache.stats().now).toMatchObject({ localEntries: 0, localBytes: 0 })
  })
})
