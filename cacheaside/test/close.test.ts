import { describe, expect, test } from 'vitest'
import type { CacheError, LoadContext } from '../src/index.ts'
import { gate } from '../src/testing/index.ts'
import { fireball, openWorld, type Spell, spellTable, within } from './world.ts'

const CLOSED = { name: 'CacheError', code: 'CLOSED' }

describe('close', () => {
  test('inside the event of a hit lets that hit and the others under way be answered', async () => {
    const { clock, process, network } = openWorld()
    const { cache } = process({}, network())
    const spells = cache.keyspace('spell', { load: async () => fireball })
    await clock.advance(1_000)
    await within(clock, 100, spells.getMany([1, 2]))
    await clock.drain()
    const ended: Promise<unknown>[] = []
    const stop = cache.listen(event => {
      if (event.type !== 'read' || event.outcome !== 'answered') return
      stop()
      ended.push(cache.close(), expect(spells.get(1)).rejects.toMatchObject(CLOSED))
    })
    const hits = Promise.all([spells.get(1), spells.get(1), spells.get(2)])
    expect(await within(clock, 100, hits)).toEqual([fireball, fireball, fireball])
    expect(await within(clock, 1_000, Promise.all(ended))).toHaveLength(2)
  })

  test('lets reads, batches, refreshes and writes that are under way finish, fills included', async () => {
    const { clock, inspect, process, network } = openWorld()
    const link = network()
    const query = gate<Spell>()
    const { cache } = process({}, link)
    const spells = cache.keyspace<number, Spell>('spell', {
      load: () => query.wait(),
      loadMany: async ids => {
        const spell = await query.wait()
        return ids.map(id => [id, spell] as const)
      },
    })
    await clock.drain()
    link.delay(20, 'fill')
    const work = Promise.all([
      spells.get(1),
      spells.getMany([2, 3]),
      spells.write(4, () => query.wait()),
      spells.get(1, { consistency: 'strong' }),
    ])
    await clock.advance(10)
    let closed = false
    const closing = cache.close().then(() => {
      closed = true
    })
    await clock.advance(500)
    expect(closed).toBe(false)
    query.open(fireball)
    await clock.advance(10)
    expect(closed).toBe(false)
    await clock.advance(200)
    await closing
    const [one, many, written, strong] = await work
    expect([one, many.size, strong]).toEqual([fireball, 2, fireball])
    expect(written).toMatchObject({ value: fireball, invalidation: 'applied', fenced: true })
    expect([1, 2, 3].map(id => inspect(`spell:${id}`)?.[0])).toEqual(['V', 'V', 'V'])
    expect(clock.describeTimers()).toBe('no timers')
    link.restore()
  })

  test('refuses what comes after it with CLOSED, at once', async () => {
    const { process } = openWorld()
    const { cache } = process({ local: { maxEntries: 9 } })
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    await spells.get(4)
    const closing = cache.close()
    const refused = [
      spells.get(4),
      spells.read(4),
      spells.getMany([4]),
      spells.get(4, { consistency: 'strong' }),
      spells.write(4, () => expect.unreachable()),
      spells.invalidate(4),
      spells.invalidateAll(),
      cache.write([spells.key(4)], () => expect.unreachable()),
      cache.invalidate([spells.key(4)]),
    ]
    for (const one of refused) await expect(one).rejects.toMatchObject(CLOSED)
    expect(() => spells.peek(4)).toThrow(expect.objectContaining(CLOSED))
    expect(() => cache.keyspace('other', { load: async () => 1 })).toThrow(expect.objectContaining(CLOSED))
    await closing
    expect(spells.key(4)).toBe('spell:4')
    expect(cache.stats().now).toMatchObject({ localEntries: 0, flights: 0 })
  })

  test('may be called again, at the same time and afterwards', async () => {
    const { process } = openWorld()
    const { cache } = process()
    const closing = [cache.close(), cache.close()]
    await Promise.all(closing)
    await cache.close()
    expect(closing[0]).toBe(closing[1])
  })

  test('tries once more to apply what is queued', async () => {
    const { clock, inspect, process, network } = openWorld()
    const link = network()
    const { cache, eventsOf } = process({}, link)
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    await clock.drain()
    await spells.get(4)
    await clock.drain()
    link.fail('invalidate')
    expect(await spells.invalidate(4)).toBe('queued')
    link.restore()
    await cache.close()
    expect(inspect('spell:4')).toBeUndefined()
    expect(eventsOf('invalidation').map(({ outcome }) => outcome)).toEqual(['queued', 'late'])
    expect(cache.stats().now.queuedInvalidations).toBe(0)
  })

  test('ends in time also while the shared store hangs', async () => {
    const { clock, process, network } = openWorld()
    const link = network()
    const { cache } = process({ local: { maxEntries: 9 } }, link)
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    await clock.drain()
    link.hang()
    const work = Promise.all([
      spells.get(4),
      spells.getMany([4, 5]),
      spells.write(6, () => {}),
      spells.invalidate(7),
    ])
    await clock.advance(1)
    let closed = false
    const closing = cache.close().then(() => {
      closed = true
    })
    await clock.advance(500)
    expect(closed).toBe(true)
    await closing
    expect((await work)[0]).toEqual(fireball)
    expect(cache.stats().now).toMatchObject({ flights: 0, loads: 0, queuedInvalidations: 2 })
    link.restore()
    await clock.advance(2_000)
  })

  test('ends although a loader never does: its callers are told LOAD_TIMEOUT', async () => {
    const { clock, process } = openWorld()
    const never = gate<Spell>()
    const { cache } = process({ loadTimeoutMs: 3_000 })
    const spells = cache.keyspace<number, Spell>('spell', { load: () => never.wait() })
    const reading = expect(spells.get(4)).rejects.toMatchObject({ code: 'LOAD_TIMEOUT' })
    await never.reached
    const closing = cache.close()
    await clock.advance(3_000)
    await Promise.all([reading, closing])
    never.open(fireball)
  })

  test('may be asked for by a loader, which is not waited for by itself', async () => {
    const { clock, process } = openWorld()
    const { cache } = process()
    let closing: Promise<void> | undefined
    const spells = cache.keyspace('spell', {
      load: async (_: number) => {
        closing = cache.close()
        return fireball
      },
    })
    expect(await spells.get(4)).toEqual(fireball)
    await closing
    expect(clock.describeTimers()).toBe('no timers')
  })

  test('stops heartbeats, probes and retries, and leaves the shared store open', async () => {
    const { clock, inspect, process, network } = openWorld()
    const link = network()
    const { cache } = process({}, link)
    const other = process().cache.keyspace('spell', { load: spellTable(fireball).find })
    await clock.advance(3_000)
    link.fail()
    await cache.keyspace('spell', { load: spellTable(fireball).find }).get(4)
    await clock.advance(50)
    await cache.close()
    const sent = link.log.length
    await clock.advance(60_000)
    expect(link.log).toHaveLength(sent)
    expect(await other.get(4)).toEqual(fireball)
    await clock.drain()
    expect(inspect('spell:4')).toMatch(/^V/)
  })

  test('ends what callers wait for when their signal says so, not later', async () => {
    const { clock, process } = openWorld()
    const query = gate<Spell>()
    const { cache } = process()
    const spells = cache.keyspace<number, Spell>('spell', { load: (_, { signal }) => query.wait(signal) })
    const leave = new AbortController()
    const reading = expect(spells.get(4, { signal: leave.signal })).rejects.toThrow('shutting down')
    await query.reached
    const closing = cache.close()
    leave.abort(new Error('shutting down'))
    await Promise.all([reading, closing])
    expect(clock.describeTimers()).toBe('no timers')
  })

  test('is told apart by code, not by class', async () => {
    const { process } = openWorld()
    const { cache } = process()
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    await cache.close()
    const error = await spells.get(4).catch((thrown: CacheError) => thrown)
    expect(error).toMatchObject(CLOSED)
  })
})

