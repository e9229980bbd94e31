import { getEventListeners } from 'node:events'
import { runInNewContext } from 'node:vm'
import { describe, expect, test } from 'vitest'
import type { Keyspace, LoadMany, SharedStore } from '../src/index.ts'
import { gate, type SimulatedClock } from '../src/testing/index.ts'
import { fireball, openWorld, passing, type Spell, spellTable, within } from './world.ts'

const iceShard: Spell = { id: 5, name: 'Ice Shard', damage: 25 }
const earthquake: Spell = { id: 6, name: 'Earthquake', damage: 40 }
const L1 = { maxEntries: 20_000 } as const

/** The store as it is seen from where one key's primary is far away. */
function slowTo(store: SharedStore, slowKey: string, clock: SimulatedClock): SharedStore {
  return new Proxy(store, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name, target)
      if (typeof member !== 'function') return member
      return (...args: unknown[]) => {
        const send = () => Reflect.apply(member, target, args)
        return args[0] === slowKey ? passing(clock, 10).then(send) : send()
      }
    },
  })
}

describe('getMany', () => {
  test('calls loadMany once for all that miss, and answers by id without those that do not exist', async () => {
    const { process } = openWorld()
    const table = spellTable(fireball, iceShard)
    const spells = process().cache.keyspace('spell', { loadMany: table.findMany })
    expect(await spells.getMany([4, 99, 5])).toEqual(
      new Map([
        [4, fireball],
        [5, iceShard],
      ]),
    )
    expect(table.asked).toEqual([[4, 99, 5]])
  })

  test('asks the shared store once, and the origin only for the rest', async () => {
    const { clock, process, network } = openWorld()
    const link = network()
    const table = spellTable(fireball, iceShard, earthquake)
    const spells = process({}, link).cache.keyspace('spell', { loadMany: table.findMany })
    await clock.advance(1_000)
    await spells.getMany([4, 99])
    await clock.drain()
    const sent = link.log.length
    expect(await spells.getMany([4, 5, 6, 99])).toEqual(
      new Map([
        [4, fireball],
        [5, iceShard],
        [6, earthquake],
      ]),
    )
    expect(table.asked).toEqual([
      [4, 99],
      [5, 6],
    ])
    expect(link.log.slice(sent).map(({ operation }) => operation)).toEqual(['leaseMany', 'fill', 'fill'])
  })

  describe('looks first, once most keys of a batch were there,', () => {
    async function warm() {
      const { clock, process, network, plant, inspect } = openWorld()
      const link = network()
      const table = spellTable(fireball, iceShard, earthquake)
      const { cache } = process({ sharedTimeoutMs: 100 }, link)
      const spells = cache.keyspace('spell', { loadMany: table.findMany })
      await clock.advance(1_000)
      await spells.getMany([4, 5])
      await clock.drain()
      await spells.getMany([4, 5])
      const sent = (from: number) => link.log.slice(from).map(({ operation }) => operation)
      return { clock, link, table, spells, sent, plant, inspect }
    }

    test('and asks for no lease where everything is still there', async () => {
      const { link, spells, sent, table } = await warm()
      const from = link.log.length
      expect([...(await spells.getMany([5, 4])).keys()]).toEqual([5, 4])
      expect(sent(from)).toEqual(['look'])
      expect(table.asked).toEqual([[4, 5]])
    })

    test('and asks for leases only where something is missing', async () => {
      const { clock, link, spells, sent } = await warm()
      const from = link.log.length
      expect([...(await spells.getMany([4, 6, 5])).keys()]).toEqual([4, 6, 5])
      await clock.drain()
      expect(sent(from)).toEqual(['look', 'leaseMany', 'fill'])
      expect(link.log[from + 1]!.arguments[0]).toMatchObject([{ key: 'spell:6' }])
    })

    test('until most of a batch is missing', async () => {
      const { clock, link, spells, sent } = await warm()
      await spells.getMany([4, 97, 98])
      await clock.drain()
      const from = link.log.length
      await spells.getMany([4, 5, 97])
      expect(sent(from)).toEqual(['leaseMany'])
    })

    test('but not for a strong reader, whose hits have to come from a store that takes writes', async () => {
      const { link, spells, sent } = await warm()
      const from = link.log.length
      await spells.getMany([4, 5], { consistency: 'strong' })
      expect(sent(from).toSorted()).toEqual(['generation', 'leaseMany'])
    })

    test('but not without a proof that the stream is alive', async () => {
      const { clock, link, spells, sent } = await warm()
      link.muteStream()
      await clock.advance(3_000)
      const from = link.log.length
      await spells.getMany([4, 5])
      expect(sent(from).toSorted()).toEqual(['generation', 'leaseMany'])
    })

    test('and has no more time for both than for one', async () => {
      const { clock, link, spells } = await warm()
      link.delay(60, 'look')
      link.hang('leaseMany')
      const from = clock.nowMs()
      const reading = spells.getMany([4, 6])
      await clock.advance(110)
      expect([...(await reading).keys()]).toEqual([4, 6])
      expect(clock.nowMs() - from).toBe(110)
      link.restore()
      await clock.drain()
    })

    test('and takes nobody the lease away when the look is not answered', async () => {
      const { clock, link, spells, plant, inspect } = await warm()
      const lease = `L${'x'.repeat(16)}`
      plant('spell:6', lease)
      link.loseReplies('look')
      expect([...(await spells.getMany([4, 6])).keys()]).toEqual([4, 6])
      await clock.drain()
      expect(inspect('spell:6')).toBe(lease)
    })
  })

  test('reports where each key came from, and the load once', async () => {
    const { clock, process } = openWorld()
    const { cache, eventsOf, answers } = process({ local: L1 })
    const other = process().cache.keyspace('spell', { load: spellTable(iceShard).find })
    const spells = cache.keyspace('spell', { loadMany: spellTable(fireball, iceShard, earthquake).findMany })
    await Promise.all([spells.get(4), other.get(5)])
    await clock.drain()
    const before = eventsOf('read').length
    await spells.getMany([4, 5, 6])
    expect(
      answers()
        .slice(before)
        .map(({ key, from, why }) => [key, from, why]),
    ).toEqual([
      ['spell:4', 'local', 'fresh'],
      ['spell:5', 'shared', 'fresh'],
      ['spell:6', 'origin', 'missing'],
    ])
    expect(eventsOf('load').at(-1)).toMatchObject({ keys: ['spell:6'], outcome: 'loaded' })
  })

  test('returns the values in the order of the ids, whatever level each came from', async () => {
    const { clock, process } = openWorld()
    const table = spellTable(earthquake, iceShard, fireball)
    const spells = process({ local: L1 }).cache.keyspace('spell', { loadMany: table.findMany })
    await spells.getMany([5])
    await clock.drain()
    expect([...(await spells.getMany([6, 5, 4])).keys()]).toEqual([6, 5, 4])
    expect([...(await spells.getMany([4, 99, 6, 5])).keys()]).toEqual([4, 6, 5])
  })

  test('asks for each key once, even if it is given several times and in several forms', async () => {
    const { process } = openWorld()
    const asked: (number | string)[][] = []
    const { cache, eventsOf } = process({ local: L1 })
    const spells = cache.keyspace<number | string, string>('spell', {
      loadMany: async ids => {
        asked.push([...ids])
        return ids.map(id => [id, `spell ${id}`] as const)
      },
    })
    const expected = new Map<number | string, string>([
      [4, 'spell 4'],
      ['4', 'spell 4'],
      [5, 'spell 5'],
    ])
    expect(await spells.getMany([4, '4', 5, 4])).toEqual(expected)
    expect(asked).toEqual([[4, 5]])
    expect(eventsOf('read')).toHaveLength(2)
    expect(await spells.getMany([4, '4', 5, 4])).toEqual(expected)
  })

  test('returns an empty map for no ids, without asking anybody', async () => {
    const { clock, process, network } = openWorld()
    const link = network()
    const table = spellTable(fireball)
    const { cache, eventsOf } = process({}, link)
    const spells = cache.keyspace('spell', { loadMany: table.findMany })
    await clock.drain()
    const sent = link.log.length
    expect(await spells.getMany([])).toEqual(new Map())
    expect(link.log).toHaveLength(sent)
    expect(eventsOf('read')).toEqual([])
  })

  const rows = [
    [4, 'four'],
    [6, 'six'],
  ] as const
  test.each<[string, LoadMany<number, string>]>([
    ['a Map', async () => new Map(rows)],
    ['an array of pairs', async () => rows],
    [
      'a generator of pairs',
      async () =>
        (function* () {
          yield* rows
        })(),
    ],
    [
      'pairs with ids as text',
      async () =>
        [
          ['4', 'four'],
          ['6', 'six'],
        ] as never,
    ],
    [
      'pairs with ids as bigint',
      async () =>
        [
          [4n, 'four'],
          [6n, 'six'],
        ] as never,
    ],
    ['more than it was asked for', async () => [...rows, [7, 'seven']]],
    ['undefined for what does not exist', async () => [...rows, [5, undefined]]],
    ['a Map without a promise', (() => new Map(rows)) as never],
  ])('takes %s from loadMany', async (_, loadMany) => {
    const { process } = openWorld()
    const { cache, eventsOf } = process({ local: L1 })
    const spells = cache.keyspace('spell', { loadMany })
    const expected = new Map<number, string>(rows)
    expect(await spells.getMany([4, 5, 6])).toEqual(expected)
    expect(await spells.getMany([4, 5, 6])).toEqual(expected)
    expect(await spells.get(6)).toBe('six')
    expect(eventsOf('load')).toHaveLength(1)
    expect(spells.peek(7)).toBeUndefined()
  })

  test.each<[string, LoadMany<number, string>]>([
    ['nothing', (async () => undefined) as never],
    ['an object by id', (async () => ({ 4: 'four' })) as never],
    ['rows without their ids', (async () => [{ id: 4 }, { id: 5 }]) as never],
    ['ids alone', (async () => [4, 5]) as never],
    ['promises of pairs', (async () => [4, 5].map(() => Promise.reject(new Error('nobody waits')))) as never],
    [
      'promises in pairs',
      (async () => [4, 5].map(id => [id, Promise.reject(new Error('nobody waits'))])) as never,
    ],
    ['texts of two characters', (async () => ['4x', '5y']) as never],
    [
      'an asynchronous iterable',
      async () =>
        (async function* () {
          yield [4, fireball] as const
        })() as never,
    ],
  ])('rejects if loadMany answers with %s, and says what is wanted', async (_, loadMany) => {
    const { process } = openWorld()
    const spells = process().cache.keyspace('spell', { loadMany })
    const complaint = /^expected spell\.loadMany to answer with pairs of id and value, got /
    await expect(spells.getMany([4, 5])).rejects.toThrow(complaint)
    await expect(spells.get(4)).rejects.toThrow(complaint)
  })

  test.each<[string, LoadMany<number, string>]>([
    ['nothing', (async () => undefined) as never],
    ['pairs that are none', (async () => [4, 5]) as never],
    ['an id that cannot be one', (async () => [[Number.NaN, 'x']]) as never],
    [
      'a generator that throws half-way',
      async () =>
        (function* () {
          yield [4, 'four'] as const
          throw new Error('half-way')
        })(),
    ],
  ])('rejects, keeps nothing and holds no lease if loadMany answers with %s', async (_, loadMany) => {
    const { clock, inspect, process } = openWorld()
    const spells = process({ local: L1 }).cache.keyspace('spell', { loadMany })
    await expect(spells.getMany([4, 5])).rejects.toThrow(Error)
    await clock.drain()
    expect([inspect('spell:4'), inspect('spell:5')]).toEqual([undefined, undefined])
    expect(spells.peek(4)).toBeUndefined()
  })

  describe('of a loadMany that answers with an Error for an id', () => {
    const broken = new TypeError('this row cannot be read')
    /** Spell 4 can be read, 5 cannot, 6 does not exist. */
    function openBroken(options: { staleIfErrorMs?: number; ttlMs?: number } = {}) {
      const world = openWorld()
      const { clock, process } = world
      const { cache, eventsOf } = process()
      let isBroken = true
      const asked: (readonly number[])[] = []
      const spells = cache.keyspace<number, Spell>('spell', {
        ...options,
        loadMany: async ids => {
          asked.push(ids)
          await passing(clock, 5)
          return ids.flatMap((id): (readonly [number, Spell | Error])[] => {
            if (id === 5 && isBroken) return [[5, broken]]
            return id === 6 ? [] : [[id, { ...fireball, id }]]
          })
        },
      })
      const mend = (mended: boolean) => {
        isBroken = !mended
      }
      return { ...world, eventsOf, spells, asked, mend }
    }

    test('rejects with that very error, and keeps the others', async () => {
      const { clock, inspect, spells, asked, eventsOf } = openBroken()
      const together = expect(spells.getMany([4, 5, 6])).rejects.toBe(broken)
      await clock.advance(1)
      const joining = Promise.allSettled([4, 5, 6].map(id => spells.get(id)))
      await clock.advance(20)
      await together
      expect(await joining).toMatchObject([
        { value: { ...fireball, id: 4 } },
        { reason: broken },
        { value: undefined },
      ])
      expect(inspect('spell:5')).toBeUndefined()
      expect(await spells.get(4)).toEqual({ ...fireball, id: 4 })
      expect(await spells.get(6)).toBeUndefined()
      expect(asked).toEqual([[4, 5, 6]])
      expect(eventsOf('load')).toMatchObject([
        { outcome: 'loaded', keys: ['spell:4', 'spell:5', 'spell:6'] },
        { outcome: 'failed', keys: ['spell:5'], error: broken },
      ])
    })

    test('asks again the next time, and a get by itself rejects as well', async () => {
      const { clock, spells, asked, mend } = openBroken()
      await within(clock, 20, expect(spells.get(5)).rejects.toBe(broken))
      mend(true)
      expect(await within(clock, 20, spells.get(5))).toEqual({ ...fireball, id: 5 })
      expect(asked).toEqual([[5], [5]])
    })

    test('serves the old value where staleIfErrorMs allows it', async () => {
      const { clock, spells, mend } = openBroken({ ttlMs: 1_000, staleIfErrorMs: 60_000 })
      mend(true)
      await within(clock, 20, spells.getMany([4, 5]))
      mend(false)
      await clock.advance(2_000)
      const found = await within(clock, 20, spells.getMany([4, 5]))
      expect([...found.keys()]).toEqual([4, 5])
      expect(await spells.read(4)).toMatchObject({ from: 'shared', why: 'fresh' })
      const again = await within(clock, 20, spells.read(5))
      expect(again).toMatchObject({ why: 'stale-error', value: { id: 5 } })
    })

    test('takes an error of another realm for one, and a value beside it for nothing', async () => {
      const { process } = openWorld()
      const foreign: Error = runInNewContext('new Error("from elsewhere")')
      expect(foreign).not.toBeInstanceOf(Error)
      const spells = process().cache.keyspace<number, Spell>('spell', {
        loadMany: async () => [
          [4, fireball],
          [4, foreign],
          [4, fireball],
          [9, broken],
        ],
      })
      await expect(spells.getMany([4, 5])).rejects.toBe(foreign)
      expect(await spells.get(5)).toBeUndefined()
    })
  })

  test('rejects for all of a batch whose answer throws half way, and keeps none', async () => {
    const { clock, inspect, process } = openWorld()
    const broken = new Error('the cursor is gone')
    const spells = process().cache.keyspace<number, Spell>('spell', {
      loadMany: async () =>
        (function* (): Generator<readonly [number, Spell]> {
          yield [4, fireball]
          throw broken
        })(),
    })
    await expect(spells.getMany([4, 5])).rejects.toBe(broken)
    await clock.drain()
    expect([inspect('spell:4'), inspect('spell:5')]).toEqual([undefined, undefined])
  })

  test('calls load for each key where there is no loadMany, some at a time', async () => {
    const { clock, process } = openWorld()
    let running = 0
    let most = 0
    const spells = process({ maxLoads: 100 }).cache.keyspace('spell', {
      load: async (id: number) => {
        most = Math.max(most, ++running)
        await passing(clock, 10)
        running--
        return id % 2 === 0 ? undefined : id
      },
    })
    const values = await within(clock, 40, spells.getMany(Array.from({ length: 50 }, (_, i) => i)))
    expect(values).toEqual(new Map(Array.from({ length: 25 }, (_, i) => [2 * i + 1, 2 * i + 1])))
    expect(most).toBe(16)
  })

  test('fits a batch of any size under the load limit', async () => {
    const { process } = openWorld()
    const { cache } = process({ maxLoads: 2, maxQueuedLoads: 14 })
    const spells = cache.keyspace('spell', { load: async (id: number) => id })
    expect((await spells.getMany(Array.from({ length: 100 }, (_, i) => i))).size).toBe(100)
    expect(cache.stats().keyspaces.spell!.loads).toMatchObject({ loaded: 100, overloaded: 0 })
  })

  test('rejects with the error of a failing batch, and leaves nothing leased', async () => {
    const { clock, inspect, process } = openWorld()
    const boom = new Error('boom')
    const table = spellTable(fireball, iceShard)
    let fails = true
    const spells = process().cache.keyspace('spell', {
      loadMany: async (ids: readonly number[]) => {
        if (fails) throw boom
        return table.findMany(ids)
      },
    })
    await expect(spells.getMany([4, 5])).rejects.toBe(boom)
    await clock.drain()
    expect([inspect('spell:4'), inspect('spell:5')]).toEqual([undefined, undefined])
    fails = false
    expect((await spells.getMany([4, 5])).size).toBe(2)
  })

  test('rejects with the first error if one of many loads fails; the others are kept', async () => {
    const { clock, process } = openWorld()
    const boom = new Error('boom')
    const spells = process().cache.keyspace('spell', {
      load: async (id: number) => {
        if (id === 5) throw boom
        return id
      },
    })
    await expect(spells.getMany([4, 5, 6])).rejects.toBe(boom)
    await clock.drain()
    expect(await spells.read(6)).toMatchObject({ from: 'shared' })
  })

  describe('begins no load for nobody after it has rejected:', () => {
    const ids = Array.from({ length: 1_000 }, (_, i) => i)
    const down = new Error('the database is down')

    test('close() waits only for loads that have begun, and no lease stays', async () => {
      const { clock, inspect, process } = openWorld()
      const { cache } = process()
      let calls = 0
      const spells = cache.keyspace<number, number>('spell', {
        load: (_, { signal }) => {
          calls++
          return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
        },
      })
      const all = expect(spells.getMany(ids)).rejects.toMatchObject({ code: 'LOAD_TIMEOUT' })
      await clock.advance(10_000)
      await all
      await clock.drain()
      expect(ids.filter(id => inspect(`spell:${id}`) !== undefined)).toEqual([])
      await within(clock, 0, cache.close())
      expect(calls).toBe(16)
      expect(cache.stats().keyspaces.spell!.loads).toMatchObject({ 'timed-out': 16, aborted: 0 })
    })

    test('one whose turn has not come under the load limit is taken out of the queue', async () => {
      const { clock, process } = openWorld()
      const { cache } = process({ maxLoads: 2 })
      const query = gate()
      let calls = 0
      const spells = cache.keyspace('spell', {
        load: async (id: number) => {
          calls++
          if (id === 0) throw down
          await query.wait()
          return id
        },
      })
      await expect(spells.getMany(ids)).rejects.toBe(down)
      await clock.drain()
      query.open()
      await within(clock, 0, cache.close())
      // The failed one gave its place to the next, before anybody was told.
      expect(calls).toBeLessThanOrEqual(3)
    })

    test('who joined one of its keys still gets it, and what had begun is kept', async () => {
      const { clock, process } = openWorld()
      const fails = gate<number>()
      const loaded: number[] = []
      const spells = process().cache.keyspace('spell', {
        load: async (id: number) => {
          loaded.push(id)
          if (id === 0) return fails.wait()
          await passing(clock, 50)
          return id
        },
      })
      const all = spells.getMany(ids)
      await fails.reached
      const joined = [spells.get(500), spells.getMany([501, 502])] as const
      fails.fail(down)
      await expect(all).rejects.toBe(down)
      expect(await within(clock, 1_000, Promise.all(joined))).toEqual([
        500,
        new Map([
          [501, 501],
          [502, 502],
        ]),
      ])
      await clock.drain()
      expect(loaded).toEqual([...ids.slice(0, 16), 500, 501, 502])
      expect(await spells.read(15)).toMatchObject({ from: 'shared' })
      expect(await within(clock, 1_000, spells.get(999))).toBe(999)
    })

    test('nor together, once another process has loaded the others in vain', async () => {
      const { clock, process } = openWorld()
      const query = gate<number>()
      const other = process().cache.keyspace<number, number>('spell', {
        load: () => query.wait(),
      })
      const elsewhere = expect(other.get(5)).rejects.toThrow('elsewhere')
      await query.reached
      const asked: (readonly number[])[] = []
      const { cache } = process()
      const spells = cache.keyspace<number, number>('spell', {
        loadMany: async given => {
          asked.push(given)
          throw down
        },
      })
      await expect(spells.getMany([4, 5])).rejects.toBe(down)
      query.fail(new Error('elsewhere'))
      await elsewhere
      await within(clock, 0, cache.close())
      expect(asked).toEqual([[4]])
    })

    test('nor where a strong batch waits for flights before it', async () => {
      const { clock, process } = openWorld()
      const { cache } = process()
      const query = gate()
      let calls = 0
      const spells = cache.keyspace('spell', {
        load: async (id: number) => {
          calls++
          if (id === 1) throw down
          await query.wait()
          return id
        },
      })
      const before = spells.get(0)
      await query.reached
      await expect(spells.getMany([0, 1], { consistency: 'strong' })).rejects.toBe(down)
      query.fail(down)
      await expect(before).rejects.toBe(down)
      await within(clock, 0, cache.close())
      expect(calls).toBe(2)
    })
  })

  test('joins the flights that are under way, and is joined', async () => {
    const { process } = openWorld()
    const single = gate<Spell>()
    const batch = gate<readonly (readonly [number, Spell])[]>()
    const asked: number[][] = []
    const { cache } = process()
    const spells = cache.keyspace<number, Spell>('spell', {
      load: () => single.wait(),
      loadMany: ids => {
        asked.push([...ids])
        return batch.wait()
      },
    })
    const four = spells.get(4)
    await single.reached
    const all = spells.getMany([4, 5, 6])
    await batch.reached
    const five = spells.read(5)
    const again = spells.getMany([5, 6])
    single.open(fireball)
    batch.open([
      [5, iceShard],
      [6, earthquake],
    ])
    expect(await four).toEqual(fireball)
    expect((await all).size).toBe(3)
    expect(await five).toMatchObject({ value: iceShard, joined: true })
    expect((await again).size).toBe(2)
    expect(asked).toEqual([[5, 6]])
    expect(cache.stats().keyspaces.spell!.joined).toBe(4)
  })

  test('is not held up by a key that another process is loading, and loads it in a second call', async () => {
    const { clock, process } = openWorld()
    const never = gate<Spell>()
    const table = spellTable(fireball, iceShard)
    const elsewhere = process().cache.keyspace('spell', { load: (_: number) => never.wait() })
    const slow = elsewhere.get(4)
    await never.reached
    const { cache, eventsOf, answers } = process({ busyWaitMs: 300 })
    const spells = cache.keyspace('spell', { loadMany: table.findMany })
    const all = spells.getMany([4, 5])
    await clock.advance(1)
    expect(table.asked).toEqual([[5]])
    expect(eventsOf('fill')).toMatchObject([{ key: 'spell:5', outcome: 'accepted' }])
    expect((await within(clock, 310, all)).size).toBe(2)
    expect(table.asked).toEqual([[5], [4]])
    expect(answers().map(({ key, why }) => [key, why])).toEqual([
      ['spell:4', 'busy'],
      ['spell:5', 'missing'],
    ])
    never.open(fireball)
    await slow
  })

  test('is not held up by an expired key that another process is refreshing', async () => {
    const { clock, process } = openWorld()
    const options = { ttlMs: 1_000, ttlJitter: 0, staleIfErrorMs: 60_000 } as const
    const table = spellTable(fireball, iceShard)
    const query = gate<Spell>()
    let holds = false
    const elsewhere = process().cache.keyspace('spell', {
      ...options,
      load: async (_: number) => (holds ? query.wait() : fireball),
    })
    await elsewhere.get(4)
    await clock.advance(1_500)
    holds = true
    const slow = elsewhere.get(4)
    await query.reached
    const spells = process().cache.keyspace('spell', { ...options, loadMany: table.findMany })
    const all = spells.getMany([4, 5])
    await clock.advance(1)
    expect(table.asked).toEqual([[5]])
    query.open(fireball)
    await slow
    expect((await within(clock, 100, all)).size).toBe(2)
    expect(table.asked).toEqual([[5]])
  })

  test.each<[string, (spells: Keyspace<number, Spell>, clock: SimulatedClock) => Promise<unknown>]>([
    ['have expired', (_, clock) => clock.advance(1_500)],
    ['are of an older generation', spells => spells.invalidateAll()],
  ])('loads what it leads before it waits for what another batch leads, when both %s', async (_, age) => {
    const { clock, process, network } = openWorld()
    const options = { ttlMs: 1_000, ttlJitter: 0, staleIfErrorMs: 60_000 } as const
    const reader = (slowKey: string) => {
      const asked: number[][] = []
      const loadMany = async (ids: readonly number[]) => {
        asked.push([...ids])
        await passing(clock, 20)
        return new Map(ids.map(id => [id, id === 4 ? fireball : iceShard]))
      }
      const { cache, eventsOf } = process({}, slowTo(network(), slowKey, clock))
      return { asked, eventsOf, spells: cache.keyspace('spell', { ...options, loadMany }) }
    }
    const [one, other] = [reader('spell:5'), reader('spell:4')]
    await clock.advance(100)
    await within(clock, 50, one.spells.getMany([4, 5]))
    await age(one.spells, clock)
    const all = Promise.all([one.spells.getMany([4, 5]), other.spells.getMany([4, 5])])
    expect((await within(clock, 100, all)).map(({ size }) => size)).toEqual([2, 2])
    expect([one.asked, other.asked]).toEqual([[[4, 5], [4]], [[5]]])
  })

  test('loads keys round the cache together with the others', async () => {
    const { clock, process } = openWorld()
    const table = spellTable(fireball, iceShard)
    const { cache, eventsOf, answers } = process()
    const spells = cache.keyspace('spell', { loadMany: table.findMany })
    await spells.write(4, async () => {
      expect((await spells.getMany([4, 5])).size).toBe(2)
    })
    expect(table.asked).toEqual([[4, 5]])
    expect(answers().map(({ key, why }) => [key, why])).toEqual([
      ['spell:4', 'guarded'],
      ['spell:5', 'missing'],
    ])
    await clock.drain()
    expect(eventsOf('fill')).toMatchObject([{ key: 'spell:5', outcome: 'accepted' }])
  })

  test('serves stale values for a failing batch key by key, where they are allowed', async () => {
    const { clock, process } = openWorld()
    const table = spellTable(fireball, iceShard)
    let fails = false
    const spells = process().cache.keyspace('spell', {
      ttlMs: 1_000,
      ttlJitter: 0,
      staleIfErrorMs: 60_000,
      loadMany: async (ids: readonly number[]) => {
        if (fails) throw new Error('the origin is away')
        return table.findMany(ids)
      },
    })
    await spells.getMany([4, 5])
    await clock.advance(1_500)
    fails = true
    expect(await spells.getMany([4, 5])).toEqual(
      new Map([
        [4, fireball],
        [5, iceShard],
      ]),
    )
    await expect(spells.getMany([4, 6])).rejects.toThrow('the origin is away')
  })

  test('serves stale values for a batch that is too slow, and stores what it brings', async () => {
    const { clock, process } = openWorld()
    const table = spellTable(fireball, iceShard)
    let costMs = 0
    const { cache, answers } = process()
    const spells = cache.keyspace('spell', {
      ttlMs: 1_000,
      ttlJitter: 0,
      staleIfErrorMs: 60_000,
      loadSoftTimeoutMs: 50,
      loadMany: async (ids: readonly number[]) => {
        if (costMs > 0) await passing(clock, costMs)
        return table.findMany(ids)
      },
    })
    await spells.getMany([4, 5])
    await clock.advance(1_500)
    table.update(4, 31)
    costMs = 400
    expect((await within(clock, 50, spells.getMany([4, 5]))).get(4)).toMatchObject({ damage: 30 })
    await clock.advance(350)
    expect((await spells.getMany([4])).get(4)).toMatchObject({ damage: 31 })
    expect(
      answers()
        .map(({ why }) => why)
        .slice(2),
    ).toEqual(['stale-error', 'stale-error', 'fresh'])
  })

  test('serves what a batch brought in time, however slow its fill is', async () => {
    const { clock, process, network } = openWorld()
    const link = network()
    const table = spellTable(fireball, iceShard)
    const spells = process({ fill: 'blocking' }, link).cache.keyspace('spell', {
      ttlMs: 1_000,
      ttlJitter: 0,
      staleIfErrorMs: 60_000,
      loadSoftTimeoutMs: 50,
      loadMany: table.findMany,
    })
    await clock.drain()
    await spells.getMany([4, 5])
    await clock.advance(1_500)
    table.update(4, 31)
    link.delay(80, 'fill')
    expect((await within(clock, 80, spells.getMany([4, 5]))).get(4)).toMatchObject({ damage: 31 })
    link.restore()
  })

  test('ends one callers wait alone; the batch is aborted when nobody waits for any of it', async () => {
    const { clock, process } = openWorld()
    const leave = new AbortController()
    const reasons: unknown[] = []
    const { cache } = process()
    const spells = cache.keyspace<number, Spell>('spell', {
      loadMany: (_, { signal }) =>
        new Promise((_, reject) => {
          signal.addEventListener('abort', () => {
            reasons.push(signal.reason)
            reject(signal.reason)
          })
        }),
    })
    const gone = new Error('gone')
    const joining = new AbortController()
    const all = spells.getMany([4, 5], { signal: leave.signal })
    await clock.drain()
    const five = spells.get(5, { signal: joining.signal })
    leave.abort(gone)
    await expect(all).rejects.toBe(gone)
    await clock.drain()
    expect(reasons).toEqual([])
    expect(cache.stats().now.loads).toBe(1)
    const later = new Error('later')
    joining.abort(later)
    await expect(five).rejects.toBe(later)
    expect(reasons).toEqual([later])
  })

  test('takes ten thousand ids at once, with one listener on the callers signal', async () => {
    const { clock, process } = openWorld()
    const ids = Array.from({ length: 10_000 }, (_, i) => i)
    const warnings: Error[] = []
    const note = (warning: Error) => void warnings.push(warning)
    globalThis.process.on('warning', note)
    const { signal } = new AbortController()
    const query = gate()
    const { cache, eventsOf } = process({ local: L1 })
    const spells = cache.keyspace<number, number>('spell', {
      loadMany: async asked => {
        await query.wait()
        return asked.map(id => [id, id] as const)
      },
    })
    const all = spells.getMany(ids, { signal })
    await query.reached
    expect(getEventListeners(signal, 'abort')).toHaveLength(1)
    query.open()
    expect([...(await all).values()]).toEqual(ids)
    expect((await spells.getMany(ids)).size).toBe(10_000)
    expect(eventsOf('load')).toHaveLength(1)
    expect(getEventListeners(signal, 'abort')).toHaveLength(0)
    await clock.drain()
    globalThis.process.off('warning', note)
    expect(warnings).toEqual([])
  })
})
