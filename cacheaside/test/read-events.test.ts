/** What is told of reads, and by which numbers a tree can be made of it. */
import { describe, expect, test } from 'vitest'
import { gate } from '../src/testing/index.ts'
import { fireball, openWorld, passing, type Spell, spellTable, within } from './world.ts'

const earthquake: Spell = { id: 6, name: 'Earthquake', damage: 40 }
const LOCAL = { maxEntries: 10 } as const

describe('a read event', () => {
  test('has the time that the read took, and that of its steps', async () => {
    const { clock, process, network } = openWorld()
    const link = network()
    const { cache, answers, eventsOf } = process({}, link)
    const spells = cache.keyspace('spell', {
      load: async (id: number) => {
        await passing(clock, 30)
        return spellTable(fireball).find(id)
      },
    })
    await clock.drain()
    link.delay(10)
    await within(clock, 200, spells.get(4))
    await within(clock, 200, spells.get(4))
    expect(answers()).toMatchObject([
      { why: 'missing', outcome: 'answered', joined: false, sharedMs: 10, loadMs: 30, durationMs: 40 },
      { why: 'fresh', outcome: 'answered', joined: false, sharedMs: 10, loadMs: 0, durationMs: 10 },
    ])
    const [miss] = answers()
    expect(eventsOf('load')).toMatchObject([{ flights: [miss!.id], costMs: 30, waitMs: 0 }])
    expect(eventsOf('fill')).toMatchObject([{ flight: miss!.id, outcome: 'accepted', durationMs: 10 }])
  })

  test('of a hit in L1 has no flight and no time', async () => {
    const { process } = openWorld()
    const { cache, answers } = process({ local: LOCAL })
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    await spells.get(4)
    await spells.get(4)
    const [miss, hit] = answers()
    expect(miss).toMatchObject({ from: 'origin', flight: miss!.id })
    expect(hit).toMatchObject({ from: 'local', durationMs: 0 })
    expect(hit).not.toHaveProperty('flight')
    expect(hit!.id).not.toBe(miss!.id)
  })

  test('of one that joined has a number of its own, and names the flight that it joined', async () => {
    const { process } = openWorld()
    const { cache, answers, eventsOf } = process()
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    await Promise.all([spells.get(4), spells.get(4), spells.read(4)])
    const [first, second, third] = answers()
    expect(answers().map(({ joined, flight }) => [joined, flight])).toEqual([
      [false, first!.id],
      [true, first!.id],
      [true, first!.id],
    ])
    expect(new Set([first!.id, second!.id, third!.id]).size).toBe(3)
    expect(eventsOf('load')[0]).toMatchObject({ flights: [first!.id] })
  })

  test('of strong readers that wait for the next flight names that one', async () => {
    const { process } = openWorld()
    const { cache, answers, eventsOf } = process()
    const loading = gate<Spell>()
    const spells = cache.keyspace('spell', { load: () => loading.wait() })
    const strong = { consistency: 'strong' } as const
    const reads = [spells.get(4), spells.get(4, strong), spells.get(4, strong)]
    await loading.reached
    loading.open(fireball)
    await Promise.all(reads)
    expect(new Set(answers().map(({ flight }) => flight)).size).toBe(2)
    const [, second, third] = answers()
    expect(second).toMatchObject({ joined: false, flight: second!.id })
    expect(third).toMatchObject({ joined: true, flight: second!.id })
    expect(eventsOf('load').map(({ flights }) => flights[0])).toContain(answers()[0]!.id)
  })

  test.each([
    ['failed', new Error('away')],
    ['failed', 'no error at all'],
  ] as const)('tells that it %s, and by what: %s', async (outcome, error) => {
    const { process } = openWorld()
    const { cache, eventsOf } = process()
    const spells = cache.keyspace('spell', { load: (_: number) => Promise.reject(error) })
    await expect(spells.get(4)).rejects.toBe(error)
    const [read] = eventsOf('read')
    expect(read).toMatchObject({ outcome, error, joined: false, flight: read!.id, durationMs: 0 })
    expect(eventsOf('load')).toMatchObject([{ outcome: 'failed', flights: [read!.id] }])
    expect(cache.stats().keyspaces.spell!.failedReads).toMatchObject({ failed: 1 })
  })

  test('tells of a time limit, of too many loads, and of each caller who gave up', async () => {
    const { clock, process } = openWorld()
    const { cache, eventsOf } = process({ maxLoads: 1, maxQueuedLoads: 0, busyWaitMs: 200 })
    const loading = gate<Spell>()
    const spells = cache.keyspace<number, Spell>('spell', {
      load: () => loading.wait(),
      loadTimeoutMs: 500,
    })
    const leaving = new AbortController()
    const reads = [spells.get(4), spells.get(4, { signal: leaving.signal }), spells.get(5)]
    const settled = Promise.allSettled(reads)
    await clock.advance(100)
    leaving.abort('bored')
    await within(clock, 500, settled)
    loading.open(fireball)
    expect(eventsOf('read').map(event => [event.key, event.outcome, event.joined, event.durationMs])).toEqual(
      [
        ['spell:5', 'overloaded', false, 0],
        ['spell:4', 'aborted', true, 100],
        ['spell:4', 'timed-out', false, 500],
      ],
    )
    expect(cache.stats().keyspaces.spell!.failedReads).toEqual({
      failed: 0,
      'timed-out': 1,
      aborted: 1,
      overloaded: 1,
    })
  })

  test('is not told of what was refused before it began', async () => {
    const { process } = openWorld()
    const { cache, eventsOf } = process()
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    await expect(spells.get(Number.NaN)).rejects.toMatchObject({ code: 'INVALID_KEY' })
    await expect(spells.get(4, { signal: AbortSignal.abort('gone') })).rejects.toBe('gone')
    await cache.close()
    await expect(spells.get(4)).rejects.toMatchObject({ code: 'CLOSED' })
    expect(eventsOf('read')).toEqual([])
  })

  test('of each key of a batch has the number of the batch', async () => {
    const { process } = openWorld()
    const { cache, answers, eventsOf } = process({ local: LOCAL })
    const spells = cache.keyspace('spell', { loadMany: spellTable(fireball, earthquake).findMany })
    await spells.get(4)
    await spells.getMany([4, 6, 7])
    const [, hit, six, seven] = answers()
    expect([hit, six, seven].map(read => [read!.key, read!.from])).toEqual([
      ['spell:4', 'local'],
      ['spell:6', 'origin'],
      ['spell:7', 'origin'],
    ])
    expect(hit!.batch).toEqual(expect.any(Number))
    expect([six!.batch, seven!.batch]).toEqual([hit!.batch, hit!.batch])
    expect(eventsOf('load')[1]).toMatchObject({
      keys: ['spell:6', 'spell:7'],
      flights: [six!.id, seven!.id],
    })
  })

  test('of a batch that failed is told for each key past L1', async () => {
    const { process } = openWorld()
    const { cache, eventsOf } = process({ local: LOCAL })
    let isAway = false
    const find = spellTable(fireball, earthquake).findMany
    const spells = cache.keyspace('spell', {
      loadMany: (ids: readonly number[]) => (isAway ? Promise.reject(new Error('away')) : find(ids)),
    })
    await spells.get(4)
    isAway = true
    await expect(spells.getMany([4, 6, 7])).rejects.toThrow('away')
    expect(eventsOf('read').map(({ key, outcome }) => [key, outcome])).toEqual([
      ['spell:4', 'answered'],
      ['spell:4', 'answered'],
      ['spell:6', 'failed'],
      ['spell:7', 'failed'],
    ])
  })

  test('of a read inside a loader names the load', async () => {
    const { process } = openWorld()
    const { cache, answers, eventsOf } = process({ local: LOCAL })
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    const books = cache.keyspace('book', {
      load: async () => [await spells.get(4), await spells.get(4), ...(await spells.getMany([4, 5]))],
    })
    await books.get(1)
    const load = eventsOf('load').find(({ keyspace }) => keyspace === 'book')!
    const inner = answers().filter(({ keyspace }) => keyspace === 'spell')
    expect(inner.map(({ from, parent }) => [from, parent])).toEqual([
      ['origin', load.id],
      ['local', load.id],
      ['local', load.id],
      ['origin', load.id],
    ])
    const outer = answers().find(({ keyspace }) => keyspace === 'book')!
    expect(outer).not.toHaveProperty('parent')
    expect(load.flights).toEqual([outer.id])
  })

  test('of a snapshot has the number of the snapshot, and all its loads the number of their read', async () => {
    const { process } = openWorld()
    const { cache, answers, eventsOf } = process()
    const spells = cache.keyspace('spell', { load: spellTable(fireball, earthquake).find })
    const load = async () => [fireball, earthquake] as const
    await cache.snapshot([spells.at(4), spells.at(6)], { load })
    const [four, six] = answers()
    expect([four!.key, six!.key]).toEqual(['spell:4', 'spell:6'])
    expect(four!.batch).toBe(six!.batch)
    expect(four!.id).not.toBe(six!.id)
    expect(eventsOf('load').map(({ keys, flights }) => [keys, flights])).toEqual([
      [['spell:4'], [four!.id]],
      [['spell:6'], [six!.id]],
    ])
    const failing = { load: () => Promise.reject(new Error('away')) }
    await spells.write(4, async () => {
      await expect(cache.snapshot([spells.at(4), spells.at(6)], failing)).rejects.toThrow('away')
    })
    expect(eventsOf('read').slice(2)).toMatchObject([
      { key: 'spell:4', outcome: 'failed', joined: false },
      { key: 'spell:6', outcome: 'failed', joined: false },
    ])
  })
})

