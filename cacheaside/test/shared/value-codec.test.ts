import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { createContext, runInContext } from 'node:vm'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { valueCodec } from '../../src/index.ts'
import { inLittleEndian } from '../../src/shared/marked-kinds.ts'
import { isSame, keptValues } from '../kept-values.ts'

const { encode, decode } = valueCodec
const throughCodec = (value: unknown): unknown => decode(encode(value))

describe('plain JSON', () => {
  test('is written as JSON.stringify writes it, byte for byte, and read as JSON.parse reads it', () => {
    fc.assert(
      fc.property(fc.jsonValue(), value => {
        fc.pre(isDeepStrictEqual(JSON.parse(JSON.stringify(value)), value))
        expect(encode(value)).toBe(JSON.stringify(value))
        expect(throughCodec(value)).toStrictEqual(value)
      }),
    )
  })

  test.each<[string, unknown]>([
    ['what looks like a mark', { $Date: '1970-01-01T00:00:00.000Z' }],
    ['a text that begins like a marked one', '~{"$":"NaN"}'],
    ['a member called __proto__', JSON.parse('{"__proto__":{"admin":true}}')],
    ['half a surrogate pair', { text: '\ud800' }],
    ['a long list of numbers', Array.from({ length: 1_000 }, (_, i) => i)],
    ['a list of rows', Array.from({ length: 100 }, (_, id) => ({ id, tags: ['fire'] }))],
  ])('is %s', (_, value) => {
    expect(encode(value)).toBe(JSON.stringify(value))
    expect(throughCodec(value)).toStrictEqual(value)
  })

  test('may be nested as deeply as JSON.stringify goes', () => {
    const value = JSON.parse('['.repeat(1_500) + ']'.repeat(1_500))
    expect(encode(value)).toBe(JSON.stringify(value))
  })

  test('may be nested more deeply than the stack only where JSON.stringify needs no stack', () => {
    const value = deep(200_000)
    // Node 26 needs none, older ones do.
    if (jsonOf(value) === undefined) expect(() => encode(value)).toThrow('nested more than 500 levels deep')
    else expect(encode(value)).toBe(jsonOf(value))
  })
})

function jsonOf(value: unknown): string | undefined {
  try {
    return JSON.stringify(value)
  } catch {
    return undefined
  }
}

/** What `docs/values.md` shows: a value, as it is written in code, and its text. */
const SHOWN: readonly (readonly [string, unknown, string])[] = [
  ['new Date(0)', new Date(0), '~{"$Date":"1970-01-01T00:00:00.000Z"}'],
  ['new Date(NaN)', new Date(Number.NaN), '~{"$Date":null}'],
  ['10n', 10n, '~{"$bigint":"10"}'],
  ['undefined', { a: undefined }, '~{"a":{"$":"undefined"}}'],
  ['NaN', { a: Number.NaN }, '~{"a":{"$":"NaN"}}'],
  ['-Infinity', { a: Number.NEGATIVE_INFINITY }, '~{"a":{"$":"-Infinity"}}'],
  ['-0', { a: -0 }, '~{"a":{"$":"-0"}}'],
  // biome-ignore lint/suspicious/noSparseArray: this is what is tested
  ['[1, , 3]', [1, , 3], '~[1,{"$":"hole"},3]'],
  ['new Map([[1, "a"]])', new Map([[1, 'a']]), '~{"$Map":[[1,"a"]]}'],
  ['new Set([1])', new Set([1]), '~{"$Set":[1]}'],
  ['new URL("http://x/")', new URL('http://x/'), '~{"$URL":"http://x/"}'],
  ['/a/g', /a/g, '~{"$RegExp":["a","g"]}'],
  ['Buffer.from("hi")', Buffer.from('hi'), '~{"$Buffer":"aGk="}'],
  ['new Uint8Array([1, 2])', new Uint8Array([1, 2]), '~{"$Uint8Array":"AQI="}'],
  ['new Float64Array([1])', new Float64Array([1]), '~{"$Float64Array":"AAAAAAAA8D8="}'],
  ['new ArrayBuffer(2)', new ArrayBuffer(2), '~{"$ArrayBuffer":"AAA="}'],
  ['Object.create(null)', Object.create(null), '~{"$null":{}}'],
  [
    '{ $Date: 1, at: new Date(0) }',
    { $Date: 1, at: new Date(0) },
    '~{"$Date":1,"at":{"$Date":"1970-01-01T00:00:00.000Z"}}',
  ],
  ['[{ $Date: 1 }, NaN]', [{ $Date: 1 }, Number.NaN], '~[{"$$Date":1},{"$":"NaN"}]'],
]

