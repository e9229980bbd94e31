import { EventEmitter } from 'node:events'
import { afterAll, describe, expect, test } from 'vitest'
import type { Cache, Keyspace, LoadContext } from '../src/index.ts'
import { gate } from '../src/testing/index.ts'
import { auditedKeyspace, startSampling } from '../src/verify/index.ts'
import { Nursery } from './protections/library.ts'
import { openWorld, passing, within } from './world.ts'

type Numbers = Keyspace<number, number>

/** Keys that need the keys that a rule says, and are worth one more than all of these together. */
function sums(
  cache: Cache,
  name: string,
  needs: (id: number) => readonly (readonly [Numbers, number])[],
): Numbers {
  return cache.keyspace<number, number>(name, {
    load: async id => {
      const values = await Promise.all(needs(id).map(([space, need]) => space.get(need)))
      return values.reduce<number>((sum, value) => sum + value!, 1)
    },
  })
}

const cycleOf = (chain: string) => ({
  name: 'CacheError',
  code: 'LOAD_CYCLE',
  message: expect.stringContaining(chain),
})

describe('a load inside a load', () => {
  test.each([1, 2, 64])('never waits for a place that its parents hold, with maxLoads %d', async maxLoads => {
    const { clock, process } = openWorld()
    const { cache } = process({ maxLoads })
    let working = 0
    let most = 0
    const query = async () => {
      most = Math.max(most, ++working)
      await passing(clock, 5)
      working--
    }
    const users = cache.keyspace('user', {
      load: async (id: number) => {
        await query()
        return { id }
      },
    })
    const posts = cache.keyspace('post', {
      load: async (id: number) => {
        await query()
        return { id, author: await users.get(id) }
      },
    })
    const ids = Array.from({ length: 300 }, (_, id) => id)
    const reading = Promise.all(ids.map(id => posts.get(id)))
    expect((await within(clock, 10_000, reading)).at(-1)).toEqual({ id: 299, author: { id: 299 } })
    expect(most).toBe(maxLoads)
  })

  test('may be as deep as it likes, in one place', async () => {
    const { process } = openWorld()
    const { cache } = process({ maxLoads: 1, maxQueuedLoads: 0 })
    const values: Numbers = sums(cache, 'value', id => (id === 0 ? [] : [[values, id - 1]]))
    expect(await values.get(2_000)).toBe(2_001)
  })

  test('without an end is given up with LOAD_CYCLE, and its callers with it', async () => {
    const { clock, process } = openWorld()
    const { cache } = process()
    const values: Numbers = sums(cache, 'value', id => [[values, id + 1]])
    await expect(values.get(0)).rejects.toMatchObject({
      code: 'LOAD_CYCLE',
      message: expect.stringMatching(
        /^loads nest deeper than 10000: value:0 → value:1 → .* more\) → .*value:10000$/,
      ),
    })
    await clock.drain()
  })

  test('gets a place of one who waits for it, though another reader has begun it', async () => {
    const { clock, process } = openWorld()
    const { cache } = process({ maxLoads: 2 })
    const begun = gate()
    const users = cache.keyspace('user', { load: async (id: number) => id })
    const posts = cache.keyspace('post', {
      load: async (id: number) => {
        await begun.wait()
        return (await users.get(7))! + id
      },
    })
    const reading = [posts.get(1), posts.get(2), users.get(7), posts.get(3)]
    await clock.drain()
    expect(cache.stats().now).toMatchObject({ loads: 2, queuedLoads: 2 })
    begun.open()
    expect(await within(clock, 1, Promise.all(reading))).toEqual([8, 9, 7, 10])
  })

  test('is never refused with OVERLOADED where its parent was let in', async () => {
    const { process } = openWorld()
    const { cache } = process({ maxLoads: 1, maxQueuedLoads: 0 })
    const leaves = sums(cache, 'leaf', () => [])
    const ids = Array.from({ length: 100 }, (_, id) => id)
    const trees = sums(cache, 'tree', () => ids.map(id => [leaves, id] as const))
    const tree = trees.get(1)
    await expect(trees.get(2)).rejects.toMatchObject({ code: 'OVERLOADED' })
    expect(await tree).toBe(101)
  })

  test('gives its place back when it has outlived its parent, and not before', async () => {
    const { clock, process } = openWorld()
    const { cache } = process({ maxLoads: 1 })
    const query = gate<number>()
    const children = cache.keyspace('child', { load: (_: number) => query.wait() })
    const parents = cache.keyspace('parent', {
      load: async (id: number) => {
        void children.get(id)
        return id
      },
    })
    expect(await parents.get(1)).toBe(1)
    await query.reached
    const next = parents.get(2)
    await clock.drain()
    expect(cache.stats().now).toMatchObject({ loads: 1, queuedLoads: 1 })
    query.open(1)
    expect(await next).toBe(2)
    await clock.drain()
    expect(cache.stats().now).toMatchObject({ loads: 0, queuedLoads: 0 })
  })

  test('goes on for others when its parent is given up, and keeps the place', async () => {
    const { clock, process } = openWorld()
    const { cache } = process({ maxLoads: 1, loadTimeoutMs: 3_000 })
    const query = gate<number>()
    const children = cache.keyspace('child', { loadTimeoutMs: 9_000, load: (_: number) => query.wait() })
    const parents = cache.keyspace('parent', { load: async (id: number) => children.get(id) })
    const given = expect(parents.get(1)).rejects.toMatchObject({ code: 'LOAD_TIMEOUT' })
    await clock.advance(2_000)
    const staying = children.get(1, { consistency: 'strong' })
    await clock.advance(1_000)
    await given
    expect(cache.stats().now).toMatchObject({ loads: 2, queuedLoads: 0 })
    query.open(1)
    expect(await staying).toBe(1)
  })

  test('that is given the signal of its parent ends with it', async () => {
    const { clock, process } = openWorld()
    const { cache, eventsOf } = process({ maxLoads: 1 })
    const query = gate<number>()
    const children = cache.keyspace('child', { load: (_: number, { signal }) => query.wait(signal) })
    const parents = cache.keyspace('parent', {
      load: async (id: number, { signal }) => children.get(id, { signal }),
    })
    const leave = new AbortController()
    const going = expect(parents.get(1, { signal: leave.signal })).rejects.toThrow('gone')
    await query.reached
    leave.abort(new Error('gone'))
    await going
    await clock.drain()
    expect(eventsOf('load').map(({ keys, outcome }) => [keys[0], outcome])).toEqual([
      ['parent:1', 'aborted'],
      ['child:1', 'aborted'],
    ])
  })

  test('is known by the signal where the asynchronous context is lost, and else waits like a stranger', async () => {
    const { clock, process } = openWorld()
    const { cache } = process({ maxLoads: 1, loadTimeoutMs: 3_000 })
    const jobs = new EventEmitter()
    jobs.on('job', (work: () => void) => void clock.after(1, work))
    // What is scheduled here runs in the context of the timer below, which is nobody's.
    const pump: (() => void)[] = []
    const turn = () => {
      for (const work of pump.splice(0)) work()
      timer = clock.after(1, turn)
    }
    let timer = clock.after(1, turn)
    const elsewhere = <T>(work: () => Promise<T>) =>
      new Promise<T>((resolve, reject) => void pump.push(() => work().then(resolve, reject)))
    const children = cache.keyspace('child', { load: async (id: number) => id })
    const parents = cache.keyspace('parent', {
      load: async (id: number, { signal }) => elsewhere(() => children.get(id, id === 1 ? { signal } : {})),
    })
    expect(await within(clock, 10, parents.get(1))).toBe(1)
    const stuck = expect(parents.get(2)).rejects.toMatchObject({ code: 'LOAD_TIMEOUT' })
    await clock.advance(3_010)
    await stuck
    timer.cancel()
    expect(await parents.get(1)).toBe(1)
  })

  test('in the background is nobodys child: it waits for a place of its own', async () => {
    const { clock, process } = openWorld()
    const { cache, eventsOf } = process({ maxLoads: 1 })
    const children = cache.keyspace('child', {
      ttlMs: 1_000,
      staleMs: 60_000,
      load: async (id: number) => id,
    })
    const query = gate()
    const parents = cache.keyspace('parent', {
      load: async (id: number) => {
        const child = await children.get(id)
        await query.wait()
        return child
      },
    })
    await children.get(1)
    await clock.advance(1_500)
    const reading = parents.get(1)
    await query.reached
    await clock.drain()
    expect(cache.stats().now).toMatchObject({ loads: 1, queuedLoads: 1 })
    query.open()
    expect(await reading).toBe(1)
    await clock.drain()
    expect(eventsOf('fill').map(({ key }) => key)).toEqual(['child:1', 'parent:1', 'child:1'])
  })

  test('of a refresh is like any other, and finds the old value of its own key', async () => {
    const { clock, process } = openWorld()
    const { cache } = process({ maxLoads: 1 })
    const others = sums(cache, 'other', () => [])
    const values: Numbers = cache.keyspace<number, number>('value', {
      ttlMs: 1_000,
      staleMs: 60_000,
      load: async id => ((clock.nowMs() < 500 ? 0 : await values.get(id)) ?? 0) + (await others.get(id))!,
    })
    expect(await values.get(1)).toBe(1)
    await clock.advance(1_500)
    expect(await values.get(1)).toBe(1)
    await clock.drain()
    expect(await values.get(1)).toBe(2)
  })

  test('may write, and read inside the write', async () => {
    const { process } = openWorld()
    const { cache } = process({ maxLoads: 1 })
    const others = sums(cache, 'other', () => [])
    const values = cache.keyspace<number, number>('value', {
      load: async id => (await others.write(id, async () => others.get(id + 1))).value,
    })
    expect(await values.get(1)).toBe(1)
  })

  test('of keys of one batch does not wait for the turn of the other in the batch', async () => {
    const { clock, process } = openWorld()
    const { cache } = process()
    const values: Numbers = sums(cache, 'value', id => (id === 0 ? [[values, 99]] : []))
    const ids = Array.from({ length: 100 }, (_, id) => id)
    const found = await within(clock, 1, values.getMany(ids))
    expect(found.get(0)).toBe(2)
  })

  test('of keys that are loaded together and need each other is made for each by itself', async () => {
    const { clock, process } = openWorld()
    const { cache } = process({ maxLoads: 1 })
    const asked: number[][] = []
    const parentOf = (id: number) => (id === 0 ? undefined : id - 1)
    const values: Numbers = cache.keyspace<number, number>('value', {
      loadMany: async ids => {
        asked.push([...ids])
        const depths = ids.map(async id => {
          const parent = parentOf(id)
          return [id, parent === undefined ? 1 : (await values.get(parent))! + 1] as const
        })
        return Promise.all(depths)
      },
    })
    expect(await within(clock, 1, values.getMany([3, 2, 1, 0]))).toEqual(
      new Map([
        [3, 4],
        [2, 3],
        [1, 2],
        [0, 1],
      ]),
    )
    expect(asked[0]).toEqual([3, 2, 1, 0])
    expect(asked.length).toBeLessThanOrEqual(4)
  })

  test('of another cache has its own limit, and the two do not starve each other', async () => {
    const { clock, process } = openWorld()
    const [one, two] = [process({ maxLoads: 1 }).cache, process({ maxLoads: 1 }).cache]
    let working = 0
    let most = 0
    const slowly = async () => {
      most = Math.max(most, ++working)
      await passing(clock, 5)
      working--
    }
    const space = (cache: Cache, other: () => Numbers): Numbers =>
      cache.keyspace<number, number>('value', {
        load: async id => {
          await slowly()
          return id % 10 === 0 ? id : (await other().get(id - 1))! + 1
        },
      })
    const first: Numbers = space(one, () => second)
    const second: Numbers = space(two, () => first)
    const reading = Promise.all([5, 16, 27, 38, 49].flatMap(id => [first.get(id), second.get(id + 100)]))
    expect(await within(clock, 1_000, reading)).toEqual([5, 105, 16, 116, 27, 127, 38, 138, 49, 149])
    expect(most).toBeLessThanOrEqual(2)
  })

  test('of a sampler needs no second place', async () => {
    const { clock, process, network } = openWorld()
    const { cache, eventsOf } = process({ maxLoads: 1 }, network())
    const others = sums(cache, 'other', () => [])
    const load = async (id: number) => (await others.get(id + 1))! + id
    const values = cache.keyspace<number, number>('value', { load })
    await clock.advance(10)
    await values.get(1)
    await clock.drain()
    const audited = auditedKeyspace('value', { load, idFromKey: ([id]) => Number(id) })
    const stopped = startSampling(cache, { keyspaces: [audited], everyMs: 50 })
    await others.invalidate(2)
    await clock.advance(5_000)
    expect(eventsOf('verified').map(({ outcome }) => outcome)).toContain('equal')
    expect(eventsOf('fault')).toEqual([])
    await stopped.stop()
  })
})

