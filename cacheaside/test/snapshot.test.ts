import { describe, expect, test } from 'vitest'
import type { Keyspace } from '../src/index.ts'
import { gate } from '../src/testing/index.ts'
import { openWorld, within } from './world.ts'

/** Accounts between which money moves: in every snapshot they hold 100 together. */
function bank() {
  const rows = new Map([
    [1, 60],
    [2, 40],
  ])
  let calls = 0
  return {
    rows,
    get calls() {
      return calls
    },
    load: async (id: number) => {
      calls++
      return rows.has(id) ? { id, amount: rows.get(id)! } : undefined
    },
    both: async () => [1, 2].map(id => ({ id, amount: rows.get(id)! })) as [Row, Row],
    move(amount: number) {
      rows.set(1, rows.get(1)! - amount)
      rows.set(2, rows.get(2)! + amount)
    },
  }
}
interface Row {
  readonly id: number
  readonly amount: number
}

function open() {
  const world = openWorld()
  const origin = bank()
  const [link, one, other] = [world.network(), world.process, world.process()]
  const reader = one({}, link)
  const accounts = reader.cache.keyspace('account', { load: origin.load })
  const theirs = other.cache.keyspace('account', { load: origin.load })
  const loads: number[] = []
  const load = async () => {
    loads.push(1)
    return origin.both()
  }
  const snapshot = () => reader.cache.snapshot([accounts.at(1), accounts.at(2)], { load })
  const move = (amount: number) =>
    other.cache.write([theirs.key(1), theirs.key(2)], async () => origin.move(amount))
  return { ...world, origin, link, reader, other, accounts, theirs, loads, snapshot, move }
}

const sum = (rows: readonly (Row | undefined)[]) => rows.reduce((all, row) => all + row!.amount, 0)

