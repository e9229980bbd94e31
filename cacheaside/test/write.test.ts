import { describe, expect, test } from 'vitest'
import { CacheError, type Key, type WriteContext } from '../src/index.ts'
import { gate } from '../src/testing/index.ts'
import { fireball, openWorld, passing, type Spell, spellTable, within } from './world.ts'

const L1 = { maxEntries: 100 } as const
const STRONG = { consistency: 'strong' } as const

/** An error as PostgreSQL reports one. */
const sqlError = (code: string) => Object.assign(new Error(`SQLSTATE ${code}`), { code })

describe('write', () => {
  test('returns what the function returns, and no later read is older', async () => {
    const { clock, process } = openWorld()
    const table = spellTable(fireball)
    const here = process({ local: L1 }).cache.keyspace('spell', { load: table.find })
    const there = process({ local: L1 }).cache.keyspace('spell', { load: table.find })
    await Promise.all([here.get(4), within(clock, 50, there.get(4))])
    const written = await here.write(4, async () => table.update(4, 31))
    expect(written).toEqual({ value: { ...fireball, damage: 31 }, invalidation: 'applied', fenced: true })
    expect(await there.get(4)).toMatchObject({ damage: 31 })
    expect(await here.get(4)).toMatchObject({ damage: 31 })
  })

  test('guards before it calls the function, and releases after', async () => {
    const { inspect, process } = openWorld()
    const spells = process().cache.keyspace('spell', { load: spellTable(fireball).find })
    await spells.write(4, () => {
      expect(inspect('spell:4')).toMatch(/^W0/)
    })
    expect(inspect('spell:4')).toBeUndefined()
  })

  test('takes a function that returns without a promise, or nothing', async () => {
    const { process } = openWorld()
    const spells = process().cache.keyspace('spell', { load: spellTable(fireball).find })
    expect(await spells.write(4, () => 'done')).toMatchObject({ value: 'done', fenced: true })
    expect(await spells.write(4, () => {})).toMatchObject({ value: undefined, fenced: true })
  })

  test('sends every reader to the origin meanwhile, who keeps nothing', async () => {
    const { process } = openWorld()
    const table = spellTable(fireball)
    const spells = process({ local: L1 }).cache.keyspace('spell', { load: table.find })
    const other = process({ local: L1 }).cache.keyspace('spell', { load: table.find })
    await spells.write(4, async () => {
      expect(await spells.read(4)).toMatchObject({ why: 'guarded', kept: false })
      expect(await spells.read(4, STRONG)).toMatchObject({ why: 'guarded', kept: false })
      expect(await other.read(4)).toMatchObject({ why: 'guarded', kept: false, value: { damage: 30 } })
      table.update(4, 31)
      expect(await other.read(4)).toMatchObject({ why: 'guarded', kept: false, value: { damage: 31 } })
      expect(other.peek(4)).toBeUndefined()
    })
  })

  test('over several keys guards all of them, of any keyspace, until the end', async () => {
    const { inspect, process } = openWorld()
    const { cache, eventsOf } = process()
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    const lists = cache.keyspace('spells-by', { load: async (_: string) => [4] })
    const keys = [spells.key(4), lists.key('damage')]
    const held = () => keys.map(key => inspect(key)?.slice(0, 2))
    const written = await cache.write(keys, () => held())
    expect(written).toEqual({ value: ['W0', 'W0'], invalidation: 'applied', fenced: true })
    expect(held()).toEqual([undefined, undefined])
    expect(eventsOf('guard').map(({ key }) => key)).toEqual(keys)
    expect(eventsOf('invalidation').map(({ key, outcome }) => [key, outcome])).toEqual(
      keys.map(key => [key, 'applied']),
    )
  })

  test('over the same key twice is over that key', async () => {
    const { inspect, process } = openWorld()
    const { cache, eventsOf } = process()
    const spells = cache.keyspace<number | string, Spell>('spell', { load: async () => fireball })
    const written = await cache.write([spells.key(4), spells.key('4')], async ({ guard }) => {
      await guard(spells.key(4), spells.key(4))
      await guard(spells.key(4))
    })
    expect(written).toMatchObject({ invalidation: 'applied', fenced: true })
    expect(inspect('spell:4')).toBeUndefined()
    expect(eventsOf('guard')).toHaveLength(1)
    expect(eventsOf('invalidation')).toHaveLength(1)
  })

  test('guards inside what was not known before, and a cached absence ends with the commit', async () => {
    const { process } = openWorld()
    const table = spellTable()
    const { cache } = process({ local: L1 })
    const spells = cache.keyspace('spell', { load: table.find })
    expect(await spells.get(4)).toBeUndefined()
    const written = await cache.write([], async ({ guard }) => {
      await guard(spells.key(4))
      table.rows.set(4, fireball)
      return 4
    })
    expect(written).toEqual({ value: 4, invalidation: 'applied', fenced: true })
    expect(await spells.get(4)).toEqual(fireball)
  })

  test('resolves guard() only when the key is guarded, also for who asks second', async () => {
    const { clock, inspect, process, network } = openWorld()
    const link = network()
    const { cache } = process({}, link)
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    await clock.drain()
    link.delay(40, 'guard')
    const writing = cache.write([], async ({ guard }) => {
      const first = guard(spells.key(4))
      await guard(spells.key(4))
      const seen = inspect('spell:4')
      await first
      return seen
    })
    expect(await within(clock, 40, writing)).toMatchObject({
      value: expect.stringMatching(/^W0/),
      fenced: true,
    })
  })

  test('refuses a malformed key before anything is done', async () => {
    const { process } = openWorld()
    const { cache, events } = process()
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    const bad = [
      'spell',
      '',
      ':4',
      'no space:4',
      `spell:${'x'.repeat(600)}`,
      undefined,
      4,
      4n,
      Symbol('4'),
      { ...fireball, password: 'secret' },
      { toJSON: () => expect.unreachable() },
    ] as unknown as Key[]
    // A row that is given instead of its key may hold what no log must show.
    const refused = { code: 'INVALID_KEY', message: expect.not.stringContaining('secret') }
    for (const key of bad) {
      const writing = cache.write([spells.key(4), key], () => expect.unreachable())
      await expect(writing).rejects.toMatchObject(refused)
      await expect(cache.invalidate([spells.key(4), key])).rejects.toMatchObject(refused)
    }
    expect(events).toEqual([])
  })

  test('rejects guard() for a malformed key, and guards none of its companions', async () => {
    const { clock, process } = openWorld()
    const { cache, eventsOf } = process()
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    const writing = cache.write([], async ({ guard }) => {
      await expect(guard(spells.key(4), 'nonsense' as Key)).rejects.toMatchObject({ code: 'INVALID_KEY' })
    })
    expect(await writing).toMatchObject({ fenced: true })
    await clock.drain()
    expect(eventsOf('guard')).toEqual([])
  })

  test('rejects guard() after it has ended', async () => {
    const { inspect, process } = openWorld()
    const { cache } = process()
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    let late!: WriteContext['guard']
    await cache.write([], context => {
      late = context.guard
    })
    await expect(late(spells.key(4))).rejects.toMatchObject({
      name: 'CacheError',
      code: 'WRITE_ENDED',
      message: 'guard() was called after the write had ended: the key is not guarded',
    })
    expect(inspect('spell:4')).toBeUndefined()
  })

  test('within a write of the same key leaves it guarded until the outer one ends', async () => {
    const { inspect, process } = openWorld()
    const table = spellTable(fireball)
    const spells = process().cache.keyspace('spell', { load: table.find })
    const outer = await spells.write(
      4,
      async () => {
        const inner = await spells.write(4, () => table.update(4, 31), { writeThrough: true })
        expect(inner).toMatchObject({ invalidation: 'applied', fenced: true })
        expect(inspect('spell:4')).toMatch(/^W/)
        return table.update(4, 32)
      },
      { writeThrough: true },
    )
    expect(outer).toMatchObject({ invalidation: 'applied', fenced: true })
    expect(inspect('spell:4')).toBeUndefined()
    expect(await spells.read(4)).toMatchObject({ why: 'missing', value: { damage: 32 } })
  })

  test('keeps the guard of a slow writer alive, which stays fenced', async () => {
    const { clock, process } = openWorld()
    const table = spellTable(fireball)
    const { cache, eventsOf } = process({ guardMs: 9_000 })
    const spells = cache.keyspace('spell', { load: table.find })
    const writing = spells.write(4, async () => {
      await passing(clock, 29_000)
      return table.update(4, 31).damage
    })
    await clock.advance(28_000)
    expect(await spells.read(4)).toMatchObject({ why: 'guarded' })
    expect(await within(clock, 1_000, writing)).toEqual({ value: 31, invalidation: 'applied', fenced: true })
    expect(eventsOf('guard').map(({ outcome }) => outcome)).toEqual([
      'confirmed',
      ...Array(9).fill('renewed'),
    ])
  })

  test('gives up its guard after writeTimeoutMs, and says that it was not fenced', async () => {
    const { clock, inspect, process } = openWorld()
    const spells = process({ guardMs: 9_000, writeTimeoutMs: 20_000 }).cache.keyspace('spell', {
      load: spellTable(fireball).find,
    })
    const writing = spells.write(4, () => passing(clock, 60_000))
    await clock.advance(30_000)
    expect(inspect('spell:4')).toBeUndefined()
    expect(await within(clock, 30_000, writing)).toMatchObject({ invalidation: 'applied', fenced: false })
  })

  test('renews no guard that is still under way, which would find nothing to renew', async () => {
    const { clock, process, network } = openWorld()
    const link = network()
    const { cache, eventsOf } = process({ guardMs: 900, sharedTimeoutMs: 150 }, link)
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    const writing = spells.write(4, async ({ guard }) => {
      await passing(clock, 250)
      link.delay(100, 'guard')
      const late = guard(spells.key(5))
      link.restore('guard')
      await late
      await passing(clock, 300)
    })
    expect(await within(clock, 700, writing)).toMatchObject({ fenced: true })
    expect(eventsOf('guard').map(({ key, outcome }) => [key, outcome])).toEqual([
      ['spell:4', 'confirmed'],
      ['spell:4', 'renewed'],
      ['spell:5', 'confirmed'],
      ['spell:5', 'renewed'],
      ['spell:4', 'renewed'],
    ])
  })

  test('notices that its guard was lost, takes it up again, and says that it was not fenced', async () => {
    const { clock, inspect, plant, process } = openWorld()
    const { cache, eventsOf } = process({ guardMs: 9_000 })
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    const writing = spells.write(4, () => passing(clock, 4_000))
    await clock.drain()
    plant('spell:4', 'lost', 1)
    await clock.advance(3_500)
    expect(inspect('spell:4')).toMatch(/^W1/)
    expect(await within(clock, 500, writing)).toMatchObject({ invalidation: 'applied', fenced: false })
    expect(eventsOf('guard').map(({ outcome }) => outcome)).toEqual(['confirmed', 'rejoined'])
  })

  test('says `barred` of a guard that one of a later version keeps out', async () => {
    const { clock, plant, process } = openWorld()
    const { cache, eventsOf } = process()
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    plant('spell:4', 'W20 of a later version', 1_000)
    expect(await spells.write(4, () => {})).toMatchObject({ fenced: false, invalidation: 'applied' })
    expect(eventsOf('guard').map(({ outcome }) => outcome)).toEqual(['barred'])
    expect(cache.stats().keyspaces.spell!.guards).toMatchObject({ confirmed: 0, barred: 1, unconfirmed: 0 })
    await clock.advance(1_100)
  })
})

