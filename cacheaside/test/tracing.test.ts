/** What the channels of `diagnostics_channel` are told of. */
import { AsyncLocalStorage } from 'node:async_hooks'
import { channel, tracingChannel } from 'node:diagnostics_channel'
import { afterEach, describe, expect, test } from 'vitest'
import type { Operation } from '../src/base/tracing.ts'
import { SimulatedFeed } from '../src/testing/index.ts'
import { fireball, openWorld, passing, type Spell, spellTable, within } from './world.ts'

const earthquake: Spell = { id: 6, name: 'Earthquake', damage: 40 }
const OPERATIONS = [
  'read',
  'ask',
  'load',
  'fill',
  'refresh',
  'write',
  'guard',
  'commit',
  'release',
  'invalidate',
  'relay',
] as const satisfies readonly Operation[]

interface Heard {
  readonly what: string
  readonly message: Record<string, unknown>
}

const ends: (() => void)[] = []
afterEach(() => {
  for (const end of ends.splice(0)) end()
})

/** Listens to channels, and notes what they are told. */
function listen(...operations: readonly Operation[]) {
  const heard: Heard[] = []
  for (const operation of operations) {
    const of = tracingChannel(`cacheaside:${operation}`)
    const note = (phase: string) => (message: unknown) =>
      void heard.push({ what: `${operation}:${phase}`, message: message as Heard['message'] })
    const subscribers = {
      start: note('start'),
      end: note('end'),
      asyncStart: note('asyncStart'),
      asyncEnd: note('asyncEnd'),
      error: note('error'),
    }
    of.subscribe(subscribers)
    ends.push(() => of.unsubscribe(subscribers))
  }
  return {
    heard,
    told: () => heard.map(({ what }) => what),
    of: (what: string) => heard.filter(one => one.what === what).map(({ message }) => message),
  }
}

