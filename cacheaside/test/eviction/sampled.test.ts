import { describe, expect, it } from 'vitest'
import { BoundedMap, type BoundedMapOptions } from '../../src/eviction/bounded-map.ts'
import { HandClock, seededRandom } from './hand-clock.ts'
import { hitRatio, zipf } from './workloads.ts'

const MINUTE_MS = 60_000

function sampledMap(options: Omit<BoundedMapOptions<number>, 'clock'>, seed = 1) {
  const clock = new HandClock(seed)
  const evicted: string[] = []
  const map = new BoundedMap<number>({ ...options, clock, onEvict: key => evicted.push(key) })
  const set = (key: string, lifeMs?: number) =>
    map.set(key, 1, lifeMs === undefined ? { bytes: 1 } : { bytes: 1, expiresAtMs: clock.ms + lifeMs })
  const get = (key: string, times = 1) => {
    for (let time = 0; time < times; time++) map.get(key, clock.ms)
  }
  return { map, clock, evicted, set, get }
}

/** A thousand entries, of which the later half is read; then five hundred more. How much of that half is left? */
function keptOfRecentHalf(samples: number, seed: number): number {
  const { map, clock, set, get } = sampledMap({ policy: 'allkeys-lru', maxEntries: 1000, samples }, seed)
  for (let n = 0; n < 1000; n++) set(`k${n}`)
  for (let n = 999; n >= 500; n--) get(`k${n}`)
  for (let n = 0; n < 500; n++) set(`new${n}`)
  let kept = 0
  for (let n = 500; n < 1000; n++) if (map.inspect(`k${n}`, clock.ms) !== undefined) kept++
  return kept / 500
}

/** The same by a pool of sixteen as the comments in Redis's `evict.c` describe it, in plain arrays. */
function naivelyKeptOfRecentHalf(samples: number, seed: number): number {
  const random = seededRandom(seed)
  const lastAccess = new Map<string, number>()
  for (let n = 0; n < 500; n++) lastAccess.set(`k${n}`, n)
  for (let n = 999; n >= 500; n--) lastAccess.set(`k${n}`, 2000 - n)
  let pool: string[] = []
  for (let n = 0; n < 500; n++) {
    const keys = [...lastAccess.keys()]
    for (let drawn = 0; drawn < samples; drawn++) {
      const key = keys[Math.floor(random() * keys.length)]!
      if (!pool.includes(key)) pool.push(key)
      pool = pool.sort((a, b) => lastAccess.get(a)! - lastAccess.get(b)!).slice(0, 16)
    }
    lastAccess.delete(pool.shift()!)
    lastAccess.set(`new${n}`, 2000 + n)
  }
  return [...lastAccess.keys()].filter(key => key.startsWith('k') && Number(key.slice(1)) >= 500).length / 500
}

