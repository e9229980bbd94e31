import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { gate } from '../src/testing/index.ts'
import { fireball, openWorld, passing, type Spell, spellTable, within } from './world.ts'

const L1 = { maxEntries: 100 } as const
const EXACT = { ttlMs: 600_000, ttlJitter: 0 } as const

describe('get', () => {
  test('returns what the loader returns, and calls it once', async () => {
    const { process } = openWorld()
    const table = spellTable(fireball)
    const spells = process().cache.keyspace('spell', { load: table.find })
    expect(await spells.get(4)).toEqual(fireball)
    expect(await spells.get(4)).toEqual(fireball)
    expect(table.asked).toEqual([[4]])
  })

  test('returns undefined for a row that does not exist, and remembers that', async () => {
    const { process } = openWorld()
    const table = spellTable()
    const spells = process({ local: L1 }).cache.keyspace('spell', { load: table.find })
    expect(await spells.get(4)).toBeUndefined()
    expect(await spells.get(4)).toBeUndefined()
    expect(table.asked).toEqual([[4]])
  })

  test('loads a key once for several processes', async () => {
    const { process } = openWorld()
    const table = spellTable(fireball)
    const [one, other] = [process(), process({ local: L1 })]
    expect(await one.cache.keyspace('spell', { load: table.find }).get(4)).toEqual(fireball)
    expect(await other.cache.keyspace('spell', { load: table.find }).get(4)).toEqual(fireball)
    expect(table.asked).toEqual([[4]])
  })

  test('is answered from L1 without a word to the shared store', async () => {
    const { clock, process, network } = openWorld()
    const link = network()
    const { cache } = process({ local: L1 }, link)
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    await clock.advance(10)
    await spells.get(4)
    await clock.drain()
    const sent = link.log.length
    expect(await spells.get(4)).toEqual(fireball)
    expect(link.log).toHaveLength(sent)
  })

  test('is answered by the shared store in one round trip of one command', async () => {
    const { clock, process, network } = openWorld()
    const link = network()
    const spells = process({}, link).cache.keyspace('spell', { load: spellTable(fireball).find })
    await clock.advance(1_000)
    await spells.get(4)
    await clock.drain()
    const sent = link.log.length
    expect(await spells.get(4)).toEqual(fireball)
    expect(link.log.slice(sent).map(({ operation }) => operation)).toEqual(['look'])
  })

  test('takes no lease where it found a value before, but where an invalidation was heard since', async () => {
    const { clock, plant, process, network } = openWorld()
    const link = network()
    const other = process().cache.keyspace('spell', { load: spellTable(fireball).find })
    const { cache, eventsOf } = process({}, link)
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find, ttlMs: 60_000, ttlJitter: 0 })
    await clock.advance(1_000)
    const operationsOf = async (options?: { consistency: 'strong' }) => {
      const sent = link.log.length
      expect(await spells.get(4, options)).toEqual(fireball)
      await clock.advance(10)
      return link.log.slice(sent).map(({ operation }) => operation)
    }
    expect(await operationsOf()).toEqual(['lease', 'fill'])
    expect(await operationsOf()).toEqual(['look'])
    expect(await operationsOf({ consistency: 'strong' })).toEqual(['generation', 'lease'])
    await other.invalidate(4)
    expect(await operationsOf()).toEqual(['lease', 'fill'])
    plant('spell:4', 'evicted, which nobody is told of', 1)
    await clock.advance(10)
    expect(await operationsOf()).toEqual(['look', 'lease', 'fill'])
    expect(eventsOf('read').at(-1)).toMatchObject({ from: 'origin', why: 'missing' })
    await clock.advance(61_000)
    const expired = await operationsOf()
    expect(expired.filter(operation => operation !== 'heartbeat')).toEqual(['lease', 'fill'])
  })

  test('decodes a text of the shared store once, and judges the value again each time', async () => {
    const { clock, inspect, plant, process, network } = openWorld()
    let decoded = 0
    const codec = {
      encode: (spell: Spell) => JSON.stringify(spell),
      decode(text: string): Spell {
        decoded++
        return JSON.parse(text)
      },
    }
    const schema = z.object({ id: z.int(), name: z.string(), damage: z.int().max(99) })
    const table = spellTable(fireball)
    const { cache, eventsOf } = process({}, network())
    const spells = cache.keyspace('spell', { load: table.find, ttlMs: 60_000, ttlJitter: 0, codec, schema })
    await clock.advance(1_000)
    await spells.get(4)
    await clock.advance(10)
    const first = await spells.get(4)
    const once = decoded
    expect([await spells.get(4), await spells.get(4, { consistency: 'strong' })]).toEqual([first, first])
    expect((await spells.getMany([4])).get(4)).toBe(first)
    expect(decoded).toBe(once)
    const invalid = inspect('spell:4')!.replace('"damage":30', '"damage":100')
    plant('spell:4', invalid, 60_000)
    expect(await spells.read(4)).toMatchObject({ value: fireball, from: 'origin', why: 'unreadable' })
    expect(eventsOf('unreadable')).toMatchObject([{ key: 'spell:4', reason: 'schema' }])
    await clock.advance(10)
    expect(await spells.read(4)).toMatchObject({ from: 'shared', value: fireball })
    await clock.advance(60_000)
    expect(await spells.read(4)).toMatchObject({ from: 'origin' })
    await spells.get(4)
    await spells.invalidateAll()
    expect(await spells.read(4)).toMatchObject({ from: 'origin', why: 'generation' })
  })

  test('does not wait for the fill', async () => {
    const { clock, process, network } = openWorld()
    const link = network()
    const spells = process({}, link).cache.keyspace('spell', { load: spellTable(fireball).find })
    await clock.advance(10)
    link.hang('fill')
    expect(await spells.get(4)).toEqual(fireball)
    link.restore()
  })

  test("waits for the fill with fill: 'blocking', and answers then", async () => {
    const { clock, process, network } = openWorld()
    const link = network()
    const spells = process({ fill: 'blocking' }, link).cache.keyspace('spell', {
      load: spellTable(fireball).find,
    })
    await clock.advance(10)
    link.delay(30, 'fill')
    const answer = await within(clock, 30, spells.read(4))
    expect(answer).toMatchObject({ value: fireball, from: 'origin', kept: true, timings: { totalMs: 30 } })
  })

  test.each([
    ['null', null],
    ['zero', 0],
    ['an empty string', ''],
    ['false', false],
    ['an empty list', []],
    ['an absent row', undefined],
  ])('keeps %s exactly, at every level and for those who joined', async (_, value) => {
    const { process } = openWorld()
    let loads = 0
    const options = {
      load: async (_id: number) => {
        loads++
        return value
      },
      loadMany: async (ids: readonly number[]) => {
        loads++
        return ids.map(id => [id, value] as const)
      },
    }
    const spells = process({ local: L1 }).cache.keyspace('spell', options)
    const elsewhere = process().cache.keyspace('spell', options)
    expect(await Promise.all([spells.get(1), spells.get(1)])).toEqual([value, value])
    expect(await spells.read(1)).toMatchObject({ from: 'local', value })
    expect(spells.peek(1)).toEqual({ value })
    expect(await elsewhere.read(1)).toMatchObject({ from: 'shared', value })
    const many = new Map(value === undefined ? [] : [[1, value] as const, [2, value] as const])
    expect(await elsewhere.getMany([1, 2])).toEqual(many)
    expect(await spells.getMany([1, 2])).toEqual(many)
    expect(loads).toBe(2)
  })

  test('rejects with the very error that the loader throws, and does not keep it', async () => {
    const { process } = openWorld()
    const boom = new RangeError('boom')
    let fails = true
    const spells = process({ local: L1 }).cache.keyspace('spell', {
      load: async (_id: number) => {
        if (fails) throw boom
        return fireball
      },
    })
    await expect(spells.get(4)).rejects.toBe(boom)
    fails = false
    expect(await spells.get(4)).toEqual(fireball)
  })

  test.each([
    [
      'throws an error before its first await',
      () => {
        throw new Error('at once')
      },
      'at once',
    ],
    [
      'throws undefined',
      () => {
        throw undefined
      },
      undefined,
    ],
    ['rejects with a string', () => Promise.reject('a string'), 'a string'],
  ])('rejects with what the loader ended with if it %s', async (_, load, thrown) => {
    const { process } = openWorld()
    const spells = process().cache.keyspace<number, Spell>('spell', { load })
    const reason = await spells.get(4).then(
      () => expect.unreachable(),
      (error: unknown) => (error instanceof Error ? error.message : error),
    )
    expect(reason).toBe(thrown)
    await expect(spells.getMany([4, 5])).rejects.toSatisfy(
      error => (error instanceof Error ? error.message : error) === thrown,
    )
  })

  test('takes a value that the loader returns without a promise', async () => {
    const { process } = openWorld()
    const spells = process().cache.keyspace('spell', { load: (id: number) => ({ id }) })
    expect(await spells.get(4)).toEqual({ id: 4 })
    expect(await spells.getMany([4, 5])).toEqual(
      new Map([
        [4, { id: 4 }],
        [5, { id: 5 }],
      ]),
    )
  })

  test('asks loadMany for one id where there is no load, and takes the value of that id alone', async () => {
    const { process } = openWorld()
    const spells = process().cache.keyspace<number, string>('spell', {
      loadMany: async () => [
        [3, 'three'],
        [4, 'four'],
      ],
    })
    expect(await spells.get(4)).toBe('four')
    expect(await spells.get(5)).toBeUndefined()
  })
})

