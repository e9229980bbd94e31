import type { Version } from './audited-keyspace.ts'

/** The outcome of one examined register. */
export type Outcome = EqualOutcome | SkippedOutcome | StaleFinding | UnreadableFinding | OrphanedFinding

/** An outcome that is worth telling. */
export type Finding = StaleFinding | UnreadableFinding | OrphanedFinding

/** The register holds what the origin holds. */
export interface EqualOutcome {
  readonly kind: 'equal'
  readonly keyspace: string
  readonly key: string
}

/**
 * The register was not compared.
 *
 * | why | |
 * |---|---|
 * | `gone` | it was told of by the walk, and is absent now |
 * | `leased` | a reader is loading |
 * | `stamp` | it is a tag that stands, and no value |
 * | `guarded` | a writer is at work |
 * | `version` | a later version of the library has written it, or one of its tags |
 * | `changed` | it differed from the origin once, and was invalidated or filled again before it could be accused |
 * | `failed` | its row could not be read |
 */
export interface SkippedOutcome {
  readonly kind: 'skipped'
  readonly keyspace: string
  readonly key: string
  readonly why: 'gone' | 'leased' | 'stamp' | 'guarded' | 'version' | 'changed' | 'failed'
  /** Why the row could not be read. */
  readonly error?: unknown
}

/** A reader gets another value from the cache now than the origin holds. */
export interface StaleFinding {
  readonly kind: 'stale'
  readonly keyspace: string
  readonly key: string
  /** Milliseconds since the value was stored: it has been stale for no longer than that. */
  readonly ageMs: number
  /** For at least how many milliseconds it is known to have been stale. */
  readonly staleMs: number
  /** Which of the two has no row, if one has none. */
  readonly absent?: 'cached' | 'origin'
  /** The names of its tags, if it has any. All of them stand: nobody has invalidated what it was loaded under. */
  readonly tags?: readonly string[]
  /** How far behind it is, if the values have versions. */
  readonly behind?: Behind
  /** The oldest change of the feed that concerns it and is not applied yet. */
  readonly change?: PendingChange
}

/** The versions of a stale value and of the origin's. */
export interface Behind {
  readonly cached: string
  readonly origin: string
  /** The difference of two numbers, or of two times in milliseconds; left out if it is unknown. */
  readonly by?: number
  /** What `by` counts. */
  readonly unit?: 'versions' | 'ms'
}

/** A change that waits in the outbox. */
export interface PendingChange {
  readonly id: string
  readonly table: string
  /** Milliseconds since it was written. */
  readonly ageMs: number
}

/** A register that a reader counts as a miss and overwrites, because it cannot read it. */
export interface UnreadableFinding {
  readonly kind: 'unreadable'
  readonly keyspace: string
  readonly key: string
  readonly reason: 'register' | 'codec' | 'schema'
  readonly message: string
}

/**
 * A register that no reader finds any more, though it takes up room until it expires.
 *
 * | reason | |
 * |---|---|
 * | `keyspace` | its keyspace has a generation, but is none of the audited ones |
 * | `generation` | it was stored before its keyspace was last invalidated as a whole |
 * | `tag` | a tag that it was loaded under has been invalidated since, or was evicted or has expired |
 * | `names` | it was stored without a tag that the keyspace's `tags` or `tagsOf` names |
 * | `shape` | it was stored by a process with another shape version |
 * | `id` | its key is not the key of any id |
 * | `alias` | its value is that of a row with another id, by `idOf` |
 * | `unreachable` | `isReachable` says that nobody asks for its id any more |
 */
export interface OrphanedFinding {
  readonly kind: 'orphaned'
  readonly keyspace: string
  readonly key: string
  readonly reason: 'keyspace' | 'generation' | 'tag' | 'names' | 'shape' | 'id' | 'alias' | 'unreachable'
  /** The names of the tags that do not stand any more, or that it lacks, where that is the reason. */
  readonly tags?: readonly string[]
}

const ISO_TIME = /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d/

/** A version as milliseconds since 1970, if it is a time. */
export function timeOf(version: Version): number | undefined {
  if (version instanceof Date) return version.getTime()
  if (typeof version !== 'string' || !ISO_TIME.test(version)) return undefined
  const timeMs = Date.parse(version)
  return Number.isNaN(timeMs) ? undefined : timeMs
}

/** How far one version is behind the other. */
export function behindOf(cached: Version, origin: Version): Behind {
  const texts = { cached: textOf(cached), origin: textOf(origin) }
  if (isNumber(cached) && isNumber(origin))
    return { ...texts, by: Number(origin) - Number(cached), unit: 'versions' }
  const [from, to] = [timeOf(cached), timeOf(origin)]
  return from === undefined || to === undefined ? texts : { ...texts, by: to - from, unit: 'ms' }
}

const isNumber = (version: Version): version is number | bigint =>
  typeof version === 'number' || typeof version === 'bigint'

const textOf = (version: Version): string =>
  version instanceof Date && !Number.isNaN(version.getTime()) ? version.toISOString() : String(version)