describe('write of one key by many at once', () => {
  test('guards and releases once, and tells each of them the truth', async () => {
    const { clock, inspect, process, network } = openWorld()
    const link = network()
    const table = spellTable(fireball)
    const { cache, eventsOf } = process({}, link)
    const spells = cache.keyspace('spell', { load: table.find })
    await clock.drain()
    const query = gate()
    const writing = Array.from({ length: 1_000 }, () => spells.write(4, () => query.wait()))
    await clock.drain()
    expect(inspect('spell:4')).toHaveLength(2 + 29)
    query.open()
    await clock.drain()
    for (const written of await Promise.all(writing))
      expect(written).toMatchObject({ invalidation: 'applied', fenced: true })
    expect(inspect('spell:4')).toBeUndefined()
    expect(link.calls.guard).toBeLessThanOrEqual(2)
    expect(link.calls.release).toBe(1)
    expect(eventsOf('invalidation').filter(({ outcome }) => outcome === 'applied')).toHaveLength(1_000)
    expect(cache.stats().now.queuedInvalidations).toBe(0)
  })

  test('asks once for all who end while one question is under way', async () => {
    const { clock, process, network } = openWorld()
    const link = network()
    const { cache } = process({}, link)
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    await clock.drain()
    const [first, others, last] = [gate(), gate(), gate()]
    const writing = [
      spells.write(4, () => first.wait()),
      ...Array.from({ length: 20 }, () => spells.write(4, () => others.wait())),
      spells.write(4, () => last.wait()),
    ]
    await clock.drain()
    link.delay(20, 'guard')
    first.open()
    await clock.advance(5)
    others.open()
    await clock.advance(100)
    expect(link.calls.guard).toBe(3)
    expect(link.calls.release).toBe(0)
    last.open()
    await clock.drain()
    for (const written of await Promise.all(writing))
      expect(written).toEqual({ value: undefined, invalidation: 'applied', fenced: true })
    expect(link.calls.release).toBe(1)
  })

  test('renews once for all of them', async () => {
    const { clock, process, network } = openWorld()
    const link = network()
    const { cache } = process({ guardMs: 9_000 }, link)
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    await clock.drain()
    const writing = Array.from({ length: 50 }, () => spells.write(4, () => passing(clock, 5_000)))
    await clock.advance(4_000)
    expect(link.calls.guard).toBe(2)
    await clock.advance(1_100)
    expect(await Promise.all(writing)).toEqual(
      Array(50).fill({ value: undefined, invalidation: 'applied', fenced: true }),
    )
  })

  test('has another token once the first has been renewed, and a writer that hangs holds up no other', async () => {
    const { clock, inspect, process } = openWorld()
    const { cache } = process({ guardMs: 9_000, writeTimeoutMs: 9_000 })
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    const hang = gate()
    const hanging = spells.write(4, () => hang.wait())
    await clock.advance(3_100)
    const query = gate()
    const writing = spells.write(4, () => query.wait())
    await clock.drain()
    expect(inspect('spell:4')).toHaveLength(2 + 2 * 29)
    query.open()
    expect(await within(clock, 50, writing)).toMatchObject({ fenced: true })
    await clock.advance(20_000)
    expect(inspect('spell:4')).toBeUndefined()
    hang.open()
    expect(await within(clock, 50, hanging)).toMatchObject({ invalidation: 'applied', fenced: false })
  })

  test('is unfenced and queued where the question is not answered, and leaves the token to the others', async () => {
    const { clock, inspect, process, network } = openWorld()
    const link = network()
    const { cache } = process({}, link)
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    await clock.drain()
    const [first, last] = [gate(), gate()]
    const [writingA, writingB] = [spells.write(4, () => first.wait()), spells.write(4, () => last.wait())]
    await clock.drain()
    link.fail('guard')
    first.open()
    expect(await within(clock, 5, writingA)).toMatchObject({ invalidation: 'queued', fenced: false })
    link.restore()
    await clock.advance(2_000)
    expect(inspect('spell:4')).toMatch(/^W/)
    last.open()
    expect(await within(clock, 5, writingB)).toMatchObject({ invalidation: 'applied', fenced: false })
    expect(inspect('spell:4')).toBeUndefined()
  })

  test('asks each of them whether it goes on where the guard is not confirmed, and tells each by its own option', async () => {
    const { clock, process, network } = openWorld()
    const link = network()
    const { cache } = process({}, link)
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    await clock.drain()
    link.fail('guard')
    const refused = spells.write(4, () => expect.unreachable(), { unguarded: 'refuse' })
    const proceeds = spells.write(4, () => 'done')
    await expect(refused).rejects.toMatchObject({ code: 'UNGUARDED' })
    expect(await within(clock, 5, proceeds)).toMatchObject({ value: 'done', fenced: false })
    link.restore()
    await clock.advance(2_000)
  })
})

