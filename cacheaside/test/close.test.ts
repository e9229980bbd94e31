import { describe, expect, test } from 'vitest'
import type { CacheError } from '../src/index.ts'
import { gate } from '../src/testing/index.ts'
import { fireball, openWorld, type Spell, spellTable } from './world.ts'

const CLOSED = { name: 'CacheError', code: 'CLOSED' }

describe('close', () => {
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
