import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { BoundedMap, EVICTION_POLICIES, type EvictionPolicyName } from '../../src/eviction/bounded-map.ts'
import { HandClock, seededRandom } from './hand-clock.ts'

const MINUTE_MS = 60_000
const LFU_LOG_FACTOR = 2
const LFU_DECAY_MINUTES = 2
const SEED = 42

/** What the model knows of an entry: as little as follows from the documentation, kept as naively as possible. */
interface Held {
  value: number
  bytes: number
  expiresAtMs: number
  evictable: boolean
  lastAccess: number
  counter: number
  counterMinute: number
}

type Operation =
  | {
      do: 'set'
      key: string
      bytes: number
      lifeMs: number | undefined
      evictable: boolean
    }
  | { do: 'get' | 'inspect' | 'delete'; key: string }
  | { do: 'replace'; key: string; bytes: number }
  | { do: 'advance'; byMs: number }
  | { do: 'clear' }

const keys = fc.integer({ min: 0, max: 11 }).map(number => `key ${number}`)
const sizes = fc.oneof(
  { weight: 9, arbitrary: fc.integer({ min: 0, max: 40 }) },
  fc.integer({ min: 41, max: 130 }),
)
const operations: fc.Arbitrary<Operation> = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({
      do: fc.constant('set' as const),
      key: keys,
      bytes: sizes,
      lifeMs: fc.option(fc.integer({ min: 1, max: 10 * MINUTE_MS }), { nil: undefined }),
      evictable: fc.integer({ min: 0, max: 5 }).map(number => number > 0),
    }),
  },
  { weight: 12, arbitrary: fc.record({ do: fc.constant('get' as const), key: keys }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constantFrom('inspect' as const, 'delete' as const), key: keys }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('replace' as const), key: keys, bytes: sizes }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('advance' as const),
      byMs: fc.integer({ min: 1, max: 5 * MINUTE_MS }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('clear' as const) }) },
)

interface Bounds {
  readonly maxBytes?: number
  readonly maxEntries?: number
}

/**
 * A bounded map and a model of it, walked through the same operations. The map tells of every entry that it evicts
 * or finds expired; the model checks that the entry could go, at that moment and for that reason.
 */
class Walk {
  readonly clock = new HandClock(SEED)
  readonly map: BoundedMap<number>
  readonly held = new Map<string, Held>()
  readonly policy: EvictionPolicyName
  readonly maxBytes: number
  readonly maxEntries: number
  /** Whether all candidates are compared, so that the model knows which one must go. */
  readonly exact: boolean
  readonly random = seededRandom(SEED)
  accesses = 0
  values = 0
  /** The key of a `set` under way, which must not be evicted to make room for itself. */
  setting: string | undefined
  evictedNow = 0

  constructor(policy: EvictionPolicyName, bounds: Bounds, samples: number) {
    this.policy = policy
    this.exact = samples >= 1000
    this.maxBytes = bounds.maxBytes ?? Number.POSITIVE_INFINITY
    this.maxEntries = bounds.maxEntries ?? Number.POSITIVE_INFINITY
    this.map = new BoundedMap<number>({
      ...bounds,
      policy,
      samples,
      clock: this.clock,
      lfuLogFactor: LFU_LOG_FACTOR,
      lfuDecayMinutes: LFU_DECAY_MINUTES,
      onEvict: (key, value, reason) => this.onEvict(key, value, reason),
    })
  }

  onEvict(key: string, value: number, reason: 'evicted' | 'expired'): void {
    const held = this.held.get(key)!
    expect(held.value).toBe(value)
    expect(this.map.inspect(key, this.clock.ms)).toBeUndefined()
    if (reason === 'expired') {
      expect(held.expiresAtMs).toBeLessThanOrEqual(this.clock.ms)
    } else {
      expect(held.expiresAtMs).toBeGreaterThan(this.clock.ms)
      expect(key).not.toBe(this.setting)
      expect(this.isCandidate(held)).toBe(true)
      if (this.exact) expect(this.worth(held)).toBe(this.leastWorth())
      this.evictedNow++
    }
    this.held.delete(key)
  }

  isCandidate(held: Held): boolean {
    if (this.policy === 'noeviction' || !held.evictable) return false
    return !this.policy.startsWith('volatile') || held.expiresAtMs < Number.POSITIVE_INFINITY
  }

  worth(held: Held): number {
    if (this.policy.endsWith('lru')) return held.lastAccess
    if (this.policy.endsWith('lfu')) return this.decayed(held)
    return held.expiresAtMs
  }

  leastWorth(): number {
    const candidates = [...this.held].filter(([key, held]) => key !== this.setting && this.isCandidate(held))
    return Math.min(...candidates.map(([, held]) => this.worth(held)))
  }

  minute(): number {
    return Math.floor(this.clock.ms / MINUTE_MS)
  }

  decayed(held: Held): number {
    let { counter } = held
    for (let idle = this.minute() - held.counterMinute; idle >= LFU_DECAY_MINUTES; idle -= LFU_DECAY_MINUTES)
      counter--
    return Math.max(counter, 0)
  }

  access(held: Held): void {
    held.lastAccess = ++this.accesses
    if (!this.policy.endsWith('lfu')) return
    held.counter = this.decayed(held)
    held.counterMinute = this.minute()
    const chance = held.counter <= 5 ? 1 : 1 / ((held.counter - 5) * LFU_LOG_FACTOR + 1)
    if (this.random() < chance && held.counter < 255) held.counter++
  }