describe('allkeys-lru', () => {
  it('evicts what was read or written longest ago when it looks at all', () => {
    const { evicted, set, get } = sampledMap({ policy: 'allkeys-lru', maxEntries: 4, samples: 4 })
    for (const key of ['a', 'b', 'c', 'd']) set(key)
    get('a')
    set('b')
    for (const key of ['e', 'f', 'g', 'h']) set(key)
    expect(evicted).toEqual(['c', 'd', 'a', 'b'])
  })

  it('evicts in the exact order with as many samples as entries, also when the pool holds only some of them', () => {
    const { evicted, set } = sampledMap({ policy: 'allkeys-lru', maxEntries: 60, samples: 60 })
    for (let n = 0; n < 120; n++) set(`k${n}`)
    expect(evicted).toEqual(Array.from({ length: 60 }, (_, n) => `k${n}`))
  })

  it.each([
    [1, 0.6],
    [3, 0.76],
    [5, 0.86],
    [10, 0.93],
  ])(
    'keeps, with %i samples, as much of the recent half as the published algorithm does',
    (samples, share) => {
      const seeds = Array.from({ length: 20 }, (_, seed) => seed)
      const mean = (kept: (seed: number) => number) =>
        seeds.reduce((sum, seed) => sum + kept(seed), 0) / seeds.length
      const ours = mean(seed => keptOfRecentHalf(samples, seed))
      expect(Math.abs(ours - mean(seed => naivelyKeptOfRecentHalf(samples, seed)))).toBeLessThan(0.01)
      expect(Math.abs(ours - share)).toBeLessThan(0.02)
    },
  )

  it('spares entries that were read after they had become likely victims', () => {
    let evictedIdle = 0
    for (let seed = 1; seed <= 50; seed++) {
      const { map, evicted, set, get } = sampledMap(
        { policy: 'allkeys-lru', maxEntries: 20, samples: 15 },
        seed,
      )
      for (let n = 0; n < 20; n++) set(`k${n}`)
      // One eviction fills the pool of sixteen with most of what there is. Then all but a late one are read.
      set('first')
      for (const [key] of map.entries()) if (key !== 'k15') get(key)
      set('second')
      if (evicted[1] === 'k15') evictedIdle++
    }
    expect(evictedIdle).toBeGreaterThanOrEqual(40)
  })

  it('hits nearly as often with five samples as when it looks at all', () => {
    const draw = zipf(2000, 0.9, seededRandom(3))
    const trace = Array.from({ length: 30_000 }, () => `key ${draw()}`)
    const exact = hitRatio(trace, { policy: 'allkeys-lru', maxEntries: 200, samples: 1000 })
    const sampled = hitRatio(trace, { policy: 'allkeys-lru', maxEntries: 200, samples: 5 })
    expect(Math.abs(exact - sampled)).toBeLessThan(0.01)
  })
})

describe('allkeys-lfu', () => {
  it('evicts what was used least often, however recently', () => {
    const { evicted, set, get } = sampledMap({
      policy: 'allkeys-lfu',
      maxEntries: 3,
      samples: 10,
      lfuLogFactor: 0,
    })
    for (const key of ['often', 'seldom', 'sometimes']) set(key)
    get('often', 30)
    get('sometimes', 10)
    get('seldom', 2)
    set('new')
    get('new', 5)
    set('newer')
    expect(evicted).toEqual(['seldom', 'new'])
  })

  it('keeps the frequent through a scan that drives them out of LRU', () => {
    const keptThroughScan = (policy: 'allkeys-lfu' | 'allkeys-lru') => {
      const { map, clock, set, get } = sampledMap({ policy, maxEntries: 200 })
      for (let n = 0; n < 100; n++) set(`hot${n}`)
      for (let n = 0; n < 100; n++) get(`hot${n}`, 50)
      for (let n = 0; n < 2000; n++) set(`scan${n}`)
      return [...map.entries()].filter(([key]) => key.startsWith('hot') && map.inspect(key, clock.ms) === 1)
        .length
    }
    expect(keptThroughScan('allkeys-lfu')).toBe(100)
    expect(keptThroughScan('allkeys-lru')).toBe(0)
  })

  it('forgets what was frequent once it has not been used for some minutes', () => {
    const survivesIdleMinutes = (minutes: number) => {
      const { clock, evicted, set, get } = sampledMap({
        policy: 'allkeys-lfu',
        maxEntries: 2,
        samples: 2,
        lfuLogFactor: 0,
      })
      set('old')
      get('old', 15)
      clock.ms += minutes * MINUTE_MS
      set('new')
      get('new', 5)
      set('third')
      return !evicted.includes('old')
    }
    // The counter of the old one is 20, that of the new one 10.
    expect(survivesIdleMinutes(9)).toBe(true)
    expect(survivesIdleMinutes(11)).toBe(false)
  })

  it('counts and decays as Redis does by default', () => {
    const survivesIdleMinutes = (minutes: number) => {
      const { clock, evicted, set, get } = sampledMap({ policy: 'allkeys-lfu', maxEntries: 2, samples: 2 })
      set('old')
      get('old', 100)
      clock.ms += minutes * MINUTE_MS
      set('new')
      set('third')
      return !evicted.includes('old')
    }
    // A hundred accesses make about 10, and the new one has 5.
    expect(survivesIdleMinutes(2)).toBe(true)
    expect(survivesIdleMinutes(8)).toBe(false)
  })

  it('never forgets when decay is switched off by Infinity', () => {
    const { clock, evicted, set, get } = sampledMap({
      policy: 'allkeys-lfu',
      maxEntries: 2,
      samples: 2,
      lfuLogFactor: 0,
      lfuDecayMinutes: Number.POSITIVE_INFINITY,
    })
    set('old')
    get('old', 15)
    clock.ms += 1e6 * MINUTE_MS
    set('new')
    get('new', 14)
    set('third')
    expect(evicted).toEqual(['new'])
  })

  it('keeps the counter of an entry whose value or placement is replaced', () => {
    const { map, evicted, set, get } = sampledMap({
      policy: 'allkeys-lfu',
      maxEntries: 2,
      samples: 2,
      lfuLogFactor: 0,
    })
    set('a')
    get('a', 10)
    map.set('a', 2, { bytes: 1, evictable: false })
    map.set('a', 3, { bytes: 5, expiresAtMs: 1000 })
    set('b')
    get('b', 9)
    set('c')
    expect(evicted).toEqual(['b'])
  })
})

