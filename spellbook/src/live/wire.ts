import type { FillEvent, From, ReadEvent, Why } from 'cacheaside'

/** What those who watch are told: JSON over server-sent events. Made from the events of the cache, and from nothing else. */

/** A read, as it went along the path. Durations are milliseconds. */
export interface Lane {
  /** Counts the reads of this process, from 1. */
  readonly number: number
  /** When it ended, in milliseconds since 1970. */
  readonly atMs: number
  /** At most 80 characters of it. */
  readonly key: string
  readonly outcome: ReadEvent['outcome']
  /** Only of a read that was answered, as all that follows. */
  readonly from?: From
  readonly why?: Why
  readonly absent?: true
  /** The tag because of which the old value fell, or the cache was bypassed. */
  readonly tag?: string
  /** Whether it waited for another reader's flight. */
  readonly joined?: true
  readonly totalMs: number
  /** What its flight spent on asking the cache. */
  readonly sharedMs?: number
  /** What its flight's load took. */
  readonly loadMs?: number
  /** What became of the value that it loaded, as far as is known by now. */
  readonly fill?: FillEvent['outcome']
  readonly fillMs?: number
}

/** What became of a value, told after the read that has loaded it. */
export interface LateFill {
  /** Of the read. */
  readonly number: number
  readonly fill: FillEvent['outcome']
  readonly fillMs: number
}

/** A second, in numbers. */
export interface Sample {
  /** Which: seconds since 1970. */
  readonly atS: number
  /** Reads that were answered from the cache, with the database, and with it around the cache; and those that were not. */
  readonly hits: number
  readonly misses: number
  readonly bypasses: number
  readonly failed: number
  /** In milliseconds, over the last ten seconds; `null` without reads. A miss is any read that asked the database. */
  readonly hitP50: number | null
  readonly hitP99: number | null
  readonly missP50: number | null
  readonly missP99: number | null
  /** Loads that ran when it ended. */
  readonly loads: number
}

/** What a viewer is told first: what has been. */
export interface Hello {
  /** Whether this process keeps values in L1. */
  readonly hasLocal: boolean
  /** How many reads there were so far. */
  readonly reads: number
  /** The last of them, the newest last; to one who comes back, those that were not told yet. */
  readonly lanes: readonly Lane[]
  /** How many reads one who comes back has missed for good. */
  readonly lost: number
  /** The last two minutes. */
  readonly samples: readonly Sample[]
}

/** What has happened since. */
export interface Batch {
  /** How many reads there were so far, and how many of them since the batch before. */
  readonly reads: number
  readonly count: number
  /** The newest last. Of many reads at once only the last ones are shown; the others are counted. */
  readonly lanes: readonly Lane[]
  readonly fills: readonly LateFill[]
  readonly samples: readonly Sample[]
}
