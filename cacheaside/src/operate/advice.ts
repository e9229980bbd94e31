/**
 * Advice on options: which of them do not fit each other, or the measured loads of the values in the store. Rules without
 * I/O, from options and measurements to sentences.
 */
import { lineOf } from '../base/masked.ts'
import { type CacheOptions, DEFAULT_CACHE_OPTIONS } from '../options.ts'
import {
  type ResolvedCacheOptions,
  type ResolvedKeyspaceOptions,
  resolveCacheOptions,
  resolveKeyspaceOptions,
} from '../resolve-options.ts'
import type { SharedStore } from '../shared/shared-store.ts'
import type { AuditedKeyspace } from '../verify/audited-keyspace.ts'
import { durationText } from '../verify/report.ts'
import type { PoolSize } from './config.ts'

/**
 * The code of a finding. Findings of Redis and of the feed keep their own codes.
 *
 * | code | |
 * |---|---|
 * | `UNREACHABLE` | a server cannot be asked |
 * | `SLOW_STORE` | a round trip takes too much of `sharedTimeoutMs` |
 * | `STORES_NOTHING` | a server refuses to store anything: its memory is full, it cannot write to its disk, or it lacks replicas |
 * | `MEMORY` | a server's memory is nearly used up, and it evicts nothing |
 * | `CONNECTIONS` | a server has refused or ended connections since its start |
 * | `OPTIONS` | the cache, or a keyspace, cannot be made with these options |
 * | `LEASE_TIGHT` | a load that takes as long as it may has too little time left to be stored |
 * | `GUARD_SHORT` | a guard may run out before it is renewed |
 * | `BUSY_WAIT_SHORT` | loads take longer than readers of other processes wait for them |
 * | `LOAD_TIMEOUT_SHORT` | loads take more than half of the time that they may take |
 * | `TTL_SHORT` | values live for less than twenty of their loads |
 * | `WAITS_AT_EXPIRY` | loads are slow, and readers wait for them whenever a value expires |
 * | `NO_JITTER` | what was stored together expires together |
 * | `ABSENT_LONG` | an absent row is remembered for longer than a value lives |
 * | `BLOCKING_FILL` | answers wait for the store |
 * | `POOL_SMALL` | loads may take every connection of the pool |
 * | `NO_FEED` | what others change is seen when it expires |
 * | `LARGE_VALUE` | a value is larger than `maxValueBytes`, or takes so long on its way that the store may count as unavailable |
 * | `UNREADABLE` | registers that cannot be read, or of another shape, were met |
 */
export type AdviceCode =
  | 'UNREACHABLE'
  | 'SLOW_STORE'
  | 'STORES_NOTHING'
  | 'MEMORY'
  | 'CONNECTIONS'
  | 'OPTIONS'
  | 'LEASE_TIGHT'
  | 'GUARD_SHORT'
  | 'BUSY_WAIT_SHORT'
  | 'LOAD_TIMEOUT_SHORT'
  | 'TTL_SHORT'
  | 'WAITS_AT_EXPIRY'
  | 'NO_JITTER'
  | 'ABSENT_LONG'
  | 'BLOCKING_FILL'
  | 'POOL_SMALL'
  | 'NO_FEED'
  | 'LARGE_VALUE'
  | 'UNREADABLE'

/** Something that a doctor has found. */
export interface DoctorFinding {
  /** `bad`: something does not work, or not safely. `warn`: it should be mended. `advice`: it could be better. */
  readonly severity: 'bad' | 'warn' | 'advice'
  readonly area: 'store' | 'feed' | 'options'
  readonly code: string
  /** A sentence: what is so, why it matters, what to do. */
  readonly message: string
}

/** The measurements of a keyspace: how long the loads of the values in the store have taken. */
export interface LoadCosts {
  /** How many values were looked at. */
  readonly count: number
  /** The cost, in milliseconds, that nine of ten loads do not exceed. */
  readonly p90Ms: number
}

const warn = (code: AdviceCode, message: string): DoctorFinding => ({
  severity: 'warn',
  area: 'options',
  code,
  message,
})
const advice = (code: AdviceCode, message: string): DoctorFinding => ({
  ...warn(code, message),
  severity: 'advice',
})

/** The options of a cache with all defaults, or why there cannot be such a cache. */
export function cacheOf(
  given: CacheOptions | undefined,
  shared: SharedStore,
): { readonly options: ResolvedCacheOptions; readonly problem?: DoctorFinding } {
  try {
    return { options: resolveCacheOptions({ ...given, shared }) }
  } catch (error) {
    const message = `the cache cannot be made with these options: ${lineOf(error)}`
    const problem: DoctorFinding = { severity: 'bad', area: 'options', code: 'OPTIONS', message }
    return { options: { ...DEFAULT_CACHE_OPTIONS, shared } as unknown as ResolvedCacheOptions, problem }
  }
}

