import { describe, expect, test } from 'vitest'
import type { CacheOptions, SharedStore } from '../src/index.ts'
import type { FaultySharedStore } from '../src/testing/index.ts'
import { fireball, openWorld, passing, type Spell, spellTable, within } from './world.ts'

/** A process with a keyspace of spells behind a network that can be broken, and proven to be alive. */
async function connected(options: Omit<CacheOptions, 'clock' | 'shared'> = {}) {
  const world = openWorld()
  const link = world.network()
  const table = spellTable(fireball)
  const one = world.process(options, link)
  const spells = one.cache.keyspace('spell', { load: table.find, loadMany: table.findMany })
  await world.clock.advance(10)
  return { ...world, ...one, link, table, spells }
}

/** Ways in which a shared store may be away. */
const outages: readonly (readonly [string, (link: FaultySharedStore) => void])[] = [
  ['hangs', link => link.hang()],
  ['refuses', link => link.fail()],
  ['is slower than its limit', link => link.delay(5_000)],
  ['answers into the void', link => link.loseReplies(undefined, 'silence')],
  ['loses its replies', link => link.loseReplies()],
  ['is cut off', link => link.cut()],
]

describe.each(outages)('a shared store that %s', (_, fail) => {
  test('costs a read at most sharedTimeoutMs, then nothing', async () => {
    const { clock, link, spells, cache } = await connected()
    fail(link)
    const first = await within(clock, 105, spells.read(4))
    expect(first).toMatchObject({ value: fireball, from: 'origin', why: 'unavailable', kept: false })
    expect(first.timings.sharedMs).toBeLessThanOrEqual(101)
    const second = await spells.read(4)
    expect(second).toMatchObject({ value: fireball, why: 'unavailable', timings: { totalMs: 0 } })
    expect((await spells.getMany([4, 5])).size).toBe(1)
    expect(await spells.read(4, { consistency: 'strong' })).toMatchObject({
      why: 'unavailable',
      timings: { totalMs: 0 },
    })
    expect(cache.stats().shared).toEqual({ outages: 1, available: false })
    link.restore()
    await clock.advance(8_000)
  })

  test('costs a batch at most sharedTimeoutMs, and its keys are loaded together', async () => {
    const { clock, link, spells, table } = await connected()
    fail(link)
    expect(await within(clock, 105, spells.getMany([4, 5]))).toEqual(new Map([[4, fireball]]))
    expect(table.asked).toEqual([[4, 5]])
    link.restore()
    await clock.advance(8_000)
  })

  test('is used again within two seconds of its recovery, without a restart, and holds no lease of ours', async () => {
    const { clock, link, spells, inspect, eventsOf } = await connected({ local: { maxEntries: 9 } })
    fail(link)
    await within(clock, 105, Promise.all([spells.get(4), spells.getMany([5, 6])]))
    await clock.advance(10_000)
    link.restore()
    await clock.advance(2_000)
    expect(eventsOf('shared').map(({ state }) => state)).toEqual(['unavailable', 'available'])
    expect(await spells.read(4)).toMatchObject({ from: 'origin', why: 'missing', kept: true })
    await clock.drain()
    expect(inspect('spell:4')).toMatch(/^V/)
    expect(await spells.read(4)).toMatchObject({ from: 'local' })
    expect(await spells.read(5)).toMatchObject({ why: 'missing' })
    await clock.advance(8_000)
  })

  test('is told of every write and invalidation when it is back, and meanwhile this process bypasses it', async () => {
    const { clock, link, process, spells, table, eventsOf, cache } = await connected({
      local: { maxEntries: 9 },
    })
    const elsewhere = process().cache.keyspace('spell', { load: table.find })
    await spells.get(4)
    await clock.drain()
    fail(link)
    const written = await within(
      clock,
      305,
      spells.write(4, () => table.update(4, 31)),
    )
    expect(written).toMatchObject({ invalidation: 'queued', fenced: false })
    expect(await within(clock, 105, spells.invalidate(5))).toBe('queued')
    expect(await within(clock, 105, spells.invalidateAll())).toBe('queued')
    expect(cache.stats().now.queuedInvalidations).toBe(3)
    expect(await spells.read(4)).toMatchObject({ why: 'queued', value: { damage: 31 } })
    await clock.advance(10_000)
    link.restore()
    await clock.advance(8_000)
    expect(cache.stats().now.queuedInvalidations).toBe(0)
    expect(eventsOf('invalidation').map(({ outcome }) => outcome)).toEqual([
      'queued',
      'queued',
      'late',
      'late',
    ])
    expect(await elsewhere.get(4)).toMatchObject({ damage: 31 })
    expect(await spells.get(4)).toMatchObject({ damage: 31 })
  })

  test('fails nothing and leaves nothing behind for a hundred readers and writers', async () => {
    const { clock, link, spells, table } = await connected({ local: { maxEntries: 9 }, maxLoads: 4 })
    await spells.getMany([1, 2, 4])
    fail(link)
    const work: Promise<unknown>[] = []
    for (let i = 0; i < 100; i++) {
      work.push(
        spells.get(i % 7),
        spells.read(i % 7, { consistency: 'strong' }),
        spells.getMany([i % 5, i % 6]),
      )
      if (i % 10 === 0)
        work.push(
          spells.write(4, () => table.update(4, i)),
          spells.invalidate(i % 7),
        )
      await clock.advance(7)
    }
    await within(clock, 1_000, Promise.all(work))
    link.restore()
    await clock.advance(8_000)
    expect(await spells.get(4)).toMatchObject({ damage: 90 })
  })
})