describe('a read', () => {
  test('is told of with its steps, each by one message from its start to its end', async () => {
    const { process } = openWorld()
    const { told, of } = listen('read', 'ask', 'load', 'fill')
    const { cache } = process()
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    await spells.get(4)
    expect(told()).toEqual([
      'read:start',
      'ask:start',
      'ask:end',
      'read:end',
      'ask:asyncStart',
      'ask:asyncEnd',
      'load:start',
      'load:end',
      'load:asyncStart',
      'load:asyncEnd',
      'fill:start',
      'fill:end',
      'fill:asyncStart',
      'fill:asyncEnd',
      'read:asyncStart',
      'read:asyncEnd',
    ])
    const [read] = of('read:start')
    expect(of('read:asyncEnd')[0]).toBe(read)
    const event = (read!.events as { id: number }[])[0]!
    expect(read).toEqual({
      call: 'get',
      keyspace: 'spell',
      keys: ['spell:4'],
      strong: false,
      events: [event],
    })
    expect(event).toMatchObject({ type: 'read', outcome: 'answered', why: 'missing', flight: event.id })
    const flights = [event.id]
    expect(of('ask:asyncEnd')).toEqual([{ keyspace: 'spell', keys: ['spell:4'], flights, answer: 'leased' }])
    expect(of('load:asyncEnd')).toMatchObject([{ flights, event: { outcome: 'loaded', flights } }])
    expect(of('fill:asyncEnd')).toMatchObject([{ flight: event.id, event: { outcome: 'accepted' } }])
  })

  test('of what L1 has is told of at once', async () => {
    const { process } = openWorld()
    const { cache } = process({ local: { maxEntries: 10 } })
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    await spells.get(4)
    const { told, of } = listen('read')
    const reading = spells.get(4)
    expect(told()).toEqual(['read:start', 'read:end', 'read:asyncStart', 'read:asyncEnd'])
    expect(of('read:end')).toMatchObject([{ call: 'get', events: [{ from: 'local', why: 'fresh' }] }])
    await reading
    await spells.getMany([4])
    expect(of('read:asyncEnd')[1]).toMatchObject({ call: 'getMany', events: [{ from: 'local' }] })
  })

  test('of a batch is one, with an event for each key', async () => {
    const { process } = openWorld()
    const { cache } = process({ local: { maxEntries: 10 } })
    const spells = cache.keyspace('spell', { loadMany: spellTable(fireball, earthquake).findMany })
    await spells.get(4)
    const { of } = listen('read', 'ask', 'load')
    await spells.getMany([4, 6, 7])
    expect(of('read:start')).toHaveLength(1)
    expect(of('read:asyncEnd')).toMatchObject([
      {
        call: 'getMany',
        keys: ['spell:4', 'spell:6', 'spell:7'],
        events: [{ from: 'local' }, { key: 'spell:6' }, { key: 'spell:7', absent: true }],
      },
    ])
    expect(of('ask:asyncEnd')).toMatchObject([{ keys: ['spell:6', 'spell:7'] }])
    expect(of('load:asyncEnd')).toMatchObject([{ keys: ['spell:6', 'spell:7'] }])
  })

  test('of a snapshot is one, too', async () => {
    const { process } = openWorld()
    const { cache } = process()
    const spells = cache.keyspace('spell', { load: spellTable(fireball, earthquake).find })
    const { of } = listen('read')
    await cache.snapshot([spells.at(4), spells.at(6)], { load: () => [fireball, earthquake] as const })
    expect(of('read:asyncEnd')).toMatchObject([
      { call: 'snapshot', strong: true, events: [{ key: 'spell:4' }, { key: 'spell:6' }] },
    ])
  })

  test('that fails is told of by the channel for errors, with the load that failed', async () => {
    const { process } = openWorld()
    const error = new Error('away')
    const { cache } = process()
    const spells = cache.keyspace('spell', { load: (_: number) => Promise.reject(error) })
    const { of } = listen('read', 'load')
    await expect(spells.get(4)).rejects.toBe(error)
    expect(of('load:error')).toMatchObject([{ error, event: { outcome: 'failed' } }])
    expect(of('read:error')).toMatchObject([{ error, events: [{ outcome: 'failed' }] }])
    expect(of('read:asyncEnd')).toHaveLength(1)
  })

  test('runs in the context that is bound to the start, and so does its loader', async () => {
    const { process } = openWorld()
    const storage = new AsyncLocalStorage<string>()
    const start = channel('tracing:cacheaside:read:start')
    start.bindStore(storage, () => 'a read')
    ends.push(() => start.unbindStore(storage))
    const { cache } = process()
    const seen: unknown[] = []
    const spells = cache.keyspace('spell', {
      load: async (id: number) => void seen.push(id, storage.getStore()),
    })
    await spells.get(4)
    expect(seen).toEqual([4, 'a read'])
    expect(storage.getStore()).toBeUndefined()
  })
})

test('a refresh is told of, and its load after it', async () => {
  const { clock, process } = openWorld()
  const { cache } = process()
  const options = { load: spellTable(fireball).find, ttlMs: 1_000, ttlJitter: 0, staleMs: 9_000 } as const
  const spells = cache.keyspace('spell', options)
  await spells.get(4)
  await clock.advance(2_000)
  const { of } = listen('refresh', 'load', 'read')
  await spells.get(4)
  await clock.drain()
  const [refresh] = of('refresh:asyncEnd')
  const [read] = of('read:asyncEnd') as { events: { id: number }[] }[]
  expect(refresh).toMatchObject({ key: 'spell:4', read: read!.events[0]!.id, event: { outcome: 'began' } })
  expect(of('load:asyncEnd')).toMatchObject([{ flights: [refresh!.flight] }])
})

