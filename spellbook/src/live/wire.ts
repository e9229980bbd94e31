import type { FillEvent, From, ReadEvent, Why } from 'cacheaside'

/** The messages for viewers: JSON over server-sent events, made only from the events of the cache. */

/** A read, as it went along the path. Durations are milliseconds. */
export interface Lane {
  /** Counts the reads of this process, from 1. */
  readonly number: number
  /** When it ended, in milliseconds since 1970. */
  readonly atMs: number
  /** At most 80 characters of it. */
  readonly key: string
  readonly outcome: ReadEvent['outcome']
  /** Only for a read that was answered, as all fields below. */
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
  /** The outcome of the fill of its loaded value, as far as it is known. */
  readonly fill?: FillEvent['outcome']
  readonly fillMs?: number
}

/** The outcome of a fill, sent after the read that has loaded the value. */
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
  /**
   * Reads that were answered from the cache, by the database, and by the database with the cache bypassed; and reads that
   * failed.
   */
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

/** The first message for a viewer: the past. */
export interface Hello {
  /** Whether this process keeps values in L1. */
  readonly hasLocal: boolean
  /** How many reads there were so far. */
  readonly reads: number
  /** The last of them, the newest last; for a viewer that comes back, those that it has not got yet. */
  readonly lanes: readonly Lane[]
  /** How many reads a viewer that comes back has missed for good. */
  readonly lost: number
  /** The last two minutes. */
  readonly samples: readonly Sample[]
}

/** A later message: what has happened since the message before. */
export interface Batch {
  /** How many reads there were so far, and how many of them since the batch before. */
  readonly reads: number
  readonly count: number
  /** The newest last. Of many reads at once only the last ones are shown; the others are counted. */
  readonly lanes: readonly Lane[]
  readonly fills: readonly LateFill[]
  readonly samples: readonly Sample[]
}
