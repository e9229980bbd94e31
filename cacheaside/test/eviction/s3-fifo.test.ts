import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { BoundedMap } from '../../src/eviction/bounded-map.ts'
import { HandClock, seededRandom } from './hand-clock.ts'
import { hitRatio, zipfWithScans } from './workloads.ts'

interface Item {
  key: string
  bytes: number
  hits: number
  /** How many had entered the small queue when it did. */
  entered: number
}

/**
 * S3-FIFO once more, written from the description in plain arrays with the oldest first: no shared code, no sums
 * kept, everything counted when it is asked for.
 */
class NaiveS3Fifo {
  small: Item[] = []
  main: Item[] = []
  pinned = new Map<string, number>()
  remembered: string[] = []
  entered = 0
  evicted: string[] = []
  readonly maxBytes: number
  readonly maxEntries: number

  constructor(maxBytes: number, maxEntries: number) {
    this.maxBytes = maxBytes
    this.maxEntries = maxEntries
  }

  find(key: string): Item | undefined {
    return [...this.small, ...this.main].find(item => item.key === key)
  }

  get(key: string): boolean {
    const item = this.find(key)
    if (item === undefined) return this.pinned.has(key)
    const enteredSince = this.entered - item.entered
    const isYoung = this.small.includes(item) && enteredSince <= this.small.length / 4
    if (!isYoung) item.hits = Math.min(3, item.hits + 1)
    return true
  }

  set(key: string, bytes: number, evictable: boolean): boolean {
    const item = this.find(key)
    const before = item?.bytes ?? this.pinned.get(key)
    const isNew = before === undefined
    if (evictable && (isNew || bytes > before)) {
      const others = [...this.pinned].filter(([other]) => other !== key)
      const pinnedBytes = others.reduce((sum, [, size]) => sum + size, 0)
      if (pinnedBytes + bytes > this.maxBytes || others.length + 1 > this.maxEntries) return false
    }
    const fits = this.fits(bytes - (before ?? 0), isNew ? 1 : 0)
    if (item !== undefined && evictable && (fits || bytes <= item.bytes)) {
      item.bytes = bytes
      return true
    }
    if (item !== undefined) this.leave(item)
    const pinnedBytes = this.pinned.get(key)
    while (!this.fits(bytes - (pinnedBytes ?? 0), pinnedBytes === undefined ? 1 : 0) && this.evict());
    this.pinned.delete(key)
    if (evictable) this.enter({ key, bytes, hits: 0, entered: 0 })
    else this.pinned.set(key, bytes)
    return true
  }

  delete(key: string): void {
    this.pinned.delete(key)
    const item = this.find(key)
    if (item !== undefined) this.leave(item)
  }

  private fits(bytes: number, entries: number): boolean {
    const sizes = [...this.small, ...this.main].map(item => item.bytes).concat([...this.pinned.values()])
    const total = sizes.reduce((sum, size) => sum + size, 0)
    return total + bytes <= this.maxBytes && sizes.length + entries <= this.maxEntries
  }

  private count(): number {
    return this.small.length + this.main.length
  }

  private enter(item: Item): void {
    const at = this.remembered.lastIndexOf(item.key)
    const isRemembered = at >= 0 && at >= this.remembered.length - this.count()
    if (at >= 0) this.remembered[at] = ''
    if (isRemembered) {
      this.main.push(item)
    } else {
      item.entered = this.entered++
      this.small.push(item)
    }
  }

  private leave(item: Item): void {
    if (this.main.includes(item) || item.hits > 0) this.remember(item.key)
    this.small = this.small.filter(other => other !== item)
    this.main = this.main.filter(other => other !== item)
  }

  private remember(key: string): void {
    const before = this.remembered.lastIndexOf(key)
    if (before >= 0) this.remembered[before] = ''
    this.remembered.push(key)
  }