describe('a write', () => {
  test('is told of with its guards, its commit and its releases', async () => {
    const { process } = openWorld()
    const { cache } = process()
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    const { told, of } = listen('write', 'guard', 'commit', 'release')
    await spells.write(4, async () => 'done')
    expect(told().filter(what => /:(start|asyncEnd)/.test(what))).toEqual([
      'write:start',
      'guard:start',
      'guard:asyncEnd',
      'commit:start',
      'commit:asyncEnd',
      'release:start',
      'release:asyncEnd',
      'write:asyncEnd',
    ])
    const [write] = of('write:asyncEnd')
    expect(write).toMatchObject({ keys: ['spell:4'], event: { outcome: 'committed', id: write!.id } })
    for (const step of ['guard', 'commit', 'release'])
      expect(of(`${step}:start`)).toEqual([{ write: write!.id, keys: ['spell:4'] }])
  })

  test('awaits what its function returns once, also if that is sent when it is awaited', async () => {
    const { process } = openWorld()
    const { cache } = process()
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    listen('commit')
    let sent = 0
    // biome-ignore lint/suspicious/noThenProperty: as query builders have it
    const query = { then: (resolve: (value: number) => void) => resolve(++sent) }
    expect((await spells.write(4, () => query as unknown as Promise<number>)).value).toBe(1)
    expect(sent).toBe(1)
  })

  test('whose function throws is told of by the channel for errors', async () => {
    const { clock, process } = openWorld()
    const { cache } = process({ commitInDoubt: () => false })
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    const { of } = listen('write', 'commit')
    const error = new Error('no')
    const failing = spells.write(4, () => {
      throw error
    })
    await expect(within(clock, 10, failing)).rejects.toBe(error)
    expect(of('commit:error')).toMatchObject([{ error }])
    expect(of('write:error')).toMatchObject([{ error, event: { outcome: 'failed' } }])
  })
})

test('an invalidation is told of, with what became of it', async () => {
  const { process } = openWorld()
  const { cache, eventsOf } = process()
  const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
  const { of } = listen('invalidate')
  await spells.invalidate(4)
  await spells.invalidateAll()
  expect(of('invalidate:asyncEnd')).toEqual([
    { cause: eventsOf('invalidation')[0]!.cause, keys: ['spell:4'], outcome: 'applied' },
    { cause: eventsOf('keyspace-invalidation')[0]!.cause, keys: [], keyspace: 'spell', outcome: 'applied' },
  ])
})

test('a batch of the feed is told of', async () => {
  const { clock, process } = openWorld()
  const feed = new SimulatedFeed({ clock, tables: { spell: ({ id }) => [spells.key(Number(id))] } })
  const { cache } = process({ feed })
  const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
  await clock.advance(10)
  const { of } = listen('relay')
  feed.commit('spell', [{ id: 4 }])
  await clock.advance(1_000)
  const event = { outcome: 'applied', changes: 1, applied: 1 }
  expect(of('relay:asyncEnd')).toMatchObject([{ changes: 1, event }])
  await cache.close()
})

test('an operation that nobody follows is the same, with those who wait for it going on as soon', async () => {
  const order = async () => {
    const { process } = openWorld()
    const { cache } = process()
    const turns: number[] = []
    let turn = 0
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    const reading = spells.get(4).then(() => turns.push(turn))
    for (let i = 0; i < 200; i++) {
      turn = i
      await undefined
    }
    await reading
    return turns
  }
  const untold = await order()
  listen(...OPERATIONS)
  expect(await order()).toEqual(untold)
})

test('one subscriber of one channel is enough, whatever channel it is', async () => {
  const { clock, process } = openWorld()
  const { cache } = process()
  const spells = cache.keyspace('spell', {
    load: async (id: number) => {
      await passing(clock, 5)
      return spellTable(fireball).find(id)
    },
  })
  for (const phase of ['start', 'end', 'asyncStart', 'asyncEnd']) {
    const messages: unknown[] = []
    const one = channel(`tracing:cacheaside:read:${phase}`)
    const note = (message: unknown) => void messages.push(message)
    one.subscribe(note)
    await within(clock, 10, spells.get(4, { consistency: 'strong' }))
    one.unsubscribe(note)
    await within(clock, 10, spells.get(4, { consistency: 'strong' }))
    expect(messages, phase).toHaveLength(1)
  }
})

test('a tracer that throws behind the question changes nothing for readers and close', async () => {
  const { clock, process, network } = openWorld()
  const { cache } = process({}, network())
  const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
  await clock.advance(1_000)
  await within(clock, 100, spells.get(4))
  await clock.drain()
  const error = new Error('no tracer')
  const stop = cache.measurable.trace({
    hearsHits: false,
    begins: operation =>
      operation === 'ask'
        ? {
            within(work) {
              work()
              throw error
            },
            ended() {},
          }
        : undefined,
  })
  expect(await within(clock, 100, spells.get(4))).toEqual(fireball)
  expect(await within(clock, 100, spells.get(5))).toBeUndefined()
  stop()
  expect(await within(clock, 1_000, spells.get(4))).toEqual(fireball)
  await within(clock, 1_000, cache.close())
})