describe('what JSON has no words for', () => {
  test.each(SHOWN)('%s is kept, and is written as docs/values.md says', (code, value, text) => {
    expect(encode(value)).toBe(text)
    expect(isSame(decode(text), value)).toBe(true)
    const page = readFileSync(join(import.meta.dirname, '../../../docs/values.md'), 'utf8')
    expect(page).toContain(`| \`${code}\` | \`${text}\` |`)
  })

  test('comes back the same, whatever holds it', () => {
    fc.assert(
      fc.property(keptValues, value => isSame(throughCodec({ value }), { value })),
      { numRuns: 1_000 },
    )
  })

  test('has another text for every other value', () => {
    fc.assert(
      fc.property(keptValues, keptValues, (one, other) => {
        const same = encode({ of: one }) === encode({ of: other })
        expect(!same || isSame({ of: one }, { of: other })).toBe(true)
      }),
      { numRuns: 500 },
    )
  })

  test('leaves the value that is encoded as it was', () => {
    const inner = { $Date: 1 }
    const value = { at: new Date(0), tags: new Map([['a', [inner]]]), inner }
    const copy = structuredClone(value)
    encode(value)
    expect(value).toStrictEqual(copy)
    expect(Object.isFrozen(inner)).toBe(false)
  })

  test('are errors with all that they hold: class, message, stack, cause, errors, members', () => {
    const inner = new RangeError('inner')
    const error = Object.assign(new AggregateError([inner], 'several', { cause: new Date(0) }), {
      code: 23505n,
    })
    const copy = throughCodec(error) as AggregateError & { code: bigint }
    expect(copy).toBeInstanceOf(AggregateError)
    expect(copy).toStrictEqual(error)
    expect(copy.stack).toBe(error.stack)
    expect(copy.errors[0]).toBeInstanceOf(RangeError)
    expect(copy.code).toBe(23505n)
    expect(Object.keys(copy)).toEqual(['code'])
    expect(Object.keys(throughCodec(new TypeError('no')) as object)).toEqual([])
  })

  test('is told by what it is, and not by the realm that it comes from', () => {
    const foreign = runInContext(
      `({ at: new Date(0), map: new Map([[1, [{}]]]), re: /a/g, bytes: new Uint8Array([1]), error: new TypeError('no') })`,
      createContext(),
    )
    expect(throughCodec(foreign)).toStrictEqual({
      at: new Date(0),
      map: new Map([[1, [{}]]]),
      re: /a/g,
      bytes: new Uint8Array([1]),
      error: expect.any(TypeError),
    })
    expect(encode(runInContext('({ id: 4, tags: ["fire"] })', createContext()))).toBe(
      '{"id":4,"tags":["fire"]}',
    )
  })

  test('is written in little-endian order on machines of either order', () => {
    const bytes = new Uint8Array([1, 2, 3, 4])
    expect([...inLittleEndian(bytes, 2, false)]).toEqual([2, 1, 4, 3])
    expect([...inLittleEndian(inLittleEndian(bytes, 4, false), 4, false)]).toEqual([1, 2, 3, 4])
    expect(inLittleEndian(bytes, 4, true)).toBe(bytes)
    expect(encode(new Uint16Array([1]))).toBe('~{"$Uint16Array":"AQA="}')
  })

  test('is what a patched prototype does not change', () => {
    const patched = BigInt.prototype as { toJSON?: () => string }
    patched.toJSON = () => 'patched'
    try {
      expect(encode({ id: 4n })).toBe('~{"id":{"$bigint":"4"}}')
    } finally {
      delete patched.toJSON
    }
  })
})

class Decimal {
  readonly #text: string
  constructor(text: string) {
    this.#text = text
  }
  toJSON() {
    return this.#text
  }
}

/** What every `toJSON` below answers with: nothing of it survives `JSON.stringify`. */
const ANSWER = { at: new Date(0), n: Number.NaN, m: new Map([[1, 2]]) }
const hidden = (object: object, toJSON: PropertyDescriptor = { value: () => ANSWER }): object =>
  Object.defineProperty(object, 'toJSON', toJSON)
const wrapped = (object: object): object => {
  let value = object
  for (let i = 0; i < 300; i++) value = [value]
  return value
}

