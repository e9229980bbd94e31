import { describe, expect, it } from 'vitest'
import { BoundedMap, type BoundedMapOptions, EVICTION_POLICIES } from '../../src/eviction/bounded-map.ts'
import { HandClock } from './hand-clock.ts'

type Eviction = [key: string, value: number, reason: 'evicted' | 'expired']

function mapWith(options: Partial<BoundedMapOptions<number>> = {}) {
  const clock = new HandClock()
  const evictions: Eviction[] = []
  const bounds = options.maxBytes === undefined && options.maxEntries === undefined ? { maxBytes: 100 } : {}
  const map = new BoundedMap<number>({
    policy: 'allkeys-lru',
    samples: 100,
    clock,
    onEvict: (key, value, reason) => evictions.push([key, value, reason]),
    ...bounds,
    ...options,
  })
  return { map, clock, evictions, keys: () => [...map.entries()].map(([key]) => key).sort() }
}

describe('BoundedMap', () => {
  it('get finds what was set, and nothing else', () => {
    const { map } = mapWith()
    expect(map.set('a', 1, { bytes: 10 })).toBe(true)
    expect(map.get('a', 0)).toBe(1)
    expect(map.get('b', 0)).toBeUndefined()
    expect(map.size).toBe(1)
    expect(map.bytes).toBe(10)
  })

  it('set replaces the entry under the key, with its charge, and evicts nothing for it', () => {
    const { map, evictions } = mapWith()
    map.set('a', 1, { bytes: 60 })
    expect(map.set('a', 2, { bytes: 90 })).toBe(true)
    expect(map.get('a', 0)).toBe(2)
    expect(map.bytes).toBe(90)
    expect(map.set('a', 3, { bytes: 5 })).toBe(true)
    expect(map.bytes).toBe(5)
    expect(map.size).toBe(1)
    expect(evictions).toEqual([])
  })

  it('set evicts until the bytes fit, and reports what went', () => {
    const { map, evictions } = mapWith({ maxBytes: 100 })
    for (const [index, key] of ['a', 'b', 'c', 'd'].entries()) map.set(key, index, { bytes: 25 })
    map.set('e', 4, { bytes: 60 })
    expect(evictions).toEqual([
      ['a', 0, 'evicted'],
      ['b', 1, 'evicted'],
      ['c', 2, 'evicted'],
    ])
    expect(map.bytes).toBe(85)
  })

  it('set evicts until the entries fit, whatever they are charged', () => {
    const { map, evictions } = mapWith({ maxEntries: 2 })
    for (const key of ['a', 'b', 'c']) map.set(key, 0, { bytes: 1_000_000 })
    expect(evictions).toEqual([['a', 0, 'evicted']])
    expect(map.size).toBe(2)
  })

  it('set keeps both bounds when both are given', () => {
    const { map, keys } = mapWith({ maxBytes: 100, maxEntries: 3 })
    for (const key of ['a', 'b', 'c', 'd']) map.set(key, 0, { bytes: 10 })
    expect(keys()).toEqual(['b', 'c', 'd'])
    map.set('e', 0, { bytes: 85 })
    expect(keys()).toEqual(['d', 'e'])
  })

  it('set refuses an entry larger than the map without evicting anything for it', () => {
    for (const policy of EVICTION_POLICIES) {
      const { map, evictions, keys } = mapWith({ maxBytes: 100, policy })
      map.set('a', 1, { bytes: 50, expiresAtMs: 1000 })
      map.set('b', 2, { bytes: 50, expiresAtMs: 1000 })
      expect(map.set('c', 3, { bytes: 101, expiresAtMs: 1000 })).toBe(false)
      expect(map.set('a', 3, { bytes: 101, expiresAtMs: 1000 })).toBe(false)
      expect(keys()).toEqual(['a', 'b'])
      expect(map.inspect('a', 0)).toBe(1)
      expect(map.bytes).toBe(100)
      expect(evictions).toEqual([])
    }
  })

  it('set grows an entry at the cost of others, never of itself', () => {
    for (const policy of EVICTION_POLICIES) {
      if (policy === 'noeviction') continue
      const { map, keys } = mapWith({ maxBytes: 100, policy, samples: 1 })
      map.set('a', 1, { bytes: 50, expiresAtMs: 1000 })
      map.set('b', 2, { bytes: 50, expiresAtMs: 2000 })
      expect(map.set('a', 3, { bytes: 60, expiresAtMs: 1000 })).toBe(true)
      expect(keys()).toEqual(['a'])
      expect(map.get('a', 0)).toBe(3)
      expect(map.bytes).toBe(60)
    }
  })

  it('set refuses what only entries that may not be evicted could make room for', () => {
    for (const policy of EVICTION_POLICIES) {
      const { map, evictions } = mapWith({ maxBytes: 100, policy })
      map.set('guard', 1, { bytes: 80, evictable: false })
      expect(map.set('a', 2, { bytes: 30, expiresAtMs: 1000 })).toBe(false)
      expect(map.set('a', 2, { bytes: 20, expiresAtMs: 1000 })).toBe(true)
      expect(map.set('a', 3, { bytes: 21, expiresAtMs: 1000 })).toBe(false)
      expect(map.inspect('a', 0)).toBe(2)
      expect(map.inspect('guard', 0)).toBe(1)
      expect(evictions).toEqual([])
    }
  })

  it('set takes an entry that may not be evicted, evicting others, and over the limit when that is not enough', () => {
    const { map, evictions } = mapWith({ maxBytes: 100 })
    map.set('a', 1, { bytes: 40 })
    map.set('b', 2, { bytes: 40 })
    expect(map.set('guard', 3, { bytes: 50, evictable: false })).toBe(true)
    expect(evictions).toEqual([['a', 1, 'evicted']])
    expect(map.set('guard 2', 4, { bytes: 60, evictable: false })).toBe(true)
    expect(evictions.slice(1)).toEqual([['b', 2, 'evicted']])
    expect(map.bytes).toBe(110)
    expect(map.set('c', 5, { bytes: 1 })).toBe(false)
  })

  it('set never evicts for a guard under noeviction, but takes it', () => {
    const { map, evictions, keys } = mapWith({ maxBytes: 100, policy: 'noeviction' })
    map.set('a', 1, { bytes: 100 })
    expect(map.set('guard', 2, { bytes: 50, evictable: false })).toBe(true)
    expect(keys()).toEqual(['a', 'guard'])
    expect(evictions).toEqual([])
  })

  it('set under noeviction refuses what adds memory over the limit and takes what does not', () => {
    const { map } = mapWith({ maxBytes: 100, policy: 'noeviction' })
    expect(map.set('a', 1, { bytes: 60 })).toBe(true)
    expect(map.set('b', 2, { bytes: 60 })).toBe(false)
    expect(map.set('b', 2, { bytes: 40 })).toBe(true)
    expect(map.set('b', 3, { bytes: 41 })).toBe(false)
    expect(map.get('b', 0)).toBe(2)
    map.set('guard', 9, { bytes: 50, evictable: false })
    expect(map.set('b', 4, { bytes: 40 })).toBe(true)
    expect(map.set('b', 5, { bytes: 39 })).toBe(true)
    expect(map.get('b', 0)).toBe(5)
    expect(map.bytes).toBe(149)
  })

  it('set can make an entry evictable that was not, and the other way round', () => {
    for (const policy of EVICTION_POLICIES) {
      if (policy === 'noeviction') continue
      const { map, keys } = mapWith({ maxBytes: 100, policy })
      map.set('a', 1, { bytes: 60, expiresAtMs: 1000, evictable: false })
      map.set('a', 2, { bytes: 60, expiresAtMs: 1000 })
      expect(map.set('b', 3, { bytes: 60, expiresAtMs: 1000 })).toBe(true)
      expect(keys()).toEqual(['b'])
      map.set('b', 4, { bytes: 60, expiresAtMs: 1000, evictable: false })
      expect(map.set('c', 5, { bytes: 60, expiresAtMs: 1000 })).toBe(false)
      expect(keys()).toEqual(['b'])
    }
  })

  it('set under volatile policies evicts only entries with an expiry, and refuses when there are none', () => {
    for (const policy of EVICTION_POLICIES.filter(name => name.startsWith('volatile'))) {
      const { map, keys } = mapWith({ maxEntries: 3, policy })
      map.set('forever', 1, { bytes: 1 })
      map.set('timed', 2, { bytes: 1, expiresAtMs: 1000 })
      map.set('forever 2', 3, { bytes: 1 })
      expect(map.set('x', 4, { bytes: 1 })).toBe(true)
      expect(keys()).toEqual(['forever', 'forever 2', 'x'])
      expect(map.set('y', 5, { bytes: 1, expiresAtMs: 1000 })).toBe(false)
      map.set('x', 6, { bytes: 1, expiresAtMs: 1000 })
      expect(map.set('y', 7, { bytes: 1 })).toBe(true)
      expect(keys()).toEqual(['forever', 'forever 2', 'y'])
    }
  })

  it('get and inspect find an entry until the moment it expires, and remove it then', () => {
    for (const look of ['get', 'inspect'] as const) {
      const { map, evictions } = mapWith()
      map.set('a', 1, { bytes: 10, expiresAtMs: 1000 })
      expect(map[look]('a', 999.9)).toBe(1)
      expect(map[look]('a', 1000)).toBeUndefined()
      expect(evictions).toEqual([['a', 1, 'expired']])
      expect(map.size).toBe(0)
      expect(map.bytes).toBe(0)
    }
  })

  it('get counts as an access, inspect does not', () => {
    for (const [look, evicted] of [
      ['get', 'b'],
      ['inspect', 'a'],
    ] as const) {
      const { map, evictions } = mapWith({ maxEntries: 2 })
      map.set('a', 1, { bytes: 1 })
      map.set('b', 2, { bytes: 1 })
      map[look]('a', 0)
      map.set('c', 3, { bytes: 1 })
      expect(evictions.map(([key]) => key)).toEqual([evicted])
    }
  })

  it('set takes an expired entry for none: it is reported, and the new one is new', () => {
    const { map, clock, evictions } = mapWith({ maxBytes: 100, policy: 'noeviction' })
    map.set('a', 1, { bytes: 60, expiresAtMs: 10 })
    clock.ms = 10
    expect(map.set('a', 2, { bytes: 100 })).toBe(true)
    expect(evictions).toEqual([['a', 1, 'expired']])
    expect(map.bytes).toBe(100)
  })

  it('set prolongs, shortens or lifts the expiry of the entry it replaces', () => {
    const { map } = mapWith()
    map.set('a', 1, { bytes: 1, expiresAtMs: 10 })
    map.set('a', 2, { bytes: 1, expiresAtMs: 20 })
    expect(map.inspect('a', 19)).toBe(2)
    map.set('a', 3, { bytes: 1 })
    expect(map.inspect('a', 1e15)).toBe(3)
    map.set('a', 4, { bytes: 1, expiresAtMs: 5 })
    expect(map.inspect('a', 5)).toBeUndefined()
  })

  it('set reports an expired entry that makes room as expired', () => {
    for (const policy of EVICTION_POLICIES) {
      if (policy === 'noeviction') continue
      const { map, clock, evictions } = mapWith({ maxEntries: 4, policy })
      for (const key of ['a', 'b', 'c', 'd']) map.set(key, 0, { bytes: 1, expiresAtMs: 10 })
      clock.ms = 10
      map.set('e', 1, { bytes: 1 })
      expect(evictions.length).toBeGreaterThanOrEqual(1)
      expect(evictions.every(([, , reason]) => reason === 'expired')).toBe(true)
    }
  })

  it('set sweeps: entries that nobody asks for again do not pile up', () => {
    const { map, clock } = mapWith({ maxEntries: 1_000_000 })
    let largest = 0
    for (let at = 0; at < 10_000; at++) {
      clock.ms = at
      map.set(`k${at}`, at, { bytes: 1, expiresAtMs: at + 100 })
      largest = Math.max(largest, map.size)
    }
    // A hundred are alive at any moment; a round of the sweep takes half as many sets as there are entries.
    expect(largest).toBeLessThanOrEqual(201)
  })

  it('set sweeps every expired entry within half as many sets as there were entries', () => {
    const { map, clock, evictions } = mapWith({ maxEntries: 1_000_000 })
    for (let at = 0; at < 1000; at++) map.set(`k${at}`, at, { bytes: 1, expiresAtMs: 10 })
    clock.ms = 10
    for (let at = 0; at < 500; at++) map.set(`new${at}`, at, { bytes: 1 })
    expect(map.size).toBe(500)
    expect(evictions).toHaveLength(1000)
  })

  it('set sweeps an entry that got its expiry by a replacement', () => {
    const { map, clock, evictions } = mapWith()
    map.set('a', 1, { bytes: 1 })
    map.set('a', 2, { bytes: 1, expiresAtMs: 10 })
    map.set('b', 3, { bytes: 1, expiresAtMs: 10 })
    map.set('b', 4, { bytes: 1 })
    clock.ms = 10
    map.set('c', 5, { bytes: 1 })
    expect(evictions).toEqual([['a', 2, 'expired']])
    expect(map.inspect('b', 10)).toBe(4)
  })

  it('set sweeps also when it refuses, and a full map finds its room again', () => {
    const { map, clock } = mapWith({ maxBytes: 100, policy: 'noeviction' })
    for (let at = 0; at < 10; at++) map.set(`guard${at}`, 0, { bytes: 10, expiresAtMs: 5, evictable: false })
    expect(map.set('a', 1, { bytes: 100 })).toBe(false)
    clock.ms = 5
    let refusals = 0
    while (!map.set('a', 1, { bytes: 100 })) refusals++
    expect(refusals).toBe(4)
  })

  it('replace changes the value and its charge, and keeps its expiry', () => {
    const { map, evictions } = mapWith()
    map.set('a', 1, { bytes: 10, expiresAtMs: 50 })
    expect(map.replace('a', 2, 30)).toBe(true)
    expect(map.bytes).toBe(30)
    expect(map.inspect('a', 49)).toBe(2)
    expect(map.inspect('a', 50)).toBeUndefined()
    expect(evictions).toEqual([['a', 2, 'expired']])
  })

  it('replace keeps an entry from eviction that was kept from it', () => {
    const { map, keys } = mapWith({ maxEntries: 1 })
    map.set('guard', 1, { bytes: 1, evictable: false })
    map.replace('guard', 2, 1)
    expect(map.set('a', 3, { bytes: 1 })).toBe(false)
    expect(keys()).toEqual(['guard'])
  })

  it('replace does nothing where there is no entry, or where the new value has no room', () => {
    const { map, clock } = mapWith({ maxBytes: 100 })
    expect(map.replace('a', 1, 1)).toBe(false)
    expect(map.size).toBe(0)
    map.set('a', 1, { bytes: 10, expiresAtMs: 5 })
    expect(map.replace('a', 2, 101)).toBe(false)
    expect(map.get('a', 0)).toBe(1)
    clock.ms = 5
    expect(map.replace('a', 3, 1)).toBe(false)
    expect(map.size).toBe(0)
  })

  it('delete removes an entry, says whether it was there, and is no eviction', () => {
    const { map, clock, evictions } = mapWith()
    map.set('a', 1, { bytes: 10 })
    expect(map.delete('a')).toBe(true)
    expect(map.delete('a')).toBe(false)
    expect(map.bytes).toBe(0)
    expect(map.get('a', 0)).toBeUndefined()
    expect(evictions).toEqual([])
    map.set('b', 2, { bytes: 10, expiresAtMs: 5 })
    clock.ms = 5
    expect(map.delete('b')).toBe(false)
    expect(evictions).toEqual([['b', 2, 'expired']])
  })

  it('clear removes everything under every policy, and the map can be used again', () => {
    for (const policy of EVICTION_POLICIES) {
      const { map, evictions, keys } = mapWith({ maxEntries: 3, policy })
      for (const key of ['a', 'b', 'c', 'd']) map.set(key, 0, { bytes: 1, expiresAtMs: 1000 })
      const before = evictions.length
      map.clear()
      expect([map.size, map.bytes, keys()]).toEqual([0, 0, []])
      expect(evictions).toHaveLength(before)
      for (const key of ['e', 'f', 'g']) expect(map.set(key, 0, { bytes: 2, expiresAtMs: 1000 })).toBe(true)
      expect(map.bytes).toBe(6)
      expect(map.set('h', 0, { bytes: 2, expiresAtMs: 1000 })).toBe(policy !== 'noeviction')
      expect(map.size).toBe(3)
    }
  })

  it('entries lists what has not expired', () => {
    const { map, clock } = mapWith()
    map.set('a', 1, { bytes: 1, expiresAtMs: 5 })
    map.set('b', 2, { bytes: 1 })
    expect([...map.entries()]).toEqual([
      ['a', 1],
      ['b', 2],
    ])
    clock.ms = 5
    expect([...map.entries()]).toEqual([['b', 2]])
  })

  it('refuses options that cannot work, naming the option, what it must be and what it is', () => {
    const withOptions = (options: object) => () =>
      new BoundedMap({ policy: 's3-fifo', clock: new HandClock(), ...options } as BoundedMapOptions<number>)
    const invalid: [object, RegExp][] = [
      [{}, /maxBytes or maxEntries to be given/],
      [{ maxBytes: 0 }, /maxBytes to be a positive integer, got 0/],
      [{ maxBytes: 1.5 }, /maxBytes to be a positive integer, got 1.5/],
      [{ maxBytes: 10, maxEntries: -1 }, /maxEntries to be a positive integer, got -1/],
      [{ maxEntries: Number.NaN }, /maxEntries to be a positive integer, got NaN/],
      [{ maxEntries: '5' }, /maxEntries to be a positive integer, got "5"/],
      [{ maxEntries: 5, samples: 0 }, /samples to be a positive integer, got 0/],
      [{ maxEntries: 5, lfuLogFactor: -1 }, /lfuLogFactor to be a number of 0 or more, got -1/],
      [{ maxEntries: 5, lfuDecayMinutes: 0 }, /lfuDecayMinutes to be a positive number or Infinity, got 0/],
      [{ maxEntries: 5, policy: 'lru' }, /policy to be one of s3-fifo, noeviction, .*, got "lru"/],
    ]
    for (const [options, message] of invalid) {
      expect(withOptions(options)).toThrowError(
        expect.objectContaining({ code: 'INVALID_OPTIONS', message: expect.stringMatching(message) }),
      )
    }
    expect(
      withOptions({ maxEntries: 5, lfuLogFactor: 0, lfuDecayMinutes: Infinity, samples: 1 }),
    ).not.toThrow()
  })
})