describe('a shared store in the distance', () => {
  test('that needs nearly all of its limit for one answer is not taken for one that is away', async () => {
    const { clock, link, process, network, table, eventsOf, cache, spells } = await connected()
    link.delay(60)
    const far = network()
    far.delay(60)
    const elsewhere = process({}, far).cache.keyspace('spell', {
      load: async (id: number) => {
        await passing(clock, 300)
        return table.find(id)
      },
    })
    await clock.advance(200)
    const slow = elsewhere.get(4)
    await clock.advance(100)
    const second = await within(clock, 600, spells.read(4))
    expect(second).toMatchObject({ from: 'shared', why: 'fresh', value: fireball })
    expect(table.asked).toEqual([[4]])
    await slow
    expect(eventsOf('shared')).toEqual([])
    expect(cache.stats().shared.outages).toBe(0)
    link.restore()
    await clock.advance(500)
  })

  test('does not make a read pay twice for a value that has to be replaced', async () => {
    const { clock, link, plant, spells, eventsOf } = await connected()
    plant('spell:4', 'garbage')
    link.delay(60)
    const answer = await within(clock, 110, spells.read(4))
    expect(answer).toMatchObject({ value: fireball, from: 'origin', why: 'unavailable' })
    expect(eventsOf('shared')).toEqual([])
    link.restore()
    await clock.advance(500)
  })

  test('does not delay the answer of a miss by its fill', async () => {
    const { clock, link, spells } = await connected()
    link.delay(50)
    const answer = await within(clock, 50, spells.read(4))
    expect(answer).toMatchObject({ why: 'missing', timings: { totalMs: 50, sharedMs: 50, loadMs: 0 } })
    await clock.advance(500)
    link.restore()
  })
})

