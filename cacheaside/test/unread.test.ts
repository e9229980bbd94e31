import { describe, expect, test } from 'vitest'
import type { CacheOptions } from '../src/index.ts'
import { openWorld } from './world.ts'

/** A process whose values depend on a tag of their own each, and on one that they share. */
function open(options: Omit<CacheOptions, 'clock' | 'shared'> = { local: { maxEntries: 100 } }) {
  const world = openWorld()
  const one = world.process(options)
  const group = one.cache.tags<number>('group')
  const everyone = one.cache.tags<number>('everyone')
  const rows = one.cache.keyspace('row', {
    load: async (id: number) => ({ id }),
    tags: id => [group.key(id), everyone.key(0)],
    ttlMs: 1_000,
    ttlJitter: 0,
    refreshAhead: 1,
  })
  const plain = one.cache.keyspace('plain', { load: async (id: number) => ({ id }) })
  const unread = () => one.cache.stats().keyspaces.row!.unread
  return { ...world, ...one, group, everyone, rows, plain, unread }
}

/** Loads values, and waits until they are kept. */
async function load({ rows, clock }: ReturnType<typeof open>, ...ids: number[]) {
  for (const id of ids) await rows.get(id)
  await clock.drain()
}

describe('a value that falls by a tag', () => {
  test('counts as unread if no read was answered with it since it was stored', async () => {
    const world = open()
    await load(world, 1, 2)
    await world.group.invalidate(1)
    expect(world.eventsOf('unread')).toEqual([
      { type: 'unread', keyspace: 'row', key: 'row:1', tag: 'group:1' },
    ])
    expect(world.unread()).toBe(1)
  })

  test.each([
    ['get', (world: ReturnType<typeof open>) => world.rows.get(1)],
    ['getMany', (world: ReturnType<typeof open>) => world.rows.getMany([1])],
    ['read', (world: ReturnType<typeof open>) => world.rows.read(1)],
    ['peek', (world: ReturnType<typeof open>) => world.rows.peek(1)],
  ])('does not count once %s has been answered with it', async (_, read) => {
    const world = open()
    await load(world, 1)
    await read(world)
    await world.everyone.invalidate(0)
    expect([world.unread(), world.eventsOf('unread')]).toEqual([0, []])
  })

  test('counts once for each value, and again when it was loaded again', async () => {
    const world = open()
    for (const expected of [3, 6]) {
      await load(world, 1, 2, 3)
      await world.everyone.invalidate(0)
      await world.everyone.invalidate(0)
      expect(world.unread()).toBe(expected)
    }
  })

  test('is told of with the name of the kind, if all tags of a kind were invalidated', async () => {
    const world = open()
    await load(world, 1)
    await world.group.invalidateAll()
    expect(world.eventsOf('unread')).toMatchObject([{ key: 'row:1', tag: 'group' }])
  })

  test('counts in the process that has stored it, and in no other', async () => {
    const world = open()
    await load(world, 1)
    const other = world.process({ local: { maxEntries: 100 } })
    other.cache.tags('group')
    other.cache.tags('everyone')
    const rows = other.cache.keyspace('row', {
      load: async (id: number) => ({ id }),
      tags: id => [world.group.key(id), world.everyone.key(0)],
    })
    await rows.get(1)
    await world.everyone.invalidate(0)
    expect([world.unread(), other.cache.stats().keyspaces.row!.unread]).toEqual([1, 0])
  })

  test('does not count if its own key fell, if it expired, or if there is no L1', async () => {
    const world = open()
    await load(world, 1, 2)
    await world.rows.invalidate(1)
    await world.clock.advance(1_001)
    await world.everyone.invalidate(0)
    expect(world.unread()).toBe(0)
    const without = open({})
    await load(without, 1)
    await without.everyone.invalidate(0)
    expect(without.unread()).toBe(0)
  })

  test('is gone with all others of its tag when a listener is told of it', async () => {
    const world = open()
    await load(world, 1, 2, 3)
    const seen: unknown[] = []
    world.cache.listen(({ type }) => {
      if (type === 'unread') seen.push([1, 2, 3].map(id => world.rows.peek(id)))
    })
    await world.everyone.invalidate(0)
    expect(seen).toEqual(Array(3).fill([undefined, undefined, undefined]))
  })

  test.each([
    ['a tag', (world: ReturnType<typeof open>) => world.process().cache.invalidate([world.everyone.key(0)])],
    [
      'all tags of a kind',
      (world: ReturnType<typeof open>) => world.process().cache.tags('everyone').invalidateAll(),
    ],
  ])(
    'is not found again by a listener that reads it while another cache on the store invalidates %s',
    async (_, invalidate) => {
      const world = open()
      let loads = 0
      const counted = world.cache.keyspace('counted', {
        load: async () => ({ loads: ++loads }),
        tags: () => [world.everyone.key(0)],
      })
      await counted.get(1)
      await world.clock.drain()
      world.cache.listen(({ type }) => {
        if (type === 'unread') void counted.get(1)
      })
      await invalidate(world)
      await world.clock.drain()
      expect([world.eventsOf('unread').length, await counted.get(1)]).toEqual([1, { loads: 2 }])
    },
  )
})

test('the first hit of a value with tags begins a refresh, if one is due', async () => {
  const world = openWorld()
  const { cache, eventsOf } = world.process({ local: { maxEntries: 100 } })
  const all = cache.tags<number>('all')
  let loads = 0
  const rows = cache.keyspace('row', {
    load: async (id: number) => {
      loads++
      await new Promise<void>(resolve => void world.clock.after(100, resolve))
      return id
    },
    tags: () => [all.key(0)],
    ttlMs: 1_000,
    ttlJitter: 0,
    refreshAhead: 1_000,
  })
  const first = rows.get(1)
  await world.clock.advance(200)
  await first
  await rows.get(1)
  await world.clock.advance(200)
  expect([loads, eventsOf('refresh').length]).toEqual([2, 1])
})