  /** Whether an entry of so many bytes fits under the key when all other candidates are gone. */
  couldFit(key: string, bytes: number): boolean {
    const staying = [...this.held].filter(([other, held]) => other !== key && !this.isCandidate(held))
    const stayingBytes = staying.reduce((sum, [, held]) => sum + held.bytes, 0)
    return stayingBytes + bytes <= this.maxBytes && staying.length + 1 <= this.maxEntries
  }

  put(
    key: string,
    bytes: number,
    expiresAtMs: number,
    evictable: boolean,
    put: (value: number) => boolean,
  ): void {
    const bytesBefore = this.map.bytes
    const value = ++this.values
    this.setting = key
    const taken = put(value)
    this.setting = undefined
    const previous = this.held.get(key)
    const addsNothing = previous !== undefined && bytes <= previous.bytes
    expect(taken).toBe(!evictable || addsNothing || this.couldFit(key, bytes))
    if (!taken) {
      expect(this.evictedNow).toBe(0)
      return
    }
    const held = previous ?? {
      lastAccess: ++this.accesses,
      counter: 5,
      counterMinute: this.minute(),
      value,
      bytes,
      expiresAtMs,
      evictable,
    }
    Object.assign(held, { value, bytes, expiresAtMs, evictable })
    this.held.set(key, held)
    if (previous !== undefined) this.access(held)
    if (addsNothing) expect(this.evictedNow).toBe(0)
    if (evictable && !addsNothing) {
      expect(this.map.bytes).toBeLessThanOrEqual(this.maxBytes)
      expect(this.map.size).toBeLessThanOrEqual(this.maxEntries)
    }
    const isOver = this.map.bytes > this.maxBytes || this.map.size > this.maxEntries
    if (!evictable && isOver && this.map.bytes > bytesBefore) {
      const others = [...this.held].filter(([other]) => other !== key)
      expect(others.filter(([, other]) => this.isCandidate(other))).toEqual([])
    }
  }

  look(key: string, how: 'get' | 'inspect'): void {
    const { map, clock } = this
    const found = map[how](key, clock.ms)
    const held = this.held.get(key)
    expect(found).toBe(held?.value)
    if (held === undefined) return
    expect(held.expiresAtMs).toBeGreaterThan(this.clock.ms)
    if (how !== 'inspect') this.access(held)
  }

  step(operation: Operation): void {
    this.evictedNow = 0
    switch (operation.do) {
      case 'set': {
        const { key, bytes, lifeMs, evictable } = operation
        const expiresAtMs = lifeMs === undefined ? Number.POSITIVE_INFINITY : this.clock.ms + lifeMs
        const placement = lifeMs === undefined ? { bytes, evictable } : { bytes, evictable, expiresAtMs }
        this.put(key, bytes, expiresAtMs, evictable, value => this.map.set(key, value, placement))
        return
      }
      case 'replace': {
        const { key, bytes } = operation
        const held = this.held.get(key)
        if (held === undefined || held.expiresAtMs <= this.clock.ms) {
          expect(this.map.replace(key, 0, bytes)).toBe(false)
          return
        }
        this.put(key, bytes, held.expiresAtMs, held.evictable, value => this.map.replace(key, value, bytes))
        return
      }
      case 'get':
      case 'inspect':
        this.look(operation.key, operation.do)
        return
      case 'delete': {
        const held = this.held.get(operation.key)
        const wasAlive = held !== undefined && held.expiresAtMs > this.clock.ms
        expect(this.map.delete(operation.key)).toBe(wasAlive)
        this.held.delete(operation.key)
        return
      }
      case 'advance':
        this.clock.ms += operation.byMs
        return
      case 'clear':
        this.map.clear()
        this.held.clear()
    }
  }

  check(): void {
    expect(this.map.size).toBe(this.held.size)
    expect(this.map.bytes).toBe([...this.held.values()].reduce((sum, held) => sum + held.bytes, 0))
    const alive = [...this.held].filter(([, held]) => held.expiresAtMs > this.clock.ms)
    expect([...this.map.entries()].sort()).toEqual(alive.map(([key, held]) => [key, held.value]).sort())
  }
}

function walkThrough(policy: EvictionPolicyName, bounds: Bounds, samples: number, steps: Operation[]): void {
  const walk = new Walk(policy, bounds, samples)
  for (const step of steps) {
    walk.step(step)
    walk.check()
  }
}

const boundsOf: fc.Arbitrary<Bounds> = fc.constantFrom(
  { maxBytes: 100 },
  { maxEntries: 5 },
  { maxBytes: 120, maxEntries: 4 },
)
const histories = fc.array(operations, { maxLength: 120, size: 'max' })

describe('BoundedMap, walked through random histories', () => {
  it.each(EVICTION_POLICIES)('%s keeps its sums and bounds, and evicts only what it may', policy => {
    fc.assert(
      fc.property(boundsOf, fc.integer({ min: 1, max: 5 }), histories, (bounds, samples, steps) =>
        walkThrough(policy, bounds, samples, steps),
      ),
      { numRuns: 100 },
    )
  })

  it.each(['allkeys-lru', 'allkeys-lfu', 'volatile-lru', 'volatile-lfu', 'volatile-ttl'] as const)(
    '%s evicts exactly the least worthy when it looks at all',
    policy => {
      fc.assert(
        fc.property(boundsOf, histories, (bounds, steps) => walkThrough(policy, bounds, 1000, steps)),
        { numRuns: 150 },
      )
    },
  )
})