describe('write whose function throws', () => {
  test('rethrows what the server decided as it is, and releases at once', async () => {
    const { inspect, process } = openWorld()
    const { cache, eventsOf } = process()
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    const boom = sqlError('23505')
    await expect(spells.write(4, async () => Promise.reject(boom))).rejects.toBe(boom)
    await expect(
      spells.write(4, () => {
        throw boom
      }),
    ).rejects.toBe(boom)
    expect(inspect('spell:4')).toBeUndefined()
    expect(eventsOf('invalidation').map(({ outcome }) => outcome)).toEqual(['applied', 'applied'])
  })

  test.each([
    ['an error of the application', new Error('not found')],
    ['a lost connection', sqlError('08006')],
    ['an unknown completion', sqlError('40003')],
    ['a server that is shut down', sqlError('57P01')],
    ['a system error', sqlError('ECONNRESET')],
    ['nothing at all', undefined],
  ])('rethrows %s, leaves the key guarded for guardMs and invalidates it then', async (_, boom) => {
    const { clock, inspect, process } = openWorld()
    const { cache, eventsOf } = process({ guardMs: 9_000, local: L1 })
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    await expect(
      spells.write(4, () => {
        throw boom
      }),
    ).rejects.toBe(boom)
    expect(cache.stats().now.queuedInvalidations).toBe(1)
    await clock.advance(8_900)
    expect(inspect('spell:4')).toMatch(/^W/)
    expect(await spells.read(4)).toMatchObject({ why: 'in-doubt', kept: false })
    expect(cache.stats().now.commitsInDoubt).toBe(1)
    await clock.advance(200)
    expect(inspect('spell:4')).toBeUndefined()
    expect(eventsOf('invalidation').map(({ outcome }) => outcome)).toEqual(['in-doubt', 'late'])
    expect(cache.stats().now).toMatchObject({ commitsInDoubt: 0, queuedInvalidations: 0 })
    expect(await spells.read(4)).toMatchObject({ why: 'missing', kept: true })
  })

  test('asks the option commitInDoubt, of the write before that of the cache', async () => {
    const { inspect, process } = openWorld()
    const asked: unknown[] = []
    const { cache } = process({
      commitInDoubt: error => {
        asked.push(['cache', error])
        return false
      },
    })
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    await expect(
      spells.write(4, () => {
        throw 'one'
      }),
    ).rejects.toBe('one')
    const commitInDoubt = (error: unknown) => {
      asked.push(['write', error])
      return false
    }
    await expect(
      spells.write(
        4,
        () => {
          throw 'two'
        },
        { commitInDoubt },
      ),
    ).rejects.toBe('two')
    await expect(
      cache.write(
        [spells.key(4)],
        () => {
          throw 'three'
        },
        { commitInDoubt },
      ),
    ).rejects.toBe('three')
    expect(asked).toEqual([
      ['cache', 'one'],
      ['write', 'two'],
      ['write', 'three'],
    ])
    expect(inspect('spell:4')).toBeUndefined()
  })

  test('counts a commitInDoubt that throws as a doubt, and still rethrows the error of the function', async () => {
    const { clock, process } = openWorld()
    const broken = new Error('a rule that is broken')
    const { cache, eventsOf } = process({
      commitInDoubt: () => {
        throw broken
      },
    })
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    const boom = sqlError('23505')
    await expect(
      spells.write(4, () => {
        throw boom
      }),
    ).rejects.toBe(boom)
    expect(eventsOf('fault')).toEqual([{ type: 'fault', during: 'commitInDoubt', error: broken }])
    expect(cache.stats().now.queuedInvalidations).toBe(1)
    await clock.advance(10_100)
  })
})