describe('read', () => {
  test('tells of a value that was missing: loaded, kept, new', async () => {
    const { clock, process, network } = openWorld()
    const link = network()
    const spells = process({}, link).cache.keyspace('spell', {
      ...EXACT,
      load: async (_id: number) => {
        await passing(clock, 40)
        return fireball
      },
    })
    link.delay(20)
    expect(await within(clock, 60, spells.read(4))).toEqual({
      value: fireball,
      from: 'origin',
      why: 'missing',
      kept: true,
      joined: false,
      ageMs: 0,
      ttlMs: 600_000,
      timings: { totalMs: 60, sharedMs: 20, loadMs: 40 },
    })
    await clock.advance(20)
  })

  test('tells of a value in L1', async () => {
    const { clock, process } = openWorld()
    const spells = process({ local: L1 }).cache.keyspace('spell', {
      ...EXACT,
      load: async (_: number) => fireball,
    })
    await spells.get(4)
    await clock.advance(7_000)
    expect(await spells.read(4)).toEqual({
      value: fireball,
      from: 'local',
      why: 'fresh',
      kept: true,
      joined: false,
      ageMs: 7_000,
      ttlMs: 593_000,
      timings: { totalMs: 0, sharedMs: 0, loadMs: 0 },
    })
  })

  test('tells of a value in the shared store', async () => {
    const { clock, process, network } = openWorld()
    const link = network()
    const spells = process({}, link).cache.keyspace('spell', {
      ...EXACT,
      load: async (_: number) => fireball,
    })
    await clock.drain()
    await spells.get(4)
    await clock.advance(7_000)
    link.delay(10)
    expect(await within(clock, 10, spells.read(4))).toEqual({
      value: fireball,
      from: 'shared',
      why: 'fresh',
      kept: true,
      joined: false,
      ageMs: 7_010,
      ttlMs: 592_990,
      timings: { totalMs: 10, sharedMs: 10, loadMs: 0 },
    })
  })

  test('tells of a stale value, which is past its time', async () => {
    const { clock, process } = openWorld()
    const spells = process().cache.keyspace('spell', {
      ...EXACT,
      staleMs: 10_000,
      load: async (_: number) => fireball,
    })
    await spells.get(4)
    await clock.advance(601_000)
    expect(await spells.read(4)).toMatchObject({
      from: 'shared',
      why: 'stale',
      kept: true,
      ageMs: 601_000,
      ttlMs: -1_000,
    })
  })

  test('tells of a value that expired: loaded under a claim', async () => {
    const { clock, process } = openWorld()
    const spells = process().cache.keyspace('spell', {
      ...EXACT,
      staleIfErrorMs: 10_000,
      load: async (_: number) => fireball,
    })
    await spells.get(4)
    await clock.advance(601_000)
    expect(await spells.read(4)).toMatchObject({ from: 'origin', why: 'expired', kept: true, ageMs: 0 })
    await clock.drain()
    expect(await spells.read(4)).toMatchObject({ from: 'shared', why: 'fresh', ttlMs: 600_000 })
  })

  test('tells of a load that failed where the old value was allowed', async () => {
    const { clock, process } = openWorld()
    let fails = false
    const spells = process().cache.keyspace('spell', {
      ...EXACT,
      staleIfErrorMs: 10_000,
      load: async (_: number) => {
        if (!fails) return fireball
        await passing(clock, 30)
        throw new Error('the origin is away')
      },
    })
    await spells.get(4)
    fails = true
    await clock.advance(601_000)
    expect(await within(clock, 30, spells.read(4))).toMatchObject({
      value: fireball,
      from: 'shared',
      why: 'stale-error',
      kept: true,
      timings: { totalMs: 30, loadMs: 30 },
    })
  })

  test('tells that the keyspace was invalidated since', async () => {
    const { clock, process } = openWorld()
    const table = spellTable(fireball)
    const spells = process().cache.keyspace('spell', { load: table.find })
    await spells.get(4)
    await clock.drain()
    await spells.invalidateAll()
    expect(await spells.read(4)).toMatchObject({ from: 'origin', why: 'generation', kept: true })
    await clock.drain()
    expect(await spells.read(4)).toMatchObject({ from: 'shared', why: 'fresh' })
  })

  test('tells that the value is of an older shape', async () => {
    const { clock, process } = openWorld()
    const table = spellTable(fireball)
    const before = process().cache.keyspace('spell', { load: table.find, shape: 1 })
    const after = process().cache.keyspace('spell', { load: table.find, shape: 2 })
    await before.get(4)
    await clock.drain()
    expect(await after.read(4)).toMatchObject({ from: 'origin', why: 'shape', kept: true })
    await clock.drain()
    expect(await after.read(4)).toMatchObject({ from: 'shared', why: 'fresh' })
  })

  test('tells that the value is of a newer shape, which is left alone', async () => {
    const { inspect, process } = openWorld()
    const table = spellTable(fireball)
    const before = process().cache.keyspace('spell', { load: table.find, shape: 1 })
    const after = process().cache.keyspace('spell', { load: table.find, shape: 2 })
    await after.get(4)
    const register = inspect('spell:4')
    expect(await before.read(4)).toMatchObject({ value: fireball, from: 'origin', why: 'shape', kept: false })
    expect(inspect('spell:4')).toBe(register)
    expect(await after.read(4)).toMatchObject({ from: 'shared', why: 'fresh' })
  })

  test.each(['garbage', '', 'v', 'l', 'what', 'v'.repeat(200), '\u0000'])(
    'tells that the register held %j, and overwrites it',
    async garbage => {
      const { clock, plant, process } = openWorld()
      const { cache, eventsOf } = process()
      const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
      plant('spell:4', garbage)
      expect(await spells.read(4)).toMatchObject({
        value: fireball,
        from: 'origin',
        why: 'unreadable',
        kept: true,
      })
      await clock.drain()
      expect(await spells.read(4)).toMatchObject({ from: 'shared', why: 'fresh' })
      expect(eventsOf('unreadable')).toEqual([
        { type: 'unreadable', keyspace: 'spell', key: 'spell:4', reason: 'register' },
      ])
    },
  )

  test.each(['V', 'L', 'W', 'W2 and more', 'V'.repeat(200), 'L~~~~~~~~~~~~~~~~'])(
    'leaves %j to the later version that has written it: loaded, and not kept',
    async text => {
      const { clock, inspect, plant, process } = openWorld()
      const { cache, eventsOf } = process()
      const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
      plant('spell:4', text, 60_000)
      const answer = { value: fireball, from: 'origin', why: 'version', kept: false }
      expect(await spells.read(4)).toMatchObject(answer)
      expect(await spells.getMany([4])).toEqual(new Map([[4, fireball]]))
      expect(await spells.read(4, { consistency: 'strong' })).toMatchObject(answer)
      await clock.drain()
      expect(inspect('spell:4')).toBe(text)
      expect([spells.peek(4), eventsOf('unreadable'), eventsOf('fill')]).toEqual([undefined, [], []])
      await clock.advance(60_001)
      expect(await spells.read(4)).toMatchObject({ why: 'missing', kept: true })
    },
  )

  test('tells that another reader was busy for too long: loaded, and not kept', async () => {
    const { clock, process } = openWorld()
    const query = gate<Spell>()
    const slow = process().cache.keyspace('spell', { load: (_: number) => query.wait() })
    const other = process({ busyWaitMs: 200 }).cache.keyspace('spell', {
      load: async (_: number) => fireball,
    })
    const reading = slow.read(4)
    await query.reached
    const answer = await within(clock, 210, other.read(4))
    expect(answer).toMatchObject({
      from: 'origin',
      why: 'busy',
      kept: false,
      ageMs: undefined,
      ttlMs: undefined,
    })
    expect(answer.timings.sharedMs).toBeGreaterThanOrEqual(200)
    query.open(fireball)
    expect(await reading).toMatchObject({ why: 'missing', kept: true })
  })

  test("waits for another process's load, and finds what it stored", async () => {
    const { clock, process } = openWorld()
    const query = gate<Spell>()
    const table = spellTable(fireball)
    const slow = process().cache.keyspace('spell', { load: (_: number) => query.wait() })
    const other = process().cache.keyspace('spell', { load: table.find })
    const first = slow.read(4)
    await query.reached
    const second = other.read(4)
    await clock.advance(150)
    query.open(fireball)
    await first
    expect(await within(clock, 75, second)).toMatchObject({ from: 'shared', why: 'fresh' })
    expect(table.asked).toEqual([])
  })

  test('tells that a writer is at work', async () => {
    const { process } = openWorld()
    const table = spellTable(fireball)
    const spells = process({ local: L1 }).cache.keyspace('spell', { load: table.find })
    const during = await spells.write(4, () => spells.read(4))
    expect(during.value).toMatchObject({ value: fireball, from: 'origin', why: 'guarded', kept: false })
    expect(await spells.read(4)).toMatchObject({ why: 'missing' })
  })

  test('tells that an invalidation of ours is not applied yet', async () => {
    const { clock, process, network } = openWorld()
    const link = network()
    const spells = process({ local: L1 }, link).cache.keyspace('spell', { load: spellTable(fireball).find })
    await clock.advance(10)
    await spells.get(4)
    link.fail('invalidate')
    expect(await spells.invalidate(4)).toBe('queued')
    expect(await spells.read(4)).toMatchObject({ from: 'origin', why: 'queued', kept: false })
    link.restore()
    await clock.advance(2_000)
    expect(await spells.read(4)).toMatchObject({ from: 'origin', why: 'missing', kept: true })
  })

  test('tells that the shared store has no room for a lease', async () => {
    const { inspect, process } = openWorld({ maxEntries: 1, policy: 'noeviction' })
    const spells = process({ local: L1 }).cache.keyspace('spell', { load: async (id: number) => ({ id }) })
    await spells.get(1)
    expect(await spells.read(4)).toMatchObject({ value: { id: 4 }, from: 'origin', why: 'full', kept: false })
    expect(spells.peek(4)).toBeUndefined()
    expect(inspect('spell:4')).toBeUndefined()
    expect(await spells.read(1, { consistency: 'strong' })).toMatchObject({ from: 'shared', why: 'fresh' })
  })

  test.each(['blocking', 'background'] as const)(
    'does not say that a value is kept that its store has refused (fill: %s)',
    async fill => {
      const { clock, inspect, process } = openWorld({ maxBytes: 2_000 })
      const { cache, eventsOf } = process({ fill })
      const texts = cache.keyspace('text', { load: async (length: number) => 'x'.repeat(length) })
      for (const read of [texts.read(4_000), texts.read(4_000)])
        expect(await read).toMatchObject({ from: 'origin', kept: false, ageMs: undefined, ttlMs: undefined })
      await clock.drain()
      expect(eventsOf('fill').map(({ outcome }) => outcome)).toEqual(['refused'])
      expect(inspect('text:4000')).toBeUndefined()
      expect(await texts.read(4)).toMatchObject({ from: 'origin', kept: true })
    },
  )

  test('tells that a writer came in between: the value is answered, and not kept', async () => {
    const { process } = openWorld()
    const { cache } = process()
    const query = gate<Spell>()
    const spells = cache.keyspace('spell', { load: (_: number) => query.wait() })
    const reading = spells.read(4)
    await query.reached
    await spells.invalidate(4)
    query.open(fireball)
    expect(await reading).toMatchObject({ value: fireball, from: 'origin', why: 'missing', kept: false })
  })

  test('tells that the shared store does not answer', async () => {
    const { clock, process, network } = openWorld()
    const link = network()
    const spells = process({}, link).cache.keyspace('spell', { load: spellTable(fireball).find })
    await clock.advance(10)
    link.fail()
    expect(await spells.read(4)).toMatchObject({
      value: fireball,
      from: 'origin',
      why: 'unavailable',
      kept: false,
    })
    link.restore()
    await clock.advance(1_000)
  })

  test('tells who joined and who led', async () => {
    const { process } = openWorld()
    const query = gate<Spell>()
    const { cache } = process()
    const spells = cache.keyspace('spell', { load: (_: number) => query.wait() })
    const answers = Promise.all([spells.read(4), spells.read(4), spells.read(4)])
    await query.reached
    query.open(fireball)
    expect((await answers).map(({ joined }) => joined)).toEqual([false, true, true])
    expect(cache.stats().keyspaces.spell).toMatchObject({ joined: 2, reads: { origin: 3 } })
  })

  test('says that what was found absent is absent, with an age like any other', async () => {
    const { clock, process } = openWorld()
    const { cache, answers } = process()
    const spells = cache.keyspace('spell', { load: spellTable().find, absentTtlMs: 5_000, ttlJitter: 0 })
    await spells.get(4)
    await clock.advance(1_000)
    expect(await spells.read(4)).toMatchObject({
      value: undefined,
      from: 'shared',
      ageMs: 1_000,
      ttlMs: 4_000,
    })
    expect(answers().map(({ absent }) => absent)).toEqual([true, true])
    await clock.advance(4_000)
    expect(await spells.read(4)).toMatchObject({ why: 'missing' })
  })
})