  private evict(): boolean {
    while (this.count() > 0) {
      const load = (queue: Item[]) =>
        this.maxBytes < Infinity ? queue.reduce((sum, item) => sum + item.bytes, 0) : queue.length
      const smallIsDue =
        this.main.length === 0 ||
        (this.small.length > 0 && load(this.small) * 10 > load(this.small) + load(this.main))
      if (smallIsDue) {
        const item = this.small.shift()!
        if (item.hits === 0) {
          this.remember(item.key)
          this.evicted.push(item.key)
          return true
        }
        item.hits = 0
        this.main.push(item)
      } else {
        const item = this.main.shift()!
        if (item.hits === 0) {
          this.evicted.push(item.key)
          return true
        }
        item.hits--
        this.main.push(item)
      }
    }
    return false
  }
}

interface Step {
  readonly do: 'get' | 'set' | 'delete'
  readonly key: string
  readonly bytes: number
  readonly evictable: boolean
}

const keys = fc.integer({ min: 0, max: 59 }).map(number => `key ${number}`)
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.record({
    do: fc.constantFrom('get', 'get', 'get', 'get', 'get', 'set', 'set', 'set', 'set', 'delete'),
    key: keys,
    bytes: fc.integer({ min: 1, max: 20 }),
    evictable: fc.integer({ min: 0, max: 19 }).map(number => number > 0),
  }),
  { minLength: 50, maxLength: 400, size: 'max' },
)

function smallMap(maxEntries: number) {
  const evicted: string[] = []
  const clock = new HandClock()
  const map = new BoundedMap<number>({
    policy: 's3-fifo',
    maxEntries,
    clock,
    onEvict: key => evicted.push(key),
  })
  const set = (...names: string[]) => {
    for (const name of names) map.set(name, 1, { bytes: 1 })
  }
  const get = (...names: string[]) => names.map(name => map.get(name, clock.ms))
  return { map, clock, evicted, set, get }
}

const numbered = (prefix: string, count: number) =>
  Array.from({ length: count }, (_, index) => prefix + index)

