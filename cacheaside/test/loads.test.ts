import { getEventListeners } from 'node:events'
import { describe, expect, test } from 'vitest'
import type { Keyspace } from '../src/index.ts'
import { gate } from '../src/testing/index.ts'
import { fireball, openWorld, passing, type Spell, spellTable, within } from './world.ts'

describe('the load limit', () => {
  test('is never exceeded, and the queue before it is served in order', async () => {
    const { clock, process } = openWorld()
    const { cache } = process({ maxLoads: 3 })
    const begun: number[] = []
    let running = 0
    let most = 0
    const values = cache.keyspace('value', {
      load: async (id: number) => {
        begun.push(id)
        most = Math.max(most, ++running)
        await passing(clock, 10 + (id % 4))
        running--
        return id
      },
    })
    const ids = Array.from({ length: 40 }, (_, id) => id)
    const reading = Promise.all(ids.map(id => values.get(id)))
    await clock.advance(5)
    expect(cache.stats().now).toMatchObject({ loads: 3, queuedLoads: 37, flights: 40 })
    expect(await within(clock, 300, reading)).toEqual(ids)
    expect(most).toBe(3)
    expect(begun).toEqual(ids)
  })

  test('refuses with OVERLOADED at once when its queue is full, and lets go of the lease', async () => {
    const { clock, inspect, process } = openWorld()
    const query = gate()
    const { cache, eventsOf } = process({ maxLoads: 1, maxQueuedLoads: 2 })
    const values = cache.keyspace('value', {
      load: async (id: number) => {
        await query.wait()
        return id
      },
    })
    const admitted = Promise.all([1, 2, 3].map(id => values.get(id)))
    await clock.drain()
    const refusal = {
      name: 'CacheError',
      code: 'OVERLOADED',
      message: '1 loads are running and 2 are waiting',
    }
    await expect(values.get(4)).rejects.toMatchObject(refusal)
    await expect(values.getMany([4, 5])).rejects.toMatchObject(refusal)
    await clock.drain()
    expect([inspect('value:4'), inspect('value:5')]).toEqual([undefined, undefined])
    query.open()
    expect(await admitted).toEqual([1, 2, 3])
    expect(await values.get(4)).toBe(4)
    const outcomes = eventsOf('load').map(({ outcome }) => outcome)
    expect(outcomes).toEqual(['overloaded', 'overloaded', 'overloaded', ...Array(4).fill('loaded')])
  })

  test('may have no queue at all', async () => {
    const { process } = openWorld()
    const query = gate<number>()
    const values = process({ maxLoads: 1, maxQueuedLoads: 0 }).cache.keyspace<number, number>('value', {
      load: () => query.wait(),
    })
    const first = values.get(1)
    await query.reached
    await expect(values.get(2)).rejects.toMatchObject({ code: 'OVERLOADED' })
    const joining = values.get(1)
    query.open(1)
    expect(await Promise.all([first, joining])).toEqual([1, 1])
  })

  test('does not stand before hits', async () => {
    const { clock, process } = openWorld()
    const query = gate<number>()
    const values = process({ maxLoads: 1, maxQueuedLoads: 0, local: { maxEntries: 9 } }).cache.keyspace(
      'value',
      {
        load: async (id: number) => (id === 1 ? 1 : query.wait()),
      },
    )
    await values.get(1)
    await clock.drain()
    const blocking = values.get(2)
    await query.reached
    expect(await values.get(1)).toBe(1)
    expect(await values.read(1, { consistency: 'strong' })).toMatchObject({ from: 'shared' })
    query.open(2)
    await blocking
  })

  test('keeps the place of a load that was given up, until its loader settles', async () => {
    const { clock, process } = openWorld()
    const deaf = gate<number>()
    const { cache } = process({ maxLoads: 1, loadTimeoutMs: 3_000 })
    const values = cache.keyspace('value', { load: async (id: number) => (id === 1 ? deaf.wait() : id) })
    const first = expect(values.get(1)).rejects.toMatchObject({ code: 'LOAD_TIMEOUT' })
    await clock.advance(3_000)
    await first
    expect(cache.stats().now).toMatchObject({ loads: 1, flights: 0 })
    const second = values.get(2)
    await clock.advance(100)
    expect(cache.stats().now).toMatchObject({ loads: 1, queuedLoads: 1 })
    deaf.open(1)
    expect(await second).toBe(2)
  })

  test('gives the turn of one who gave up waiting to the next', async () => {
    const { clock, process } = openWorld()
    const query = gate<number>()
    const asked: number[] = []
    const { cache, eventsOf } = process({ maxLoads: 1 })
    const values = cache.keyspace('value', {
      load: async (id: number) => {
        asked.push(id)
        return id === 1 ? query.wait() : id
      },
    })
    const leave = new AbortController()
    const first = values.get(1)
    await query.reached
    const second = expect(values.get(2, { signal: leave.signal })).rejects.toThrow('gone')
    const third = values.get(3)
    await clock.drain()
    leave.abort(new Error('gone'))
    await second
    query.open(1)
    expect(await Promise.all([first, third])).toEqual([1, 3])
    expect(asked).toEqual([1, 3])
    expect(eventsOf('load').map(({ outcome, costMs }) => [outcome, costMs])).toEqual([
      ['aborted', 0],
      ['loaded', 0],
      ['loaded', 0],
    ])
  })

  test.each([null, 0, ''])('rejects with what the signal was aborted with: %j', async reason => {
    const values = openWorld()
      .process()
      .cache.keyspace('value', { load: () => new Promise<number>(() => {}) })
    const leave = new AbortController()
    const waiting = values.get(1, { signal: leave.signal }).catch(error => [error])
    leave.abort(reason)
    expect(await waiting).toEqual([reason])
    expect(await values.get(1, { signal: leave.signal }).catch(error => [error])).toEqual([reason])
  })
})