describe('a toJSON that is no enumerable member', () => {
  test.each<[string, object]>([
    ['of a plain object', hidden({ id: 1 })],
    ['of an array', hidden([1])],
    ['of a long list', hidden(Array.from({ length: 100 }, (_, i) => i))],
    ['of an object without a prototype', hidden(Object.create(null))],
    ['that is inherited by such an object', Object.create(hidden(Object.create(null)))],
    ['that is a getter', hidden({ id: 1 }, { get: () => () => ANSWER })],
    [
      'that a proxy shows',
      new Proxy({ id: 1 }, { get: (of, name) => (name === 'toJSON' ? () => ANSWER : Reflect.get(of, name)) }),
    ],
  ])('%s is asked, and its answer is kept as it is', (_, value) => {
    expect(throughCodec(value)).toStrictEqual(ANSWER)
    expect(throughCodec({ list: [value] })).toStrictEqual({ list: [ANSWER] })
    expect(throughCodec(wrapped(value))).toStrictEqual(wrapped(ANSWER))
  })

  test.each<[string, object, unknown]>([
    ['all objects', Object.prototype, { id: 1, in: { id: 2, in: [new Date(0)] } }],
    ['all arrays', Array.prototype, [[1], [new Date(0)]]],
  ])('of %s is asked once for each', (_, prototype, value) => {
    let asked = 0
    const toJSON = function (this: object) {
      asked++
      return Array.isArray(this) ? [...this, 'asked'] : { ...this, asked: true }
    }
    Object.defineProperty(prototype, 'toJSON', { value: toJSON, configurable: true })
    let text = ''
    try {
      text = encode(value)
    } finally {
      Reflect.deleteProperty(prototype, 'toJSON')
    }
    expect(asked).toBe(3)
    const expected = Array.isArray(value)
      ? [[1, 'asked'], [new Date(0), 'asked'], 'asked']
      : { id: 1, in: { id: 2, in: [new Date(0), 'asked'], asked: true }, asked: true }
    expect(decode(text)).toStrictEqual(expected)
  })
})

describe('an instance of a class with toJSON', () => {
  test('becomes what that answers with, and plain JSON stays plain', () => {
    expect(encode({ price: new Decimal('1.50'), query: { $gt: new Decimal('1') } })).toBe(
      '{"price":"1.50","query":{"$gt":"1"}}',
    )
  })

  test('is told its name, and may answer with any value that is kept', () => {
    const told: unknown[] = []
    const one = {
      toJSON(name: string) {
        told.push(name)
        return { at: new Date(0) }
      },
    }
    expect(throughCodec({ member: one, list: [one] })).toStrictEqual({
      member: { at: new Date(0) },
      list: [{ at: new Date(0) }],
    })
    expect(told).toEqual(['member', '0'])
  })
})

const holdingItself: unknown[] = []
holdingItself.push({ again: holdingItself })
const deep = (levels: number) => JSON.parse('['.repeat(levels) + ']'.repeat(levels))
const revoked = Proxy.revocable({}, {})
revoked.revoke()

/** What cannot be kept, and where in the value that is. */
const REFUSED: readonly (readonly [string, unknown, string])[] = [
  ['a function', () => 4, 'it is a function'],
  ['a method', { spells: [{ cast() {} }] }, 'a function at .spells[0].cast'],
  ['a symbol', { a: Symbol('x') }, 'a symbol at .a'],
  ['a name that is a symbol', { [Symbol('x')]: 1 }, 'a member whose name is a symbol at [Symbol(x)]'],
  ['an instance of a class', { a: new (class Spell {})() }, 'an instance of Spell without toJSON at .a'],
  [
    'an instance of a class made from Date',
    [new (class Day extends Date {})()],
    'an instance of Day, a class made from a built-in one at [0]',
  ],
  [
    'an instance of a class made from Error',
    new (class Missing extends Error {})(),
    'an instance of Missing without toJSON',
  ],
  [
    'an instance of a class made from Map',
    new (class Index extends Map {})(),
    'an instance of Index without toJSON',
  ],
  [
    'an instance of a class made from Array',
    { rows: new (class Result extends Array {})(2) },
    'an instance of Result, no plain array (return [...rows]) at .rows',
  ],
  ['what only looks like an error', Object.create(TypeError.prototype), 'this is no error'],
  ['what only looks like a map', Object.create(Map.prototype), 'incompatible receiver'],
  ['an object that holds itself', holdingItself, 'an object that holds itself at [0].again'],
  [
    'a map that holds itself',
    (map => map.set('me', map))(new Map()),
    'an object that holds itself at .get("me")',
  ],
  ['a function as the key of a map', new Map([[() => 4, 1]]), 'a function at .keys()[0]'],
  ['a function in a set', new Set([1, () => 4]), 'a function at .keys()[1]'],
  [
    'a getter that throws',
    {
      get 'a b'() {
        throw new Error('boom')
      },
    },
    'something that throws when it is read (boom) at ["a b"]',
  ],
  [
    'a toJSON that throws',
    {
      a: {
        toJSON() {
          throw new Error('boom')
        },
      },
    },
    'something that throws when it is read (boom) at .a',
  ],
  [
    'a toJSON that answers with an instance',
    { toJSON: () => new Decimal('1') },
    'an instance of Decimal, which a toJSON answered with',
  ],
  ['a revoked proxy', { a: revoked.proxy }, 'something that throws when it is read (Cannot perform'],
  [
    'a member of a date',
    Object.assign(new Date(0), { zone: 'UTC' }),
    'a member that somebody added to a Date at .zone',
  ],
  ['a member of an array', 'Fireball'.match(/ball/), 'a member of an array that is no element'],
  ['a boxed number', Object(4), 'an instance of Number without toJSON'],
  ['a promise', { a: Promise.resolve(4) }, 'an instance of Promise without toJSON at .a'],
  ['a weak map', new WeakMap(), 'an instance of WeakMap without toJSON'],
  ['memory that threads share', new Uint8Array(new SharedArrayBuffer(4)), 'bytes that threads share'],
  [
    'an array with room for a billion',
    Object.assign([1], { 999999999: 1 }),
    'an array with more than 100000 holes',
  ],
  ['too many levels', { at: new Date(0), deep: deep(1_000) }, 'nested more than 500 levels deep'],
  [
    'more levels than the stack has',
    { at: new Date(0), deep: deep(200_000) },
    'nested more than 500 levels deep',
  ],
]