describe('a single failing operation', () => {
  test('that stores costs the value its place in the cache, and nothing else', async () => {
    const { clock, link, spells, eventsOf, inspect } = await connected({ local: { maxEntries: 9 } })
    link.fail('fill', new Error('OOM command not allowed when used memory > maxmemory'))
    expect(await spells.read(4)).toMatchObject({ value: fireball, why: 'missing' })
    await clock.drain()
    expect(eventsOf('fill')).toMatchObject([{ outcome: 'unconfirmed' }])
    expect(inspect('spell:4')).toBeUndefined()
    expect(spells.peek(4)).toBeUndefined()
    link.restore()
    await clock.advance(2_000)
  })

  test.each(['swap', 'claim'] as const)(
    'that takes the place of a value (%s) sends the read to the origin',
    async operation => {
      const { clock, link, process, network, plant } = await connected()
      const far = network()
      const spells = process({}, far).cache.keyspace('claimed', {
        load: async (_: number) => 1,
        ttlMs: 1_000,
        ttlJitter: 0,
        staleIfErrorMs: 9_000,
      })
      await clock.drain()
      await spells.get(4)
      await clock.advance(1_500)
      if (operation === 'swap') plant('claimed:4', 'garbage')
      far.fail(operation)
      expect(await spells.read(4)).toMatchObject({
        value: 1,
        from: 'origin',
        why: 'unavailable',
        kept: false,
      })
      far.restore()
      link.restore()
      await clock.advance(2_000)
    },
  )

  test('that reads the generation sends the read to the origin, and the lease is given back', async () => {
    const { clock, link, spells, inspect } = await connected()
    link.fail('generation')
    expect(await spells.read(4, { consistency: 'strong' })).toMatchObject({ why: 'unavailable', kept: false })
    await clock.drain()
    expect(inspect('spell:4')).toBeUndefined()
    expect((await spells.getMany([5], { consistency: 'strong' })).size).toBe(0)
    await clock.drain()
    expect(inspect('spell:5')).toBeUndefined()
    link.restore()
    await clock.advance(2_000)
  })

  test('whose reply was lost after it was applied leaves no lease, claim or guard that others would wait for', async () => {
    const { clock, link, process, spells, table, inspect } = await connected()
    link.loseReplies('lease')
    await spells.get(4)
    link.restore()
    await clock.advance(2_000)
    expect(inspect('spell:4')).toBeUndefined()
    link.loseReplies('leaseMany')
    await spells.getMany([4, 5])
    link.restore()
    await clock.advance(2_000)
    expect([inspect('spell:4'), inspect('spell:5')]).toEqual([undefined, undefined])
    link.loseReplies('guard')
    expect(await spells.write(4, () => 1)).toMatchObject({ invalidation: 'applied', fenced: false })
    expect(inspect('spell:4')).toBeUndefined()
    link.restore()
    await clock.advance(2_000)
    const stale = process({}, link).cache.keyspace('spell', {
      load: table.find,
      ttlMs: 1_000,
      ttlJitter: 0,
      staleMs: 60_000,
    })
    await clock.advance(10)
    await stale.get(4)
    await clock.advance(1_500)
    link.loseReplies('claim')
    expect(await stale.read(4)).toMatchObject({ why: 'stale' })
    link.restore()
    await clock.advance(2_000)
    expect(await stale.read(4)).toMatchObject({ why: 'stale' })
    await clock.drain()
    expect(await stale.read(4)).toMatchObject({ why: 'fresh' })
  })

  test('that throws before it returns a promise counts as failed', async () => {
    const { process, network, clock } = openWorld()
    const link = network()
    const broken = new Proxy(link, {
      get(target, name) {
        if (name === 'lease')
          return () => {
            throw new Error('not even a promise')
          }
        const member: unknown = Reflect.get(target, name)
        return typeof member === 'function' ? member.bind(target) : member
      },
    }) as SharedStore
    const spells = process({}, broken).cache.keyspace('spell', { load: spellTable(fireball).find })
    await clock.drain()
    expect(await spells.read(4)).toMatchObject({ value: fireball, why: 'unavailable' })
    await clock.advance(1_000)
  })
})

describe('a full shared store', () => {
  test('refuses leases and fills, and every read is answered', async () => {
    const { clock, process } = openWorld({ maxBytes: 2_000, policy: 'noeviction' })
    const { cache } = process({ local: { maxEntries: 100 } })
    const values = cache.keyspace('value', { load: async (id: number) => ({ id, text: 'x'.repeat(300) }) })
    for (let id = 0; id < 50; id++) {
      expect(await values.get(id)).toMatchObject({ id })
      await clock.drain()
    }
    const { fills, why } = cache.stats().keyspaces.value!
    expect(fills.accepted).toBeGreaterThan(0)
    expect(fills.accepted + fills.refused + why.full!).toBe(50)
    expect(why.full! + fills.refused).toBeGreaterThan(40)
  })

  test('still guards, releases and invalidates', async () => {
    const { process, inspect, clock } = openWorld({ maxEntries: 2, policy: 'noeviction' })
    const values = process().cache.keyspace('value', { load: async (id: number) => id })
    await values.getMany([1, 2])
    await clock.drain()
    expect(await values.write(3, () => inspect('value:3')?.[0])).toEqual({
      value: 'W',
      invalidation: 'applied',
      fenced: true,
    })
    expect(await values.invalidate(1)).toBe('applied')
    expect(await values.read(3)).toMatchObject({ why: 'missing', kept: true })
  })
})