describe('a load that takes too long', () => {
  test('is given up with LOAD_TIMEOUT, its loader told, its lease let go, nothing kept', async () => {
    const { clock, inspect, process } = openWorld()
    const signals: AbortSignal[] = []
    const { cache, eventsOf } = process({ local: { maxEntries: 9 } })
    const spells = cache.keyspace<number, Spell>('spell', {
      loadTimeoutMs: 3_000,
      load: async (_, { signal }) => {
        signals.push(signal)
        await passing(clock, 4_000)
        return fireball
      },
    })
    const [one, two] = [spells.get(4), spells.getMany([4])].map(reading =>
      expect(reading).rejects.toMatchObject({
        name: 'CacheError',
        code: 'LOAD_TIMEOUT',
        message: 'spell:4: the loader did not answer within 3000 ms',
      }),
    )
    await clock.advance(2_999)
    expect(signals[0]!.aborted).toBe(false)
    await clock.advance(1)
    await Promise.all([one, two])
    expect(signals[0]!.aborted).toBe(true)
    expect(signals[0]!.reason).toMatchObject({ code: 'LOAD_TIMEOUT' })
    expect(inspect('spell:4')).toBeUndefined()
    expect(eventsOf('load')).toMatchObject([{ outcome: 'timed-out', costMs: 3_000 }])
    await clock.advance(1_000)
    expect(inspect('spell:4')).toBeUndefined()
    expect(spells.peek(4)).toBeUndefined()
    expect(eventsOf('fill')).toEqual([])
  })

  test('is given up also if no place became free for it, without calling the loader', async () => {
    const { clock, process } = openWorld()
    const query = gate<number>()
    const { cache } = process({ maxLoads: 1, loadTimeoutMs: 9_000, leaseMs: 10_000 })
    const slow = cache.keyspace<number, number>('slow', { load: () => query.wait() })
    const values = cache.keyspace<number, number>('value', {
      loadTimeoutMs: 3_000,
      load: () => expect.unreachable(),
    })
    const first = slow.get(1)
    await query.reached
    const second = expect(values.get(2)).rejects.toMatchObject({
      code: 'LOAD_TIMEOUT',
      message: 'value:2: no place under the load limit became free within 3000 ms',
    })
    await clock.advance(3_000)
    await second
    expect(cache.stats().now.queuedLoads).toBe(0)
    query.open(1)
    await first
  })

  test('does not matter afterwards, whether its loader succeeds or fails', async () => {
    const { clock, process } = openWorld()
    const { cache } = process()
    const values = cache.keyspace('value', {
      loadTimeoutMs: 3_000,
      load: async (id: number) => {
        await passing(clock, 4_000)
        if (id === 2) throw new Error('too late to matter')
        return id
      },
    })
    const reading = [1, 2].map(id => expect(values.get(id)).rejects.toMatchObject({ code: 'LOAD_TIMEOUT' }))
    await clock.advance(5_000)
    await Promise.all(reading)
    expect(cache.stats().keyspaces.value!.loads).toMatchObject({ 'timed-out': 2, loaded: 0, failed: 0 })
  })
})

