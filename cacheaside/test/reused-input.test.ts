import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { describe, expect, test } from 'vitest'
import type { WriteTrace } from '../src/base/tracing.ts'
import type { Key } from '../src/index.ts'
import { openWorld } from './world.ts'

/** What a caller hands in is its own again as soon as the call has returned: it may put the next ids into it. */

const rowOf = async (id: number) => `row ${id}`

/** A keyspace of pairs, and what its loader was called with. */
function openPairs(options: { readonly ttlMs?: number; readonly staleMs?: number } = {}, isLocal = true) {
  const { clock, process, inspect } = openWorld()
  const { cache } = process(isLocal ? { local: { maxEntries: 100 } } : {})
  const loaded: (readonly [number, number])[] = []
  const load = async (id: readonly [number, number]) => {
    loaded.push([id[0], id[1]])
    return `row ${id.join(' ')}`
  }
  const pairs = cache.keyspace('pair', { load, ttlJitter: 0, ...options })
  return { clock, cache, pairs, loaded, inspect }
}

describe('an array that is used again', () => {
  test('changes nothing of the getMany that was given it', async () => {
    const { process } = openWorld()
    const { cache } = process({ local: { maxEntries: 100 } })
    const rows = cache.keyspace('row', { load: rowOf })
    await rows.get(1)
    const ids = [1, 2]
    const reading = rows.getMany(ids)
    ids.splice(0, 2, 3, 4, 5)
    expect(await reading).toEqual(
      new Map([
        [1, 'row 1'],
        [2, 'row 2'],
      ]),
    )
  })

  test('changes nothing of a snapshot, of many ids or of several parts', async () => {
    const { process } = openWorld()
    const { cache } = process()
    const rows = cache.keyspace('row', { load: rowOf })
    const ids = [1, 2]
    const load = async (asked: readonly number[]) => asked.map(id => [id, `row ${id}`] as const)
    const many = rows.getMany(ids, { consistency: 'snapshot', load })
    ids.splice(0, 2, 3, 4, 5)
    expect(await many).toEqual(
      new Map([
        [1, 'row 1'],
        [2, 'row 2'],
      ]),
    )
    const parts = [rows.at(6), rows.at(7)]
    const values = cache.snapshot(parts, { load: () => ['row 6', 'row 7'] })
    parts.push(rows.at(8))
    expect(await values).toEqual(['row 6', 'row 7'])
  })

  test('changes nothing of the write or the invalidation that was given it', async () => {
    const { process } = openWorld()
    const { cache, eventsOf } = process()
    const rows = cache.keyspace('row', { load: rowOf })
    const told: (readonly string[])[] = []
    const note = (message: unknown) => void told.push([...(message as WriteTrace).keys])
    subscribe('tracing:cacheaside:write:asyncEnd', note)
    const keys: Key[] = [rows.key(1), rows.key(2)]
    const writing = cache.write(keys, async () => {
      keys.splice(0, 2, rows.key(3))
    })
    expect(await writing).toMatchObject({ fenced: true })
    unsubscribe('tracing:cacheaside:write:asyncEnd', note)
    expect(told).toEqual([['row:1', 'row:2']])
    const invalidating = cache.invalidate(keys)
    keys.push(rows.key(4))
    await invalidating
    expect(eventsOf('invalidation').map(({ key }) => key)).toEqual(['row:1', 'row:2', 'row:3'])
  })

  test('changes nothing of what the options of a write said', async () => {
    const { process, inspect } = openWorld()
    const { cache, eventsOf } = process()
    const rows = cache.keyspace<number, string>('row', { load: rowOf })
    const options: Parameters<typeof cache.write<string>>[2] & object = {
      writeThrough: value => [rows.entry(1, value)],
    }
    const writing = cache.write([rows.key(1)], async () => 'written', options)
    Object.assign(options, { writeThrough: () => 5 })
    await writing
    expect(eventsOf('fault')).toEqual([])
    expect(inspect('row:1')).toContain('written')
  })
})

