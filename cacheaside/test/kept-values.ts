import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'

/**
 * Whether two values are the same all the way down. `isDeepStrictEqual` says so of everything but two dates without a time,
 * and does not look at an error's stack.
 */
export function isSame(one: unknown, other: unknown): boolean {
  if (one instanceof Date && other instanceof Date && Number.isNaN(one.getTime()))
    return Number.isNaN(other.getTime())
  return isDeepStrictEqual(one, other)
}

const names = fc.oneof(
  fc.constantFrom(
    '$',
    '$$',
    '$Date',
    '$$Date',
    '$Map',
    '$null',
    '$bigint',
    '$Buffer',
    '__proto__',
    'constructor',
    'toString',
    '',
  ),
  fc.string({ unit: 'binary', maxLength: 6 }),
  fc.string({ maxLength: 4 }).map(name => `$${name}`),
)
const texts = fc.oneof(
  fc.constantFrom('~', '~{"$":"NaN"}', 'undefined', 'NaN', '-0', 'hole', '\ud800', 'AAAA'),
  fc.string({ unit: 'binary' }),
)
const bytes = fc.uint8Array({ maxLength: 24 })
const inEights = (length: number) => length - (length % 8)
const eights = bytes.map(all => all.slice(0, inEights(all.length)).buffer)
const views = [
  Int8Array,
  Uint8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
  DataView,
]
const errors = [Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError]

const leaves = fc.oneof(
  fc.double(),
  fc.integer(),
  fc.boolean(),
  texts,
  fc.constantFrom(null, undefined, -0, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY),
  fc.bigInt(),
  fc.bigInt({ min: -(2n ** 3000n), max: 2n ** 3000n }),
  // Of one without a time `isDeepStrictEqual` says that it is not even the same as itself.
  fc.date({ noInvalidDate: true }),
  fc.webUrl().map(url => new URL(url)),
  fc
    .constantFrom(/a\/b/gi, /(?<year>\d+)/u, /[\n\u2028]/, /(?:)/)
    .map(({ source, flags }) => new RegExp(source, flags)),
  fc.nat(9).map(at => Object.assign(/a/g, { lastIndex: at })),
  bytes.map(all => Buffer.from(all)),
  eights,
  fc.tuple(eights, fc.constantFrom(...views)).map(([buffer, View]) => new (View as typeof DataView)(buffer)),
)

/** An object that has these as members of its own, whatever they are called. */
function holding(entries: readonly (readonly [string, unknown])[], object: object = {}): object {
  for (const [name, value] of entries)
    Object.defineProperty(object, name, { value, enumerable: true, writable: true, configurable: true })
  return object
}

/** Everything that the default codec keeps, in everything that it keeps. */
export const keptValues: fc.Arbitrary<unknown> = fc.letrec(tie => {
  const value = tie('value')
  const entries = fc.array(fc.tuple(names, value), { maxLength: 4 })
  const some = fc.array(value, { maxLength: 4 })
  return {
    value: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      leaves,
      entries.map(all => holding(all)),
      entries.map(all => holding(all, Object.create(null))),
      some,
      some.map(all => {
        const holed = [...all, 1]
        delete holed[0]
        return holed
      }),
      fc.array(fc.tuple(value, value), { maxLength: 3 }).map(all => new Map(all)),
      some.map(all => new Set(all)),
      fc.tuple(fc.constantFrom(...errors), texts, value, entries).map(([Kind, message, cause, all]) => {
        const own = all.filter(([name]) => !['message', 'name', 'stack', '__proto__'].includes(name))
        return holding(own, new Kind(message, { cause }))
      }),
      some.map(all => new AggregateError(all, 'several')),
    ),
  }
}).value
