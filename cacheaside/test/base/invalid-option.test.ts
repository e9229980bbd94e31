import { CacheError } from 'cacheaside'
import { installFeed, postgresFeed } from 'cacheaside/postgres'
import { describe, expect, test } from 'vitest'
import { described, knownNames, wholeNumber } from '../../src/base/invalid-option.ts'

describe('described', () => {
  const circular: Record<string, unknown> = { password: 'hunter2' }
  circular.self = circular
  const nested: unknown[] = [1]
  nested.push(nested)

  test.each([
    ['a text', 'spell', '"spell"'],
    ['a long text', 'x'.repeat(500), `"${'x'.repeat(80)}…"`],
    ['a URL, which may hold a password', 'redis://:hunter2@localhost', '"redis://…"'],
    ['a bigint', 10n, '10n'],
    ['a symbol', Symbol('s'), 'Symbol(s)'],
    ['nothing', undefined, 'undefined'],
    ['null', null, 'null'],
    ['a function', () => 'hunter2', 'a function'],
    ['an object that holds itself', circular, '[object Object]'],
    ['an array', ['a', 4, circular], '["a",4,[object Object]]'],
    ['a long array', [1, 2, 3, 4, 5, 6], '[1,2,3,4,5,…]'],
    ['an array that holds itself', nested, '[1,an array]'],
    ['an object without a prototype', Object.create(null), '[object Object]'],
  ])('says what %s is, and writes out no object', (_, value, text) => {
    expect(described(value)).toBe(text)
  })
})

describe('an invalid option', () => {
  const pool = { connect: async () => {}, options: {} } as never
  const secret: Record<string, unknown> = { password: 'hunter2' }
  secret.self = secret

  test.each<[string, () => unknown]>([
    ['a bigint', () => postgresFeed({ pool, tables: { spell: () => [] }, pollMs: 10n as never })],
    [
      'an object that holds itself',
      () => postgresFeed({ pool, tables: { spell: { keys: secret as never } } }),
    ],
    ['a schema that is an object', () => postgresFeed({ pool, tables: {}, schema: secret as never })],
  ])('is refused with INVALID_OPTIONS where it is %s', (_, make) => {
    const error = thrownBy(make)
    expect(error).toBeInstanceOf(CacheError)
    expect(error).toMatchObject({ code: 'INVALID_OPTIONS' })
    expect(String(error)).not.toContain('hunter2')
  })

  test('of a migration is refused with INVALID_OPTIONS where it is a bigint', async () => {
    await expect(installFeed(pool, { tables: ['spell'], maxRows: 10n as never })).rejects.toMatchObject({
      code: 'INVALID_OPTIONS',
    })
  })
})

test('knownNames refuses a name that is not known, and says which are', () => {
  expect(() => knownNames('options', { ttl: 1 }, ['ttlMs'])).toThrow(
    'unknown option options.ttl, known are: ttlMs',
  )
})

test.each([1.5, 0, 11, Number.NaN, '5', 5n])('wholeNumber refuses %s', value => {
  expect(() => wholeNumber('n', value, 1, 10)).toThrow('expected n to be a whole number from 1 to 10')
})

function thrownBy(make: () => unknown): unknown {
  try {
    make()
  } catch (error) {
    return error
  }
  throw new Error('nothing was thrown')
}
