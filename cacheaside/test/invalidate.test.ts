import { describe, expect, test } from 'vitest'
import { fireball, openWorld, type Spell, spellTable } from './world.ts'

const L1 = { maxEntries: 100_000 } as const
const iceShard: Spell = { id: 5, name: 'Ice Shard', damage: 25 }

describe('invalidate', () => {
  test('removes a value from every level of every process, and leaves the others alone', async () => {
    const { clock, process } = openWorld()
    const table = spellTable(fireball, iceShard)
    const [here, there] = [1, 2].map(() =>
      process({ local: L1 }).cache.keyspace('spell', { loadMany: table.findMany }),
    )
    await here!.getMany([4, 5])
    await clock.drain()
    await there!.getMany([4, 5])
    table.update(4, 31)
    table.update(5, 26)
    expect(await here!.invalidate(4)).toBe('applied')
    for (const spells of [here!, there!]) {
      expect(spells.peek(4)).toBeUndefined()
      expect(spells.peek(5)).toEqual({ value: iceShard })
    }
    expect(await there!.read(4)).toMatchObject({ why: 'missing', value: { damage: 31 } })
    expect(await there!.read(5)).toMatchObject({ from: 'local', value: { damage: 25 } })
  })

  test('is applied also where there is nothing to remove', async () => {
    const { process } = openWorld()
    const { cache, eventsOf } = process()
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    expect(await spells.invalidate(4)).toBe('applied')
    expect(eventsOf('invalidation')).toEqual([
      {
        type: 'invalidation',
        keyspace: 'spell',
        key: 'spell:4',
        outcome: 'applied',
        stored: false,
        cause: expect.any(Number),
        durationMs: 0,
      },
    ])
  })

  test('of several keys does them all', async () => {
    const { clock, inspect, process } = openWorld()
    const { cache } = process({ local: L1 })
    const table = spellTable(fireball, iceShard)
    const spells = cache.keyspace('spell', { loadMany: table.findMany })
    const names = cache.keyspace('name', { load: async (_: number) => 'Fireball' })
    await Promise.all([spells.getMany([4, 5]), names.get(4)])
    await clock.drain()
    const keys = [spells.key(4), spells.key(5), names.key(4)]
    expect(await cache.invalidate(keys)).toBe('applied')
    expect(keys.map(key => inspect(key))).toEqual([undefined, undefined, undefined])
    expect([spells.peek(4), spells.peek(5), names.peek(4)]).toEqual([undefined, undefined, undefined])
    expect(await cache.invalidate([])).toBe('applied')
  })

  test('leaves the guard of a writer standing', async () => {
    const { inspect, process } = openWorld()
    const spells = process().cache.keyspace('spell', { load: spellTable(fireball).find })
    const written = await spells.write(4, async () => {
      await spells.invalidate(4)
      expect(inspect('spell:4')).toMatch(/^W1/)
    })
    expect(written).toMatchObject({ fenced: true })
  })

  test('never says applied where the shared store did not say so; it is retried until it is', async () => {
    const { clock, inspect, process, network } = openWorld()
    const link = network()
    const table = spellTable(fireball)
    const { cache, eventsOf } = process({ local: L1 }, link)
    const spells = cache.keyspace('spell', { load: table.find })
    const elsewhere = process().cache.keyspace('spell', { load: table.find })
    await clock.drain()
    await spells.get(4)
    await clock.drain()
    table.update(4, 31)
    link.fail('invalidate')
    expect(await spells.invalidate(4)).toBe('queued')
    expect(await spells.read(4)).toMatchObject({ why: 'queued', value: { damage: 31 } })
    expect(await elsewhere.read(4)).toMatchObject({ from: 'shared', value: { damage: 30 } })
    await clock.advance(5_000)
    expect(cache.stats().now.queuedInvalidations).toBe(1)
    const tries = link.calls.invalidate
    expect(tries).toBeGreaterThan(5)
    link.restore()
    await clock.advance(1_000)
    expect(inspect('spell:4')).toBeUndefined()
    expect(link.calls.invalidate).toBe(tries + 1)
    expect(eventsOf('invalidation').map(({ outcome }) => outcome)).toEqual(['queued', 'late'])
    expect(await elsewhere.read(4)).toMatchObject({ value: { damage: 31 } })
  })

  test('is queued once per key, however often it is asked for', async () => {
    const { clock, process, network } = openWorld()
    const link = network()
    const { cache, eventsOf } = process({}, link)
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    await clock.drain()
    link.fail()
    for (let i = 0; i < 10; i++) expect(await spells.invalidate(4)).toBe('queued')
    expect(cache.stats().now.queuedInvalidations).toBe(1)
    link.restore()
    await clock.advance(2_000)
    expect(eventsOf('invalidation').filter(({ outcome }) => outcome === 'late')).toHaveLength(1)
    expect(cache.stats().keyspaces.spell!.invalidations).toEqual({
      applied: 0,
      queued: 10,
      'in-doubt': 0,
      late: 1,
      collapsed: 0,
    })
  })

  test('of more keys than the queue holds collapses into their keyspace, which this process bypasses', async () => {
    const { clock, process, network } = openWorld()
    const link = network()
    const table = spellTable(fireball)
    const { cache, eventsOf } = process({ local: L1, maxQueuedInvalidations: 3 }, link)
    const spells = cache.keyspace('spell', { load: table.find })
    const names = cache.keyspace('name', { load: async (id: number) => `spell ${id}` })
    await clock.drain()
    await Promise.all([spells.get(4), names.get(4)])
    await clock.drain()
    link.fail('invalidate')
    link.fail('invalidateKeyspace')
    for (const id of [1, 2]) await spells.invalidate(id)
    await names.invalidate(1)
    expect(cache.stats().now.queuedInvalidations).toBe(3)
    expect(await spells.invalidate(3)).toBe('queued')
    expect(cache.stats().now.queuedInvalidations).toBe(2)
    expect(await spells.read(4)).toMatchObject({ why: 'queued', kept: false })
    expect(await names.read(4)).not.toMatchObject({ why: 'queued' })
    expect(
      eventsOf('invalidation')
        .filter(({ outcome }) => outcome === 'collapsed')
        .map(({ key }) => key),
    ).toEqual(['spell:1', 'spell:2', 'spell:3'])
    for (let id = 10; id < 1_000; id++) await spells.invalidate(id)
    expect(cache.stats().now.queuedInvalidations).toBe(2)
    link.restore()
    await clock.advance(2_000)
    expect(cache.stats().now.queuedInvalidations).toBe(0)
    expect(eventsOf('keyspace-invalidation').map(({ outcome }) => outcome)).toEqual(['queued', 'late'])
    expect(await spells.read(4)).toMatchObject({ from: 'origin', kept: true })
  })
})

