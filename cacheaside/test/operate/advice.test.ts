import { describe, expect, test } from 'vitest'
import { type CacheOptions, embeddedShared, type KeyspaceOptions } from '../../src/index.ts'
import { adviceOnCache, adviceOnKeyspace, cacheOf } from '../../src/operate/advice.ts'
import { auditedKeyspace } from '../../src/verify/index.ts'

const shared = embeddedShared()
const codes = (findings: readonly { severity: string; code: string }[]) =>
  findings.map(({ severity, code }) => `${severity} ${code}`)

describe('advice on a cache', () => {
  const of = (options: CacheOptions, max?: number) => {
    const { options: resolved, problem } = cacheOf(options, shared)
    const pool = max === undefined ? undefined : { options: { max } }
    return codes([...(problem === undefined ? [] : [problem]), ...adviceOnCache(resolved, pool)])
  }

  test.each<[string, CacheOptions, number | undefined, string[]]>([
    ['the defaults', {}, undefined, []],
    ['two that contradict each other', { leaseMs: 5_000 }, undefined, ['bad OPTIONS']],
    ['an unknown one', { leaseMS: 5_000 } as never, undefined, ['bad OPTIONS']],
    ['a lease that leaves no time for the fill', { leaseMs: 10_100 }, undefined, ['warn LEASE_TIGHT']],
    ['a lease that just does', { leaseMs: 10_200 }, undefined, []],
    ['a guard that leaves no time for a second renewal', { guardMs: 599 }, undefined, ['warn GUARD_SHORT']],
    ['a guard that just does', { guardMs: 600 }, undefined, []],
    ['a blocking fill', { fill: 'blocking' }, undefined, ['advice BLOCKING_FILL']],
    ['a small pool', {}, 10, ['advice POOL_SMALL']],
    ['loads that may take the whole pool', { maxLoads: 10 }, 10, ['advice POOL_SMALL']],
    ['a pool that leaves one to writers', { maxLoads: 9 }, 10, []],
  ])('of %s', (_name, options, max, expected) => {
    expect(of(options, max)).toEqual(expected)
  })
})

describe('advice on a keyspace', () => {
  const of = (
    options: Partial<KeyspaceOptions<string, number>>,
    p90Ms = 10,
    count = 100,
    cache: CacheOptions = {},
  ) => {
    const space = auditedKeyspace('spell', { load: async (id: string) => id.length, ...options })
    return codes(adviceOnKeyspace(space, cacheOf(cache, shared).options, { count, p90Ms }))
  }

  test.each<[string, Partial<KeyspaceOptions<string, number>>, number, string[]]>([
    ['fast loads', {}, 10, []],
    ['no jitter', { ttlJitter: 0 }, 10, ['advice NO_JITTER']],
    ['absence that outlives values', { ttlMs: 10_000, absentTtlMs: 20_000 }, 10, ['advice ABSENT_LONG']],
    ['a life of a few loads', { ttlMs: 199 }, 10, ['advice TTL_SHORT']],
    ['a life of twenty loads', { ttlMs: 200 }, 10, []],
    ['slow loads', {}, 100, ['advice WAITS_AT_EXPIRY']],
    ['slow loads that are refreshed ahead', { refreshAhead: 1 }, 100, []],
    ['slow loads behind stale values', { staleMs: 1_000 }, 100, []],
    ['loads for which readers elsewhere do not wait', { refreshAhead: 1 }, 2_001, ['warn BUSY_WAIT_SHORT']],
    [
      'loads that come near their limit',
      { refreshAhead: 1 },
      5_001,
      ['warn LOAD_TIMEOUT_SHORT', 'warn BUSY_WAIT_SHORT'],
    ],
  ])('with %s', (_name, options, p90Ms, expected) => {
    expect(of(options, p90Ms)).toEqual(expected)
  })

  test('that no cache could have', () => {
    expect(of({ loadTimeoutMs: 20_000 })).toEqual(['bad OPTIONS'])
  })

  test('draws nothing from a handful of loads', () => {
    expect(of({}, 9_000, 4)).toEqual([])
  })
})