describe('snapshot', () => {
  test('answers from the cache, loads what is missing, and needs no load of its own', async () => {
    const { clock, snapshot, loads, origin } = open()
    await clock.advance(10)
    expect(await snapshot()).toEqual([
      { id: 1, amount: 60 },
      { id: 2, amount: 40 },
    ])
    expect(origin.calls).toBe(2)
    expect(sum(await snapshot())).toBe(100)
    expect(origin.calls).toBe(2)
    expect(loads).toEqual([])
  })

  test('reads a part that is named twice once, and answers for both', async () => {
    const { clock, reader, accounts, origin, link } = open()
    await clock.advance(10)
    const rows = [60, 40, 60].map((amount, i) => ({ id: [1, 2, 1][i]!, amount }))
    const load = async () => rows as [Row, Row, Row]
    const thrice = () => reader.cache.snapshot([accounts.at(1), accounts.at(2), accounts.at(1)], { load })
    expect(await thrice()).toEqual(rows)
    expect(origin.calls).toBe(2)
    expect(reader.answers().map(({ key, why }) => [key, why])).toEqual([
      ['account:1', 'fresh'],
      ['account:2', 'fresh'],
    ])
    link.fail()
    expect(await thrice()).toEqual(rows)
    link.restore()
    await clock.advance(5_000)
  })

  test('costs one round trip more than strong reads', async () => {
    const { clock, snapshot, link } = open()
    await clock.advance(10)
    await snapshot()
    await clock.drain()
    const before = link.log.length
    await snapshot()
    const operations = link.log.slice(before).map(({ operation }) => operation)
    // The first four in one round trip, and the last one in another.
    expect(operations).toEqual(['generation', 'lease', 'generation', 'lease', 'leaseMany'])
  })

  test('is never torn by a write between its looks', async () => {
    const { clock, snapshot, link, move, loads } = open()
    await clock.advance(10)
    await snapshot()
    // The second account is asked for 50 ms late: meanwhile money moves.
    let asked = 0
    link.delay(50, 'lease')
    const reading = snapshot()
    await clock.advance(10)
    link.restore('lease')
    await move(10)
    asked++
    expect(sum(await within(clock, 1_000, reading))).toBe(100)
    expect(asked).toBe(1)
    expect(loads.length).toBeLessThanOrEqual(1)
  })

  test('is read at once by load while a writer is at work', async () => {
    const { clock, snapshot, other, theirs, origin, loads } = open()
    await clock.advance(10)
    await snapshot()
    const stop = gate<void>()
    const writing = other.cache.write([theirs.key(1), theirs.key(2)], async () => {
      await stop.wait()
      origin.move(10)
    })
    await stop.reached
    expect(sum(await snapshot())).toBe(100)
    expect(loads).toHaveLength(1)
    stop.open()
    await writing
    expect(await snapshot()).toEqual([
      { id: 1, amount: 50 },
      { id: 2, amount: 50 },
    ])
  })

  test('does not fail because of the store', async () => {
    const { clock, snapshot, link, loads } = open()
    await clock.advance(10)
    link.hang()
    expect(sum(await within(clock, 500, snapshot()))).toBe(100)
    expect(loads).toHaveLength(1)
    link.restore()
    await clock.advance(8_000)
  })

  test('looks at tags again as well', async () => {
    const { clock, process, origin } = open()
    const { cache } = process()
    const bankTag = cache.tags<string>('bank')
    const totals = cache.keyspace('total', {
      load: async (_id: number) => [...origin.rows.values()].reduce((a, b) => a + b, 0),
      tags: () => [bankTag.key('all')],
    })
    const accounts = cache.keyspace('account', { load: origin.load })
    const load = async () => [100, { id: 1, amount: origin.rows.get(1)! }] as const
    await clock.advance(10)
    expect(await cache.snapshot([totals.at(1), accounts.at(1)], { load })).toEqual([
      100,
      { id: 1, amount: 60 },
    ])
  })

  test('getMany reads at one moment, by ids as they were given', async () => {
    const { clock, accounts, origin } = open()
    await clock.advance(10)
    const load = async (ids: readonly number[]) =>
      ids.map(id => [id, { id, amount: origin.rows.get(id)! }] as const)
    expect(await accounts.getMany([2, 1, 2, 3], { consistency: 'snapshot', load })).toEqual(
      new Map([
        [2, { id: 2, amount: 40 }],
        [1, { id: 1, amount: 60 }],
      ]),
    )
  })

  test('getMany takes the answer of its load as that of loadMany, and none for an absence', async () => {
    const { clock, reader } = open()
    await clock.advance(10)
    const readers = reader.cache.keyspace('reader', {
      load: async (_name: string): Promise<{ name: string } | undefined> => {
        throw new Error('it is down')
      },
      idOf: row => row.name,
    })
    const answered = (answer: unknown) =>
      readers.getMany(['Ann', 'Bob'], { consistency: 'snapshot', load: async () => answer as [] })
    const [ann, bob] = [{ name: 'Ann' }, { name: 'Bob' }]
    expect(await answered(new Map([['Bob', bob]]))).toEqual(new Map([['Bob', bob]]))
    const unread = new Error('Bob cannot be read')
    await expect(
      answered([
        ['Ann', ann],
        ['Bob', unread],
      ]),
    ).rejects.toBe(unread)
    for (const rows of [undefined, [ann, bob]])
      await expect(answered(rows)).rejects.toThrow(
        'expected the load of reader.getMany to answer with pairs of id and value, got ',
      )
    const underOtherText = answered([
      ['Ann', ann],
      ['BOB', bob],
    ])
    await expect(underOtherText).rejects.toThrow(
      'the load of reader.getMany answered with ids that it was not asked for, and not with that of reader:Bob: ' +
        'answer with the ids as they were asked for, or make ids canonical by key',
    )
  })

  test('loads what is missing of one keyspace in one call of loadMany, and one value by load', async () => {
    const { clock, reader, other, origin } = open()
    await clock.advance(10)
    const calls: string[] = []
    const options = (name: string) => ({
      load: async (id: number) => {
        calls.push(`${name}.load(${id})`)
        return id
      },
      loadMany: async (ids: readonly number[]) => {
        calls.push(`${name}.loadMany(${ids})`)
        return ids.map(id => [id, id] as const)
      },
    })
    const [rows, sums, others] = ['row', 'sum', 'other'].map(name =>
      reader.cache.keyspace<number, number>(name, options(name)),
    ) as [Keyspace<number, number>, Keyspace<number, number>, Keyspace<number, number>]
    const never = async () => expect.fail('a value can be kept')
    await other.cache.keyspace('row', options('theirs')).get(7)
    const parts = [rows.at(1), sums.at(1), rows.at(7), sums.at(2), others.at(3), rows.at(2), rows.at(1)]
    expect(await reader.cache.snapshot(parts, { load: never })).toEqual([1, 1, 7, 2, 3, 2, 1])
    expect(calls).toEqual(['theirs.load(7)', 'row.loadMany(1,2)', 'sum.loadMany(1,2)', 'other.load(3)'])
    const ids = Array.from({ length: 100 }, (_, i) => 1_000 + i)
    const many = await sums.getMany(ids, { consistency: 'snapshot', load: never })
    expect([...many.keys()]).toEqual(ids)
    expect(calls.slice(4)).toEqual([`sum.loadMany(${ids})`])
    expect(origin.calls).toBe(0)
  })

  test('loads no more than sixteen values at a time where there is no loadMany', async () => {
    const { clock, reader } = open()
    await clock.advance(10)
    let [running, most, own] = [0, 0, 0]
    const rows = reader.cache.keyspace('row', {
      load: async (id: number) => {
        most = Math.max(most, ++running)
        await new Promise<void>(resolve => clock.after(5, resolve))
        running--
        return id
      },
    })
    const ids = Array.from({ length: 300 }, (_, i) => i)
    const load = async () => {
      own++
      return ids.map(id => [id, id] as const)
    }
    const reading = rows.getMany(ids, { consistency: 'snapshot', load })
    expect((await within(clock, 1_000, reading)).size).toBe(300)
    expect({ most, own }).toEqual({ most: 16, own: 0 })
  })

  test('keeps what loadMany could load, and reads the rest by load', async () => {
    const { clock, reader } = open()
    await clock.advance(10)
    const rows = reader.cache.keyspace('row', {
      loadMany: async (ids: readonly number[]) =>
        ids.map(id => [id, id === 2 ? new Error('2 cannot be read') : id] as const),
    })
    const load = async (ids: readonly number[]) => ids.map(id => [id, id] as const)
    const values = await rows.getMany([1, 2, 3], { consistency: 'snapshot', load })
    expect([...values.values()]).toEqual([1, 2, 3])
    expect((await rows.read(3)).from).toBe('shared')
  })

  test('a caller that gives up ends its loads', async () => {
    const { clock, reader } = open()
    await clock.advance(10)
    const abort = new AbortController()
    const ended: unknown[] = []
    const rows = reader.cache.keyspace('row', {
      loadMany: (_: readonly number[], { signal }) =>
        new Promise<[]>((_, reject) => {
          signal.addEventListener('abort', () => {
            ended.push(signal.reason)
            reject(signal.reason)
          })
        }),
    })
    const load = async () => expect.fail('nobody waits for it')
    const reading = rows.getMany([1, 2], { consistency: 'snapshot', load, signal: abort.signal })
    reading.catch(() => {})
    await clock.advance(10)
    const gone = new Error('gone')
    abort.abort(gone)
    await expect(reading).rejects.toBe(gone)
    await clock.advance(10)
    expect(ended).toEqual([gone])
    expect(reader.eventsOf('load').map(({ outcome }) => outcome)).toEqual(['aborted'])
  })

  test('inside a loader it is read by load', async () => {
    const { clock, process, origin, reader, accounts } = open()
    await clock.advance(10)
    const sums = reader.cache.keyspace('sum', {
      load: async (_id: number, { signal }) =>
        sum(await reader.cache.snapshot([accounts.at(1), accounts.at(2)], { load: origin.both, signal })),
    })
    expect(await within(clock, 500, sums.get(1))).toBe(100)
    expect(process).toBeDefined()
  })

  test('refuses what is no part, and options that cannot be', async () => {
    const { reader, other, accounts, theirs } = open()
    const load = async () => [undefined] as const
    await expect(reader.cache.snapshot([theirs.at(1)], { load })).rejects.toMatchObject({
      code: 'INVALID_KEY',
    })
    await expect(other.cache.snapshot([{} as never], { load })).rejects.toMatchObject({ code: 'INVALID_KEY' })
    await expect(reader.cache.snapshot([accounts.at(1)], { load: 1 as never })).rejects.toMatchObject({
      code: 'INVALID_OPTIONS',
    })
    await expect(reader.cache.snapshot([accounts.at(1)], {} as never)).rejects.toMatchObject({
      code: 'INVALID_OPTIONS',
    })
    await expect(
      reader.cache.snapshot([accounts.at(1)], { load, signal: AbortSignal.abort(new Error('gone')) }),
    ).rejects.toThrow('gone')
    expect(await reader.cache.snapshot([], { load: async () => [] })).toEqual([])
  })
})
