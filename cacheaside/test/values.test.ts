import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { CacheOptions, Codec, StandardSchema } from '../src/index.ts'
import { fireball, openWorld, spellTable } from './world.ts'

const L1 = { maxEntries: 100 } as const

/** What a cache hands out for a value: on the read that loads it, from L1, and in a process that finds it stored. */
async function handedOut<V>(value: V, options: { codec?: Codec<V>; schema?: StandardSchema<V> } = {}) {
  const { clock, inspect, process } = openWorld()
  const open = () => {
    const one = process({ local: L1 })
    return { ...one, keyspace: one.cache.keyspace('value', { load: (_: number) => value, ...options }) }
  }
  const [here, there] = [open(), open()]
  const loaded = await here.keyspace.get(1)
  await clock.drain()
  const local = await here.keyspace.get(1)
  const shared = await there.keyspace.get(1)
  return { loaded, local, shared, here, there, clock, text: inspect('value:1')?.replace(/^[^ ]* /, '') }
}

describe('the default codec', () => {
  test('gives the first reader what it gives all others', async () => {
    const { loaded, local, shared, text } = await handedOut<unknown>({
      at: new Date(0),
      nothing: undefined,
      none: Number.NaN,
      list: [undefined, Number.POSITIVE_INFINITY],
    })
    const expected = {
      at: new Date(0),
      nothing: undefined,
      none: Number.NaN,
      list: [undefined, Number.POSITIVE_INFINITY],
    }
    expect(loaded).toStrictEqual(expected)
    expect(local).toStrictEqual(expected)
    expect(shared).toStrictEqual(expected)
    expect(text).toMatch(/^~\{"at":\{"\$Date":"1970-01-01T00:00:00.000Z"\},/)
  })

  test('leaves plain JSON as it is written without it', async () => {
    const plain = { id: 4, name: 'Fireball', $Date: [1.5, null, true, { $: 'NaN' }] }
    const { loaded, local, text } = await handedOut(plain)
    expect(text).toBe(JSON.stringify(plain))
    expect(local).toBe(loaded)
  })

  test('gives what freezing does not protect as a copy to each reader', async () => {
    const { loaded, local, shared, here } = await handedOut({ at: new Date(0), tags: new Set(['fire']) })
    for (const copy of [loaded, local, shared, here.keyspace.peek(1)!.value]) {
      expect(copy).toStrictEqual({ at: new Date(0), tags: new Set(['fire']) })
      copy!.at.setTime(1)
      copy!.tags.clear()
    }
    expect((await here.keyspace.getMany([1])).get(1)).toStrictEqual({
      at: new Date(0),
      tags: new Set(['fire']),
    })
  })

  test('shares what only has no JSON, and is frozen', async () => {
    const { loaded, local } = await handedOut({ id: 4n, note: undefined, list: [Number.NaN, -0] })
    expect(local).toBe(loaded)
    expect(Object.isFrozen(loaded!.list)).toBe(true)
    expect(loaded).toStrictEqual({ id: 4n, note: undefined, list: [Number.NaN, -0] })
  })

  test('gives an instance of a class as what its toJSON answers with, and that is its type', async () => {
    class Decimal {
      readonly #text = '1.50'
      toJSON = (): string => this.#text
    }
    const { process } = openWorld()
    const prices = process({ local: L1 }).cache.keyspace('price', {
      load: async (id: number) => ({ id, price: new Decimal(), at: new Date(0) }),
    })
    const loaded: { readonly id: number; readonly price: string; readonly at: Date } | undefined =
      await prices.get(1)
    expect(loaded).toStrictEqual({ id: 1, price: '1.50', at: new Date(0) })
    expect(await prices.get(1)).toStrictEqual(loaded)
  })

  test('keeps a property called __proto__, which stays a property', async () => {
    const hostile: object = JSON.parse('{"__proto__": {"admin": true}, "id": 4}')
    for (const value of Object.values(await handedOut(hostile)).slice(0, 3) as object[]) {
      expect(Object.hasOwn(value, '__proto__')).toBe(true)
      expect(Object.getPrototypeOf(value)).toBe(Object.prototype)
      expect('admin' in value).toBe(false)
    }
  })

  test('keeps text with every kind of character', async () => {
    const text = 'é 世界 🔥 "quoted" \\ \u0000 \u2028 \ud800'
    const { loaded, shared } = await handedOut({ text })
    expect(loaded).toEqual({ text })
    expect(shared).toEqual({ text })
  })

  test.each<[string, () => unknown]>([
    ['an instance of a class', () => new (class Spell {})()],
    [
      'a cyclic object',
      () => {
        const cyclic: { self?: unknown } = {}
        cyclic.self = cyclic
        return cyclic
      },
    ],
    [
      'an object whose toJSON throws',
      () => ({
        toJSON: () => {
          throw new Error('no JSON')
        },
      }),
    ],
    [
      'an object whose getter throws',
      () =>
        Object.defineProperty({}, 'a', {
          enumerable: true,
          get: () => {
            throw new Error('no')
          },
        }),
    ],
    ['a function', () => () => 4],
    ['a symbol', () => Symbol('spell')],
    ['an object whose toJSON answers undefined', () => ({ toJSON: () => undefined })],
  ])('answers with %s, which cannot be kept, and does not keep it', async (_, make) => {
    const { clock, inspect, process } = openWorld()
    const { cache, eventsOf } = process({ local: L1 })
    const value = make()
    const values = cache.keyspace('value', { load: (_: number) => value })
    const answer = await values.read(1)
    expect(answer).toMatchObject({ from: 'origin', why: 'missing', kept: false, ageMs: undefined })
    expect(typeof answer.value).toBe(typeof value)
    await clock.drain()
    expect(inspect('value:1')).toBeUndefined()
    expect(values.peek(1)).toBeUndefined()
    expect(eventsOf('fill')).toMatchObject([{ outcome: 'unencodable', error: expect.any(Error) }])
  })

  test('gives each reader of a value that cannot be kept a clone of its own, if the clone is the same', async () => {
    const { process } = openWorld()
    const own: { id: bigint; tags: string[]; self?: unknown } = { id: 9007199254740993n, tags: ['fire'] }
    own.self = own
    const values = process().cache.keyspace('value', { load: async (_: number) => own })
    const [one, other] = await Promise.all([values.get(1), values.get(1)])
    expect(one).toEqual(own)
    expect(one).not.toBe(own)
    expect(one).not.toBe(other)
    one!.tags.push('changed')
    expect(other!.tags).toEqual(['fire'])
    expect(other!.self).toBe(other)
    expect(own.tags).toEqual(['fire'])
  })

  test('gives the readers of an instance of a class the instance, because a clone would have no class', async () => {
    const { process } = openWorld()
    class Spell {
      readonly #damage = 30
      damage = () => this.#damage
    }
    const spells = process().cache.keyspace('spell', { load: async (_: number) => ({ spell: new Spell() }) })
    const answer: { spell: Spell } | undefined = await spells.get(1)
    expect(answer!.spell.damage()).toBe(30)
  })

  test('says once for a keyspace what cannot be kept and where it is, and reports each by an event', async () => {
    const { clock, process } = openWorld()
    const { cache, eventsOf, warnings } = process()
    const load = (id: number) => ({ id, spells: [{ cast: () => id }] })
    const values = cache.keyspace('value', { load })
    const others = cache.keyspace('other', { load: async (_: number): Promise<unknown> => undefined })
    await values.get(1)
    await clock.drain()
    await values.get(1)
    await values.getMany([2, 3])
    await others.write(4, () => Symbol('x'), { writeThrough: true })
    const warning = (keyspace: string, key: string, why: string) => [
      'warn',
      'UNKEPT',
      `a value of ${keyspace} cannot be kept, and every read of it goes to the origin, for example ${key}: ${why}`,
    ]
    expect(warnings).toEqual([
      warning('value', 'value:1', 'it has a function at .spells[0].cast'),
      warning('other', 'other:4', 'it is a symbol'),
    ])
    expect(eventsOf('fill').map(({ key, outcome }) => `${key} ${outcome}`)).toEqual([
      'value:1 unencodable',
      'value:1 unencodable',
      'value:2 unencodable',
      'value:3 unencodable',
      'other:4 unencodable',
    ])
  })

  test('survives values nested more deeply than the stack', async () => {
    const depth = 100_000
    const text = '['.repeat(depth) + ']'.repeat(depth)
    const codec: Codec<unknown> = { encode: () => text, decode: () => nested(depth) }
    const { loaded, local } = await handedOut<unknown>('deep', { codec })
    expect(loaded).toBe(local)
    let levels = 0
    for (let at = loaded as unknown[]; at !== undefined; at = at[0] as unknown[]) {
      if (!Object.isFrozen(at)) expect.unreachable(`level ${levels} is not frozen`)
      levels++
    }
    expect(levels).toBe(depth)
  })

  test('answers with a value that is nested too deeply for JSON, and does not keep it', async () => {
    const { process } = openWorld()
    const { cache, eventsOf } = process()
    const load = (_: number) => [new Date(0), nested(200_000)]
    const values = cache.keyspace('value', { load })
    expect(await values.get(1)).toBeInstanceOf(Array)
    expect(eventsOf('fill')).toMatchObject([{ outcome: 'unencodable', error: expect.any(RangeError) }])
  })

  test('answers with plain JSON of any depth, and keeps it where JSON.stringify writes it', async () => {
    const { process } = openWorld()
    const { cache, eventsOf } = process()
    const values = cache.keyspace('value', { load: (_: number) => nested(200_000) })
    expect(levelsOf(await values.get(1))).toBe(200_000)
    expect(levelsOf(await values.get(1))).toBe(200_000)
    const outcome = isWrittenByJson(nested(200_000)) ? 'accepted' : 'unencodable'
    expect(eventsOf('fill')).toMatchObject([{ outcome }])
  })
})

function levelsOf(value: unknown): number {
  let levels = 0
  for (let at = value as unknown[] | undefined; at !== undefined; at = at[0] as unknown[] | undefined)
    levels++
  return levels
}

/** Up to Node 24 `JSON.stringify` needs the stack, and refuses what is deeper. */
function isWrittenByJson(value: unknown): boolean {
  try {
    JSON.stringify(value)
    return true
  } catch {
    return false
  }
}

function nested(depth: number): unknown {
  let value: unknown[] = []
  for (let i = 1; i < depth; i++) value = [value]
  return value
}

describe('what readers get', () => {
  test('is frozen all the way down and shared, and a change of it throws', async () => {
    const { loaded, local } = await handedOut({ id: 4, tags: [{ name: 'fire' }] })
    expect(local).toBe(loaded)
    expect(() => {
      loaded!.id = 5
    }).toThrow(TypeError)
    expect(() => loaded!.tags.push({ name: 'ice' })).toThrow(TypeError)
    expect(() => {
      loaded!.tags[0]!.name = 'ice'
    }).toThrow(TypeError)
    expect(local).toEqual({ id: 4, tags: [{ name: 'fire' }] })
  })

  test('is never the loaders own object, which is not frozen', async () => {
    const { process } = openWorld()
    const own = { id: 4, tags: ['fire'] }
    const values = process({ local: L1 }).cache.keyspace('value', { load: async (_: number) => own })
    const loaded = await values.get(1)
    own.tags.push('changed')
    own.id = 5
    expect(loaded).toEqual({ id: 4, tags: ['fire'] })
    expect(await values.get(1)).toEqual({ id: 4, tags: ['fire'] })
  })

  test('is the committed value of a write-through as the codec has it, not the writers object', async () => {
    const { clock, process } = openWorld()
    const values = process().cache.keyspace<number, { at: unknown }>('value', { load: async () => undefined })
    const own = { at: new Date(0) as unknown }
    const written = await values.write(1, () => own, { writeThrough: true })
    expect(written.value).toBe(own)
    await clock.drain()
    own.at = 'changed'
    expect(await values.read(1)).toMatchObject({ from: 'shared', value: { at: new Date(0) } })
  })
})

/** Keeps dates, by marking them. */
const dateCodec: Codec<{ at: Date }> = {
  encode: ({ at }) => JSON.stringify({ at: at.getTime() }),
  decode: text => ({ at: new Date(JSON.parse(text).at) }),
}

describe('a codec of the users own', () => {
  test('may call the cache while it makes a copy for a reader', async () => {
    const { process } = openWorld()
    const { cache } = process({ local: L1 })
    let calling = () => {}
    const codec: Codec<Map<string, number>> = {
      encode: value => JSON.stringify([...value]),
      decode: text => {
        calling()
        return new Map(JSON.parse(text))
      },
    }
    const load = (id: number) => new Map([['id', id]])
    const values = cache.keyspace('value', { load, codec })
    const other = cache.keyspace('other', { load, codec })
    await values.get(1)
    await other.get(2)
    calling = () => {
      calling = () => {}
      void values.invalidate(1)
    }
    expect(await values.read(1)).toMatchObject({ value: new Map([['id', 1]]), from: 'local' })
    expect(values.peek(1)).toBeUndefined()
    expect(other.peek(2)).toEqual({ value: new Map([['id', 2]]) })
  })

  test('decodes once for each reader who gets a copy, and not more often', async () => {
    const { clock, process } = openWorld()
    let decoded = 0
    const codec: Codec<{ at: Date }> = {
      encode: dateCodec.encode,
      decode(text) {
        decoded++
        return dateCodec.decode(text)
      },
    }
    const open = () =>
      process({ local: L1 }).cache.keyspace('value', { load: (_: number) => ({ at: new Date(0) }), codec })
    const [here, there] = [open(), open()]
    const readers = [() => here.get(1), () => here.get(1), () => there.get(1), () => there.get(1)]
    for (const [before, read] of readers.entries()) {
      const copy = await read()
      expect(copy).toEqual({ at: new Date(0) })
      copy!.at.setTime(1)
      await clock.drain()
      expect(decoded).toBe(before + 1)
    }
  })

  test('keeps what JSON does not, and gives each reader a copy', async () => {
    const { loaded, local, shared, here } = await handedOut(
      { at: new Date(86_400_000) },
      { codec: dateCodec },
    )
    for (const copy of [loaded, local, shared, here.keyspace.peek(1)!.value]) {
      expect(copy).toEqual({ at: new Date(86_400_000) })
      copy!.at.setTime(0)
    }
    expect(local).not.toBe(loaded)
    expect(await here.keyspace.get(1)).toEqual({ at: new Date(86_400_000) })
    const many = await here.keyspace.getMany([1])
    expect(many.get(1)).toEqual({ at: new Date(86_400_000) })
  })

  test.each<[string, () => unknown]>([
    [
      'an instance of a class',
      () =>
        new (class Spell {
          id = 4
        })(),
    ],
    ['a map', () => new Map([[4, 'Fireball']])],
    ['a map within an object', () => ({ spells: new Map([[4, 'Fireball']]) })],
    ['a method', () => ({ cast: () => 'Fireball' })],
    ['a method deep within', () => ({ spell: { cast: () => 'Fireball' } })],
    ['bytes', () => new Uint8Array(4)],
    [
      'an object whose getter throws',
      () =>
        Object.defineProperty({}, 'a', {
          enumerable: true,
          get: () => {
            throw new Error('no')
          },
        }),
    ],
  ])('may decode to %s, which is copied and not frozen', async (_, make) => {
    const codec: Codec<unknown> = { encode: () => '4', decode: make }
    const { loaded, local } = await handedOut<unknown>('spell', { codec })
    expect(Object.isFrozen(loaded)).toBe(false)
    expect(local === loaded).toBe(false)
  })

  test('may decode to something cyclic or without a prototype, which is frozen and shared', async () => {
    const codec: Codec<unknown> = {
      encode: () => '4',
      decode() {
        const value = Object.assign(Object.create(null), { inner: {} })
        value.inner.outer = value
        return value
      },
    }
    const { loaded, local } = await handedOut<unknown>('spell', { codec })
    expect(local).toBe(loaded)
    expect(Object.isFrozen(loaded)).toBe(true)
    expect(Object.isFrozen((loaded as { inner: object }).inner)).toBe(true)
  })

  test.each<[string, Partial<Codec<string>>]>([
    [
      'throws when it encodes',
      {
        encode: () => {
          throw new Error('cannot encode')
        },
      },
    ],
    [
      'throws when it decodes',
      {
        decode: () => {
          throw new Error('cannot decode')
        },
      },
    ],
    ['encodes to something that is not text', { encode: () => Buffer.from('spell') as unknown as string }],
    ['encodes to nothing', { encode: () => undefined as unknown as string }],
    ['encodes late, and fails', { encode: (async () => Promise.reject(new Error('late'))) as never }],
    ['decodes late, and fails', { decode: (async () => Promise.reject(new Error('late'))) as never }],
    ['encodes to text that UTF-8 cannot hold', { encode: () => 'half a pair: \ud83d' }],
  ])('that %s does not fail the read: the value is answered, and not kept', async (_, broken) => {
    const { clock, inspect, process } = openWorld()
    const { cache, eventsOf } = process({ local: L1 })
    const codec = { encode: (text: string) => text, decode: (text: string) => text, ...broken }
    const values = cache.keyspace('value', { load: (_: number) => 'spell', codec })
    expect(await values.read(1)).toMatchObject({ value: 'spell', from: 'origin', kept: false })
    await clock.drain()
    expect(eventsOf('fill')).toMatchObject([{ outcome: 'unencodable', error: expect.any(Error) }])
    expect(inspect('value:1')).toBeUndefined()
    expect(cache.stats().keyspaces.value!.fills).toMatchObject({ unencodable: 1, accepted: 0 })
  })

  test('that cannot decode what another process stored overwrites it', async () => {
    const { clock, process } = openWorld()
    const other = process().cache.keyspace('value', {
      load: (_: number) => 'not JSON at all',
      codec: { encode: text => text, decode: text => text },
    })
    await other.get(1)
    await clock.drain()
    const { cache, eventsOf } = process()
    const values = cache.keyspace('value', { load: (_: number) => 'JSON' })
    expect(await values.read(1)).toMatchObject({ value: 'JSON', why: 'unreadable', kept: true })
    expect(eventsOf('unreadable')).toMatchObject([{ reason: 'codec', error: expect.any(SyntaxError) }])
    await clock.drain()
    expect(await values.read(1)).toMatchObject({ from: 'shared', why: 'fresh' })
  })

  test('is not asked about rows that do not exist', async () => {
    const asked: unknown[] = []
    const codec = {
      encode: (value: string) => String(asked.push(value)),
      decode: (text: string) => String(asked.push(text)),
    }
    const { loaded, local, shared } = await handedOut<string | undefined>(undefined, {
      codec: codec as never,
    })
    expect([loaded, local, shared]).toEqual([undefined, undefined, undefined])
    expect(asked).toEqual([])
  })
})

describe('a schema', () => {
  const Spell = z.object({ id: z.number().int(), name: z.string().min(1), damage: z.number() })

  test('checks what is stored, and gives its type to what readers get', async () => {
    const { process } = openWorld()
    const spells = process().cache.keyspace('spell', { load: spellTable(fireball).find, schema: Spell })
    const found: z.infer<typeof Spell> | undefined = await spells.get(4)
    expect(found).toEqual(fireball)
    expect(Object.isFrozen(found)).toBe(true)
  })

  test('may transform what comes out of the store, for instance to dates; each reader gets its own', async () => {
    const schema = z.object({ at: z.coerce.date() })
    const { loaded, local, shared, text } = await handedOut({ at: new Date(0) }, { schema })
    expect(text).toBe('~{"at":{"$Date":"1970-01-01T00:00:00.000Z"}}')
    for (const copy of [loaded, local, shared]) expect(copy).toEqual({ at: new Date(0) })
    loaded!.at.setTime(5)
    expect(local).toEqual({ at: new Date(0) })
  })

  test('that drops what it does not know drops it for the first reader too', async () => {
    const { loaded, shared } = await handedOut({ ...fireball, secret: 'x' } as typeof fireball, {
      schema: Spell,
    })
    expect(loaded).toEqual(fireball)
    expect(shared).toEqual(fireball)
  })

  test('counts what violates it, and overwrites that', async () => {
    const { clock, process } = openWorld()
    const before = process().cache.keyspace('spell', { load: (_: number) => ({ id: 'four' }) })
    await before.get(4)
    await clock.drain()
    const { cache, eventsOf } = process({ local: L1 })
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find, schema: Spell })
    expect(await spells.read(4)).toMatchObject({
      value: fireball,
      from: 'origin',
      why: 'unreadable',
      kept: true,
    })
    expect(eventsOf('unreadable')).toMatchObject([
      { reason: 'schema', key: 'spell:4', error: expect.any(TypeError) },
    ])
    expect(cache.stats().keyspaces.spell).toMatchObject({ unreadable: 1 })
    await clock.drain()
    expect(await before.read(4)).toMatchObject({ value: fireball, from: 'shared' })
  })

  test('that refuses what the loader returns does not fail the read: it is answered, and not kept', async () => {
    const { process } = openWorld()
    const { cache, eventsOf } = process({ local: L1 })
    const wrong = { id: 4, name: '', damage: 30 }
    const spells = cache.keyspace('spell', { load: (_: number) => wrong, schema: Spell })
    expect(await spells.read(4)).toMatchObject({ value: wrong, from: 'origin', kept: false })
    expect(eventsOf('fill')).toMatchObject([{ outcome: 'unencodable', error: expect.any(TypeError) }])
  })

  test('has what it puts in frozen in place; a copy leaves the object of the application as it is', async () => {
    const defaults = () => ({ level: 1, effects: { burns: true } })
    const [lent, copied] = [defaults(), defaults()]
    const withExtra = (extra: typeof lent) =>
      z.object({ id: z.number() }).transform(row => ({ ...row, extra }))
    const first = await handedOut<unknown>({ id: 4 }, { schema: withExtra(lent) })
    const second = await handedOut<unknown>({ id: 4 }, { schema: withExtra(structuredClone(copied)) })
    expect([first.local, second.local]).toEqual(Array(2).fill({ id: 4, extra: defaults() }))
    expect([lent, lent.effects].every(Object.isFrozen)).toBe(true)
    expect([copied, copied.effects].some(Object.isFrozen)).toBe(false)
  })

  test.each<[string, () => unknown]>([
    ['answers with a promise', () => Promise.resolve({ value: fireball })],
    ['answers with a promise that fails', () => Promise.reject(new Error('later'))],
    ['answers with something that only looks like a promise', () => Object.fromEntries([['then', () => {}]])],
    [
      'throws',
      () => {
        throw new Error('cannot check')
      },
    ],
    ['answers with nothing', () => undefined],
  ])('that %s counts as violated', async (_, validate) => {
    const { process } = openWorld()
    const { cache, eventsOf } = process()
    const schema = { '~standard': { version: 1, vendor: 'test', validate } } as StandardSchema<
      typeof fireball
    >
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find, schema })
    expect(await spells.read(4)).toMatchObject({ value: fireball, kept: false })
    expect(eventsOf('fill')).toMatchObject([{ outcome: 'unencodable', error: expect.any(Error) }])
  })

  test('of zod with an asynchronous rule counts as violated, with a word about it', async () => {
    const { process } = openWorld()
    const { cache, eventsOf } = process()
    const schema = Spell.refine(async () => true)
    const spells = cache.keyspace('spell', { load: spellTable(fireball).find, schema })
    expect(await spells.read(4)).toMatchObject({ value: fireball, kept: false })
    const [{ error }] = eventsOf('fill') as unknown as [{ error: Error }]
    expect(error.message).toContain('it has to answer at once')
  })
})