/** The advice on a cache's options, without measurements. */
export function adviceOnCache(options: ResolvedCacheOptions, pool: PoolSize | undefined): DoctorFinding[] {
  const { leaseMs, loadTimeoutMs, sharedTimeoutMs, guardMs, fill, maxLoads } = options
  const findings: DoctorFinding[] = []
  if (leaseMs - loadTimeoutMs < 2 * sharedTimeoutMs)
    findings.push(
      warn(
        'LEASE_TIGHT',
        `leaseMs (${leaseMs}) is only ${leaseMs - loadTimeoutMs} ms more than loadTimeoutMs: the value of a slow load is refused; make it loadTimeoutMs and twice sharedTimeoutMs (${2 * sharedTimeoutMs}) at least`,
      ),
    )
  if (guardMs / 3 < 2 * sharedTimeoutMs)
    findings.push(
      warn(
        'GUARD_SHORT',
        `guardMs (${guardMs}) is less than six times sharedTimeoutMs (${sharedTimeoutMs}): a renewal that is tried once more may come too late, and the write is then not fenced`,
      ),
    )
  if (fill === 'blocking')
    findings.push(
      advice(
        'BLOCKING_FILL',
        "fill is 'blocking': every miss waits for one more round trip; 'background' does not",
      ),
    )
  const max = pool?.options?.max
  if (max !== undefined && maxLoads >= max)
    findings.push(
      advice(
        'POOL_SMALL',
        `maxLoads is ${maxLoads}, and the pool has ${max} connections: loads that wait for one use up loadTimeoutMs, and writers wait behind them; ${max > 1 ? `set maxLoads below ${max}, or ` : ''}give the pool more`,
      ),
    )
  return findings
}

/** The advice on a keyspace's options, with the costs of its loads. */
export function adviceOnKeyspace(
  space: AuditedKeyspace,
  cache: ResolvedCacheOptions,
  costs: LoadCosts | undefined,
): DoctorFinding[] {
  let options: ResolvedKeyspaceOptions<unknown, unknown>
  try {
    options = resolveKeyspaceOptions(space.name, space.keyspaceOptions, cache)
  } catch (error) {
    const message = `the keyspace ${space.name} cannot be made with these options: ${lineOf(error)}`
    return [{ severity: 'bad', area: 'options', code: 'OPTIONS', message }]
  }
  const findings: DoctorFinding[] = []
  const { name } = space
  if (options.ttlJitter === 0)
    findings.push(
      advice(
        'NO_JITTER',
        `${name}.ttlJitter is 0: values that were stored together expire together, and are loaded at once`,
      ),
    )
  if (options.absentTtlMs > options.ttlMs)
    findings.push(
      advice(
        'ABSENT_LONG',
        `${name}.absentTtlMs (${options.absentTtlMs}) is more than ttlMs (${options.ttlMs}): an absent row is remembered for longer than an existing one`,
      ),
    )
  if (costs !== undefined && costs.count > 0) findings.push(...adviceOnCosts(name, options, cache, costs))
  return findings
}

/** A load that takes less than this is not worth an advice. */
const SLOW_LOAD_MS = 100
/** Fewer values than this say nothing. */
const FEWEST = 5
const FEWEST_LOADS_A_LIFE = 20

function adviceOnCosts(
  name: string,
  options: ResolvedKeyspaceOptions<unknown, unknown>,
  { busyWaitMs }: ResolvedCacheOptions,
  { count, p90Ms }: LoadCosts,
): DoctorFinding[] {
  if (count < FEWEST) return []
  const findings: DoctorFinding[] = []
  const cost = `nine of ten loads of ${name} take up to ${durationText(p90Ms)}`
  const { loadTimeoutMs, ttlMs, staleMs, refreshAhead } = options
  if (p90Ms > loadTimeoutMs / 2)
    findings.push(
      warn(
        'LOAD_TIMEOUT_SHORT',
        `${cost}, and more may be lost to loadTimeoutMs (${loadTimeoutMs}); raise it, and leaseMs with it`,
      ),
    )
  if (p90Ms > busyWaitMs)
    findings.push(
      warn(
        'BUSY_WAIT_SHORT',
        `${cost}, and readers of other processes wait for busyWaitMs (${busyWaitMs}), and then load as well; raise it`,
      ),
    )
  if (ttlMs < FEWEST_LOADS_A_LIFE * p90Ms)
    findings.push(
      advice(
        'TTL_SHORT',
        `${cost}, and a value lives for ttlMs (${ttlMs}): the origin works on every key in use for ${Math.round((100 * p90Ms) / ttlMs)} % of the time; raise it, since invalidations end values in time`,
      ),
    )
  if (p90Ms >= SLOW_LOAD_MS && staleMs === 0 && refreshAhead === undefined)
    findings.push(
      advice(
        'WAITS_AT_EXPIRY',
        `${cost}, and readers wait for that whenever a value expires; refreshAhead: 1, or staleMs, has it done in the background`,
      ),
    )
  return findings
}