describe('a refresh event', () => {
  test('names the read that it was begun for, and its load and its fill name the refresh', async () => {
    const { clock, process } = openWorld()
    const { cache, answers, eventsOf } = process()
    const spells = cache.keyspace('spell', {
      load: spellTable(fireball).find,
      ttlMs: 1_000,
      ttlJitter: 0,
      staleMs: 9_000,
    })
    await spells.get(4)
    await clock.advance(2_000)
    await spells.get(4)
    await clock.drain()
    const stale = answers()[1]!
    expect(stale).toMatchObject({ why: 'stale' })
    const [began] = eventsOf('refresh')
    expect(began).toMatchObject({ outcome: 'began', read: stale.id, durationMs: 0 })
    expect(began!.flight).not.toBe(stale.id)
    expect(eventsOf('load')[1]).toMatchObject({ flights: [began!.flight] })
    expect(eventsOf('fill')[1]).toMatchObject({ flight: began!.flight, outcome: 'accepted' })
  })

  test('of one that a hit in L1 has begun names the hit', async () => {
    const { clock, process } = openWorld()
    const { cache, answers, eventsOf } = process({ local: LOCAL })
    const spells = cache.keyspace('spell', {
      load: async (id: number) => {
        await passing(clock, 100)
        return spellTable(fireball).find(id)
      },
      ttlMs: 1_000,
      ttlJitter: 0,
      refreshAhead: 1_000,
    })
    await within(clock, 200, spells.get(4))
    await within(clock, 200, Promise.all([spells.get(4), clock.drain()]))
    const hit = answers()[1]!
    expect(hit.from).toBe('local')
    expect(eventsOf('refresh')[0]).toMatchObject({ outcome: 'began', read: hit.id })
  })
})