describe('the callers signal', () => {
  const reads: readonly (readonly [
    string,
    (spells: Keyspace<number, Spell>, signal: AbortSignal) => Promise<unknown>,
  ])[] = [
    ['get', (spells, signal) => spells.get(4, { signal })],
    ['read', (spells, signal) => spells.read(4, { signal })],
    ['getMany', (spells, signal) => spells.getMany([4, 5], { signal })],
    ['a strong get', (spells, signal) => spells.get(4, { signal, consistency: 'strong' })],
    ['a strong getMany', (spells, signal) => spells.getMany([4, 5], { signal, consistency: 'strong' })],
  ]

  test.each(reads)('that is aborted already ends %s before any I/O, even of a hit', async (_, read) => {
    const { clock, process, network } = openWorld()
    const link = network()
    const table = spellTable(fireball)
    const spells = process({ local: { maxEntries: 9 } }, link).cache.keyspace('spell', { load: table.find })
    await clock.drain()
    await spells.getMany([4, 5])
    await clock.drain()
    const sent = link.log.length
    const gone = new Error('gone')
    await expect(read(spells, AbortSignal.abort(gone))).rejects.toBe(gone)
    await expect(read(spells, AbortSignal.abort())).rejects.toMatchObject({ name: 'AbortError' })
    expect(link.log).toHaveLength(sent)
  })

  test.each(reads)('ends the wait of %s, tells the loader, and nothing is kept', async (_, read) => {
    const { clock, inspect, process } = openWorld()
    const told: unknown[] = []
    const { cache, eventsOf } = process()
    const spells = cache.keyspace<number, Spell>('spell', {
      loadMany: (_ids, { signal }) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => {
            told.push(signal.reason)
            reject(signal.reason)
          })
        }),
    })
    const leave = new AbortController()
    const gone = new Error('gone')
    const ended = expect(read(spells, leave.signal)).rejects.toBe(gone)
    await clock.advance(10)
    leave.abort(gone)
    await ended
    await clock.drain()
    expect(told).toEqual([gone])
    expect([inspect('spell:4'), inspect('spell:5')]).toEqual([undefined, undefined])
    expect(eventsOf('load')).toMatchObject([{ outcome: 'aborted', error: gone }])
    expect(getEventListeners(leave.signal, 'abort')).toEqual([])
  })

  test.each(reads)('leaves no listener behind after %s was answered', async (_, read) => {
    const { clock, process } = openWorld()
    const spells = process().cache.keyspace('spell', { load: spellTable(fireball).find })
    const { signal } = new AbortController()
    await within(clock, 20, Promise.all([read(spells, signal), read(spells, signal)]))
    await within(clock, 20, Promise.all([read(spells, signal), read(spells, signal)]))
    expect(getEventListeners(signal, 'abort')).toEqual([])
  })

  test('ends only the callers own wait while others wait too', async () => {
    const { clock, process } = openWorld()
    const query = gate<Spell>()
    const spells = process().cache.keyspace<number, Spell>('spell', {
      load: (_, { signal }) => query.wait(signal),
    })
    const leave = new AbortController()
    const staying = spells.get(4)
    const going = [spells.get(4, { signal: leave.signal }), spells.read(4, { signal: leave.signal })].map(
      one => expect(one).rejects.toThrow('gone'),
    )
    await query.reached
    leave.abort(new Error('gone'))
    await Promise.all(going)
    await clock.drain()
    query.open(fireball)
    expect(await staying).toEqual(fireball)
    expect(query.arrivals).toBe(1)
  })

  test('of the last caller aborts the load; a caller that comes in the same moment does not get the abort', async () => {
    const { clock, process } = openWorld()
    const query = gate<Spell>()
    const spells = process().cache.keyspace<number, Spell>('spell', {
      load: (_, { signal }) => query.wait(signal),
    })
    const leave = new AbortController()
    const going = expect(spells.get(4, { signal: leave.signal })).rejects.toThrow('gone')
    await query.reached
    leave.abort(new Error('gone'))
    const late = spells.get(4)
    query.open(fireball)
    await going
    expect(await within(clock, 20, late)).toEqual(fireball)
  })

  test('of one caller who waits for another flight to end does not end the next flight for those who share it', async () => {
    const { clock, process } = openWorld()
    const query = gate<Spell>()
    const spells = process().cache.keyspace<number, Spell>('spell', { load: () => query.wait() })
    const leave = new AbortController()
    const first = spells.get(4)
    await query.reached
    const going = expect(spells.get(4, { consistency: 'strong', signal: leave.signal })).rejects.toThrow(
      'gone',
    )
    const staying = spells.get(4, { consistency: 'strong' })
    leave.abort(new Error('gone'))
    query.open(fireball)
    await going
    expect(await first).toEqual(fireball)
    expect(await within(clock, 20, staying)).toEqual(fireball)
  })

  test('of all callers who wait for another flight to end keeps the next flight from beginning', async () => {
    const { clock, process } = openWorld()
    const query = gate<Spell>()
    let loads = 0
    const spells = process().cache.keyspace<number, Spell>('spell', {
      load: () => {
        loads++
        return query.wait()
      },
    })
    const leave = new AbortController()
    const first = spells.get(4)
    await query.reached
    const strongly = { consistency: 'strong', signal: leave.signal } as const
    const going = [
      expect(spells.get(4, strongly)).rejects.toThrow('gone'),
      expect(spells.getMany([4], strongly)).rejects.toThrow('gone'),
    ]
    leave.abort(new Error('gone'))
    await Promise.all(going)
    query.fail(new Error('no'))
    await expect(first).rejects.toThrow('no')
    await clock.drain()
    expect(loads).toBe(1)
  })

  test("ends the wait for another process's load", async () => {
    const { clock, process } = openWorld()
    const query = gate<Spell>()
    const slow = process().cache.keyspace('spell', { load: (_: number) => query.wait() })
    const { cache } = process()
    const spells = cache.keyspace<number, Spell>('spell', { load: () => expect.unreachable() })
    const first = slow.get(4)
    await query.reached
    const leave = new AbortController()
    const going = expect(spells.get(4, { signal: leave.signal })).rejects.toThrow('gone')
    await clock.advance(20)
    leave.abort(new Error('gone'))
    await going
    await clock.drain()
    expect(cache.stats().now.flights).toBe(0)
    query.open(fireball)
    await first
  })

  test('aborted while the shared store is asked ends the flight when it answers, with no pause and no load', async () => {
    const { clock, process, network } = openWorld()
    const query = gate<Spell>()
    const slow = process().cache.keyspace('spell', { load: (_: number) => query.wait() })
    const first = slow.get(4)
    await query.reached
    const link = network()
    const { cache } = process({}, link)
    const spells = cache.keyspace<number, Spell>('spell', { load: () => expect.unreachable() })
    await clock.drain()
    link.delay(50, 'lease')
    const leave = new AbortController()
    const going = [4, 5].map(id => expect(spells.get(id, { signal: leave.signal })).rejects.toThrow('gone'))
    await clock.advance(10)
    leave.abort(new Error('gone'))
    await Promise.all(going)
    await clock.advance(40)
    expect(cache.stats().now).toMatchObject({ flights: 0, loads: 0 })
    query.open(fireball)
    await first
  })

  test('may be shared by any number of reads at once without a warning', async () => {
    const { clock, process } = openWorld()
    const warnings: Error[] = []
    const note = (warning: Error) => void warnings.push(warning)
    globalThis.process.on('warning', note)
    const values = process().cache.keyspace('value', { load: async (id: number) => id })
    const { signal } = new AbortController()
    const ids = Array.from({ length: 1_000 }, (_, id) => id)
    const reading = Promise.all(ids.map(id => values.get(id, { signal })))
    const batch = values.getMany(ids, { signal, consistency: 'strong' })
    expect(getEventListeners(signal, 'abort')).toHaveLength(1)
    expect(await reading).toEqual(ids)
    expect((await batch).size).toBe(1_000)
    expect(getEventListeners(signal, 'abort')).toHaveLength(0)
    await clock.drain()
    globalThis.process.off('warning', note)
    expect(warnings).toEqual([])
  })

  test('given to the loader may be handed to any number of queries without a warning', async () => {
    const { clock, process } = openWorld()
    const warnings: Error[] = []
    const note = (warning: Error) => void warnings.push(warning)
    globalThis.process.on('warning', note)
    const query = (signal: AbortSignal) =>
      new Promise<number>(resolve => {
        signal.addEventListener('abort', () => {})
        clock.after(5, () => resolve(1))
      })
    const { cache } = process()
    const others = cache.keyspace('other', { load: async (id: number) => id })
    const values = cache.keyspace<number, number>('value', {
      load: async (id, { signal }) => {
        const ids = Array.from({ length: 50 }, (_, i) => i)
        await Promise.all(ids.map(() => query(signal)))
        await Promise.all(ids.map(other => others.get(other, { signal })))
        return id
      },
      loadMany: async (ids, { signal }) => {
        await Promise.all(Array.from({ length: 50 }, () => query(signal)))
        return ids.map(id => [id, id] as const)
      },
    })
    const reading = Promise.all([values.get(1), values.getMany([2, 3])])
    await within(clock, 20, reading)
    await clock.drain()
    globalThis.process.off('warning', note)
    expect(warnings).toEqual([])
  })

  test('given to the loader is not the callers, and is aborted for nobody who succeeded', async () => {
    const { process } = openWorld()
    const given: AbortSignal[] = []
    const spells = process().cache.keyspace<number, Spell>('spell', {
      load: async (_, { signal }) => {
        given.push(signal)
        return fireball
      },
    })
    const leave = new AbortController()
    await spells.get(4, { signal: leave.signal })
    leave.abort()
    expect(given[0]!.aborted).toBe(false)
  })
})