describe('invalidateAll', () => {
  test('costs one operation, however many values there are, and hides them all', async () => {
    const { clock, process, network } = openWorld()
    const link = network()
    const { cache } = process({ local: L1 }, link)
    const ids = Array.from({ length: 2_000 }, (_, id) => id)
    let generation = 1
    const values = cache.keyspace<number, number>('value', {
      loadMany: async asked => asked.map(id => [id, generation]),
    })
    const other = cache.keyspace<number, number>('other', { load: async () => generation })
    await clock.drain()
    await Promise.all([values.getMany(ids), other.get(1)])
    await clock.drain()
    generation = 2
    const sent = link.log.length
    expect(await values.invalidateAll()).toBe('applied')
    expect(link.log.slice(sent).map(({ operation }) => operation)).toEqual(['invalidateKeyspace'])
    expect(values.peek(7)).toBeUndefined()
    expect(other.peek(1)).toEqual({ value: 1 })
    expect(new Set((await values.getMany(ids)).values())).toEqual(new Set([2]))
    expect(await other.get(1)).toBe(1)
  })

  test('reaches the other processes', async () => {
    const { clock, process } = openWorld()
    const table = spellTable(fireball)
    const [here, there] = [1, 2].map(() =>
      process({ local: L1 }).cache.keyspace('spell', { load: table.find }),
    )
    await here!.get(4)
    await clock.drain()
    await there!.get(4)
    table.update(4, 31)
    await here!.invalidateAll()
    expect(there!.peek(4)).toBeUndefined()
    expect(await there!.get(4)).toMatchObject({ damage: 31 })
    await clock.drain()
    expect(await here!.read(4)).toMatchObject({ from: 'shared', value: { damage: 31 } })
  })

  test('is queued where the store cannot be told, and this process bypasses its values meanwhile', async () => {
    const { clock, process, network } = openWorld()
    const link = network()
    const table = spellTable(fireball)
    const { cache, eventsOf } = process({ local: L1 }, link)
    const spells = cache.keyspace('spell', { load: table.find })
    await clock.drain()
    await spells.get(4)
    await clock.drain()
    link.fail('invalidateKeyspace')
    expect(await spells.invalidateAll()).toBe('queued')
    expect(spells.peek(4)).toBeUndefined()
    expect(await spells.read(4)).toMatchObject({ why: 'queued', kept: false })
    link.restore()
    await clock.advance(2_000)
    expect(eventsOf('keyspace-invalidation').map(({ outcome }) => outcome)).toEqual(['queued', 'late'])
    expect(await spells.read(4)).toMatchObject({ why: 'generation', kept: true })
  })

  test('does not take away the guards of writers', async () => {
    const { inspect, process } = openWorld()
    const spells = process().cache.keyspace('spell', { load: spellTable(fireball).find })
    const written = await spells.write(4, async () => {
      await spells.invalidateAll()
      return inspect('spell:4')
    })
    expect(written).toMatchObject({ value: expect.stringMatching(/^W/), fenced: true })
  })
})
