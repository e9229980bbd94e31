import { describe, expect, test } from 'vitest'
import { createCache, embeddedShared } from '../src/index.ts'
import { faultySharedStore, gate, SimulatedClock } from '../src/testing/index.ts'
import { notingLogger } from './heard-warnings.ts'

/** Two caches on one store, and the row behind them. */
function opened(isFar: boolean, local: boolean) {
  const clock = new SimulatedClock()
  const store = embeddedShared({ clock })
  const shared = isFar ? faultySharedStore(store, { clock }) : store
  const logger = notingLogger()
  const row = { value: 1, loads: 0 }
  const cacheOnIt = () => {
    const cache = createCache({ clock, logger, shared, ...(local ? { local: { maxEntries: 9 } } : {}) })
    const load = async (_: number) => {
      row.loads++
      return { value: row.value }
    }
    return { cache, k: cache.keyspace('k', { load }) }
  }
  const [a, b] = [cacheOnIt(), cacheOnIt()]
  const set = (value: number) => async () => {
    row.value = value
  }
  const end = async (...others: (typeof a)[]) => {
    await Promise.all([a, b, ...others].map(({ cache }) => cache.close()))
    expect(clock.describeTimers()).toBe('no timers')
  }
  return { clock, shared, logger, row, a, b, cacheOnIt, set, end }
}

describe.each<[string, boolean, boolean]>([
  ['a store in this process, with L1', false, true],
  ['a store in this process, without L1', false, false],
  ['a store over a network, with L1', true, true],
])('caches on %s that is closed', (_, isFar, local) => {
  test('read the origin and keep nothing, and say of writes that they are queued', async () => {
    const { clock, shared, logger, row, a, b, set, end } = opened(isFar, local)
    await clock.advance(10)
    for (const { k } of [a, b, a]) await k.get(1)
    await clock.drain()
    expect(row.loads).toBe(1)
    await shared.close()
    await clock.drain()
    for (const { cache } of [a, b])
      expect(cache.stats().now).toMatchObject({ streamProven: false, localEntries: 0 })
    expect(await a.k.read(1)).toMatchObject({ value: { value: 1 }, from: 'origin', kept: false })
    for (let value = 2; value < 5; value++) {
      const written = await b.k.write(1, set(value), { writeThrough: false })
      expect(written).toMatchObject({ invalidation: 'queued', fenced: false })
      for (const { k } of [a, b]) {
        expect(await k.get(1)).toEqual({ value })
        expect(await k.get(1, { consistency: 'strong' })).toEqual({ value })
        expect((await k.getMany([1])).get(1)).toEqual({ value })
        expect(k.peek(1)).toBeUndefined()
      }
    }
    expect(await a.k.invalidate(1)).toBe('queued')
    expect(await a.k.invalidateAll()).toBe('queued')
    expect(await a.cache.snapshot([a.k.at(1)], { load: () => [{ value: row.value }] })).toEqual([
      { value: 4 },
    ])
    await expect(b.k.write(1, set(5), { unguarded: 'refuse' })).rejects.toMatchObject({ code: 'UNGUARDED' })
    await clock.advance(60_000)
    expect(logger.heard.map(([, code]) => code)).toContain('SHARED_UNAVAILABLE')
    await end()
  })

  test('keep nothing of what was under way when it was closed', async () => {
    const { clock, shared, row, a, b, set, end } = opened(isFar, local)
    await clock.advance(10)
    const [reading, writing] = [gate(), gate()]
    const slow = a.cache.keyspace('slow', {
      load: async (_: number) => {
        const { value } = row
        await reading.wait()
        return { value }
      },
    })
    const answer = slow.get(1)
    const written = b.cache.write([b.k.key(1)], async () => {
      await writing.wait()
      await set(2)()
    })
    await Promise.all([reading.reached, writing.reached])
    await shared.close()
    reading.open()
    writing.open()
    expect(await answer).toEqual({ value: 1 })
    expect(await written).toMatchObject({ invalidation: 'queued', fenced: false })
    expect(await slow.get(1)).toEqual({ value: 2 })
    expect(await a.k.get(1)).toEqual({ value: 2 })
    await end()
  })

  test('may be made after that, and are as all others', async () => {
    const { clock, shared, a, b, cacheOnIt, set, end } = opened(isFar, local)
    await shared.close()
    const late = cacheOnIt()
    await clock.drain()
    expect(await late.k.get(1)).toEqual({ value: 1 })
    expect(await b.k.write(1, set(2))).toMatchObject({ invalidation: 'queued', fenced: false })
    for (const { k } of [a, b, late]) expect(await k.get(1)).toEqual({ value: 2 })
    expect(late.cache.stats().now.streamProven).toBe(false)
    await end(late)
  })
})