/** Vouchers that a schema refuses once they have ended: at first the first one, and from then on the second. */
function vouchers(options: Partial<CacheOptions> = {}, tagged = false) {
  const { clock, process } = openWorld()
  const { cache, eventsOf } = process(options)
  const ends = [1_000, 900_000].map(ms => new Date(clock.nowMs() + ms))
  const isGood = (voucher: { until: Date }) => voucher.until.getTime() > clock.nowMs()
  const schema = z.object({ id: z.number(), until: z.date() }).refine(isGood, 'it has ended')
  let loads = 0
  const load = (id: number) => ({ id, until: ends[Math.min(loads++, 1)]! })
  const tags = cache.tags('shop')
  const keyspace = cache.keyspace('voucher', {
    load,
    schema,
    ttlMs: 600_000,
    ...(tagged ? { tags: () => [tags.key(1)] } : {}),
  })
  const later = { id: 1, until: ends[1]! }
  const firstEnds = () => clock.advance(2_000)
  return { clock, cache, keyspace, eventsOf, later, firstEnds, loads: () => loads }
}

describe('a schema that refuses later what it has accepted', () => {
  test.each<[string, Partial<CacheOptions>, boolean]>([
    ['at hand in the embedded store', {}, false],
    ['in L1', { local: L1 }, false],
    ['in L1, with tags', { local: L1 }, true],
    ['in the store, with tags', {}, true],
  ])('makes a miss of a value %s: it is counted, loaded and overwritten', async (_, options, tagged) => {
    const { clock, cache, keyspace, eventsOf, later, firstEnds, loads } = vouchers(options, tagged)
    for (let i = 0; i < 4; i++) {
      await keyspace.get(1)
      await clock.drain()
    }
    expect(loads()).toBe(1)
    await firstEnds()
    expect(keyspace.peek(1)).toBeUndefined()
    expect(await keyspace.read(1)).toMatchObject({ value: later, from: 'origin', why: 'unreadable' })
    await clock.drain()
    expect(await keyspace.get(1)).toEqual(later)
    expect(await keyspace.getMany([1, 1])).toEqual(new Map([[1, later]]))
    expect(loads()).toBe(2)
    expect(eventsOf('unreadable')).toMatchObject([{ key: 'voucher:1', reason: 'schema' }])
    expect(cache.stats().keyspaces.voucher!.unreadable).toBe(1)
  })

  test.each<[string, Partial<CacheOptions>]>([
    ['at hand', {}],
    ['in L1', { local: L1 }],
  ])('makes a miss of a value %s in getMany and in a snapshot', async (_, options) => {
    const many = vouchers(options)
    for (let i = 0; i < 4; i++) await many.keyspace.getMany([1])
    await many.firstEnds()
    expect(await many.keyspace.getMany([1])).toEqual(new Map([[1, many.later]]))
    const one = vouchers(options)
    for (let i = 0; i < 4; i++) await one.keyspace.get(1)
    await one.firstEnds()
    const load = () => expect.unreachable()
    expect(await one.cache.snapshot([one.keyspace.at(1)], { load })).toEqual([one.later])
  })

  test('has a reader who waited for the same flight read once more, if it refuses between two copies', async () => {
    const { clock, process } = openWorld()
    const { cache } = process({ local: L1 })
    let checks = 0
    const schema = z.object({ at: z.date() }).refine(() => ++checks !== 2, 'not the second time')
    const values = cache.keyspace('value', { load: (_: number) => ({ at: new Date(0) }), schema })
    const [first, many, read] = await Promise.all([values.get(1), values.getMany([1]), values.read(1)])
    expect([first, many.get(1), read.value]).toEqual(Array(3).fill({ at: new Date(0) }))
    await clock.drain()
  })

  test('never has a read reject, unless the text cannot be opened twice in a row', async () => {
    const { process } = openWorld()
    const { cache } = process({ local: L1 })
    let decoded = 0
    const codec = {
      encode: JSON.stringify,
      decode: (text: string) => {
        if (++decoded % 2 === 0) throw new Error('every second time')
        return { ...JSON.parse(text), at: new Date(0) }
      },
    }
    const idOf = ({ id }: { id: number }) => id
    const values = cache.keyspace('value', { load: async (id: number) => ({ id }), codec, idOf })
    await expect(values.get(1)).rejects.toThrow('every second time')
  })
})