describe('close, while loads and writes are under way,', () => {
  /** Two keyspaces; the loader of the first stops, and then reads the second. */
  function posts(shared?: 'far') {
    const { clock, process, network } = openWorld()
    const { cache } = shared === 'far' ? process({}, network()) : process()
    const stop = gate()
    const authors = cache.keyspace('author', { load: async (id: number) => ({ id }) })
    const post = async (id: number, context: LoadContext, consistency?: 'strong') => {
      await stop.wait()
      const author = await authors.get(id + 6, consistency === undefined ? {} : { consistency })
      return { id, author: author!.id, aborted: context.signal.aborted }
    }
    const keyspace = cache.keyspace('post', {
      load: (id: number, context) => post(id, context),
      loadMany: async (ids, context) => {
        await stop.wait()
        const found = await authors.getMany(ids.map(id => id + 6))
        return ids.map(id => [id, { id, author: found.get(id + 6)!.id, aborted: context.signal.aborted }])
      },
    })
    return { clock, cache, authors, keyspace, stop }
  }

  test.each(['near', 'far'] as const)('lets a loader read on, at any depth, in a %s store', async where => {
    const { clock, cache, authors, keyspace, stop } = posts(where === 'far' ? 'far' : undefined)
    const books = cache.keyspace('book', { load: async (id: number) => (await keyspace.read(id)).value })
    const tags = cache.tags('shop')
    const everything = cache.keyspace('all', {
      load: async (id: number) => {
        await stop.wait()
        const { value } = await authors.write(id, async ({ guard }) => {
          await guard(authors.key(9))
          return (await authors.get(id, { consistency: 'strong' }))!.id
        })
        await authors.invalidate(id)
        await authors.invalidateAll()
        await tags.invalidate('1')
        await tags.invalidateAll()
        await cache.invalidate([authors.key(id)])
        await cache.write([authors.key(id)], async () => {})
        const load = () => [{ id: 1 }] as const
        const [one] = await cache.snapshot([authors.at(id)], { load })
        return { value, one: one!.id, peeked: authors.peek(id)?.value }
      },
    })
    await clock.drain()
    const reading = Promise.all([
      keyspace.get(1),
      keyspace.getMany([2, 3]),
      books.get(4),
      books.get(1),
      everything.get(5),
    ])
    await clock.drain()
    const closing = cache.close()
    await expect(keyspace.get(1)).rejects.toMatchObject(CLOSED)
    await expect(authors.get(7)).rejects.toMatchObject(CLOSED)
    stop.open()
    const [one, many, four, again, all] = await within(clock, 1_000, reading)
    expect([one, four, again]).toMatchObject([{ author: 7 }, { author: 10 }, { author: 7 }])
    expect([...many.values()]).toMatchObject([{ author: 8 }, { author: 9 }])
    expect(all).toEqual({ value: 5, one: 1, peeked: undefined })
    await within(clock, 1_000, closing)
    await expect(authors.get(7)).rejects.toMatchObject(CLOSED)
  })

  test("lets a write's function read, write and invalidate on, and nobody else", async () => {
    const { clock, cache, authors } = posts()
    const stop = gate()
    let late: Promise<unknown> | undefined
    const writing = authors.write(1, async () => {
      await stop.wait()
      const values = [await authors.get(2), await authors.get(1), (await authors.getMany([3])).get(3)]
      const inner = await authors.write(1, async () => authors.get(4))
      await authors.invalidate(5)
      await authors.invalidateAll()
      // Begins when the write has ended.
      late = clock.drain().then(() => authors.get(6))
      late.catch(() => {})
      return [...values, inner.value]
    })
    await stop.reached
    const closing = cache.close()
    await expect(authors.get(2)).rejects.toMatchObject(CLOSED)
    await expect(authors.write(2, () => expect.unreachable())).rejects.toMatchObject(CLOSED)
    stop.open()
    expect((await writing).value).toEqual([2, 1, 3, 4].map(id => ({ id })))
    await closing
    await expect(late).rejects.toMatchObject(CLOSED)
  })

  test('knows a read inside a loader by its signal where the asynchronous context is lost', async () => {
    const { process } = openWorld()
    const { cache } = process()
    const [stop, queue] = [gate(), [] as (() => void)[]]
    const authors = cache.keyspace('author', { load: async (id: number) => ({ id }) })
    const keyspace = cache.keyspace('post', {
      load: (id: number, { signal }) =>
        new Promise<unknown>((resolve, reject) => {
          queue.push(() => authors.get(id, { signal }).then(resolve, reject))
        }),
    })
    const reading = keyspace.get(1)
    while (queue.length === 0) await Promise.resolve()
    const closing = cache.close()
    for (const call of queue) call()
    expect(await reading).toEqual({ id: 1 })
    await closing
    stop.open()
  })

  test('refuses what a load asks for that has been given up, however long its loader runs', async () => {
    const { clock, process } = openWorld()
    const { cache } = process({ loadTimeoutMs: 3_000 })
    const stop = gate()
    const authors = cache.keyspace('author', { load: async (id: number) => ({ id }) })
    let late: Promise<unknown> | undefined
    const keyspace = cache.keyspace('post', {
      load: async (id: number) => {
        await stop.wait()
        late = authors.get(id)
        return late
      },
    })
    const reading = expect(keyspace.get(1)).rejects.toMatchObject({ code: 'LOAD_TIMEOUT' })
    await stop.reached
    const closing = cache.close()
    await clock.advance(3_000)
    await Promise.all([reading, closing])
    stop.open()
    await clock.drain()
    await expect(late).rejects.toMatchObject(CLOSED)
  })

  test('tells the work of one cache from that of another', async () => {
    const { process } = openWorld()
    const [here, there] = [process().cache, process().cache]
    const stop = gate()
    const far = there.keyspace('far', { load: async (id: number) => ({ id }) })
    const through = there.keyspace('through', {
      load: async (id: number) => {
        await stop.wait()
        return near.get(id + 1)
      },
    })
    const near = here.keyspace('near', {
      load: async (id: number): Promise<unknown> => (id > 1 ? { id } : through.get(id)),
    })
    const waits = here.keyspace('waits', {
      load: async (id: number) => {
        await stop.wait()
        return far.get(id)
      },
    })
    const [inside, outside] = [near.get(1), waits.get(1)]
    await stop.reached
    const closing = [here.close(), there.close()]
    stop.open()
    expect(await inside).toEqual({ id: 2 })
    // The load is of this cache, and what it asks for of the other one, which does not wait for it.
    await expect(outside).rejects.toMatchObject(CLOSED)
    await Promise.all(closing)
  })
})

