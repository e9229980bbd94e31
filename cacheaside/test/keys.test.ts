import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { IdPart, IdParts } from '../src/index.ts'
import { openWorld } from './world.ts'

/** A keyspace whose loader answers with a count of its calls, so that it shows which ids share a key. */
function counting<Id>(key?: (id: Id) => IdParts) {
  const { clock, process, network } = openWorld()
  const link = network()
  const { cache } = process({}, link)
  let calls = 0
  const load = async (_: Id) => ++calls
  const keyspace = cache.keyspace<Id, number>('spell', key === undefined ? { load } : { load, key })
  return { cache, clock, keyspace, link, calls: () => calls }
}

describe('key', () => {
  test.each<[IdParts, string]>([
    [4, 'spell:4'],
    ['4', 'spell:4'],
    [4n, 'spell:4'],
    [-0, 'spell:0'],
    [-1.5, 'spell:-1.5'],
    [1e-7, 'spell:1e-7'],
    [2 ** 53 - 1, 'spell:9007199254740991'],
    [9007199254740993n, 'spell:9007199254740993'],
    [true, 'spell:true'],
    ['', 'spell:'],
    ['a:b', 'spell:a%3Ab'],
    [['a', 'b'], 'spell:a:b'],
    [['', ''], 'spell::'],
    [['tenant', 7, 3n, false], 'spell:tenant:7:3:false'],
    ['50%', 'spell:50%25'],
    ['{slot}', 'spell:%7Bslot%7D'],
    ['line\nfeed\u0000\u007f', 'spell:line%0Afeed%00%7F'],
    ['Blitz ⚡', 'spell:Blitz ⚡'],
  ])('of %s is %s', (id, key) => {
    expect(counting<IdParts>().keyspace.key(id)).toBe(key)
  })

  test.each([
    ['undefined', undefined],
    ['null', null],
    ['NaN', Number.NaN],
    ['infinity', Number.POSITIVE_INFINITY],
    ['a number that is not exact', 2 ** 53],
    ['an object', { id: 4 }],
    ['a symbol', Symbol('4')],
    ['a function', () => 4],
    ['an empty list', []],
    ['a list of one', [4]],
    ['a list with a hole', [4, undefined]],
    ['a list in a list', [4, [5, 6]]],
    ['half a pair of surrogates', '\ud83d'],
    ['a tuple with half a pair', ['a', '\udd25']],
    ['a text that is too long', 'x'.repeat(507)],
    ['a tuple that is too long', ['x'.repeat(300), 'y'.repeat(300)]],
    ['a text that is too long once it is escaped', ':'.repeat(200)],
  ])('refuses %s as INVALID_KEY, by every method and before any I/O', async (_, bad) => {
    const { clock, keyspace, link, calls } = counting<never>()
    const id = bad as never
    await clock.advance(10)
    const sent = link.log.length
    const refusal = { name: 'CacheError', code: 'INVALID_KEY', message: expect.stringMatching(/^spell: /) }
    expect(() => keyspace.key(id)).toThrow(expect.objectContaining(refusal))
    expect(() => keyspace.peek(id)).toThrow(expect.objectContaining(refusal))
    expect(() => keyspace.entry(id, 4)).toThrow(expect.objectContaining(refusal))
    await expect(keyspace.get(id)).rejects.toMatchObject(refusal)
    await expect(keyspace.read(id)).rejects.toMatchObject(refusal)
    await expect(keyspace.getMany([1 as never, id])).rejects.toMatchObject(refusal)
    await expect(keyspace.write(id, () => expect.unreachable())).rejects.toMatchObject(refusal)
    await expect(keyspace.invalidate(id)).rejects.toMatchObject(refusal)
    expect(link.log).toHaveLength(sent)
    expect(calls()).toBe(0)
  })

  test('says that the option key can make an id of an object', () => {
    expect(() => counting<object>().keyspace.key({ id: 4 })).toThrow(
      'spell: an id, or what the option key makes of it, must be a string, number',
    )
  })

  test.each<[string, unknown]>([
    ['a Set', new Set([4])],
    ['a text', '4'],
    ['nothing', undefined],
  ])('refuses %s where an array of ids or keys is asked for', async (_, bad) => {
    const { cache, keyspace, calls } = counting<number>()
    const refusal = {
      name: 'CacheError',
      code: 'INVALID_KEY',
      message: expect.stringMatching(/^expected an array of /),
    }
    const several = bad as never
    await expect(keyspace.getMany(several)).rejects.toMatchObject(refusal)
    await expect(cache.write(several, () => expect.unreachable())).rejects.toMatchObject(refusal)
    await expect(cache.invalidate(several)).rejects.toMatchObject(refusal)
    expect(calls()).toBe(0)
  })

  test('accepts the longest that there may be, and not one more', () => {
    const { keyspace } = counting<string>()
    expect(keyspace.key('x'.repeat(506))).toHaveLength(512)
    expect(() => keyspace.key('x'.repeat(507))).toThrow('a key has at most 512 characters, this one has 513')
  })

  test('is the same for 4, 4n and the text 4: one load, one entry', async () => {
    const { clock, keyspace, calls } = counting<number | string | bigint>()
    await clock.drain()
    expect([await keyspace.get(4), await keyspace.get('4'), await keyspace.get(4n)]).toEqual([1, 1, 1])
    expect(await keyspace.getMany([4, '4', 4n])).toEqual(
      new Map<unknown, number>([
        [4, 1],
        ['4', 1],
        [4n, 1],
      ]),
    )
    expect(calls()).toBe(1)
  })

  test('is made by the option key where ids are objects', async () => {
    const { clock, keyspace } = counting<{ tenant: string; id: number }>(({ tenant, id }) => [tenant, id])
    await clock.drain()
    expect(keyspace.key({ tenant: 'a', id: 4 })).toBe('spell:a:4')
    expect(await keyspace.get({ tenant: 'a', id: 4 })).toBe(1)
    expect(await keyspace.get({ tenant: 'a', id: 4 })).toBe(1)
    expect(await keyspace.get({ tenant: 'b', id: 4 })).toBe(2)
    const wanted = [
      { tenant: 'a', id: 4 },
      { tenant: 'a', id: 4 },
    ]
    expect([...(await keyspace.getMany(wanted))]).toEqual([
      [wanted[0], 1],
      [wanted[1], 1],
    ])
  })

  test('rejects with what the option key throws, before any I/O', async () => {
    const { clock, keyspace, link } = counting<{ id: number }>(({ id }) => id)
    await clock.advance(10)
    const sent = link.log.length
    const id = undefined as never
    expect(() => keyspace.key(id)).toThrow(TypeError)
    expect(() => keyspace.peek(id)).toThrow(TypeError)
    await expect(keyspace.get(id)).rejects.toThrow(TypeError)
    await expect(keyspace.read(id)).rejects.toThrow(TypeError)
    await expect(keyspace.getMany([{ id: 4 }, id])).rejects.toThrow(TypeError)
    await expect(keyspace.write(id, () => expect.unreachable())).rejects.toThrow(TypeError)
    await expect(keyspace.invalidate(id)).rejects.toThrow(TypeError)
    expect(link.log).toHaveLength(sent)
  })

  test('of a tuple that is changed later is made again', async () => {
    const { clock, keyspace } = counting<[string, number]>()
    await clock.drain()
    const id: [string, number] = ['a', 4]
    expect(await keyspace.get(id)).toBe(1)
    id[1] = 5
    expect(keyspace.key(id)).toBe('spell:a:5')
    expect(await keyspace.get(id)).toBe(2)
  })
})

