import { describe, expect, test } from 'vitest'
import { EntryTags, NO_TAGS } from '../../src/local/entry-tags.ts'
import { boundedLocal, type LocalEntry, noLocal } from '../../src/local/local-store.ts'
import { SimulatedClock } from '../../src/testing/index.ts'

const entry = (value: unknown, expiresAtMs = 1_000): LocalEntry => ({
  opened: { take: () => value, isShared: true },
  tags: NO_TAGS,
  generation: 'generation',
  filledAtMs: 0,
  expiresAtMs,
  refreshAtMs: Number.POSITIVE_INFINITY,
})

function opened(bounds: { maxBytes?: number; maxEntries?: number }) {
  const clock = new SimulatedClock()
  const discarded: [string, string][] = []
  const local = boundedLocal(bounds, clock, (key, reason) => discarded.push([key, reason]))
  return { clock, local, discarded }
}

describe('an L1', () => {
  test('returns what it keeps until it expires, is removed or cleared', () => {
    const { local, discarded } = opened({ maxEntries: 9 })
    for (const key of ['a', 'b', 'c']) local.keep(key, entry(key), 1)
    expect(local.get('a', 999)?.opened.take()).toBe('a')
    expect(local.get('a', 1_000)).toBeUndefined()
    local.remove('b')
    expect(local.get('b', 0)).toBeUndefined()
    local.clear()
    expect([local.get('c', 0), local.size, local.bytes]).toEqual([undefined, 0, 0])
    expect(discarded).toEqual([['a', 'expired']])
  })

  test('keeps no more than its bytes, reckoned from the text and the structure around it', () => {
    const { local, discarded } = opened({ maxBytes: 10_000 })
    for (let i = 0; i < 100; i++) local.keep(`key:${i}`, entry(i), 600)
    expect(local.bytes).toBeLessThanOrEqual(10_000)
    expect(local.size).toBe(Math.floor(10_000 / (6 + 600 * 1.5 + 130)))
    expect(discarded).toHaveLength(100 - local.size)
  })

  test('reckons the tags of an entry, and a tag of several entries to the first of them', () => {
    const { local } = opened({ maxBytes: 10_000 })
    const tagged = (names: string[]) => ({ ...entry(1), tags: new EntryTags(names, false, 0) })
    const charged = (key: string, names: string[]) => {
      const before = local.bytes
      local.keep(key, tagged(names), 0)
      return local.bytes - before - key.length - 130
    }
    expect(charged('a', ['author:1'])).toBe(100 + 64 + 8 + 190)
    expect(charged('b', ['author:1', 'author:2'])).toBe(100 + 2 * (64 + 8) + 190)
    local.remove('b')
    expect(charged('a', ['author:1', 'author:2'])).toBe(64 + 8 + 190 - 1 - 130)
    for (let i = 0; i < 100; i++)
      charged(
        `key:${i}`,
        Array.from({ length: 32 }, (_, tag) => `author:${i}:${tag}`),
      )
    // Each tag takes about 250 bytes on the heap.
    expect(local.tags).toBeLessThan(10_000 / 250)
  })

  test('lets the old value go where there is no room for the new one', () => {
    const { local } = opened({ maxBytes: 1_000 })
    local.keep('a', entry('small'), 10)
    local.keep('a', entry('large'), 1_000)
    expect([local.get('a', 0), local.size, local.bytes]).toEqual([undefined, 0, 0])
  })

  test('tells of what it let go when it is in order again, and a listener may remove the newcomer', () => {
    let heard = 0
    const local = boundedLocal({ maxBytes: 2_100 }, new SimulatedClock(), () => {
      heard++
      local.remove('a')
    })
    for (const key of ['a', 'b', 'c', 'd']) local.keep(key, entry(key), 100)
    local.keep('a', entry('larger, so that others have to go'), 1_000)
    expect(heard).toBeGreaterThan(0)
    expect(local.get('a', 0)).toBeUndefined()
    for (const key of ['b', 'c', 'd']) local.remove(key)
    expect([local.size, local.bytes]).toEqual([0, 0])
  })
})

test('no L1 keeps nothing', () => {
  noLocal.keep('a', entry('a'), 1)
  noLocal.remove('a')
  noLocal.clear()
  expect([noLocal.enabled, noLocal.get('a', 0), noLocal.size, noLocal.bytes]).toEqual([
    false,
    undefined,
    0,
    0,
  ])
})
