import { describe, expect, test } from 'vitest'
import {
  type CacheOptions,
  createCache,
  DEFAULT_CACHE_OPTIONS,
  DEFAULT_KEYSPACE_OPTIONS,
  embeddedShared,
  type KeyspaceOptions,
} from '../src/index.ts'
import { gate, SimulatedClock } from '../src/testing/index.ts'
import { fireball, openWorld } from './world.ts'

/** Options as somebody without a compiler may write them. */
const misspelt = (options: unknown) => options as never

describe('createCache', () => {
  test('needs no options: everything is in this process', async () => {
    const cache = createCache()
    const spells = cache.keyspace('spell', { load: async (_: number) => fireball })
    expect(await spells.get(4)).toEqual(fireball)
    await cache.close()
  })

  test('takes an option that is undefined for one that was left out', async () => {
    const names = Object.keys(DEFAULT_CACHE_OPTIONS).concat(
      'local',
      'onEvent',
      'clock',
      'commitInDoubt',
      'shared',
    )
    const cache = createCache(misspelt(Object.fromEntries(names.map(name => [name, undefined]))))
    expect(await cache.keyspace('spell', { load: async (_: number) => fireball }).get(4)).toEqual(fireball)
    await cache.close()
  })

  test.each<[string, unknown, string]>([
    [
      'a limit that is no number',
      { sharedTimeoutMs: '100' },
      'expected sharedTimeoutMs to be a whole number from 1 to 2147483647, got "100"',
    ],
    [
      'a limit of nothing',
      { sharedTimeoutMs: 0 },
      'expected sharedTimeoutMs to be a whole number from 1 to 2147483647, got 0',
    ],
    [
      'a limit that is not whole',
      { busyWaitMs: 1.5 },
      'expected busyWaitMs to be a whole number from 1 to 2147483647, got 1.5',
    ],
    [
      'a limit that is not a number at all',
      { loadTimeoutMs: Number.NaN },
      'expected loadTimeoutMs to be a whole number from 1 to 2147483647, got NaN',
    ],
    [
      'a limit that no timer can hold',
      { writeTimeoutMs: 2 ** 31 },
      'expected writeTimeoutMs to be a whole number from 1 to 2147483647, got 2147483648',
    ],
    [
      'a limit that is null',
      { leaseMs: null },
      'expected leaseMs to be a whole number from 1 to 2147483647, got null',
    ],
    [
      'a bound below zero',
      { localMaxStaleMs: -1 },
      'expected localMaxStaleMs to be a whole number from 1 to 2147483647, got -1',
    ],
    [
      'a limit of type bigint',
      { guardMs: 10_000n },
      'expected guardMs to be a whole number from 1 to 2147483647, got 10000',
    ],
    ['no loads at all', { maxLoads: 0 }, 'expected maxLoads to be a whole number from 1 to 1000000, got 0'],
    [
      'half a queue',
      { maxQueuedLoads: 0.5 },
      'expected maxQueuedLoads to be a whole number from 0 to 1000000, got 0.5',
    ],
    [
      'an endless queue',
      { maxQueuedInvalidations: Number.POSITIVE_INFINITY },
      'expected maxQueuedInvalidations to be a whole number from 1 to 10000000, got Infinity',
    ],
    [
      'a store slower than the wait',
      { sharedTimeoutMs: 2_000 },
      'expected sharedTimeoutMs to be less than busyWaitMs (2000), got 2000',
    ],
    [
      'a wait longer than a load',
      { busyWaitMs: 10_001 },
      'expected busyWaitMs to be at most loadTimeoutMs (10000), got 10001',
    ],
    [
      'a load longer than its lease',
      { loadTimeoutMs: 15_000 },
      'expected loadTimeoutMs to be less than leaseMs (15000), got 15000',
    ],
    [
      'a guard longer than the write',
      { guardMs: 60_001 },
      'expected guardMs to be at most writeTimeoutMs (60000), got 60001',
    ],
    [
      'a renewal later than its deadline',
      { guardMs: 300 },
      'expected sharedTimeoutMs to be less than a third of guardMs (100), got 100',
    ],
    [
      'an unknown way to be unguarded',
      { unguarded: 'ignore' },
      'expected unguarded to be one of proceed, refuse, got "ignore"',
    ],
    ['an unknown way to fill', { fill: true }, 'expected fill to be one of background, blocking, got true'],
    ['a listener that is none', { onEvent: 'log' }, 'expected onEvent to be a function, got "log"'],
    ['a rule that is none', { commitInDoubt: false }, 'expected commitInDoubt to be a function, got false'],
    [
      'a store that is none',
      { shared: {} },
      'expected shared to be a shared store, as redisShared({ client }) makes one, got [object Object]',
    ],
    [
      'a store that is null',
      { shared: null },
      'expected shared to be a shared store, as redisShared({ client }) makes one, got null',
    ],
    [
      'a module for a store',
      { shared: Object.create(null) },
      'expected shared to be a shared store, as redisShared({ client }) makes one, got [object Object]',
    ],
    [
      'a clock with one method',
      { clock: { nowMs: () => 1 } },
      'expected clock.coarseMs to be a function, got undefined',
    ],
    [
      'a store with one method',
      { shared: { lease() {} } },
      'expected shared.leaseMany to be a function, got undefined',
    ],
    [
      'no entries in L1',
      { local: { maxEntries: 0 } },
      'expected local.maxEntries to be a whole number from 1',
    ],
    ['an array', [], 'expected options to be an object, got []'],
    ['a date', new Date(), 'expected options to be an object, got [object Date]'],
    ['a promise', Promise.resolve({}), 'expected options to be an object, got [object Promise]'],
    ['a clock that is none', { clock: {} }, 'expected clock to be a clock, got [object Object]'],
    [
      'a clock that is none beside a store',
      { clock: 4, shared: embeddedShared() },
      'expected clock to be a clock, got 4',
    ],
    ['an L1 that is none', { local: true }, 'expected local to be an object, got true'],
    ['an L1 that is null', { local: null }, 'expected local to be an object, got null'],
    [
      'an L1 without bounds',
      { local: {} },
      'expected local to be bounded by maxBytes or maxEntries, got neither',
    ],
    ['an L1 of no bytes', { local: { maxBytes: 0 } }, 'maxBytes'],
    ['an L1 of half an entry', { local: { maxEntries: 0.5 } }, 'maxEntries'],
    [
      'an unknown policy',
      { local: { maxEntries: 1, policy: 'fifo' } },
      'expected local.policy to be one of s3-fifo, noeviction',
    ],
    [
      'a misspelt option of L1',
      { local: { maxEntry: 4 } },
      'unknown option local.maxEntry, known are: maxBytes, maxEntries, policy',
    ],
    [
      'a misspelt option',
      { sharedTimeout: 100 },
      'unknown option options.sharedTimeout, known are: sharedTimeoutMs, busyWaitMs',
    ],
    ['nothing', null, 'expected options to be an object, got null'],
    ['a number', 5, 'expected options to be an object, got 5'],
  ])('refuses %s, and says which option, what it expects and what it got', (_, options, message) => {
    const refusal = { name: 'CacheError', code: 'INVALID_OPTIONS', message: expect.stringContaining(message) }
    expect(() => createCache(misspelt(options))).toThrow(expect.objectContaining(refusal))
  })
})