describe('the broadcast stream', () => {
  test('is proven under any number of reads, however far the store', async () => {
    const { clock, process, network } = openWorld()
    const link = network()
    link.delay(80)
    const { cache, eventsOf } = process({ local: { maxEntries: 9 } }, link)
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    const reading: Promise<unknown>[] = []
    for (let i = 0; i < 400; i++) {
      reading.push(spells.get(4))
      await clock.advance(5)
    }
    await Promise.all(reading)
    expect(eventsOf('stream').map(({ state }) => state)).toEqual(['proven'])
    expect(cache.stats().keyspaces.spell!.reads.local).toBeGreaterThan(100)
    link.restore()
    await clock.advance(500)
  })

  test('that is silent sends default reads to the shared store after localMaxStaleMs, and drops L1', async () => {
    const { clock, link, spells, eventsOf, cache } = await connected({
      local: { maxEntries: 9 },
      localMaxStaleMs: 1_000,
    })
    await spells.get(4)
    await clock.drain()
    link.muteStream()
    await clock.advance(700)
    expect(await spells.read(4)).toMatchObject({ from: 'local' })
    await clock.advance(600)
    expect(cache.stats()).toMatchObject({ streamLosses: 1, now: { localEntries: 0 } })
    expect(await spells.read(4)).toMatchObject({ from: 'shared' })
    expect(await spells.read(4)).toMatchObject({ from: 'shared' })
    link.restore()
    await clock.advance(600)
    expect(await spells.read(4)).toMatchObject({ from: 'shared' })
    expect(await spells.read(4)).toMatchObject({ from: 'local' })
    expect(eventsOf('stream').map(({ state }) => state)).toEqual(['proven', 'unproven', 'proven'])
  })

  test('that tells of an interruption empties L1 at once', async () => {
    const { clock, link, spells, eventsOf } = await connected({ local: { maxEntries: 9 } })
    await spells.get(4)
    await clock.drain()
    expect(spells.peek(4)).toEqual({ value: fireball })
    link.interrupt('reconnected')
    expect(spells.peek(4)).toBeUndefined()
    await clock.advance(600)
    expect(eventsOf('stream').map(({ state, reason }) => [state, reason])).toEqual([
      ['proven', expect.any(String)],
      ['unproven', 'reconnected'],
      ['proven', expect.any(String)],
    ])
    await spells.get(4)
    await clock.drain()
    expect(spells.peek(4)).toEqual({ value: fireball })
  })

  test('brings invalidations of other processes, within the time it takes', async () => {
    const { clock, link, process, spells, table } = await connected({ local: { maxEntries: 9 } })
    const elsewhere = process().cache.keyspace('spell', { load: table.find })
    await spells.get(4)
    await clock.drain()
    link.delayStream(300)
    table.update(4, 31)
    await elsewhere.invalidate(4)
    expect(await spells.get(4)).toMatchObject({ damage: 30 })
    await clock.advance(300)
    expect(await spells.get(4)).toMatchObject({ damage: 31 })
    link.restore()
    await clock.advance(1_000)
  })
})

test('a value in L1 outlives the shared store for as long as its stream is proven', async () => {
  const { clock, link, spells } = await connected({ local: { maxEntries: 9 } })
  await spells.get(4)
  await clock.drain()
  link.hang()
  await clock.advance(1_500)
  expect(await spells.read(4)).toMatchObject({ from: 'local', timings: { totalMs: 0 } })
  await clock.advance(1_500)
  const value: Spell | undefined = await within(clock, 105, spells.get(4))
  expect(value).toEqual(fireball)
  link.restore()
  await clock.advance(3_000)
})
