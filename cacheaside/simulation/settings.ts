import type { CacheOptions, KeyspaceOptions } from '../src/index.ts'
import type { Random } from './random.ts'
import type { Weather } from './weather.ts'

/** The durations of a simulated world: in the proportions of the defaults, and shorter. */
export const TIMES = {
  sharedTimeoutMs: 60,
  busyWaitMs: 400,
  loadTimeoutMs: 800,
  leaseMs: 1_200,
  writeTimeoutMs: 3_000,
} as const satisfies CacheOptions
/** How old a default read may be, in different histories: longer than any flight lasts, and shorter. */
export const MAX_STALE_MS = [600, 1_600]
/** How long a guard outlives its writer, in different processes. */
const GUARD_MS = [900, 1_300]
/** Less than two thirds of `guardMs`, as the documentation asks for. */
export const STATEMENT_TIMEOUT_MS = 500
/** The time to live of values that are to expire only when they are old. */
export const LASTING_MS = 3_600_000
/** Within which, once all faults have stopped, every level agrees with the origin; in half of it where there is no change feed and nothing is queued. */
export const SETTLING_MS = 12_000

/** How the caches of one history are made: the same in all its processes, or at random in each where that is allowed. */
export interface Settings {
  readonly cache: () => CacheOptions
  readonly keyspace: Pick<
    KeyspaceOptions<number, unknown>,
    'ttlMs' | 'absentTtlMs' | 'staleMs' | 'staleIfErrorMs' | 'loadSoftTimeoutMs' | 'refreshAhead'
  >
  /** Whether there is a loader for many rows at once. */
  readonly loadsMany: boolean
  /** How values name their tags; left out: there are none. */
  readonly tags?: {
    /** Whether the tag of a link's own row is known from the id. If not, its value names it. */
    readonly namesOwnRow: boolean
    /** Whether names come twice, and in any order. */
    readonly isUntidy: boolean
  }
}

/** Draws the settings of a history. */
export function drawSettings(random: Random, localMaxStaleMs: number, weather: Weather): Settings {
  const keyspace: Record<string, number> = { ttlMs: LASTING_MS }
  if (random.chance(0.6)) {
    keyspace.ttlMs = random.chance(0.6) ? random.between(30, 200) : random.between(300, 1_500)
    if (random.chance(0.6)) keyspace.staleMs = random.between(100, 600)
    if (random.chance(0.6)) {
      keyspace.staleIfErrorMs = random.between(200, 1_500)
      if (random.chance(0.6)) keyspace.loadSoftTimeoutMs = random.between(20, 60)
    }
    if (random.chance(0.5)) keyspace.refreshAhead = random.between(1, 6)
  }
  if (weather.isLasting) keyspace.ttlMs = LASTING_MS
  if (weather.fallsBack) {
    keyspace.ttlMs = random.between(30, 200)
    keyspace.staleIfErrorMs = random.between(600, 2_000)
    keyspace.loadSoftTimeoutMs = random.between(20, 60)
  }
  const mayRefuse = random.chance(0.3)
  const withLocal = random.chance(0.85) && weather.withoutLocal !== true
  const roomOfQueue = random.chance(0.2) ? 1 : (weather.roomOfQueue ?? 1_000)
  const ownRandom = random.fork()
  const tags =
    weather.tags === true ? { tags: { namesOwnRow: random.chance(0.5), isUntidy: random.chance(0.3) } } : {}
  return {
    ...tags,
    keyspace,
    loadsMany: random.chance(0.7),
    cache: () => ({
      ...TIMES,
      localMaxStaleMs,
      guardMs: ownRandom.pick(GUARD_MS),
      ...(withLocal && ownRandom.chance(0.9) ? { local: { maxEntries: ownRandom.between(2, 4) } } : {}),
      unguarded: mayRefuse && ownRandom.chance(0.5) ? 'refuse' : 'proceed',
      fill: ownRandom.chance(0.2) ? 'blocking' : 'background',
      maxLoads: ownRandom.between(1, 6),
      maxQueuedInvalidations: roomOfQueue,
    }),
  }
}
