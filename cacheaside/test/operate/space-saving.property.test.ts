import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { From } from '../../src/base/events.ts'
import { type HotKeys, together } from '../../src/operate/hot-keys.ts'
import { SpaceSaving } from '../../src/operate/space-saving.ts'

const FROM: readonly From[] = ['local', 'shared', 'origin']
/** Streams in which small numbers are frequent. */
const stream = fc.array(fc.oneof({ weight: 3, arbitrary: fc.nat(5) }, { weight: 1, arbitrary: fc.nat(60) }), {
  maxLength: 400,
})
const sizes = fc.integer({ min: 1, max: 20 })

function counted(keys: readonly number[], size: number): { sketch: SpaceSaving; truth: Map<string, number> } {
  const sketch = new SpaceSaving(size)
  const truth = new Map<string, number>()
  keys.forEach((number, i) => {
    const key = `key:${number}`
    sketch.add(key, FROM[i % 3]!)
    truth.set(key, (truth.get(key) ?? 0) + 1)
  })
  return { sketch, truth }
}

describe('a SpaceSaving sketch', () => {
  test('counts no key too low, and none too high by more than its error', () => {
    fc.assert(
      fc.property(stream, sizes, (keys, size) => {
        const { sketch, truth } = counted(keys, size)
        const top = sketch.top(size)
        for (const { key, count, error, local, shared, origin } of top) {
          const times = truth.get(key)!
          expect(count).toBeGreaterThanOrEqual(times)
          expect(count - error).toBeLessThanOrEqual(times)
          expect(local + shared + origin).toBe(count - error)
        }
        expect(sketch.total).toBe(keys.length)
        expect(top.length).toBe(Math.min(size, truth.size))
        expect(top.reduce((sum, { count }) => sum + count, 0)).toBe(keys.length)
      }),
    )
  })

  test('has every key that was read more than one time in its size, in the order of their counts', () => {
    fc.assert(
      fc.property(stream, sizes, (keys, size) => {
        const { sketch, truth } = counted(keys, size)
        const top = sketch.top(size)
        const names = top.map(({ key }) => key)
        for (const [key, times] of truth) {
          if (times > keys.length / size) expect(names).toContain(key)
          if (!names.includes(key)) expect(times).toBeLessThanOrEqual(sketch.missedAtMost)
        }
        const counts = top.map(({ count }) => count)
        expect(counts).toEqual([...counts].sort((a, b) => b - a))
      }),
    )
  })

  test('is exact where there are no more keys than it has counters', () => {
    const { sketch } = counted([1, 1, 1, 2, 2, 3], 3)
    expect(sketch.top(2)).toMatchObject([
      { key: 'key:1', count: 3, error: 0 },
      { key: 'key:2', count: 2, error: 0 },
    ])
    expect(sketch.missedAtMost).toBe(1)
  })
})

test('together bounds what several processes have counted, also keys that one of them does not tell or that it cuts off', () => {
  const told = (keys: readonly number[], size: number): HotKeys => {
    const { sketch } = counted(keys, size)
    return { forMs: 1_000, reads: sketch.total, keys: sketch.top(size), missedAtMost: sketch.missedAtMost }
  }
  fc.assert(
    fc.property(fc.array(fc.tuple(stream, sizes), { minLength: 1, maxLength: 4 }), sizes, (streams, most) => {
      const truth = new Map<string, number>()
      for (const [keys] of streams)
        for (const number of keys) truth.set(`key:${number}`, (truth.get(`key:${number}`) ?? 0) + 1)
      const sum = together(
        streams.map(([keys, size]) => told(keys, size)),
        1_000,
        most,
      )
      expect(sum.keys.length).toBeLessThanOrEqual(most)
      expect(sum.reads).toBe([...truth.values()].reduce((all, times) => all + times, 0))
      const names = sum.keys.map(({ key }) => key)
      for (const { key, count, error } of sum.keys) {
        expect(count).toBeGreaterThanOrEqual(truth.get(key)!)
        expect(count - error).toBeLessThanOrEqual(truth.get(key)!)
      }
      for (const [key, times] of truth)
        if (!names.includes(key)) expect(times).toBeLessThanOrEqual(sum.missedAtMost)
    }),
  )
})