describe('what cannot be kept', () => {
  test.each(REFUSED)('is %s, and it is said where it is', (_, value, message) => {
    expect(() => encode(value)).toThrow(message)
  })

  test('is told in a few words, however far down it is', () => {
    const long = 'x'.repeat(1_000)
    expect(() => encode({ [long]: { [long]: () => 4 } })).toThrow(/^.{1,400}$/)
  })

  test('is an object that shares its parts so often that it has no end', () => {
    let value: unknown = []
    for (let i = 0; i < 20; i++) value = [value, value]
    expect(encode(value)).toBe(JSON.stringify(value))
  })
})

describe('what is in the store', () => {
  test.each([
    '~',
    '~{"$":"undefined"}',
    '~{"$":"hole"}',
    '~{"$":4}',
    '~{"$Spell":{}}',
    '~{"$__proto__":{}}',
    '~{"$constructor":["return 4"]}',
    '~{"$Date":"yesterday"}',
    '~{"$Date":4}',
    '~{"$bigint":"1e5"}',
    `~{"$bigint":"${'9'.repeat(401)}"}`,
    '~{"$URL":"no"}',
    '~{"$RegExp":["(","g"]}',
    '~{"$RegExp":"a"}',
    '~{"$Map":[1]}',
    '~{"$Set":{}}',
    '~{"$Buffer":"!"}',
    '~{"$Float64Array":"AAAA"}',
    '~{"$Error":["Function",{},{}]}',
    '~{"$Error":["Error",{"toString":1},{}]}',
    '~{"$null":[]}',
    `~${'['.repeat(100_000)}${']'.repeat(100_000)}`,
  ])('is not read where it is no text of ours: %.40s', text => {
    expect(() => decode(text)).toThrow()
  })

  test('makes nothing but values from any text', () => {
    const marks = fc.constantFrom(
      '$',
      '$$',
      '$Date',
      '$Map',
      '$Set',
      '$Error',
      '$RegExp',
      '$URL',
      '$null',
      '$bigint',
      '$Buffer',
      '__proto__',
    )
    const { json } = fc.letrec(tie => ({
      json: fc.oneof(
        { depthSize: 'small' },
        fc.constantFrom<unknown>(
          'NaN',
          'undefined',
          'Error',
          'AAAA',
          4,
          null,
          true,
          '__proto__',
          'http://x/',
        ),
        fc.array(tie('json'), { maxLength: 3 }),
        fc.array(fc.tuple(marks, tie('json')), { maxLength: 2 }).map(all => Object.fromEntries(all)),
      ),
    }))
    fc.assert(
      fc.property(json, value => {
        let read: unknown
        try {
          read = decode(`~${JSON.stringify(value)}`)
        } catch {
          return
        }
        expect(encode(throughCodec({ read }))).toBe(encode({ read }))
        expect(Object.keys(Object.prototype)).toEqual([])
      }),
      { numRuns: 1_000 },
    )
  })

  test.each(['~{"__proto__":{"admin":true},"at":{"$Date":null}}', '~{"$null":{"__proto__":{"admin":true}}}'])(
    'gives no object another prototype: %s',
    text => {
      const read = decode(text) as object
      expect(Object.hasOwn(read, '__proto__')).toBe(true)
      expect('admin' in read).toBe(false)
    },
  )
})
