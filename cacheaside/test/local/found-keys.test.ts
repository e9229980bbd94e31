import { describe, expect, test } from 'vitest'
import { FoundKeys } from '../../src/local/found-keys.ts'

describe('the keys that were found', () => {
  test('are worth a guess until they expire, or are forgotten', () => {
    const found = new FoundKeys()
    found.note('spell:4', 1_000)
    found.note('spell:5', 1_000)
    found.forget('spell:5')
    expect([found.has('spell:4', 999), found.has('spell:4', 1_000)]).toEqual([true, false])
    expect([found.has('spell:5', 0), found.has('spell:6', 0)]).toEqual([false, false])
    found.note('spell:4', 2_000)
    expect(found.has('spell:4', 1_000)).toBe(true)
  })

  test('are 10,000 at most', () => {
    const found = new FoundKeys()
    const remembered = () => {
      let count = 0
      for (let id = 0; id < 25_000; id++) if (found.has(`spell:${id}`, 0)) count++
      return count
    }
    let most = 0
    for (let id = 0; id < 25_000; id++) {
      found.note(`spell:${id}`, 1_000)
      if (id % 5_000 === 4_999) most = Math.max(most, remembered())
    }
    expect(most).toBe(10_000)
    expect(found.has('spell:24999', 0)).toBe(true)
  })
})
