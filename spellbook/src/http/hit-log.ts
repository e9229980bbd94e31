import type { FastifyBaseLogger } from 'fastify'
import type { Logger } from 'pino'
import { origin } from '../cache-status.ts'
import type { Answer } from '../spells.ts'

/** A log of Pino, or of its kind. */
export type Log = FastifyBaseLogger & Pick<Logger, 'isLevelEnabled'>

/** So many reads that were answered from the cache are logged in a second. */
const HITS_PER_SECOND = 20
const SECOND_MS = 1_000

/**
 * Writes where reads were answered, at the level `info`. A read that went to the database is always written. Hits can be
 * many, and writing a line takes longer than the hit: so only the first hits of each second are written, and the next line
 * says how many were not (`unwritten`). At the level `debug` all are.
 */
export class HitLog {
  readonly #log: Log
  readonly #all: boolean
  readonly #nowMs: () => number
  #secondMs = Number.NEGATIVE_INFINITY
  #written = 0
  #unwritten = 0

  /** @param nowMs - A clock that never goes back. */
  constructor(log: Log, nowMs: () => number = () => performance.now()) {
    this.#log = log
    this.#all = log.isLevelEnabled('debug')
    this.#nowMs = nowMs
  }

  /**
   * Writes where a read was answered, or counts it.
   *
   * @param what - Names what was read. It is called only for a line that is written.
   */
  note(read: Answer<unknown>, what: () => string): void {
    const source = origin(read)
    if (source === 'cache' && !this.#admits()) return
    const { from, why, timings } = read
    this.#write({ from, why, ms: Number(timings.totalMs.toFixed(3)) }, `${what()} from ${source}`)
  }

  /** Whether a hit is to be written now. One that is not is counted. */
  #admits(): boolean {
    if (this.#all) return true
    const nowMs = this.#nowMs()
    if (nowMs - this.#secondMs >= SECOND_MS) {
      this.#secondMs = nowMs
      this.#written = 0
    }
    if (this.#written++ < HITS_PER_SECOND) return true
    this.#unwritten++
    return false
  }

  #write(fields: object, message: string): void {
    const unwritten = this.#unwritten
    this.#unwritten = 0
    this.#log.info(unwritten === 0 ? fields : { ...fields, unwritten }, message)
  }
}