describe('two deploys with different shapes', () => {
  test('never read each others values over one store, nor take turns in overwriting them', async () => {
    const { clock, process } = openWorld()
    let loads = 0
    const deploy = (shape: number) =>
      process({ local: L1 }).cache.keyspace('spell', {
        shape,
        load: (_: number) => {
          loads++
          return { shape }
        },
      })
    const [older, newer] = [deploy(1), deploy(2)]
    for (let round = 0; round < 3; round++) {
      expect(await older.get(4)).toEqual({ shape: 1 })
      await clock.drain()
      expect(await newer.get(4)).toEqual({ shape: 2 })
      await clock.drain()
      expect(await newer.read(4, { consistency: 'strong' })).toMatchObject({
        from: 'shared',
        value: { shape: 2 },
      })
    }
    // The older one stored first, was overwritten once, and has loaded for itself alone since it was noticed.
    expect(loads).toBe(2)
  })

  test('hear of each others invalidations', async () => {
    const { clock, process } = openWorld()
    const table = spellTable(fireball)
    const older = process({ local: L1 }).cache.keyspace('spell', { shape: 1, load: table.find })
    const newer = process({ local: L1 }).cache.keyspace('spell', { shape: 2, load: table.find })
    await newer.get(4)
    await clock.drain()
    await older.write(4, () => table.update(4, 31))
    expect(await newer.get(4)).toMatchObject({ damage: 31 })
  })
})
