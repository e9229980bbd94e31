import type { Columns } from './columns.ts'
import type { EvictionPolicy } from './eviction-policy.ts'
import { noEviction } from './no-eviction.ts'
import { byExpiry, byFrequency, byLastAccess, type Ranking } from './rankings.ts'
import { S3Fifo } from './s3-fifo.ts'
import { Sampled } from './sampled.ts'

/**
 * The policies a bounded map can have: S3-FIFO, and the eight classic ones of Redis under Redis's names.
 * `allkeys-*` choose among all entries, `volatile-*` among those that have an expiry.
 */
export const EVICTION_POLICIES = [
  's3-fifo',
  'noeviction',
  'allkeys-lru',
  'allkeys-lfu',
  'allkeys-random',
  'volatile-lru',
  'volatile-lfu',
  'volatile-random',
  'volatile-ttl',
] as const

/** One of {@link EVICTION_POLICIES}. */
export type EvictionPolicyName = (typeof EVICTION_POLICIES)[number]

/** The settings of the policies. */
export interface PolicyTuning {
  /** Whether S3-FIFO shares out bytes or entries. */
  readonly sharesBytes: boolean
  readonly samples: number
  readonly lfuLogFactor: number
  readonly lfuDecayMinutes: number
  readonly random: () => number
}

/**
 * A new policy of this name, without candidates.
 *
 * @param hashOf - The hash of the key of an entry.
 */
export function policyNamed(
  name: EvictionPolicyName,
  columns: Columns,
  hashOf: (slot: number) => number,
  tuning: PolicyTuning,
): EvictionPolicy {
  if (name === 's3-fifo') return new S3Fifo(columns, hashOf, tuning.sharesBytes)
  if (name === 'noeviction') return noEviction()
  const { samples, random } = tuning
  const volatileOnly = name.startsWith('volatile-')
  const ranking = rankingOf(name, columns, tuning)
  return new Sampled(ranking ? { volatileOnly, ranking, samples, random } : { volatileOnly, samples, random })
}

function rankingOf(
  name: Exclude<EvictionPolicyName, 's3-fifo' | 'noeviction'>,
  columns: Columns,
  tuning: PolicyTuning,
): Ranking | undefined {
  switch (name) {
    case 'allkeys-lru':
    case 'volatile-lru':
      return byLastAccess()
    case 'allkeys-lfu':
    case 'volatile-lfu':
      return byFrequency({
        logFactor: tuning.lfuLogFactor,
        decayMinutes: tuning.lfuDecayMinutes,
        random: tuning.random,
      })
    case 'volatile-ttl':
      return byExpiry(columns)
    case 'allkeys-random':
    case 'volatile-random':
      return undefined
  }
}
