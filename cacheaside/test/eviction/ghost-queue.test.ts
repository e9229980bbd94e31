import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { GhostQueue } from '../../src/eviction/ghost-queue.ts'

describe('GhostQueue', () => {
  it('remembers the last keys, and forgets a key that was taken', () => {
    const ghost = new GhostQueue()
    for (let n = 0; n < 100; n++) ghost.add(`k${n}`, 10)
    expect(ghost.take('k89', 10)).toBe(false)
    expect(ghost.take('k90', 10)).toBe(true)
    expect(ghost.take('k90', 10)).toBe(false)
    expect(ghost.take('k99', 1)).toBe(true)
    expect(ghost.take('never', 10)).toBe(false)
    expect(ghost.take('', 10)).toBe(false)
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
          if (isAdd) ghost.add(name, length)
          else expect(ghost.take(name, length)).toBe(isAmongLast)
          if (before >= 0) added[before] = undefined
          if (isAdd) added.push(name)
        }
      }),
    )
  })

  it('remembers at least 98 of 100 keys at every length, and none that it was never told of', () => {
    for (const length of [100, 1000, 20_000]) {
      const ghost = new GhostQueue()
      for (let n = 0; n < 3 * length; n++) ghost.add(`spell:${n}`, length)
      let remembered = 0
      for (let n = 2 * length; n < 3 * length; n++) if (ghost.take(`spell:${n}`, length)) remembered++
      expect(remembered).toBeGreaterThanOrEqual(0.98 * length)
      let mistaken = 0
      for (let n = 0; n < 2 * length; n++) if (ghost.take(`spell:${n}`, length)) mistaken++
      for (let n = 0; n < length; n++) if (ghost.take(`other:${n}`, length)) mistaken++
      expect(mistaken).toBe(0)
    }
  })

  it('keeps what it remembers when it grows', () => {
    const ghost = new GhostQueue()
    for (let n = 0; n < 400; n++) ghost.add(`k${n}`, 400)
    ghost.add('one more', 50_000)
    let remembered = 0
    for (let n = 0; n < 400; n++) if (ghost.take(`k${n}`, 50_000)) remembered++
    expect(remembered).toBeGreaterThanOrEqual(396)
  })

  it('forgets everything when it is cleared', () => {
    const ghost = new GhostQueue()
    ghost.add('a', 10)
    ghost.clear()
    expect(ghost.take('a', 10)).toBe(false)
  })
})
