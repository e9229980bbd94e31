import { describe, expect, test } from 'vitest'
import { gate } from '../src/testing/index.ts'
import { fireball, openWorld, passing, type Spell, spellTable, within } from './world.ts'

/** Fresh for a second, by the clock. */
const SECOND = { ttlMs: 1_000, ttlJitter: 0 } as const

describe('ttlMs', () => {
  test('ends exactly when it has passed, at every level', async () => {
    const { clock, process } = openWorld()
    const table = spellTable(fireball)
    const spells = process({ local: { maxEntries: 9 } }).cache.keyspace('spell', {
      ...SECOND,
      load: table.find,
    })
    await spells.get(4)
    await clock.drain()
    await clock.advance(999)
    expect(await spells.read(4)).toMatchObject({ from: 'local', ttlMs: 1 })
    expect(await spells.read(4, { consistency: 'strong' })).toMatchObject({ from: 'shared', ttlMs: 1 })
    await clock.advance(1)
    expect(await spells.read(4)).toMatchObject({ from: 'origin', why: 'missing' })
  })

  test('is shortened by a jitter, never lengthened, and spread over all of its range', async () => {
    const { clock, process } = openWorld()
    const values = process().cache.keyspace('value', {
      load: async (id: number) => id,
      ttlMs: 10_000,
      ttlJitter: 0.2,
    })
    const ids = Array.from({ length: 2_000 }, (_, id) => id)
    await values.getMany(ids)
    await clock.drain()
    const lives = await Promise.all(ids.map(async id => (await values.read(id)).ttlMs!))
    expect(Math.max(...lives)).toBeLessThanOrEqual(10_000)
    expect(Math.min(...lives)).toBeGreaterThanOrEqual(8_000)
    const tenths = Array(10).fill(0)
    for (const life of lives) tenths[Math.min(9, Math.floor((life - 8_000) / 200))]++
    // 200 of each are expected; a tenth that differs by more than four standard deviations is no chance.
    for (const count of tenths) expect(Math.abs(count - 200)).toBeLessThan(4 * Math.sqrt(180))
  })

  test('is jittered by a tenth unless it is said otherwise', async () => {
    const { clock, process } = openWorld()
    const values = process().cache.keyspace('value', { load: async (id: number) => id, ttlMs: 10_000 })
    const ids = Array.from({ length: 500 }, (_, id) => id)
    await values.getMany(ids)
    await clock.drain()
    const lives = await Promise.all(ids.map(async id => (await values.read(id)).ttlMs!))
    expect(Math.min(...lives)).toBeGreaterThanOrEqual(9_000)
    expect(Math.min(...lives)).toBeLessThan(9_050)
    expect(Math.max(...lives)).toBeGreaterThan(9_950)
  })

  test('of an absent row is absentTtlMs, jittered too', async () => {
    const { clock, process } = openWorld()
    const values = process().cache.keyspace<number, number>('value', {
      load: async () => undefined,
      absentTtlMs: 1_000,
    })
    const ids = Array.from({ length: 100 }, (_, id) => id)
    await values.getMany(ids)
    await clock.drain()
    const lives = await Promise.all(ids.map(async id => (await values.read(id)).ttlMs!))
    expect(Math.max(...lives)).toBeLessThanOrEqual(1_000)
    expect(Math.min(...lives)).toBeGreaterThanOrEqual(900)
    expect(new Set(lives).size).toBeGreaterThan(20)
  })
})

