import { closeSync, openSync } from 'node:fs'
import { PGlite, types } from '@electric-sql/pglite'
import { DatabaseAwayError, fromDriver, parseInt8, sqlState } from './database.ts'

/**
 * A running PGlite, which is replaced by a new one when it has broken.
 *
 * A PGlite that once could not open a file, because no descriptor was free, does not recover. Its knowledge of its files is
 * wrong from then on ("could not create file: File exists"). It refuses every write, but still answers reads. A new one on
 * the same folder finds everything that was acknowledged, as after a `kill -9`.
 */

/** Descriptors that must be free before one is opened: it holds about 75. */
const NEEDED_DESCRIPTORS = 100
/** How long to wait after an attempt to open one, and after one that broke soon. */
const RETRY_MS = 1_000

/** Opens the database in a folder, or in memory. */
export const create = (dataDir: string | undefined): Promise<PGlite> =>
  PGlite.create({ ...(dataDir === undefined ? {} : { dataDir }), parsers: { [types.INT8]: parseInt8 } })

/** The SQLSTATEs of failures below the database: resources (53), files (58), its own state (XX). */
const BROKEN = /^(53|58|XX)/

/** The errors of a failing program: it reaches `unreachable`, its files fail, or it ends. */
const FAILURES = new Set(['RuntimeError', 'ErrnoError', 'ExitStatus'])

/** Whether an error says that a PGlite cannot be relied on any more, rather than that a statement was wrong. */
function isBroken(error: unknown): boolean {
  const code = sqlState(error)
  if (code !== undefined) return BROKEN.test(code)
  return error instanceof Error && FAILURES.has(error.name)
}

/** The one session of an embedded database. */
export class EmbeddedEngine {
  readonly #open: (() => Promise<PGlite>) | undefined
  readonly #onBroken: (error: unknown) => void
  #db: PGlite | undefined
  #brokenBy: unknown
  #notBeforeMs = 0
  /** The last caller in the queue for the session. */
  #last: Promise<unknown> = Promise.resolve()
  #isClosed = false

  /**
   * @param open - Opens another one on the same data. Left out: there is none, the data are in memory.
   * @param onBroken - Told when one has broken.
   */
  constructor(db: PGlite, open?: () => Promise<PGlite>, onBroken: (error: unknown) => void = () => {}) {
    this.#db = db
    this.#open = open
    this.#onBroken = onBroken
  }

  /**
   * Lends out the session once all earlier callers have given it back. PGlite has such a queue, too, but a caller in the
   * queue of a broken PGlite would write to files that a new one has opened since.
   *
   * @param signal - A caller that has not got the session yet when this aborts does not get it.
   * @throws DatabaseAwayError if it is broken and cannot be replaced now.
   */
  run<T>(use: (db: PGlite) => Promise<T>, signal?: AbortSignal): Promise<T> {
    const turn = this.#last.then(() => {
      signal?.throwIfAborted()
      return this.#use(use)
    })
    this.#last = turn.catch(() => {})
    return turn
  }

  async #use<T>(use: (db: PGlite) => Promise<T>): Promise<T> {
    const db = this.#db ?? (await this.#reopen())
    try {
      return await use(db)
    } catch (error) {
      if (isBroken(error instanceof DatabaseAwayError ? error.cause : error)) this.#giveUp(db, error)
      throw error
    }
  }

  #giveUp(db: PGlite, error: unknown): void {
    if (this.#open === undefined || this.#isClosed) return
    this.#db = undefined
    this.#brokenBy = error
    letGo(db)
    this.#onBroken(error)
  }

  async #reopen(): Promise<PGlite> {
    const nowMs = performance.now()
    if (this.#open === undefined || this.#isClosed || nowMs < this.#notBeforeMs)
      throw new DatabaseAwayError(this.#brokenBy, false)
    this.#notBeforeMs = nowMs + RETRY_MS
    try {
      takeDescriptors(NEEDED_DESCRIPTORS)
      this.#db = await this.#open()
    } catch (error) {
      this.#brokenBy = error
      throw new DatabaseAwayError(error, false)
    }
    this.#notBeforeMs = performance.now() + RETRY_MS
    return this.#db
  }

  /** Lets those finish who have asked, then closes the files. */
  close(): Promise<void> {
    return this.run(async db => {
      this.#isClosed = true
      await db.close()
    }).catch(error => {
      this.#isClosed = true
      // One that is broken has closed its files already.
      if (this.#db !== undefined) throw fromDriver(error)
    })
  }
}

/** Closes the files of a PGlite without asking it for anything: what it would still write might be wrong. */
function letGo(db: PGlite): void {
  try {
    db.Module.FS.quit()
  } catch {
    // A file that cannot be closed is one more that is missing; the next one is opened only if there are enough.
  }
}

/** @throws Error with the code `EMFILE` or `ENFILE` if fewer are free. */
function takeDescriptors(count: number): void {
  const taken: number[] = []
  try {
    while (taken.length < count) taken.push(openSync('/dev/null', 'r'))
  } finally {
    for (const descriptor of taken) closeSync(descriptor)
  }
}