describe('close inside a load or a write that waits for it', () => {
  const CYCLE = { name: 'CacheError', code: 'CLOSE_CYCLE' }

  test('rejects with CLOSE_CYCLE, names the work, and closes nevertheless', async () => {
    const { clock, process } = openWorld()
    const { cache } = process()
    const spells = cache.keyspace('spell', { load: async (id: number) => ({ id }) })
    const loading = cache.keyspace('load', { load: (_: number) => cache.close() })
    const writing = spells.write(1, () => cache.close())
    const reading = loading.get(1)
    for (const work of [writing, reading]) work.catch(() => {})
    await clock.advance(1)
    await expect(writing).rejects.toMatchObject({ ...CYCLE, message: /inside the write of spell:1,/ })
    await expect(reading).rejects.toMatchObject({ ...CYCLE, message: /inside the load of load:1,/ })
    await cache.close()
    await expect(spells.get(1)).rejects.toMatchObject(CLOSED)
    // The commit is in doubt, and its guard runs out.
    await clock.advance(10_000)
  })

  test('does so at any depth, also inside a load of another cache', async () => {
    const { clock, process } = openWorld()
    const [here, there] = [process().cache, process().cache]
    const inner = there.keyspace('inner', { load: async (_: number) => here.close().then(() => 1) })
    const outer = here.keyspace('outer', { load: (id: number) => inner.get(id) })
    const writing = here.write([outer.key(2)], () => outer.get(1))
    writing.catch(() => {})
    await clock.advance(1)
    await expect(writing).rejects.toMatchObject(CYCLE)
    await here.close()
    await clock.advance(10_000)
  })

  test('does so where the innermost work has ended by then, and what is around it has not', async () => {
    const { clock, process } = openWorld()
    const { cache } = process()
    const spells = cache.keyspace('spell', { load: async (id: number) => ({ id }) })
    const caller = new AbortController()
    const writing = cache.keyspace('writing', {
      load: (_: number) =>
        spells.write(1, () => {
          const closing = cache.close()
          caller.abort()
          return closing
        }),
    })
    await expect(writing.get(1, { signal: caller.signal })).rejects.toThrow('aborted')
    await clock.advance(1)
    await cache.close()

    const other = process().cache
    const others = other.keyspace('spell', { load: async (id: number) => ({ id }) })
    const outer = others.write(1, async () => {
      const inner = await others.write(2, () => ({ closing: other.close() }))
      await inner.value.closing
    })
    outer.catch(() => {})
    await clock.advance(1)
    await expect(outer).rejects.toMatchObject({ ...CYCLE, message: /inside the write of spell:1,/ })
    await other.close()
    await clock.advance(10_000)
  })

  test('waits for the end where the work goes on without it', async () => {
    const { clock, process } = openWorld()
    const { cache } = process()
    const spells = cache.keyspace('spell', { load: async (id: number) => ({ id }) })
    const other = gate()
    const slow = spells.write(2, () => other.wait())
    let closing: Promise<void> | undefined
    await spells.write(1, () => {
      closing = cache.close()
    })
    let ended = false
    closing = closing!.then(() => {
      ended = true
    })
    await clock.drain()
    expect(ended).toBe(false)
    other.open()
    await slow
    await closing
    expect(clock.describeTimers()).toBe('no timers')
  })

  test('leaves no rejection behind where nobody waits for it', async () => {
    const { clock, process } = openWorld()
    const { cache } = process()
    const stop = gate()
    const spells = cache.keyspace('spell', { load: async (id: number) => ({ id }) })
    const writing = spells.write(1, async () => {
      void cache.close()
      await stop.wait()
    })
    await stop.reached
    await clock.advance(1)
    stop.open()
    expect(await writing).toMatchObject({ invalidation: 'applied', fenced: true })
    await cache.close()
  })
})