describe('a load that waits for itself', () => {
  type Ask = (values: Numbers, id: number, context: LoadContext) => Promise<unknown>
  test.each<[string, string, Ask]>([
    ['asks for its own key', 'value:1 → value:1', (values, id) => values.get(id)],
    [
      'asks for its own key strongly',
      'value:1 → value:1',
      (values, id) => values.get(id, { consistency: 'strong' }),
    ],
    [
      'asks for its own key with its signal',
      'value:1 → value:1',
      (values, id, { signal }) => values.get(id, { signal }),
    ],
    ['asks for its own key among others', 'value:1 → value:1', (values, id) => values.getMany([7, id, 8])],
    [
      'invalidates its own key first',
      'value:1 → value:1',
      async (values, id) => {
        await values.invalidate(id)
        return values.get(id)
      },
    ],
    [
      'reads its own key while it writes it',
      'value:1 → value:1',
      (values, id) => values.write(id, () => values.get(id), { commitInDoubt: () => false }),
    ],
    ['needs it through another key', 'value:1 → value:2 → value:1', (values, id) => values.get(3 - id)],
    [
      'needs it through two other keys',
      'value:1 → value:2 → value:3 → value:1',
      (values, id) => values.get((id % 3) + 1),
    ],
  ])('because it %s rejects at once, and names the chain', async (_, chain, ask) => {
    const { clock, process } = openWorld()
    const { cache } = process()
    const values: Numbers = cache.keyspace<number, number>('value', {
      load: async (id, context) => {
        if (id < 7) await ask(values, id, context)
        return id
      },
    })
    const beganMs = clock.nowMs()
    await expect(values.get(1)).rejects.toMatchObject(cycleOf(chain))
    await expect(values.getMany([1])).rejects.toMatchObject(cycleOf(chain))
    await clock.drain()
    expect(clock.nowMs()).toBe(beganMs)
    expect(cache.stats().now).toMatchObject({ flights: 0, loads: 0, queuedLoads: 0 })
  })

  test('long after it has begun rejects at once', async () => {
    const { clock, process } = openWorld()
    const { cache } = process()
    const values: Numbers = cache.keyspace<number, number>('value', {
      load: async id => {
        await passing(clock, 5_000)
        return values.get(3 - id)
      },
    })
    const reading = expect(values.get(1)).rejects.toMatchObject({ code: 'LOAD_CYCLE' })
    await clock.advance(10_000)
    await reading
  })

  test('through flights that callers have begun at once rejects for all of them, at once', async () => {
    const { clock, process } = openWorld()
    const { cache } = process({ maxLoads: 2 })
    const begun = gate()
    const values: Numbers = cache.keyspace<number, number>('value', {
      load: async id => {
        await begun.wait()
        return values.get((id % 3) + 1)
      },
    })
    const reading = [1, 2, 3].map(id => expect(values.get(id)).rejects.toMatchObject({ code: 'LOAD_CYCLE' }))
    await clock.drain()
    begun.open()
    await Promise.all(reading)
    expect(cache.stats().now).toMatchObject({ flights: 0, loads: 0, queuedLoads: 0 })
  })

  test('through another cache of the process rejects at once', async () => {
    const { process } = openWorld()
    const [one, two] = [process().cache, process().cache]
    const first: Numbers = sums(one, 'first', id => [[second, id]])
    const second: Numbers = sums(two, 'second', id => [[first, id]])
    await expect(first.get(1)).rejects.toMatchObject(cycleOf('first:1 → second:1 → first:1'))
  })

  test('through keys that are loaded together fails for these, and for no other of the batch', async () => {
    const { process } = openWorld()
    const { cache } = process()
    const values: Numbers = cache.keyspace<number, number>('value', {
      loadMany: async ids =>
        Promise.all(
          ids.map(async id => {
            const need = id < 3 ? values.get(3 - id) : undefined
            return [
              id,
              (await need?.then(
                value => value! + 1,
                (error: Error) => error,
              )) ?? id,
            ] as const
          }),
        ),
    })
    const reading = [1, 2, 3].map(id => values.getMany([id, id === 3 ? 4 : 3]))
    const [one, two, three] = await Promise.allSettled(reading)
    for (const failed of [one, two])
      expect((failed as PromiseRejectedResult).reason).toMatchObject({ code: 'LOAD_CYCLE' })
    expect((three as PromiseFulfilledResult<Map<number, number>>).value.get(4)).toBe(4)
    expect(await values.get(3)).toBe(3)
  })

  test('may do without: the error is like any other', async () => {
    const { process } = openWorld()
    const values: Numbers = process().cache.keyspace<number, number>('value', {
      load: async id => (await values.get(id).catch(() => 40))! + 2,
    })
    expect(await values.get(1)).toBe(42)
  })

  test('leaves nothing behind that begins it over and over', async () => {
    const { clock, process } = openWorld()
    const { cache, eventsOf } = process()
    const values: Numbers = sums(cache, 'value', id =>
      id === 6
        ? [
            [values, 0],
            [values, 1],
          ]
        : id < 2
          ? [[values, 6]]
          : [],
    )
    await expect(values.get(0)).rejects.toMatchObject({ code: 'LOAD_CYCLE' })
    await clock.advance(1_000)
    expect(eventsOf('load').length).toBeLessThan(10)
    expect(cache.stats().now).toMatchObject({ flights: 0, loads: 0, queuedLoads: 0 })
  })

  const nursery = new Nursery()
  afterAll(() => nursery.close())

  test('through another process is found when busyWaitMs are over', async () => {
    // Another copy of the module: what it knows of its loads, this one does not.
    const twin = await nursery.breed([['const DEEPEST = 10_000', 'const DEEPEST = 10_001']])
    const { clock, process, network } = openWorld()
    const here = process({ busyWaitMs: 2_000 }).cache
    const there = twin.createCache({ clock, shared: network(), busyWaitMs: 2_000 })
    const [first, second] = [here, there].map(cache => {
      const values: Numbers = cache.keyspace<number, number>('value', {
        load: async id => {
          await passing(clock, 5)
          return values.get(3 - id)
        },
      })
      return values
    })
    await clock.advance(10)
    const reading = [first!.get(1), second!.get(2)].map(one =>
      expect(one).rejects.toMatchObject({ code: 'LOAD_CYCLE' }),
    )
    await clock.advance(1_900)
    expect(here.stats().now.loads).toBe(1)
    await clock.advance(200)
    await Promise.all(reading)
    await there.close()
  })
})
