import { describe, expect, it } from 'vitest'
import { decayed, INITIAL_COUNTER, raised } from '../../src/eviction/lfu-counter.ts'
import { seededRandom } from './hand-clock.ts'

function counterAfter(accesses: number, logFactor: number, seed: number): number {
  const random = seededRandom(seed)
  let counter = INITIAL_COUNTER
  for (let access = 0; access < accesses; access++) counter = raised(counter, logFactor, random())
  return counter
}

function meanCounterAfter(accesses: number, logFactor: number): number {
  let sum = 0
  for (let seed = 1; seed <= 20; seed++) sum += counterAfter(accesses, logFactor, seed)
  return sum / 20
}

describe('raised', () => {
  // The table in redis.conf, which the comments there say comes from measurements, too.
  it.each([
    [0, 100, 104],
    [1, 100, 18],
    [1, 1000, 49],
    [10, 100, 10],
    [10, 1000, 18],
    [10, 100_000, 142],
    [100, 100, 8],
    [100, 1000, 11],
    [100, 100_000, 49],
  ])('counts, at a log factor of %i, %i accesses as about %i', (logFactor, accesses, expected) => {
    const mean = meanCounterAfter(accesses, logFactor)
    expect(Math.abs(mean - expected)).toBeLessThanOrEqual(Math.max(2, expected * 0.04))
  })

  it('stops at 255', () => {
    expect(raised(254, 0, 0.5)).toBe(255)
    expect(raised(255, 0, 0)).toBe(255)
  })

  it('always counts an access of a counter that is not above the initial value', () => {
    for (let counter = 0; counter <= INITIAL_COUNTER; counter++) {
      expect(raised(counter, 10, 0.999999)).toBe(counter + 1)
    }
    expect(raised(INITIAL_COUNTER + 1, 10, 0.999999)).toBe(INITIAL_COUNTER + 1)
  })

  it('counts with a probability of one in (counter above the initial value) times the log factor plus one', () => {
    expect(raised(15, 10, 1 / 101 - 1e-9)).toBe(16)
    expect(raised(15, 10, 1 / 101 + 1e-9)).toBe(15)
  })
})

describe('decayed', () => {
  it('takes one for each full period, and never goes below zero', () => {
    expect(decayed(20, 0, 1)).toBe(20)
    expect(decayed(20, 7, 1)).toBe(13)
    expect(decayed(20, 7, 4)).toBe(19)
    expect(decayed(20, 8, 4)).toBe(18)
    expect(decayed(20, 1000, 1)).toBe(0)
    expect(decayed(20, 1e9, Number.POSITIVE_INFINITY)).toBe(20)
  })
})