describe('staleMs', () => {
  test('serves the old value without waiting while one refresh runs, then the new one', async () => {
    const { clock, process } = openWorld()
    const query = gate()
    const table = spellTable(fireball)
    let calls = 0
    const { cache, eventsOf } = process({ local: { maxEntries: 9 } })
    const spells = cache.keyspace('spell', {
      ...SECOND,
      staleMs: 5_000,
      load: async (id: number) => {
        if (++calls > 1) await query.wait()
        return table.find(id)
      },
    })
    await spells.get(4)
    table.update(4, 31)
    await clock.advance(1_500)
    for (let i = 0; i < 20; i++) {
      expect(await spells.read(4)).toMatchObject({ why: 'stale', value: { damage: 30 }, ttlMs: -500 })
      await clock.drain()
    }
    expect((await spells.getMany([4])).get(4)).toMatchObject({ damage: 30 })
    expect(query.arrivals).toBe(1)
    query.open()
    await clock.drain()
    expect(await spells.read(4)).toMatchObject({ from: 'local', why: 'fresh', value: { damage: 31 } })
    expect(calls).toBe(2)
    expect(eventsOf('refresh')).toMatchObject([
      { type: 'refresh', keyspace: 'spell', key: 'spell:4', outcome: 'began' },
    ])
  })

  test('lets one process of all refresh', async () => {
    const { clock, process } = openWorld()
    const table = spellTable(fireball)
    const processes = [1, 2, 3].map(() => process())
    const spaces = processes.map(({ cache }) =>
      cache.keyspace('spell', {
        ...SECOND,
        staleMs: 5_000,
        load: async (id: number) => {
          await passing(clock, 100)
          return table.find(id)
        },
      }),
    )
    await within(clock, 100, spaces[0]!.get(4))
    await clock.advance(1_500)
    table.update(4, 31)
    for (let i = 0; i < 30; i++) {
      expect(await spaces[i % 3]!.read(4)).toMatchObject({ why: 'stale' })
      await clock.advance(3)
    }
    await clock.advance(20)
    expect(await spaces[2]!.get(4)).toMatchObject({ damage: 31 })
    expect(table.asked).toHaveLength(2)
    const outcomes = processes.flatMap(({ eventsOf }) => eventsOf('refresh').map(({ outcome }) => outcome))
    expect(outcomes.filter(outcome => outcome === 'began')).toHaveLength(1)
  })

  test('ends where it ends: then readers wait for the load', async () => {
    const { clock, process } = openWorld()
    const table = spellTable(fireball)
    const spells = process().cache.keyspace('spell', { ...SECOND, staleMs: 5_000, load: table.find })
    await spells.get(4)
    table.update(4, 31)
    await clock.advance(6_000)
    expect(await spells.read(4)).toMatchObject({ from: 'origin', value: { damage: 31 } })
  })

  test('goes on serving the old value when a refresh fails, reports it, and tries again', async () => {
    const { clock, process } = openWorld()
    const table = spellTable(fireball)
    const boom = new Error('boom')
    let fails = false
    const { cache, eventsOf } = process()
    const spells = cache.keyspace('spell', {
      ...SECOND,
      staleMs: 5_000,
      load: async (id: number) => {
        if (fails) throw boom
        return table.find(id)
      },
    })
    await spells.get(4)
    await clock.advance(1_500)
    fails = true
    expect(await spells.read(4)).toMatchObject({ why: 'stale' })
    await clock.drain()
    fails = false
    table.update(4, 31)
    expect(await spells.read(4)).toMatchObject({ why: 'stale', value: { damage: 30 } })
    await clock.drain()
    expect(await spells.read(4)).toMatchObject({ why: 'fresh', value: { damage: 31 } })
    expect(eventsOf('refresh').map(({ outcome, error }) => [outcome, error])).toEqual([
      ['began', undefined],
      ['failed', boom],
      ['began', undefined],
    ])
  })

  test('refreshes to an absence too', async () => {
    const { clock, process } = openWorld()
    const table = spellTable(fireball)
    const spells = process().cache.keyspace('spell', { ...SECOND, staleMs: 5_000, load: table.find })
    await spells.get(4)
    await clock.advance(1_500)
    table.rows.delete(4)
    expect(await spells.get(4)).toEqual(fireball)
    await clock.drain()
    expect(await spells.read(4)).toMatchObject({ value: undefined, why: 'fresh' })
  })

  test('never serves what was invalidated', async () => {
    const { clock, process } = openWorld()
    const table = spellTable(fireball)
    const spells = process().cache.keyspace('spell', {
      ...SECOND,
      staleMs: 5_000,
      staleIfErrorMs: 5_000,
      load: table.find,
    })
    for (const end of [
      () => spells.invalidate(4),
      () => spells.invalidateAll(),
      () => spells.write(4, () => {}),
    ]) {
      await spells.get(4)
      await clock.advance(1_500)
      await end()
      const next = table.update(4, table.rows.get(4)!.damage + 1)
      expect(await spells.read(4)).toMatchObject({ from: 'origin', value: next })
      await clock.drain()
    }
  })
})