const part: fc.Arbitrary<IdPart> = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 12 }),
  fc.string({ unit: fc.constantFrom(':', '%', '{', '}', '3', 'A', '\u0000', '\n'), maxLength: 8 }),
  fc.maxSafeInteger(),
  fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e9, max: 1e9 }),
  fc.bigInt(),
  fc.boolean(),
)
const id: fc.Arbitrary<IdParts> = fc.oneof(
  part,
  fc.array(part, { minLength: 2, maxLength: 4 }) as fc.Arbitrary<[IdPart, IdPart]>,
)
const name = fc.stringMatching(/^[A-Za-z0-9_.-]{1,8}$/)

/** What an id is: the texts of its parts. */
const identity = (of: IdParts): string =>
  JSON.stringify(Array.isArray(of) ? of.map(textOf) : textOf(of as IdPart))
const textOf = (of: IdPart): string => (of === 0 ? '0' : String(of))

test('two ids have one key only if they are the same texts, whatever their keyspaces are called', () => {
  const { process } = openWorld()
  const made = new Map<string, { key(id: IdParts): string }>()
  const { cache } = process()
  const spaceOf = (called: string) => {
    let space = made.get(called)
    if (space === undefined) {
      space = cache.keyspace<IdParts, number>(called, { load: async () => 1 })
      made.set(called, space)
    }
    return space
  }
  fc.assert(
    fc.property(name, id, name, id, (oneName, oneId, otherName, otherId) => {
      const same = oneName === otherName && identity(oneId) === identity(otherId)
      expect(spaceOf(oneName).key(oneId) === spaceOf(otherName).key(otherId)).toBe(same)
    }),
    { numRuns: 3_000 },
  )
})

test('no key holds a brace, which chooses a slot, or a control character of ASCII', () => {
  const { keyspace } = counting<IdParts>()
  fc.assert(
    fc.property(id, of => {
      expect(keyspace.key(of)).not.toMatch(/[{}\u0000-\u001f\u007f]/)
    }),
  )
})
