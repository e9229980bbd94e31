import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { keyOf } from '../../src/base/key.ts'
import { NO_TAGS } from '../../src/local/entry-tags.ts'
import { boundedLocal, type LocalEntry, NOWHERE } from '../../src/local/local-store.ts'
import { SimulatedClock } from '../../src/testing/index.ts'

const entry = (value: unknown): LocalEntry => ({
  opened: { take: () => value, isShared: true },
  tags: NO_TAGS,
  generation: 'generation',
  filledAtMs: 0,
  expiresAtMs: 1_000,
  refreshAtMs: Number.POSITIVE_INFINITY,
})

function opened() {
  const discarded: string[] = []
  const local = boundedLocal({ maxEntries: 1_000 }, new SimulatedClock(), key => discarded.push(key))
  const shelf = local.shelfOf('spell')!
  const found = (id: unknown) => {
    const slot = shelf.find(id, 0)
    return slot === NOWHERE ? undefined : shelf.takeAt(slot)
  }
  return { local, shelf, found, discarded }
}

const number = fc.oneof(
  fc.integer(),
  fc.maxSafeInteger(),
  fc.double({ noNaN: true, noDefaultInfinity: true }).filter(n => Math.abs(n) <= Number.MAX_SAFE_INTEGER),
  fc.constantFrom(0, -0, 1e15, 1e15 - 1, -1e15, 2 ** 31, -(2 ** 31) - 1, 1.5, 1e-7),
)
const text = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 20 }),
  number.map(String),
  fc.constantFrom(
    '',
    '-',
    '-0',
    '00',
    '01',
    '+1',
    ' 1',
    '1 ',
    '1e3',
    'NaN',
    'true',
    'a:b',
    'a%3Ab',
    '%',
    '%25',
  ),
)
const part = fc.oneof(number, text, fc.bigInt(), fc.boolean())
const id = fc.oneof(part, fc.tuple(part, part))

describe('what L1 keeps of a keyspace', () => {
  test('is current while it has the generation that the shelf follows, also if that comes back', () => {
    const { local, shelf } = opened()
    const followed = { value: 'generation' as string | undefined, number: 7 }
    const isCurrent = () => shelf.isCurrent(shelf.find(1, 0))
    const now = (value: string | undefined, number: number) => {
      Object.assign(followed, { value, number })
      return isCurrent()
    }
    local.keep('spell:1', entry('before'), 10)
    expect(isCurrent()).toBe(false)
    shelf.follow(followed)
    expect(isCurrent()).toBe(true)
    local.keep('spell:1', entry('behind'), 10)
    expect([now('other', 8), now(undefined, -1), now('generation', 9)]).toEqual([false, false, true])
    // What comes with another generation than the one of now has none of its numbers.
    now('other', 10)
    local.keep('spell:1', entry('late'), 10)
    expect([isCurrent(), now('generation', 11)]).toEqual([false, true])
    shelf.follow({ value: undefined, number: -1 })
    local.remove('spell:1')
    local.keep('spell:1', entry('unknown'), 10)
    expect(isCurrent()).toBe(false)
  })

  test('is found by all ids that have its key, and by no other', () => {
    fc.assert(
      fc.property(fc.array(id, { minLength: 2, maxLength: 8 }), ids => {
        const { local, found } = opened()
        const kept = new Map<string, number>()
        ids.forEach((one, i) => {
          kept.set(keyOf('spell', one), i)
          local.keep(keyOf('spell', one), entry(i), 1)
        })
        expect(local.size).toBe(kept.size)
        for (const one of ids) {
          const key = keyOf('spell', one)
          expect(found(one)).toBe(kept.get(key))
          const last = Array.isArray(one) ? undefined : String(one)
          if (last !== undefined) expect(found(last)).toBe(kept.get(keyOf('spell', last)))
        }
      }),
    )
  })

  test('goes by its key, which is told as it was', () => {
    fc.assert(
      fc.property(fc.uniqueArray(id, { maxLength: 8, selector: one => keyOf('spell', one) }), ids => {
        const { local, found, discarded } = opened()
        const keys = ids.map(one => keyOf('spell', one))
        for (const key of keys) local.keep(key, entry(key), 1)
        if (ids.length > 0) local.remove(keys[0]!)
        if (ids.length > 0) expect(found(ids[0])).toBeUndefined()
        for (const key of keys.slice(1)) expect(local.get(key, 2_000)).toBeUndefined()
        expect([discarded, local.size]).toEqual([keys.slice(1), 0])
      }),
    )
  })

  test('is not found by what can be no id', () => {
    const { local, found } = opened()
    for (const one of ['NaN', 'Infinity', '9007199254740992', 'null', 'undefined'])
      local.keep(keyOf('spell', one), entry(one), 1)
    for (const one of [Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]) expect(() => found(one)).toThrow()
    for (const one of [null, undefined, {}, ['a'], [Symbol('a'), 1]]) expect(() => found(one)).toThrow()
  })

  test('is apart from other keyspaces, and peeks at one value give one object', () => {
    const { local, shelf, found } = opened()
    local.keep('spell:4', entry('a spell'), 1)
    local.keep('spells:4', entry('another'), 1)
    expect(found('4')).toBe('a spell')
    const peek = () => shelf.peekAt(shelf.find(4n, 0))
    const peeked = peek()
    expect(peeked).toEqual({ value: 'a spell' })
    expect(peek()).toBe(peeked)
    local.keep('spell:4', entry('a new one'), 1)
    expect(peek()).toEqual({ value: 'a new one' })
  })
})
