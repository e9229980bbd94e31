import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { describe, expect, test } from 'vitest'
import type { FeedTable } from '../src/feed/change-feed.ts'
import { planOf } from '../src/feed/plan.ts'
import type { KeyspaceOptions, SharedStore, WriteOptions } from '../src/index.ts'
import { tableTags } from '../src/postgres/index.ts'
import { auditedKeyspace } from '../src/verify/index.ts'
import { openWorld, within } from './world.ts'

/**
 * Functions that have to answer at once, declared as async. What they reject with would end the process: after each test it is
 * checked that every rejection was taken.
 */

/** A function that must not be async, by its type. */
const rejecting = (async () => {
  throw new Error('rejected')
}) as never

const loading = async (id: number) => `row ${id}`

describe('of a keyspace, an async function that rejects', () => {
  test('as key makes no id', async () => {
    const { process } = openWorld()
    const { cache } = process({ local: { maxEntries: 10 } })
    const rows = cache.keyspace<number, string>('row', { load: loading, key: rejecting })
    for (const work of [
      rows.get(1),
      rows.read(1),
      rows.getMany([1]),
      rows.write(1, () => 1),
      rows.invalidate(1),
    ])
      await expect(work).rejects.toMatchObject({ code: 'INVALID_KEY' })
    expect(() => rows.peek(1)).toThrow(/must be a string/)
    expect(() => rows.key(1)).toThrow(/must be a string/)
  })

  test('as idOf has its values answered and not kept', async () => {
    const { process } = openWorld()
    const { cache, eventsOf } = process()
    const rows = cache.keyspace<number, string>('row', { load: loading, idOf: rejecting } as KeyspaceOptions<
      number,
      string
    >)
    expect(await rows.get(1)).toBe('row 1')
    expect(await rows.write(1, async () => 'row', { writeThrough: true })).toMatchObject({ fenced: true })
    expect(eventsOf('fill').map(({ outcome }) => outcome)).toEqual(['alias', 'alias'])
  })
})

describe('of a write, an async function that rejects', () => {
  test('as writeThrough stores nothing, and is told of', async () => {
    const { process, inspect } = openWorld()
    const { cache, eventsOf } = process()
    const rows = cache.keyspace<number, string>('row', { load: loading })
    const options: WriteOptions<string> = { writeThrough: rejecting }
    expect(await cache.write([rows.key(1)], () => 'row', options)).toMatchObject({
      value: 'row',
      fenced: true,
    })
    expect(await cache.write([], () => 1, { writeThrough: rejecting })).toMatchObject({ value: 1 })
    expect(inspect('row:1')).toBeUndefined()
    expect(eventsOf('fault').map(({ error }) => String(error))).toEqual(
      Array(2).fill('TypeError: writeThrough answers with a promise; it has to answer at once'),
    )
  })

  test('as commitInDoubt leaves the commit in doubt, and is told of', async () => {
    const { clock, process } = openWorld()
    const { cache, eventsOf } = process()
    const rows = cache.keyspace<number, string>('row', { load: loading })
    const failing = async () => {
      throw new Error('failed')
    }
    await expect(rows.write(1, failing, { commitInDoubt: rejecting })).rejects.toThrow('failed')
    expect(eventsOf('write').map(({ outcome }) => outcome)).toEqual(['in-doubt'])
    expect(eventsOf('fault')).toMatchObject([{ during: 'commitInDoubt' }])
    await clock.advance(60_000)
  })
})

describe('what writeThrough names that entry() has not made', () => {
  test.each([
    ['an object like one', (key: unknown) => ({ key, fill: 5 })],
    ['an object that calls', (key: unknown) => ({ key, fill: () => undefined })],
    ['nothing', () => null],
    ['a promise that rejects', () => Promise.reject(new Error('rejected'))],
    ['a proxy that was revoked', () => revoked()],
  ])('is refused: %s', async (_, make) => {
    const { process, inspect } = openWorld()
    const { cache, eventsOf } = process()
    const rows = cache.keyspace<number, string>('row', { load: loading })
    const writeThrough = () => [make(rows.key(1))] as never
    expect(await cache.write([rows.key(1)], () => 7, { writeThrough })).toMatchObject({
      value: 7,
      fenced: true,
    })
    expect(eventsOf('fault')).toMatchObject([{ during: 'writeThrough' }])
    expect(inspect('row:1')).toBeUndefined()
    expect(await rows.get(1)).toBe('row 1')
  })
})

