import { describe, expect, test } from 'vitest'
import type { Keyspace } from '../src/index.ts'
import { type Gate, gate } from '../src/testing/index.ts'
import { openWorld, within } from './world.ts'

/** An origin with one row, whose readers see what it held when they came and answer when they are let go. */
function versionedOrigin() {
  let version = 1
  const held: Gate<void>[] = []
  let holds = true
  return {
    update: async () => void version++,
    load: async (_id: number) => {
      const seen = version
      if (!holds) return seen
      const query = gate()
      held.push(query)
      await query.wait()
      return seen
    },
    /** Lets all loads go on, and later ones run through. */
    letGo() {
      holds = false
      for (const query of held) query.open()
    },
    get loads() {
      return held.length
    },
  }
}

type Ask = (spells: Keyspace<number, number>) => Promise<number | undefined>

/** The same key, read alone and in a batch. */
const asks: readonly (readonly [string, Ask])[] = [
  ['get', spells => spells.get(4)],
  ['getMany', async spells => (await spells.getMany([4, 5])).get(4)],
]

describe.each(asks)('an invalidation during a load by %s', (_, ask) => {
  test('leaves nothing old behind in the same process', async () => {
    const { clock, process } = openWorld()
    const origin = versionedOrigin()
    const spells = process({ local: { maxEntries: 10 } }).cache.keyspace('spell', { load: origin.load })
    const overtaken = ask(spells)
    await clock.drain()
    await origin.update()
    expect(await spells.invalidate(4)).toBe('applied')
    origin.letGo()
    expect(await overtaken).toBe(1)
    expect(await ask(spells)).toBe(2)
    expect(await spells.get(4)).toBe(2)
  })

  test('is not joined by who comes after it', async () => {
    const { clock, process } = openWorld()
    const origin = versionedOrigin()
    const spells = process({ local: { maxEntries: 10 } }).cache.keyspace('spell', { load: origin.load })
    const overtaken = ask(spells)
    await clock.drain()
    await origin.update()
    await spells.invalidate(4)
    const late = ask(spells)
    await clock.drain()
    origin.letGo()
    expect(await overtaken).toBe(1)
    expect(await late).toBe(2)
  })

  test.each(['a load of this process', 'a load of another process'])('overtakes %s', async whose => {
    const { clock, process } = openWorld()
    const origin = versionedOrigin()
    const open = () => process({ local: { maxEntries: 10 } }).cache.keyspace('spell', { load: origin.load })
    const [here, there] = [open(), open()]
    const loading = whose === 'a load of this process' ? here : there
    const overtaken = ask(loading)
    await clock.drain()
    await origin.update()
    await here.invalidate(4)
    origin.letGo()
    expect(await overtaken).toBe(1)
    expect(await within(clock, 100, ask(there))).toBe(2)
    expect(await within(clock, 100, ask(here))).toBe(2)
  })

  test('overtakes it also as an invalidation of the whole keyspace', async () => {
    const { clock, process } = openWorld()
    const origin = versionedOrigin()
    const open = () => process({ local: { maxEntries: 10 } }).cache.keyspace('spell', { load: origin.load })
    const [here, there] = [open(), open()]
    const overtaken = ask(there)
    await clock.drain()
    await origin.update()
    await here.invalidateAll()
    origin.letGo()
    expect(await overtaken).toBe(1)
    expect(await within(clock, 100, ask(there))).toBe(2)
    expect(await within(clock, 100, ask(here))).toBe(2)
  })

  test('overtakes it also as a write', async () => {
    const { clock, process } = openWorld()
    const origin = versionedOrigin()
    const open = () => process({ local: { maxEntries: 10 } }).cache.keyspace('spell', { load: origin.load })
    const [here, there] = [open(), open()]
    const overtaken = ask(there)
    await clock.drain()
    expect(await here.write(4, origin.update)).toMatchObject({ invalidation: 'applied', fenced: true })
    origin.letGo()
    expect(await overtaken).toBe(1)
    expect(await within(clock, 100, ask(there))).toBe(2)
    expect(await within(clock, 100, ask(here))).toBe(2)
  })
})

describe('readers of one key', () => {
  test('share one load, twenty of them', async () => {
    const { clock, process } = openWorld()
    const origin = versionedOrigin()
    const { cache } = process()
    const spells = cache.keyspace('spell', { load: origin.load })
    const readers = Promise.all(Array.from({ length: 20 }, () => spells.get(4)))
    await clock.drain()
    expect(cache.stats().now).toMatchObject({ flights: 1, loads: 1 })
    origin.letGo()
    expect(await readers).toEqual(Array(20).fill(1))
    expect(origin.loads).toBe(1)
  })

  test('share one failure, twenty of them, and the very error', async () => {
    const { clock, process } = openWorld()
    const query = gate<never>()
    const { cache } = process()
    const spells = cache.keyspace<number, number>('spell', { load: () => query.wait() })
    const readers = Promise.allSettled([
      ...Array.from({ length: 18 }, () => spells.get(4)),
      spells.read(4),
      spells.getMany([4]),
    ])
    await clock.drain()
    const boom = new Error('boom')
    query.fail(boom)
    const reasons = new Set((await readers).map(one => one.status === 'rejected' && one.reason))
    expect(reasons).toEqual(new Set([boom]))
    expect(query.arrivals).toBe(1)
    expect(cache.stats().keyspaces.spell!.loads).toMatchObject({ failed: 1, loaded: 0 })
  })

  test('share one load across processes, twenty in two', async () => {
    const { clock, process } = openWorld()
    const origin = versionedOrigin()
    const processes = [process(), process()].map(({ cache }) =>
      cache.keyspace('spell', { load: origin.load }),
    )
    const readers = Promise.all(Array.from({ length: 20 }, (_, i) => processes[i % 2]!.get(4)))
    await clock.advance(30)
    origin.letGo()
    expect(await within(clock, 100, readers)).toEqual(Array(20).fill(1))
    expect(origin.loads).toBe(1)
  })

  test('who come more than localMaxStaleMs after a load began do not join it', async () => {
    const { clock, process } = openWorld()
    const origin = versionedOrigin()
    const { cache } = process({ localMaxStaleMs: 1_000, busyWaitMs: 500 })
    const spells = cache.keyspace('spell', { load: origin.load })
    const first = spells.read(4)
    await clock.advance(1_000)
    const inTime = spells.read(4)
    await clock.advance(1)
    const late = spells.read(4)
    await clock.advance(500)
    origin.letGo()
    expect(await inTime).toMatchObject({ joined: true })
    expect(await late).toMatchObject({ joined: false, why: 'busy', kept: false })
    expect(await first).toMatchObject({ joined: false, why: 'missing' })
  })
})