describe('what one call is told', () => {
  const load = async (_: number) => fireball
  const never = () => expect.unreachable()

  test('listen takes only a function, and an embedded store only what can be', () => {
    const { process } = openWorld()
    const refused = (message: string) => expect.objectContaining({ code: 'INVALID_OPTIONS', message })
    expect(() => process().cache.listen(misspelt(5))).toThrow(
      refused('expected listener to be a function, got 5'),
    )
    expect(() => embeddedShared({ clock: misspelt({}) })).toThrow(
      refused('expected clock to be a clock, got [object Object]'),
    )
    for (const name of ['maxBytes', 'policy', 'clock'])
      expect(() => embeddedShared(misspelt({ [name]: null }))).toThrow(`expected ${name} to be`)
  })

  test.each([['default'], ['Strong'], [true], [null]])(
    'a read refuses the consistency %j before any I/O, and does not take it for a weaker one',
    async consistency => {
      const { inspect, process } = openWorld()
      const spells = process().cache.keyspace('spell', { load })
      const options = misspelt({ consistency })
      const refusal = {
        code: 'INVALID_OPTIONS',
        message: expect.stringMatching(/^expected consistency to be "strong", got /),
      }
      await expect(spells.get(4, options)).rejects.toMatchObject(refusal)
      await expect(spells.read(4, options)).rejects.toMatchObject(refusal)
      await expect(spells.getMany([4], options)).rejects.toMatchObject(refusal)
      expect(inspect('spell:4')).toBeUndefined()
      expect(await spells.get(4, misspelt({ consistency: undefined }))).toEqual(fireball)
    },
  )

  test.each<[string, unknown, string]>([
    [
      'a misspelt option',
      { consistancy: 'strong' },
      'unknown option options.consistancy, known are: consistency, ',
    ],
    ['a text', 'strong', 'expected options to be an object, got "strong"'],
    ['nothing', null, 'expected options to be an object, got null'],
    ['an array', ['strong'], 'expected options to be an object, got ["strong"]'],
    ['a bare signal', new AbortController().signal, ', known are: consistency, signal'],
    ['a signal that is nothing', { signal: null }, 'expected signal to be an AbortSignal, got null'],
    ['a signal that is none', { signal: {} }, 'expected signal to be an AbortSignal, got [object Object]'],
    [
      'a controller for its signal',
      { signal: new AbortController() },
      'expected signal to be an AbortSignal, got [object AbortController]',
    ],
  ])('a read refuses %s before any I/O, also of a value in L1', async (_, given, message) => {
    const { process } = openWorld()
    const { cache, eventsOf } = process({ local: { maxEntries: 10 } })
    let loads = 0
    const loading = async (_: number) => {
      loads++
      return fireball
    }
    const spells = cache.keyspace('spell', { load: loading })
    await spells.get(4)
    const refusal = { code: 'INVALID_OPTIONS', message: expect.stringContaining(message) }
    const options = misspelt(given)
    for (const id of [4, 5]) {
      await expect(spells.get(id, options)).rejects.toMatchObject(refusal)
      await expect(spells.read(id, options)).rejects.toMatchObject(refusal)
      await expect(spells.getMany([id], options)).rejects.toMatchObject(refusal)
    }
    await expect(spells.getMany([], options)).rejects.toMatchObject(refusal)
    expect([loads, eventsOf('read').length]).toEqual([1, 1])
  })

  test('a snapshot refuses unknown options, a signal that is none, and a missing load', async () => {
    const { process } = openWorld()
    const { cache } = process()
    const spells = cache.keyspace('spell', { load })
    await spells.get(4)
    const many = (given: object) => spells.getMany([4], misspelt({ consistency: 'snapshot', ...given }))
    const of = (given: object) => cache.snapshot([spells.at(4)], misspelt(given))
    const refused = (message: string) => ({
      code: 'INVALID_OPTIONS',
      message: expect.stringContaining(message),
    })
    await expect(many({})).rejects.toMatchObject(refused('expected load to be a function, got undefined'))
    await expect(of({})).rejects.toMatchObject(refused('expected load to be a function, got undefined'))
    for (const call of [many, of]) {
      await expect(call({ load: never, lode: 1 })).rejects.toMatchObject(
        refused('unknown option options.lode, known are: '),
      )
      await expect(call({ load: never, signal: null })).rejects.toMatchObject(
        refused('expected signal to be'),
      )
    }
  })

  test('a read takes a signal by its form, also one that knows no reason', async () => {
    const { process } = openWorld()
    const { cache, eventsOf } = process()
    const query = gate<typeof fireball>()
    const spells = cache.keyspace('spell', { load: (_: number) => query.wait() })
    const target = new EventTarget()
    const signal = Object.assign(Object.create(null), {
      aborted: false,
      addEventListener: target.addEventListener.bind(target),
      removeEventListener: target.removeEventListener.bind(target),
    }) as AbortSignal
    const reading = spells.get(4, { signal, consistency: 'strong' })
    await query.reached
    Object.assign(signal, { aborted: true })
    target.dispatchEvent(new Event('abort'))
    await expect(reading).rejects.toMatchObject({ name: 'AbortError' })
    await expect(spells.get(4, { signal })).rejects.toMatchObject({ name: 'AbortError' })
    expect(eventsOf('read').map(({ outcome }) => outcome)).toEqual(['aborted'])
    query.open(fireball)
  })

  test('getMany refuses a hole among its ids as it refuses undefined, and is closed with the cache', async () => {
    const { process } = openWorld()
    const { cache } = process()
    const spells = cache.keyspace('spell', { load })
    // biome-ignore lint/suspicious/noSparseArray: what is under test
    const ids = [4, , 5] as number[]
    await expect(spells.getMany(ids)).rejects.toMatchObject({ code: 'INVALID_KEY' })
    await expect(
      spells.getMany(ids, { consistency: 'snapshot', load: async () => [] }),
    ).rejects.toMatchObject({ code: 'INVALID_KEY' })
    await cache.close()
    for (const empty of [spells.getMany([]), cache.snapshot([], { load: () => [] }), cache.invalidate([])])
      await expect(empty).rejects.toMatchObject({ code: 'CLOSED' })
  })

  test.each<[string, unknown, string]>([
    [
      'an unknown way to be unguarded',
      { unguarded: 'refused' },
      'expected unguarded to be one of proceed, refuse, got "refused"',
    ],
    [
      'a misspelt option',
      { unguared: 'refuse' },
      'unknown option options.unguared, known are: writeThrough, unguarded, commitInDoubt',
    ],
    ['a rule that is none', { commitInDoubt: true }, 'expected commitInDoubt to be a function, got true'],
    ['nothing', null, 'expected options to be an object, got null'],
  ])('write refuses %s before anything is guarded', async (_, options, message) => {
    const { inspect, process } = openWorld()
    const { cache } = process()
    const spells = cache.keyspace('spell', { load })
    const refusal = { code: 'INVALID_OPTIONS', message: expect.stringContaining(message) }
    await expect(spells.write(4, never, misspelt(options))).rejects.toMatchObject(refusal)
    await expect(cache.write([spells.key(4)], never, misspelt(options))).rejects.toMatchObject(refusal)
    expect(inspect('spell:4')).toBeUndefined()
  })

  test('write through is yes or no for one keyspace, and a function for several keys', async () => {
    const { process } = openWorld()
    const { cache } = process()
    const spells = cache.keyspace('spell', { load })
    await expect(spells.write(4, never, misspelt({ writeThrough: 'yes' }))).rejects.toThrow(
      'expected writeThrough to be true or false, got "yes"',
    )
    await expect(cache.write([spells.key(4)], never, misspelt({ writeThrough: true }))).rejects.toThrow(
      'expected writeThrough to be a function, got true',
    )
  })
})

