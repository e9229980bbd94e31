import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { GhostQueue, hashOf, hashOfNumber, mixed } from '../../src/eviction/ghost-queue.ts'

describe('GhostQueue', () => {
  it('remembers the last keys, and forgets a key that was taken', () => {
    const ghost = new GhostQueue()
    for (let n = 0; n < 100; n++) ghost.add(hashOf(`k${n}`), 10)
    expect(ghost.take(hashOf('k89'), 10)).toBe(false)
    expect(ghost.take(hashOf('k90'), 10)).toBe(true)
    expect(ghost.take(hashOf('k90'), 10)).toBe(false)
    expect(ghost.take(hashOf('k99'), 1)).toBe(true)
    expect(ghost.take(hashOf('never'), 10)).toBe(false)
    expect(ghost.take(hashOf(''), 10)).toBe(false)
  })

  it('says what a list of the added keys says', () => {
    const key = fc.integer({ min: 0, max: 30 }).map(String)
    const step = fc.tuple(fc.boolean(), key, fc.integer({ min: 0, max: 40 }))
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200, size: 'max' }), steps => {
        const ghost = new GhostQueue()
        const added: (string | undefined)[] = []
        for (const [isAdd, name, length] of steps) {
          const before = added.indexOf(name)
          const isAmongLast = before >= 0 && before >= added.length - length
          if (isAdd) ghost.add(hashOf(name), length)
          else expect(ghost.take(hashOf(name), length)).toBe(isAmongLast)
          if (before >= 0) added[before] = undefined
          if (isAdd) added.push(name)
        }
      }),
    )
  })

  it('remembers at least 98 of 100 keys at every length, and none that it was never told of', () => {
    for (const length of [100, 1000, 20_000]) {
      const ghost = new GhostQueue()
      for (let n = 0; n < 3 * length; n++) ghost.add(hashOf(`spell:${n}`), length)
      let remembered = 0
      for (let n = 2 * length; n < 3 * length; n++) if (ghost.take(hashOf(`spell:${n}`), length)) remembered++
      expect(remembered).toBeGreaterThanOrEqual(0.98 * length)
      let mistaken = 0
      for (let n = 0; n < 2 * length; n++) if (ghost.take(hashOf(`spell:${n}`), length)) mistaken++
      for (let n = 0; n < length; n++) if (ghost.take(hashOf(`other:${n}`), length)) mistaken++
      expect(mistaken).toBe(0)
    }
  })

  it('remembers numbers as well as texts, apart for each shelf', () => {
    const length = 20_000
    const ghost = new GhostQueue()
    const hashIn = (shelf: number, n: number) => mixed(hashOfNumber(n, shelf))
    for (let n = 0; n < length; n++) ghost.add(hashIn(1, n), length)
    let mistaken = 0
    for (let n = 0; n < length; n++) if (ghost.take(hashIn(2, n), length)) mistaken++
    let remembered = 0
    for (let n = 0; n < length; n++) if (ghost.take(hashIn(1, n), length)) remembered++
    expect(mistaken).toBeLessThan(5)
    expect(remembered).toBeGreaterThanOrEqual(0.98 * length)
    expect(hashIn(1, 2 ** 40)).not.toBe(hashIn(1, 0))
  })

  it('keeps what it remembers when it grows', () => {
    const ghost = new GhostQueue()
    for (let n = 0; n < 400; n++) ghost.add(hashOf(`k${n}`), 400)
    ghost.add(hashOf('one more'), 50_000)
    let remembered = 0
    for (let n = 0; n < 400; n++) if (ghost.take(hashOf(`k${n}`), 50_000)) remembered++
    expect(remembered).toBeGreaterThanOrEqual(396)
  })

  it('forgets everything when it is cleared', () => {
    const ghost = new GhostQueue()
    ghost.add(hashOf('a'), 10)
    ghost.clear()
    expect(ghost.take(hashOf('a'), 10)).toBe(false)
  })
})