describe('staleIfErrorMs', () => {
  const boom = new Error('the origin is away')

  function failing(options: { staleIfErrorMs: number; loadSoftTimeoutMs?: number }) {
    const world = openWorld()
    const table = spellTable(fireball)
    const state = { fails: false, costMs: 0 }
    const one = world.process({ local: { maxEntries: 9 } })
    const spells = one.cache.keyspace('spell', {
      ...SECOND,
      ...options,
      load: async (id: number) => {
        if (state.costMs > 0) await passing(world.clock, state.costMs)
        if (state.fails) throw boom
        return table.find(id)
      },
    })
    return { ...world, ...one, table, state, spells }
  }

  test('serves the old value when the load fails, until its window ends', async () => {
    const { clock, spells, state, inspect } = failing({ staleIfErrorMs: 5_000 })
    await spells.get(4)
    await clock.advance(1_500)
    state.fails = true
    expect(await spells.read(4)).toMatchObject({ value: fireball, from: 'shared', why: 'stale-error' })
    await clock.drain()
    expect(inspect('spell:4')).toMatch(/^V/)
    expect(await spells.get(4)).toEqual(fireball)
    expect(spells.peek(4)).toBeUndefined()
    await clock.advance(4_500)
    await expect(spells.get(4)).rejects.toBe(boom)
  })

  test('hands the error to those who have nothing to fall back on', async () => {
    const { spells, state } = failing({ staleIfErrorMs: 5_000 })
    state.fails = true
    await expect(spells.get(4)).rejects.toBe(boom)
  })

  test('waits for the load otherwise, and does not serve the old value', async () => {
    const { clock, spells, state, table } = failing({ staleIfErrorMs: 5_000 })
    await spells.get(4)
    await clock.advance(1_500)
    table.update(4, 31)
    state.costMs = 300
    expect(await within(clock, 300, spells.read(4))).toMatchObject({ why: 'expired', value: { damage: 31 } })
  })

  test('serves the old value after loadSoftTimeoutMs, and stores what the load brings', async () => {
    const { clock, spells, state, table, eventsOf } = failing({
      staleIfErrorMs: 5_000,
      loadSoftTimeoutMs: 50,
    })
    await spells.get(4)
    await clock.advance(1_500)
    table.update(4, 31)
    state.costMs = 300
    expect(await within(clock, 50, spells.read(4))).toMatchObject({
      why: 'stale-error',
      value: { damage: 30 },
      timings: { totalMs: 50, loadMs: 50 },
    })
    expect(await spells.read(4)).toMatchObject({ why: 'stale-error', joined: true })
    await clock.advance(250)
    expect(await spells.read(4)).toMatchObject({ from: 'local', value: { damage: 31 } })
    expect(eventsOf('load')).toHaveLength(2)
  })

  test('makes nothing of a load that fails after its readers were served', async () => {
    const { clock, spells, state, eventsOf } = failing({ staleIfErrorMs: 5_000, loadSoftTimeoutMs: 50 })
    await spells.get(4)
    await clock.advance(1_500)
    state.costMs = 300
    state.fails = true
    expect(await within(clock, 50, spells.get(4))).toEqual(fireball)
    await clock.advance(250)
    expect(eventsOf('load').map(({ outcome }) => outcome)).toEqual(['loaded', 'failed'])
  })

  test('serves the old value at the hard limit where there is no soft one', async () => {
    const { clock, spells, state } = failing({ staleIfErrorMs: 60_000 })
    await spells.get(4)
    await clock.advance(1_500)
    state.costMs = 20_000
    expect(await within(clock, 10_000, spells.read(4))).toMatchObject({ why: 'stale-error' })
    await clock.advance(10_000)
  })

  test('does not serve what was invalidated while the load ran', async () => {
    const { clock, spells, state } = failing({ staleIfErrorMs: 5_000, loadSoftTimeoutMs: 200 })
    await spells.get(4)
    await clock.advance(1_500)
    state.costMs = 300
    state.fails = true
    const reading = expect(spells.get(4)).rejects.toBe(boom)
    await clock.advance(10)
    await spells.invalidate(4)
    await clock.advance(300)
    await reading
  })

  test('serves the old value also where a refresh of another process takes too long', async () => {
    const { clock, process, spells, state } = failing({ staleIfErrorMs: 60_000 })
    await spells.get(4)
    await clock.advance(1_500)
    const never = gate<Spell>()
    const elsewhere = process().cache.keyspace('spell', {
      ...SECOND,
      staleIfErrorMs: 60_000,
      load: (_: number) => never.wait(),
    })
    const slow = elsewhere.get(4)
    await never.reached
    state.fails = true
    expect(await within(clock, 2_100, spells.read(4))).toMatchObject({ why: 'stale-error', value: fireball })
    never.open(fireball)
    await slow
  })
})