describe('s3-fifo', () => {
  it('evicts exactly what a naive model of it evicts', () => {
    const bounds = fc.constantFrom({ maxBytes: 200 }, { maxEntries: 40 }, { maxBytes: 150, maxEntries: 12 })
    fc.assert(
      fc.property(bounds, steps, (limits: { maxBytes?: number; maxEntries?: number }, history) => {
        const evicted: string[] = []
        const map = new BoundedMap<string>({
          ...limits,
          policy: 's3-fifo',
          clock: new HandClock(),
          onEvict: key => evicted.push(key),
        })
        const model = new NaiveS3Fifo(limits.maxBytes ?? Infinity, limits.maxEntries ?? Infinity)
        for (const step of history) {
          if (step.do === 'get') {
            expect(map.get(step.key, 0) !== undefined).toBe(model.get(step.key))
          } else if (step.do === 'delete') {
            map.delete(step.key)
            model.delete(step.key)
          } else {
            const { key, bytes, evictable } = step
            const taken = map.set(key, key, { bytes, evictable })
            expect(taken).toBe(model.set(key, bytes, evictable))
          }
          expect(evicted).toEqual(model.evicted)
        }
      }),
      { numRuns: 200 },
    )
  })

  it('evicts what was asked for only once before what was asked for again, however old', () => {
    const { map, set, get } = smallMap(100)
    set(...numbered('good', 50), ...numbered('filler', 50))
    get(...numbered('good', 50))
    set(...numbered('scan', 1000))
    expect(get(...numbered('good', 50))).toEqual(Array(50).fill(1))
    expect(map.size).toBe(100)
  })

  it('does not take a burst of reads after the load for popularity', () => {
    const { set, get, evicted } = smallMap(100)
    set(...numbered('old', 100))
    set('burst')
    get('burst', 'burst', 'burst', 'burst')
    set(...numbered('next', 100))
    expect(evicted).toContain('burst')
  })

  it('takes a read that comes later for popularity', () => {
    const { set, get, evicted } = smallMap(100)
    set(...numbered('old', 100))
    set('wanted', ...numbered('a', 30))
    get('wanted')
    set(...numbered('b', 70))
    expect(evicted).not.toContain('wanted')
  })

  it('lets an evicted key that comes back soon into the main queue, and one that comes back late not', () => {
    for (const [later, stays] of [
      [50, true],
      [250, false],
    ] as const) {
      const { set, get, evicted } = smallMap(100)
      set('victim', ...numbered('a', 100))
      expect(evicted).toEqual(['victim'])
      // The main queue needs something in it that goes before the victim does.
      get(...numbered('a', 100))
      set(...numbered('b', later))
      set('victim')
      evicted.length = 0
      set(...numbered('c', 100))
      expect(evicted.includes('victim')).toBe(!stays)
    }
  })

  it('brings back an invalidated entry that was accessed into the main queue, as it does one that was evicted', () => {
    for (const [wasRead, stays] of [
      [true, true],
      [false, false],
    ] as const) {
      const { map, set, get, evicted } = smallMap(100)
      set(...numbered('old', 50), 'row', ...numbered('new', 49))
      get(...numbered('old', 50))
      if (wasRead) get('row')
      map.delete('row')
      set('row', ...numbered('scan', 150))
      expect(evicted.includes('row')).toBe(!stays)
    }
  })

  it('brings back an entry whose place a guard had taken meanwhile', () => {
    const { map, set, get, evicted } = smallMap(100)
    set(...numbered('old', 50), 'row', ...numbered('new', 49))
    get(...numbered('old', 50), 'row')
    map.set('row', 2, { bytes: 1, evictable: false })
    map.delete('row')
    set('row', ...numbered('scan', 150))
    expect(evicted).not.toContain('row')
  })

  it('forgets evicted keys when the map is cleared', () => {
    const { map, set, get, evicted } = smallMap(100)
    set('row', ...numbered('a', 100))
    expect(evicted).toEqual(['row'])
    map.clear()
    set(...numbered('old', 50), 'row', ...numbered('new', 49))
    get(...numbered('old', 50))
    evicted.length = 0
    set(...numbered('scan', 100))
    expect(evicted).toContain('row')
  })

  it('does not count a replacement as an access', () => {
    const { set, evicted } = smallMap(100)
    set('row', ...numbered('a', 60))
    set('row', 'row', 'row')
    set(...numbered('b', 40))
    expect(evicted).toEqual(['row'])
  })

  it('removes an expired entry at the end of a queue although it was accessed', () => {
    const { map, clock, set, get, evicted } = smallMap(10)
    // Far more with an expiry than the sweep meets, so that the eviction meets this one first.
    map.set('row', 1, { bytes: 1, expiresAtMs: 5 })
    for (const key of numbered('timed', 9)) map.set(key, 1, { bytes: 1, expiresAtMs: 1000 })
    get('row', ...numbered('timed', 9))
    clock.ms = 5
    set('next')
    expect(evicted).toEqual(['row'])
    // It had been accessed: when it is loaded again, it comes back into the main queue.
    set('row')
    evicted.length = 0
    set(...numbered('scan', 20))
    expect(evicted).not.toContain('row')
    expect(evicted).toContain('next')
  })

  it('hits at least as often as LRU on popular keys, with and without scans', () => {
    const random = seededRandom(7)
    const pure = zipfWithScans({ keys: 5000, exponent: 0.9, requests: 60_000, scanShare: 0, random })
    const scanned = zipfWithScans({ keys: 5000, exponent: 0.9, requests: 60_000, scanShare: 0.0005, random })
    for (const trace of [pure, scanned]) {
      for (const maxEntries of [50, 250, 1000]) {
        const s3 = hitRatio(trace, { policy: 's3-fifo', maxEntries })
        const lru = hitRatio(trace, { policy: 'allkeys-lru', maxEntries, samples: 20 })
        expect(s3).toBeGreaterThan(lru + 0.01)
      }
    }
  })
})