describe('a strong read', () => {
  const STRONG = { consistency: 'strong' } as const

  test('skips L1', async () => {
    const { process } = openWorld()
    const spells = process({ local: L1 }).cache.keyspace('spell', { load: spellTable(fireball).find })
    await spells.get(4)
    expect(await spells.read(4)).toMatchObject({ from: 'local' })
    expect(await spells.read(4, STRONG)).toMatchObject({ from: 'shared', why: 'fresh' })
  })

  test('joins none that began before it, and shares the next one with other strong readers', async () => {
    const { clock, process } = openWorld()
    const queries = [gate<Spell>(), gate<Spell>()]
    let calls = 0
    const spells = process().cache.keyspace('spell', { load: (_: number) => queries[calls++]!.wait() })
    const first = spells.read(4)
    await queries[0]!.reached
    const strong = [spells.read(4, STRONG), spells.read(4, STRONG)]
    queries[0]!.open(fireball)
    expect(await first).toMatchObject({ joined: false, from: 'origin' })
    const [one, other] = await within(clock, 10, Promise.all(strong))
    expect(one).toMatchObject({ value: fireball, joined: false })
    expect(other).toMatchObject({ value: fireball, joined: true })
    expect(calls).toBe(1)
  })

  test('does not return what is stale, nor fall back on it', async () => {
    const { clock, process } = openWorld()
    let fails = false
    const spells = process().cache.keyspace('spell', {
      ...EXACT,
      staleMs: 10_000,
      staleIfErrorMs: 10_000,
      load: async (_: number) => {
        if (fails) throw new Error('the origin is away')
        return fireball
      },
    })
    await spells.get(4)
    await clock.advance(601_000)
    fails = true
    await expect(spells.get(4, STRONG)).rejects.toThrow('the origin is away')
    fails = false
    expect(await spells.read(4, STRONG)).toMatchObject({ from: 'origin', why: 'expired' })
  })

  test('of several keys loads all that miss together', async () => {
    const { process } = openWorld()
    const table = spellTable(fireball)
    const spells = process({ local: L1 }).cache.keyspace('spell', { loadMany: table.findMany })
    await spells.get(4)
    expect(await spells.getMany([4, 5, 6], STRONG)).toEqual(new Map([[4, fireball]]))
    expect(table.asked).toEqual([[4], [5, 6]])
  })

  test('of several keys waits for a flight that began before, and is not held up for the others', async () => {
    const { clock, process } = openWorld()
    const query = gate<Spell>()
    const table = spellTable(fireball)
    const spells = process().cache.keyspace<number, Spell>('spell', {
      load: () => query.wait(),
      loadMany: table.findMany,
    })
    const first = spells.get(4)
    await query.reached
    const all = spells.getMany([4, 5], STRONG)
    expect(await spells.read(5)).toMatchObject({ joined: true, value: undefined })
    query.open(fireball)
    expect(await first).toEqual(fireball)
    expect(await within(clock, 10, all)).toEqual(new Map([[4, fireball]]))
  })
})

