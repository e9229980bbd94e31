import type { SimulatedClock } from '../src/testing/index.ts'
import type { Database } from './database.ts'
import { Timeline } from './timeline.ts'
import type { Trail } from './trail.ts'

/** A row as the loader answers with it: every version has a number of its own, which rises. */
export interface Row {
  readonly row: number
  readonly version: number
  /** The shape of the process that loaded it. */
  readonly shape: number
}

/** What a read is bound by, as it was when the read began. */
export interface ReadMark {
  readonly row: number
  readonly isStrong: boolean
  readonly index: number
  readonly shape: number
  /** Own writes that had ended. */
  readonly ownFloor: number
  readonly forgetting: number
}

/** By how much two clocks may differ that both count the same seconds. */
const DRIFT = 1.01
const ROUNDING_MS = 3

/**
 * What has to be true of every answer, row by row, in constant time for each.
 *
 * The checker sees what no process sees: the moment at which something is applied on the shared server, or commits. From that
 * it knows for each row which version no later read may be older than.
 *
 * - **Strong reads**: whenever an invalidation, a guard or a release is applied, nothing older can be found or filled any
 *   more. The version committed by then is the floor (G1). A commit under its own guard raises the floor at the moment
 *   it commits (G2): everybody sees it, or is told of it, later than that. A commit without its guard, of
 *   a foreign writer for instance, raises it only when it is invalidated: the promise is weaker for exactly that row and that
 *   long.
 * - **Default reads**: the same floor as it was `localMaxStaleMs` before the read began (G5); and, in a process that has
 *   written, never older than its own write.
 * - A server that comes back with an older state brings that state's floor back with it, until the next generation; a
 *   database that takes commits back likewise.
 */
export class Checker {
  readonly violations: string[] = []
  /** Grows with everything that is applied: orders events of the same moment. */
  tick = 0
  /** Grows when a server forgets something that it had acknowledged. */
  forgetting = 0
  reads = 0
  readonly #clock: SimulatedClock
  readonly #trail: Trail
  readonly #database: Database
  readonly #maxStaleMs: number
  readonly #strong: Timeline[]
  readonly #default: Timeline[]

  constructor(clock: SimulatedClock, trail: Trail, database: Database, rows: number, maxStaleMs: number) {
    this.#clock = clock
    this.#trail = trail
    this.#database = database
    this.#maxStaleMs = maxStaleMs
    this.#strong = Array.from({ length: rows }, () => new Timeline())
    this.#default = Array.from({ length: rows }, () => new Timeline())
  }

  /** Something is wrong. */
  accuse(what: string): void {
    this.violations.push(`at ${this.#clock.nowMs().toFixed(1)}: ${what}`)
    this.#trail.note('checker', () => `VIOLATION ${what}`)
  }

  /** The row was invalidated, guarded or released, or committed under its guard: now nothing older is found. */
  applied(row: number, version = this.#database.current(row)): void {
    const nowMs = this.#clock.nowMs()
    this.tick++
    // What was written through may have been taken back by the database before it came here.
    const isLost = this.#database.hasTakenBack(row, version)
    for (const timeline of [this.#strong[row]!, this.#default[row]!])
      if (isLost) timeline.takeBack(this.tick, nowMs, Math.min(version, this.#database.current(row)))
      else timeline.rise(this.tick, nowMs, version)
  }

  /** Nothing is there of the row, though nobody was told: only strong reads know better from now on. */
  vanished(row: number): void {
    this.#strong[row]!.rise(++this.tick, this.#clock.nowMs(), this.#database.current(row))
  }

  /** The shared server is in the state that it had then. */
  fellBack(toTick: number): void {
    this.forgetting++
    this.tick++
    for (const timeline of [...this.#strong, ...this.#default])
      timeline.fallBack(this.tick, this.#clock.nowMs(), toTick)
  }

  /** The database has forgotten the last versions of this row. */
  tookBack(row: number): void {
    this.forgetting++
    this.tick++
    for (const timeline of [this.#strong[row]!, this.#default[row]!])
      timeline.takeBack(this.tick, this.#clock.nowMs(), this.#database.current(row))
  }

  /** Which version no strong read that begins now may be older than. */
  strongFloor(row: number): number {
    return this.#strong[row]!.last.floor
  }

  /** A value can be found in the shared store from now on: it is judged as a strong read would be that finds it. */
  stored(row: number, version: number | undefined, who: string): void {
    const { floor, mayBeLost } = this.#strong[row]!.last
    const why = this.#database.implausible(row, version, floor, mayBeLost)
    const what = version === undefined ? 'absence' : `v${version}`
    if (why !== undefined) this.accuse(`${who} has stored ${what} of row ${row}, ${why} (floor v${floor})`)
  }

  /** The last version of the row that says that it is absent; 0 if none does. */
  lastDeletion(row: number): number {
    return this.#database.lastDeletion(row)
  }

  /** Whether the last version of the row has been invalidated everywhere: if not, only a change feed brings it. */
  isInvalidated(row: number): boolean {
    return this.#default[row]!.last.floor >= this.#database.current(row)
  }

  /** A read begins. */
  begin(row: number, isStrong: boolean, shape: number, ownFloor: number): ReadMark {
    const boundMs = this.#clock.nowMs() - this.#maxStaleMs * DRIFT - ROUNDING_MS
    const index = isStrong ? this.#strong[row]!.length - 1 : this.#default[row]!.before(boundMs)
    return { row, isStrong, index, shape, ownFloor, forgetting: this.forgetting }
  }

  /** It has been answered. */
  answered(mark: ReadMark, value: Row | undefined, who: string, how: string): void {
    this.reads++
    const { row, isStrong, index, shape } = mark
    this.#trail.note(who, () => `${how} of ${row} → ${value === undefined ? 'absent' : `v${value.version}`}`)
    const timeline = isStrong ? this.#strong[row]! : this.#default[row]!
    const weakest = timeline.weakestSince(index)
    const own = mark.forgetting === this.forgetting ? mark.ownFloor : 0
    const floor = Math.max(weakest.floor, own)
    if (value !== undefined && (value.row !== row || value.shape !== shape))
      this.accuse(`${how} of row ${row} by ${who} gave row ${value.row} of shape ${value.shape}`)
    const why = this.#database.implausible(row, value?.version, floor, weakest.mayBeLost)
    const what = value === undefined ? 'absence' : `v${value.version}`
    if (why !== undefined)
      this.accuse(`${how} of row ${row} by ${who} gave ${what}, ${why} (floor v${floor})`)
  }
}