describe('a tuple that is used again', () => {
  test.each(['get', 'read'] as const)('is loaded as it was when %s was called', async call => {
    const { pairs, loaded } = openPairs()
    const id: [number, number] = [1, 1]
    const reading = pairs[call](id)
    id[1] = 2
    await reading
    expect(loaded).toEqual([[1, 1]])
    expect(await pairs.get([1, 1])).toBe('row 1 1')
    expect(await pairs.get([1, 2])).toBe('row 1 2')
  })

  test('is loaded as it was when getMany was called, and stands for itself in the answer', async () => {
    const { pairs } = openPairs()
    const ids: [number, number][] = [
      [1, 1],
      [2, 2],
    ]
    const given = [...ids]
    const reading = pairs.getMany(ids)
    ids[0]![1] = 9
    const answer = await reading
    expect(answer.get(given[0]!)).toBe('row 1 1')
    expect(answer.get(given[1]!)).toBe('row 2 2')
    expect(await pairs.get([1, 9])).toBe('row 1 9')
  })

  test.each([true, false])('is loaded as it was when it was refreshed, from L1: %s', async isLocal => {
    const { clock, pairs, loaded } = openPairs({ ttlMs: 1_000, staleMs: 5_000 }, isLocal)
    await pairs.get([1, 1])
    await clock.advance(1_500)
    const id: [number, number] = [1, 1]
    const reading = pairs.get(id)
    id[1] = 2
    expect(await reading).toBe('row 1 1')
    await clock.drain()
    expect(loaded).toEqual([
      [1, 1],
      [1, 1],
    ])
  })

  test('is loaded as it was when it became a part of a snapshot', async () => {
    const { cache, pairs, loaded } = openPairs()
    const id: [number, number] = [1, 1]
    const part = pairs.at(id)
    id[1] = 2
    expect(await cache.snapshot([part], { load: () => ['none'] })).toEqual(['row 1 1'])
    const many = pairs.getMany([id], {
      consistency: 'snapshot',
      load: async ids => ids.map(one => [one, `row ${one.join(' ')}`] as const),
    })
    id[1] = 3
    expect(await many).toEqual(new Map([[id, 'row 1 2']]))
    expect(loaded).toEqual([
      [1, 1],
      [1, 2],
    ])
  })

  test('is written as it was when write was called', async () => {
    const { pairs, inspect } = openPairs()
    const id: [number, number] = [1, 1]
    const writing = pairs.write(id, async () => 'written', { writeThrough: true })
    id[1] = 2
    await writing
    expect(inspect('pair:1:1')).toContain('written')
    expect(inspect('pair:1:2')).toBeUndefined()
  })
})

test('an object that is used again is loaded as it was, where key makes an id of it', async () => {
  const { process } = openWorld()
  const { cache } = process()
  const load = async (id: { realm: string; name: string }) => `${id.realm} ${id.name}`
  const users = cache.keyspace('user', { load, key: ({ realm, name }) => [realm, name] })
  const id = { realm: 'a', name: 'x' }
  const reading = users.get(id)
  id.name = 'y'
  expect(await reading).toBe('a x')
  expect(await users.get({ realm: 'a', name: 'x' })).toBe('a x')
})

test('a committed row that is changed before the release is stored as it was committed', async () => {
  const { process, inspect } = openWorld()
  const { cache } = process()
  const rows = cache.keyspace<number, { n: number }>('row', { load: async n => ({ n }) })
  const writeThrough = (row: { n: number }) => {
    const entry = rows.entry(1, row)
    row.n = 8
    return [entry]
  }
  await cache.write([rows.key(1)], async () => ({ n: 7 }), { writeThrough })
  expect(inspect('row:1')).toContain('{"n":7}')
  expect(await rows.get(1)).toEqual({ n: 7 })
})