describe('peek', () => {
  test('returns what L1 holds, wrapped, and undefined for what it does not', async () => {
    const { process } = openWorld()
    const { cache, events } = process({ local: L1 })
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    expect(spells.peek(4)).toBeUndefined()
    await Promise.all([spells.get(4), spells.get(5)])
    const before = events.length
    expect(spells.peek(4)).toEqual({ value: fireball })
    expect(spells.peek(5)).toEqual({ value: undefined })
    expect(spells.peek(6)).toBeUndefined()
    expect(events).toHaveLength(before)
  })

  test('returns the same frozen wrapper each time', async () => {
    const { process } = openWorld()
    const spells = process({ local: L1 }).cache.keyspace('spell', { load: spellTable(fireball).find })
    await spells.get(4)
    expect(spells.peek(4)).toBe(spells.peek(4))
    expect(Object.isFrozen(spells.peek(4))).toBe(true)
  })

  test('neither finds nor brings back what has expired', async () => {
    const { clock, process } = openWorld()
    const { cache, eventsOf } = process({ local: L1 })
    const spells = cache.keyspace('spell', { ...EXACT, staleMs: 60_000, load: spellTable(fireball).find })
    await spells.get(4)
    await clock.advance(600_000)
    expect(spells.peek(4)).toBeUndefined()
    await clock.drain()
    expect(eventsOf('load')).toHaveLength(1)
    expect(eventsOf('discard')).toEqual([{ type: 'discard', key: 'spell:4', reason: 'expired' }])
  })

  test('finds nothing without an L1', async () => {
    const { process } = openWorld()
    const spells = process().cache.keyspace('spell', { load: spellTable(fireball).find })
    await spells.get(4)
    expect(spells.peek(4)).toBeUndefined()
  })
})