describe('write without a shared store that answers', () => {
  test('proceeds, says that it was not fenced, and tells the store later', async () => {
    const { clock, process, network } = openWorld()
    const link = network()
    const { cache, eventsOf } = process({}, link)
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    await clock.drain()
    link.fail()
    expect(await spells.write(4, () => 'done')).toEqual({
      value: 'done',
      invalidation: 'queued',
      fenced: false,
    })
    expect(await spells.write(5, () => 'done')).toMatchObject({ invalidation: 'queued', fenced: false })
    expect(cache.stats().now.queuedInvalidations).toBe(2)
    link.restore()
    await clock.advance(2_000)
    expect(eventsOf('invalidation').map(({ outcome }) => outcome)).toEqual([
      'queued',
      'queued',
      'late',
      'late',
    ])
  })

  test('proceeds within two limits if it hangs, with any number of keys', async () => {
    const { clock, process, network } = openWorld()
    const link = network()
    const { cache } = process({}, link)
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    await clock.drain()
    link.hang()
    const keys = Array.from({ length: 50 }, (_, id) => spells.key(id))
    const writing = within(
      clock,
      205,
      cache.write(keys, () => clock.nowMs()),
    )
    const { value } = await writing
    expect(value).toBeLessThanOrEqual(102)
    link.restore()
    await clock.advance(2_000)
  })

  test("is not begun with unguarded: 'refuse', and nothing stays behind", async () => {
    const { clock, process, network } = openWorld()
    const link = network()
    const { cache } = process({ unguarded: 'refuse' }, link)
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    await clock.drain()
    link.fail('guard')
    const refusal = { name: 'CacheError', code: 'UNGUARDED', message: expect.stringContaining('spell:4') }
    await expect(spells.write(4, () => expect.unreachable())).rejects.toMatchObject(refusal)
    await clock.drain()
    expect(await spells.write(4, () => 'all the same', { unguarded: 'proceed' })).toMatchObject({
      fenced: false,
    })
    link.restore()
    await clock.advance(2_000)
    expect(await spells.write(4, () => 'done')).toMatchObject({ value: 'done', fenced: true })
  })

  test("can be told to refuse one write where the cache's option is to proceed", async () => {
    const { clock, process, network } = openWorld()
    const link = network()
    const spells = process({}, link).cache.keyspace('spell', { load: spellTable(fireball).find })
    await clock.drain()
    link.fail()
    const writing = spells.write(4, () => expect.unreachable(), { unguarded: 'refuse' })
    await expect(writing).rejects.toMatchObject({ code: 'UNGUARDED' })
    link.restore()
    await clock.advance(2_000)
  })

  test('releases at once what was refused inside the function, which rolled back', async () => {
    const { clock, inspect, process, network } = openWorld()
    const link = network()
    const { cache, eventsOf } = process({ unguarded: 'refuse' }, link)
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    await clock.drain()
    const writing = cache.write([spells.key(4)], async ({ guard }) => {
      link.fail('guard')
      await Promise.all([guard(spells.key(5)), guard(spells.key(6))])
    })
    await expect(writing).rejects.toSatisfy(
      error => error instanceof CacheError && error.code === 'UNGUARDED',
    )
    expect(eventsOf('invalidation').map(({ key, outcome }) => [key, outcome])).toEqual([
      ['spell:4', 'applied'],
      ['spell:5', 'applied'],
      ['spell:6', 'applied'],
    ])
    expect(inspect('spell:4')).toBeUndefined()
    link.restore()
    await clock.advance(2_000)
  })

  test('releases at once what was refused inside the function, also where it is only the cause', async () => {
    const { clock, inspect, process, network } = openWorld()
    const link = network()
    const { cache } = process({ unguarded: 'refuse' }, link)
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    await clock.drain()
    const writing = spells.write(4, async ({ guard }) => {
      link.fail('guard')
      await guard(spells.key(5)).catch(cause => {
        throw new Error('the transaction failed', { cause })
      })
    })
    await expect(writing).rejects.toThrow('the transaction failed')
    expect(inspect('spell:4')).toBeUndefined()
    link.restore()
    await clock.advance(2_000)
  })

  test('releases at once where the function asked for a guard of what is no key', async () => {
    const { inspect, process } = openWorld()
    const { cache, eventsOf } = process({ commitInDoubt: () => true })
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    const writing = cache.write([spells.key(4)], ({ guard }) => guard('no key' as Key))
    await expect(writing).rejects.toMatchObject({ code: 'INVALID_KEY' })
    expect(inspect('spell:4')).toBeUndefined()
    expect(eventsOf('invalidation').map(({ outcome }) => outcome)).toEqual(['applied'])
  })

  test('bypasses the cache for its key until the store has been told', async () => {
    const { clock, process, network } = openWorld()
    const link = network()
    const table = spellTable(fireball)
    const spells = process({ local: L1 }, link).cache.keyspace('spell', { load: table.find })
    await clock.drain()
    await spells.get(4)
    await clock.drain()
    link.fail('release')
    expect(await spells.write(4, () => table.update(4, 31))).toMatchObject({
      invalidation: 'queued',
      fenced: false,
    })
    expect(await spells.read(4)).toMatchObject({ why: 'queued', kept: false, value: { damage: 31 } })
    link.restore()
    await clock.advance(2_000)
    expect(await spells.read(4)).toMatchObject({ why: 'missing', kept: true })
  })
})