test('an entry that cannot be read any more at the release is a fault, and the write ends', async () => {
  const { process, inspect } = openWorld()
  const { cache, eventsOf } = process()
  let isBroken = false
  const decode = (text: string) => {
    if (isBroken) throw new Error('broken')
    return new Date(text)
  }
  const codec = { encode: (date: Date) => date.toISOString(), decode }
  const rows = cache.keyspace('row', { load: async (id: number) => new Date(id), codec, idOf: Number })
  const entry = rows.entry(7, new Date(7))
  const write = () => cache.write([rows.key(7)], () => 'done', { writeThrough: () => [entry] })
  expect(await write()).toMatchObject({ fenced: true })
  expect(inspect('row:7')).toContain('1970')
  isBroken = true
  expect(await write()).toMatchObject({ value: 'done', fenced: true })
  expect(inspect('row:7')).toBeUndefined()
  expect(eventsOf('fault')).toMatchObject([{ during: 'writeThrough' }])
})

test('a store that breaks its contract leaves no writer waiting, and is told of the key again', async () => {
  const { clock, process, network } = openWorld()
  const link = network()
  const release = link.release.bind(link)
  let broken = 1
  const breaking: SharedStore['release'] = async (...given) =>
    broken-- > 0 ? (undefined as never) : release(...given)
  const { cache, eventsOf } = process({}, Object.assign(link, { release: breaking }))
  const rows = cache.keyspace<number, string>('row', { load: loading })
  await clock.advance(1_000)
  const result = await rows.write(1, () => 'done')
  expect(result).toEqual({ value: 'done', invalidation: 'queued', fenced: false })
  expect(eventsOf('fault')).toMatchObject([{ during: 'guard' }])
  await clock.advance(3_000)
  expect(cache.stats().now.queuedInvalidations).toBe(0)
})

test.each<[string, () => unknown]>([
  ['resolves with no list', async () => undefined],
  ['resolves with an empty list', async () => []],
  ['returns no promise', () => undefined],
  // biome-ignore lint/suspicious/noThenProperty: what is no promise of JavaScript is under test
  ['calls back at once', () => ({ then: (done: (reply: unknown) => void) => done([null]) })],
])('a store whose look %s leaves no reader and no close waiting', async (_, broken) => {
  const { clock, process, network } = openWorld()
  const link = network()
  const { cache } = process({}, link)
  const rows = cache.keyspace<number, string>('row', { load: loading })
  await clock.advance(1_000)
  await rows.get(1)
  await clock.drain()
  const traced = () => {}
  subscribe('tracing:cacheaside:ask:start', traced)
  link.look = broken as never
  const read = Promise.allSettled([rows.get(1)])
  await clock.advance(1_000)
  await within(clock, 0, read)
  unsubscribe('tracing:cacheaside:ask:start', traced)
  const again = Promise.allSettled([rows.get(1)])
  await within(clock, 1_000, again)
  await within(clock, 1_000, cache.close())
})

describe('of a feed and an audit, an async function that rejects', () => {
  test('as a map is a fault, and the keyspaces of the table stand in for it', () => {
    const faults: unknown[] = []
    const change = { id: '1', table: 'row', rows: [{ id: '1' }, { id: '2' }], ageMs: 0 }
    const plan = (table: FeedTable) =>
      planOf(
        [change as never],
        new Map([['row', table]]),
        () => ['row'],
        (_, error) => faults.push(error),
      )
    expect([...plan({ keys: rejecting, keyspaces: ['row'] }).keyspaces.keys()]).toEqual(['row'])
    const { row } = tableTags({ row: {} })
    const table = row.with({ keys: rejecting, keyspaces: ['row'] }) as unknown as FeedTable
    expect([...plan(table).keyspaces.keys()]).toEqual(['row', 'table.row'])
    expect(faults.map(String)).toEqual([
      'TypeError: the map answers with a promise; it has to answer at once',
      'TypeError: the map of table.row answers with a promise; it has to answer at once',
    ])
  })

  test('as a function of an audited keyspace decides nothing', () => {
    const space = auditedKeyspace('row', {
      load: loading,
      idFromKey: rejecting,
      equal: rejecting,
      versionOf: rejecting,
    })
    expect(space.idFromKey('row:1')).toBeUndefined()
    const one = { take: () => 'row 1', isShared: true } as const
    const origin = { kind: 'value', text: 'row 1', opened: one } as const
    expect(() => space.isEqual({} as never, one, origin)).toThrow('row.equal answers with a promise')
    expect(() => space.versionOf(one)).toThrow('row.versionOf answers with a promise')
  })
})

function revoked(): object {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  return proxy
}