describe('a loader', () => {
  test('may read other keys', async () => {
    const { process } = openWorld()
    const { cache } = process()
    const names = cache.keyspace('name', { load: async (id: number) => `spell ${id}` })
    const spells = cache.keyspace('spell', {
      load: async (id: number) => ({ id, name: await names.get(id) }),
    })
    expect(await spells.get(4)).toEqual({ id: 4, name: 'spell 4' })
    expect((await spells.getMany([5, 6])).get(6)).toEqual({ id: 6, name: 'spell 6' })
  })

  test('may write and invalidate other keys, and its own, whose value is then not kept', async () => {
    const { clock, inspect, process } = openWorld()
    const { cache, eventsOf } = process()
    const values = cache.keyspace<number, number>('value', {
      load: async id => {
        await values.write(id + 1, () => {})
        await values.invalidate(id + 2)
        await values.invalidate(id)
        return id
      },
    })
    expect(await values.get(1)).toBe(1)
    await clock.drain()
    expect(inspect('value:1')).toBeUndefined()
    expect(eventsOf('fill')).toMatchObject([{ outcome: 'refused' }])
  })

  test('that never settles costs its callers loadTimeoutMs, and only its own key', async () => {
    const { clock, process } = openWorld()
    const never = gate<number>()
    const { cache } = process({ loadTimeoutMs: 3_000 })
    const values = cache.keyspace('value', { load: (id: number) => (id === 1 ? never.wait() : id) })
    const reading = expect(values.get(1)).rejects.toMatchObject({ code: 'LOAD_TIMEOUT' })
    expect(await values.get(2)).toBe(2)
    await clock.advance(3_000)
    await reading
    expect(cache.stats().now).toMatchObject({ flights: 0, loads: 1 })
    never.open(1)
  })
})