describe('write-through', () => {
  test('stores the committed value at the release', async () => {
    const { process } = openWorld()
    const table = spellTable(fireball)
    const { cache } = process()
    const spells = cache.keyspace('spell', { load: table.find, ttlMs: 1_000, ttlJitter: 0 })
    const written = await spells.write(4, () => table.update(4, 31), { writeThrough: true })
    expect(written).toMatchObject({ invalidation: 'applied', fenced: true })
    expect(await spells.read(4)).toMatchObject({
      from: 'shared',
      why: 'fresh',
      ttlMs: 1_000,
      value: { damage: 31 },
    })
    expect(table.asked).toEqual([])
    expect(cache.stats().keyspaces.spell).toMatchObject({ writtenThrough: 1, invalidations: { applied: 1 } })
  })

  test('stores the absence of a row that was deleted', async () => {
    const { process } = openWorld()
    const table = spellTable(fireball)
    const spells = process().cache.keyspace<number, Spell>('spell', { load: table.find })
    const commit = () => {
      table.rows.delete(4)
      return undefined
    }
    await spells.write(4, commit, { writeThrough: true })
    expect(await spells.read(4)).toMatchObject({ value: undefined, from: 'shared', why: 'fresh' })
  })

  test('of several keys stores an entry for each that has one, and releases the others', async () => {
    const { inspect, process } = openWorld()
    const { cache } = process()
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    const names = cache.keyspace('name', { load: async (_: number) => 'Fireball' })
    const keys = [spells.key(4), spells.key(5), names.key(4)]
    await cache.write(keys, () => ({ ...fireball, damage: 31 }), {
      writeThrough: row => [spells.entry(4, row), names.entry(4, row.name), spells.entry(6, row)],
    })
    expect(await spells.read(4)).toMatchObject({ from: 'shared', value: { damage: 31 } })
    expect(await names.read(4)).toMatchObject({ from: 'shared', value: 'Fireball' })
    expect(inspect('spell:5')).toBeUndefined()
    // An entry of a key that was not guarded is stored nowhere.
    expect(inspect('spell:6')).toBeUndefined()
  })

  test('stores nothing where another writer was there meanwhile', async () => {
    const { inspect, process } = openWorld()
    const table = spellTable(fireball)
    const here = process().cache.keyspace('spell', { load: table.find })
    const there = process().cache.keyspace('spell', { load: table.find })
    const query = gate()
    const slow = here.write(
      4,
      async () => {
        await query.wait()
        return fireball
      },
      { writeThrough: true },
    )
    await query.reached
    await there.write(4, () => table.update(4, 31), { writeThrough: true })
    query.open()
    expect(await slow).toMatchObject({ invalidation: 'applied', fenced: true })
    expect(inspect('spell:4')).toBeUndefined()
  })

  test('stores nothing where the key was not guarded', async () => {
    const { clock, inspect, process, network } = openWorld()
    const link = network()
    const table = spellTable(fireball)
    const spells = process({}, link).cache.keyspace('spell', { load: table.find })
    await clock.drain()
    link.fail('guard')
    const written = await spells.write(4, () => table.update(4, 31), { writeThrough: true })
    expect(written).toMatchObject({ invalidation: 'applied', fenced: false })
    expect(inspect('spell:4')).toBeUndefined()
    link.restore()
    await clock.advance(1_000)
  })

  test.each<[string, () => Iterable<never>]>([
    [
      'throws',
      () => {
        throw new Error('cannot say')
      },
    ],
    [
      'throws half-way',
      function* () {
        yield* []
        throw new Error('half-way')
      },
    ],
    ['answers with something that is no list', () => 4 as never],
    ['answers with something that is no entry', () => [undefined as never]],
  ])('whose function %s is reported, and every key released', async (_, writeThrough) => {
    const { inspect, process } = openWorld()
    const { cache, eventsOf } = process()
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
    const keys = [spells.key(4), spells.key(5)]
    const written = await cache.write(keys, () => 'done', { writeThrough })
    expect(written).toEqual({ value: 'done', invalidation: 'applied', fenced: true })
    expect(keys.map(key => inspect(key))).toEqual([undefined, undefined])
    expect(eventsOf('fault')).toEqual([{ type: 'fault', during: 'writeThrough', error: expect.any(Error) }])
    expect(cache.stats().faults).toBe(1)
  })

  test('of a value that cannot be kept is reported, and the key released', async () => {
    const { inspect, process } = openWorld()
    const { cache, eventsOf } = process()
    const cast = () => 5
    const values = cache.keyspace<number, () => number>('value', { load: async () => cast })
    const written = await values.write(1, () => cast, { writeThrough: true })
    expect(written).toEqual({ value: cast, invalidation: 'applied', fenced: true })
    expect(eventsOf('fill')).toMatchObject([{ key: 'value:1', outcome: 'unencodable' }])
    expect(inspect('value:1')).toBeUndefined()
  })

  test('of a keyspace that was invalidated during the write is not found', async () => {
    const { process } = openWorld()
    const table = spellTable(fireball)
    const spells = process().cache.keyspace('spell', { load: table.find })
    await spells.write(
      4,
      async () => {
        await spells.invalidateAll()
        return fireball
      },
      { writeThrough: true },
    )
    table.update(4, 31)
    expect(await spells.read(4)).toMatchObject({ from: 'origin', value: { damage: 31 } })
  })
})

test('write of what is no function fails before anything is guarded', async () => {
  const { inspect, process } = openWorld()
  const { cache } = process()
  const spells = cache.keyspace('spell', { load: spellTable(fireball).find })
  const nothing = undefined as unknown as () => void
  for (const written of [spells.write(4, nothing), cache.write([spells.key(4)], nothing)])
    await expect(written).rejects.toMatchObject({
      code: 'INVALID_OPTIONS',
      message: /commit to be a function/,
    })
  expect(inspect('spell:4')).toBeUndefined()
})