describe('allkeys-random and volatile-random', () => {
  it.each(['allkeys-random', 'volatile-random'] as const)(
    '%s evicts each candidate equally often',
    policy => {
      const counts = new Map<string, number>()
      const rounds = 20_000
      const clock = new HandClock(11)
      const map = new BoundedMap<number>({
        policy,
        maxEntries: 10,
        clock,
        onEvict: key => counts.set(key, (counts.get(key) ?? 0) + 1),
      })
      const placement = { bytes: 1, expiresAtMs: 1000 }
      for (let n = 0; n < 10; n++) map.set(`k${n}`, n, placement)
      for (let round = 0; round < rounds; round++) {
        map.set('intruder', round, placement)
        map.delete('intruder')
        for (let n = 0; n < 10; n++) if (map.inspect(`k${n}`, 0) === undefined) map.set(`k${n}`, n, placement)
      }
      expect([...counts.keys()].sort()).toEqual(Array.from({ length: 10 }, (_, n) => `k${n}`))
      const expected = rounds / 10
      let chiSquare = 0
      for (const count of counts.values()) chiSquare += (count - expected) ** 2 / expected
      // Nine degrees of freedom: beyond 27.9 once in a thousand seeds.
      expect(chiSquare).toBeLessThan(27.9)
    },
  )
})

describe('volatile policies', () => {
  it('volatile-ttl evicts what would expire first', () => {
    const { evicted, set } = sampledMap({ policy: 'volatile-ttl', maxEntries: 4, samples: 10 })
    set('late', 900)
    set('soon', 100)
    set('forever')
    set('later', 500)
    for (const key of ['x', 'y', 'z']) set(key)
    expect(evicted).toEqual(['soon', 'later', 'late'])
  })

  it('volatile-ttl goes by the expiry that an entry has now', () => {
    const { evicted, set } = sampledMap({ policy: 'volatile-ttl', maxEntries: 3, samples: 10 })
    set('a', 100)
    set('b', 200)
    set('c', 300)
    set('a', 400)
    set('d', 1000)
    expect(evicted).toEqual(['b'])
  })

  it('volatile-lru and volatile-lfu compare only entries with an expiry', () => {
    for (const policy of ['volatile-lru', 'volatile-lfu'] as const) {
      const { evicted, set, get } = sampledMap({ policy, maxEntries: 4, samples: 10, lfuLogFactor: 0 })
      set('forever')
      set('used', 1000)
      set('idle', 1000)
      set('busy', 1000)
      get('used', 3)
      get('busy', 5)
      set('x')
      set('y')
      expect(evicted).toEqual(['idle', 'used'])
    }
  })

  it('volatile-random evicts only entries with an expiry', () => {
    const { map, clock, set } = sampledMap({ policy: 'volatile-random', maxEntries: 100 })
    for (let n = 0; n < 50; n++) {
      set(`forever${n}`)
      set(`timed${n}`, 1000)
    }
    for (let n = 0; n < 50; n++) expect(set(`more${n}`)).toBe(true)
    expect(set('one too many')).toBe(false)
    for (let n = 0; n < 50; n++) expect(map.inspect(`forever${n}`, clock.ms)).toBe(1)
  })
})