describe('keyspace', () => {
  const load = async (_: number) => fireball

  test('takes an option that is undefined for one that was left out', async () => {
    const names = [
      ...Object.keys(DEFAULT_KEYSPACE_OPTIONS),
      ...[
        'loadMany',
        'key',
        'staleMs',
        'staleIfErrorMs',
        'loadSoftTimeoutMs',
        'loadTimeoutMs',
        'refreshAhead',
        'codec',
        'schema',
      ],
    ]
    const { process } = openWorld()
    const options = misspelt({ ...Object.fromEntries(names.map(name => [name, undefined])), load })
    expect(await process().cache.keyspace<number, typeof fireball>('spell', options).get(4)).toEqual(fireball)
  })

  test.each<[string, object, string]>([
    ['no loader', {}, 'expected spell.load to be a function, got undefined'],
    ['a loader that is none', { load: 4 }, 'expected spell.load to be a function, got 4'],
    [
      'a batch loader that is none',
      { load, loadMany: {} },
      'expected spell.loadMany to be a function, got [object Object]',
    ],
    ['a key that is none', { load, key: 'id' }, 'expected spell.key to be a function, got "id"'],
    [
      'no time to live',
      { load, ttlMs: 0 },
      'expected spell.ttlMs to be a whole number from 1 to 31622400000, got 0',
    ],
    [
      'an endless time to live',
      { load, ttlMs: Number.POSITIVE_INFINITY },
      'expected spell.ttlMs to be a whole number from 1 to 31622400000, got Infinity',
    ],
    [
      'a time to live as text',
      { load, ttlMs: '10m' },
      'expected spell.ttlMs to be a whole number from 1 to 31622400000, got "10m"',
    ],
    [
      'no time for absent rows',
      { load, absentTtlMs: 0 },
      'expected spell.absentTtlMs to be a whole number from 1 to 31622400000, got 0',
    ],
    [
      'a jitter of everything',
      { load, ttlJitter: 1 },
      'expected spell.ttlJitter to be from 0 to less than 1, got 1',
    ],
    [
      'a jitter below nothing',
      { load, ttlJitter: -0.1 },
      'expected spell.ttlJitter to be from 0 to less than 1, got -0.1',
    ],
    [
      'a jitter as text',
      { load, ttlJitter: '0.1' },
      'expected spell.ttlJitter to be from 0 to less than 1, got "0.1"',
    ],
    [
      'a jitter of null',
      { load, ttlJitter: null },
      'expected spell.ttlJitter to be from 0 to less than 1, got null',
    ],
    [
      'a stale window of nothing',
      { load, staleMs: 0 },
      'expected spell.staleMs to be a whole number from 1 to 31622400000, got 0',
    ],
    [
      'a window that is not whole',
      { load, staleIfErrorMs: 0.5 },
      'expected spell.staleIfErrorMs to be a whole number from 1 to 31622400000, got 0.5',
    ],
    [
      'a soft limit alone',
      { load, loadSoftTimeoutMs: 50 },
      'expected spell.loadSoftTimeoutMs to be given together with staleIfErrorMs, got "alone"',
    ],
    [
      'a soft limit that is harder than the hard one',
      { load, staleIfErrorMs: 1, loadSoftTimeoutMs: 10_000 },
      'expected spell.loadSoftTimeoutMs to be less than spell.loadTimeoutMs (10000), got 10000',
    ],
    [
      'a load longer than its lease',
      { load, loadTimeoutMs: 15_000 },
      'expected spell.loadTimeoutMs to be less than leaseMs (15000), got 15000',
    ],
    [
      'a load shorter than the wait for it',
      { load, loadTimeoutMs: 1_999 },
      'expected busyWaitMs to be at most spell.loadTimeoutMs (1999), got 2000',
    ],
    [
      'a refresh ahead of nothing',
      { load, refreshAhead: 0 },
      'expected spell.refreshAhead to be a number greater than 0, got 0',
    ],
    [
      'a refresh ahead that cannot be compared',
      { load, refreshAhead: Symbol('1') },
      'expected spell.refreshAhead to be a number greater than 0, got Symbol(1)',
    ],
    [
      'an endless refresh ahead',
      { load, refreshAhead: Number.POSITIVE_INFINITY },
      'expected spell.refreshAhead to be a number greater than 0, got Infinity',
    ],
    [
      'a shape that is no number',
      { load, shape: 'v2' },
      'expected spell.shape to be a whole number from 0 to',
    ],
    [
      'half a codec',
      { load, codec: { encode: String } },
      'expected spell.codec to be an object with encode and decode, got [object Object]',
    ],
    [
      'a codec of null',
      { load, codec: null },
      'expected spell.codec to be an object with encode and decode, got null',
    ],
    [
      'a schema that is none',
      { load, schema: { parse: () => 4 } },
      'expected spell.schema to be a Standard Schema, got [object Object]',
    ],
    ['a schema of null', { load, schema: null }, 'expected spell.schema to be a Standard Schema, got null'],
    ['a misspelt option', { load, ttl: 4 }, 'unknown option spell.ttl, known are: ttlMs, absentTtlMs'],
    ['no options', undefined as never, 'expected spell to be an object, got undefined'],
  ])('refuses %s, and says which option, what it expects and what it got', (_, options, message) => {
    const { process } = openWorld()
    const { cache } = process()
    const refusal = { name: 'CacheError', code: 'INVALID_OPTIONS', message: expect.stringContaining(message) }
    expect(() => cache.keyspace('spell', misspelt(options))).toThrow(expect.objectContaining(refusal))
    // What was refused has not taken the name.
    expect(cache.keyspace('spell', { load }).name).toBe('spell')
  })

  test.each(['', 'spell:4', 'with space', 'ümlaut', '{spell}', 'x'.repeat(65), undefined, 4, null])(
    'refuses %j as a name',
    name => {
      const { process } = openWorld()
      const message = `expected a keyspace's name to be 1 to 64 letters, digits, "_", "." or "-", got ${typeof name === 'string' ? JSON.stringify(name) : String(name)}`
      expect(() => process().cache.keyspace(name as never, { load })).toThrow(
        expect.objectContaining({ code: 'INVALID_OPTIONS', message }),
      )
    },
  )

  test('refuses a name that is taken', () => {
    const { process } = openWorld()
    const { cache } = process()
    cache.keyspace('spell', { load })
    expect(() => cache.keyspace('spell', { load })).toThrow(
      expect.objectContaining({
        code: 'INVALID_OPTIONS',
        message:
          'expected a keyspace\'s name to be a new one in this cache (make each once, and keep it), got "spell"',
      }),
    )
  })

  test.each(['__proto__', 'constructor', 'toString', '-', '..', 'x'.repeat(64)])(
    'may be called %s, and is counted under that name',
    async name => {
      const { process } = openWorld()
      const { cache } = process()
      const spells = cache.keyspace(name, { load })
      expect(await spells.get(4)).toEqual(fireball)
      expect(Object.keys(cache.stats().keyspaces)).toEqual([name])
      expect(Object.getOwnPropertyDescriptor(cache.stats().keyspaces, name)!.value).toMatchObject({
        reads: { origin: 1 },
      })
    },
  )

  test('keeps an absent row no longer than a value where ttlMs is short', async () => {
    const { clock, process } = openWorld()
    const options: KeyspaceOptions<number, string> = {
      load: async () => undefined,
      ttlMs: 1_000,
      ttlJitter: 0,
    }
    const spells = process().cache.keyspace('spell', options)
    await spells.get(4)
    await clock.drain()
    expect(await spells.read(4)).toMatchObject({ ttlMs: 1_000 })
  })
})

test('defaults keep the relations that are checked', () => {
  const options: CacheOptions = { ...DEFAULT_CACHE_OPTIONS, clock: new SimulatedClock() }
  expect(() => createCache(options)).not.toThrow()
})
