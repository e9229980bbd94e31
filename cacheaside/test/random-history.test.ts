import { afterAll, describe, expect, test } from 'vitest'
import { Nursery, type Patch } from './protections/library.ts'
import { randomHistory } from './random-history.ts'

const nursery = new Nursery()
afterAll(() => nursery.close())

describe('a random history of three processes', () => {
  test.each([
    ['on a network that only delays', false],
    ['on a network that breaks', true],
  ])('shows nothing stale %s', async (_, faults) => {
    let reads = 0
    let fencedWrites = 0
    for (let seed = 1; seed <= 60; seed++) {
      const history = await randomHistory({ seed, faults })
      expect(history.violations, `seed ${seed}`).toEqual([])
      reads += history.reads
      fencedWrites += history.fencedWrites
    }
    // A history in which nothing happens proves nothing.
    expect(reads).toBeGreaterThan(10_000)
    expect(fencedWrites).toBeGreaterThan(2_000)
  })

  const clearing = '          local.clear()\n          flights.doomAll()\n'
  const proving = 'if (nowMs - this.#proofMs <= this.#maxStaleMs) return true'
  const bypassing = '    if (this.#keys.size > 0 && this.#keys.has(key)) return true\n'
  test.each<[string, Patch]>([
    ['L1 outlives an interruption of the stream', ['cache.ts', clearing, '          flights.doomAll()\n']],
    ['the stream needs no proof', ['shared/broadcast-stream.ts', proving, 'if (nowMs >= 0) return true']],
    ['queued keys are not bypassed', ['shared/invalidation-queue.ts', bypassing, '']],
  ])('shows something stale where %s', async (_, patch) => {
    const { createCache } = await nursery.breed([patch])
    let found = 0
    for (let seed = 1; seed <= 400 && found === 0; seed++) {
      const history = await randomHistory({ seed, faults: true, createCache })
      found = history.violations.length
    }
    expect(found).toBeGreaterThan(0)
  })
})