describe('refreshAhead', () => {
  /** How long before its expiry each key is refreshed, if it is read all the time, by what its load costs. */
  async function momentsOfRefresh(costMs: number, local: boolean) {
    const { clock, process } = openWorld()
    const ids = Array.from({ length: 300 }, (_, id) => id)
    const ahead: number[] = []
    const { cache } = process({ maxLoads: 1_000, ...(local ? { local: { maxEntries: 1_000 } } : {}) })
    const values = cache.keyspace('value', {
      ttlMs: 60_000,
      ttlJitter: 0,
      refreshAhead: 1,
      load: async (id: number) => {
        await passing(clock, costMs)
        return id
      },
    })
    await within(clock, costMs, Promise.all(ids.map(id => values.get(id))))
    cache.listen(event => {
      if (event.type === 'refresh' && event.outcome === 'began') ahead.push(60_000 - clock.nowMs() + costMs)
    })
    await clock.advance(60_000 - 10 * costMs)
    const stepMs = costMs / 10
    for (let i = 0; i < 100; i++) {
      for (const id of ids) await values.get(id)
      await clock.advance(stepMs)
    }
    await clock.advance(2 * costMs)
    return { ahead, mean: ahead.reduce((sum, ms) => sum + ms, 0) / ahead.length, keys: ids.length }
  }

  test.each([500, 2_000])(
    'in L1 begins earlier the more a load costs: on the average by its cost, at %i ms',
    async costMs => {
      const { ahead, mean, keys } = await momentsOfRefresh(costMs, true)
      expect(ahead.length).toBeGreaterThan(0.85 * keys)
      // The exponential distribution of the paper has its mean and its standard deviation at the cost.
      expect(Math.abs(mean - costMs)).toBeLessThan(4 * (costMs / Math.sqrt(keys)) + costMs / 10)
    },
  )

  test('in the shared store refreshes with a probability that rises towards the expiry, by the cost', async () => {
    const { clock, process } = openWorld()
    const ids = Array.from({ length: 1_000 }, (_, id) => id)
    const { cache, eventsOf } = process({ maxLoads: 1_000 })
    const values = cache.keyspace('value', {
      ttlMs: 60_000,
      ttlJitter: 0,
      refreshAhead: 2,
      load: async (id: number) => {
        await passing(clock, 1_000)
        return id
      },
    })
    const beganWith = async (leftMs: number) => {
      await values.invalidateAll()
      await within(clock, 1_000, Promise.all(ids.map(id => values.get(id))))
      await clock.advance(60_000 - leftMs)
      const before = eventsOf('refresh').length
      for (const id of ids) expect(await values.read(id)).toMatchObject({ from: 'shared', why: 'fresh' })
      await clock.advance(2_000)
      return (eventsOf('refresh').length - before) / ids.length
    }
    for (const leftMs of [10_000, 4_000, 2_000]) {
      const expected = Math.exp(-leftMs / 2_000)
      const deviation = Math.sqrt((expected * (1 - expected)) / ids.length)
      expect(Math.abs((await beganWith(leftMs)) - expected)).toBeLessThan(4 * deviation)
    }
  })

  test('serves from L1 while it refreshes, and the new value afterwards, with a new life', async () => {
    const { clock, process } = openWorld()
    const query = gate()
    const table = spellTable(fireball)
    let holds = false
    const { cache, eventsOf } = process({ local: { maxEntries: 9 } })
    const spells = cache.keyspace('spell', {
      ...SECOND,
      refreshAhead: 5,
      load: async (id: number) => {
        if (holds) await query.wait()
        else await passing(clock, 100)
        return table.find(id)
      },
    })
    await within(clock, 100, spells.get(4))
    table.update(4, 31)
    holds = true
    for (let i = 0; i < 95 && query.arrivals === 0; i++) {
      expect(await spells.read(4)).toMatchObject({ from: 'local', value: { damage: 30 } })
      await clock.advance(10)
    }
    expect(query.arrivals).toBe(1)
    expect(await spells.read(4)).toMatchObject({ from: 'local', value: { damage: 30 } })
    query.open()
    await clock.drain()
    expect(await spells.read(4)).toMatchObject({
      from: 'local',
      value: { damage: 31 },
      ageMs: 0,
      ttlMs: 1_000,
    })
    expect(eventsOf('refresh').map(({ outcome }) => outcome)).toEqual(['began'])
  })

  test('refreshes once for all processes, each with its L1', async () => {
    const { clock, process } = openWorld()
    const table = spellTable(fireball)
    const spaces = [1, 2, 3].map(() =>
      process({ local: { maxEntries: 9 } }).cache.keyspace('spell', {
        ttlMs: 60_000,
        ttlJitter: 0,
        refreshAhead: 1,
        load: async (id: number) => {
          await passing(clock, 1_000)
          return table.find(id)
        },
      }),
    )
    await within(clock, 2_000, Promise.all(spaces.map(spells => spells.get(4))))
    expect(table.asked).toHaveLength(1)
    for (let ms = 2_000; ms < 65_000; ms += 100) {
      await Promise.all(spaces.map(spells => spells.get(4)))
      await clock.advance(100)
    }
    expect(table.asked).toHaveLength(2)
    for (const spells of spaces) expect((await spells.read(4)).ttlMs).toBeGreaterThan(30_000)
  })

  test('reports a refresh that fails, and serves on', async () => {
    const { clock, process } = openWorld()
    const boom = new Error('boom')
    let fails = false
    const { cache, eventsOf } = process({ local: { maxEntries: 9 } })
    const spells = cache.keyspace('spell', {
      ...SECOND,
      refreshAhead: 3,
      load: async (_: number) => {
        await passing(clock, 100)
        if (fails) throw boom
        return fireball
      },
    })
    await within(clock, 100, spells.get(4))
    fails = true
    for (let i = 0; i < 99; i++) {
      expect(await spells.get(4)).toEqual(fireball)
      await clock.advance(9)
    }
    const failed = eventsOf('refresh').filter(({ outcome }) => outcome === 'failed')
    expect(failed.length).toBeGreaterThan(0)
    expect(new Set(failed.map(({ error }) => error))).toEqual(new Set([boom]))
    await clock.advance(200)
  })
})
