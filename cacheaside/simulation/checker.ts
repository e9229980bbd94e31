import type { SimulatedClock } from '../src/testing/index.ts'
import type { Database } from './database.ts'
import type { Subjects } from './subjects.ts'
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
  readonly subject: number
  readonly isStrong: boolean
  readonly index: number
  readonly shape: number
  /** Own writes that had ended. */
  readonly ownFloor: number
  readonly forgetting: number
}

/** A row of an answer of several values, and what it was answered under. */
export interface ShownTogether {
  readonly subjects: readonly number[]
  /** `undefined`: there is no such row. */
  readonly version: number | undefined
}

/** By how much two clocks may differ that both count the same seconds. */
const DRIFT = 1.01
const ROUNDING_MS = 3

/**
 * What has to be true of every answer, row by row, in constant time for each.
 *
 * The checker sees what no process sees: the moment at which something is applied on the shared server, or commits. From that
 * it knows for each row, under each key or tag that it is shown under, which version no later read may be older than. A value
 * that depends on tags is bound by the floors of each of its rows under its key, and under the row's tag.
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
  readonly #subjects: Subjects
  readonly #maxStaleMs: number
  readonly #strong: Timeline[]
  readonly #default: Timeline[]
  /** The versions of each subject that were committed under a guard of their writer. */
  readonly #fenced: number[][]

  constructor(
    clock: SimulatedClock,
    trail: Trail,
    database: Database,
    subjects: Subjects,
    maxStaleMs: number,
  ) {
    this.#clock = clock
    this.#trail = trail
    this.#database = database
    this.#subjects = subjects
    this.#maxStaleMs = maxStaleMs
    this.#strong = subjects.all.map(() => new Timeline())
    this.#default = subjects.all.map(() => new Timeline())
    this.#fenced = subjects.all.map(() => [])
  }

  /** Something is wrong. */
  accuse(what: string): void {
    this.violations.push(`at ${this.#clock.nowMs().toFixed(1)}: ${what}`)
    this.#trail.note('checker', () => `VIOLATION ${what}`)
  }

  /** It was invalidated, guarded or released, or committed under its guard: now nothing older is found. */
  applied(subject: number, version = this.#current(subject)): void {
    const nowMs = this.#clock.nowMs()
    this.tick++
    // What was written through may have been taken back by the database before it came here.
    const isLost = this.#database.hasTakenBack(this.#rowOf(subject), version)
    for (const timeline of [this.#strong[subject]!, this.#default[subject]!])
      if (isLost) timeline.takeBack(this.tick, nowMs, Math.min(version, this.#current(subject)))
      else timeline.rise(this.tick, nowMs, version)
  }

  /** This version of it was committed under a guard of its writer. */
  fenced(subject: number, version: number): void {
    this.#fenced[subject]!.push(version)
  }

  /** Nothing is there of it, though nobody was told: only strong reads know better from now on. */
  vanished(subject: number): void {
    this.#strong[subject]!.rise(++this.tick, this.#clock.nowMs(), this.#current(subject))
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
    for (const subject of this.#subjects.ofRow(row))
      for (const timeline of [this.#strong[subject]!, this.#default[subject]!])
        timeline.takeBack(this.tick, this.#clock.nowMs(), this.#database.current(row))
  }

  /** Which version no strong read that begins now may be older than. */
  strongFloor(subject: number): number {
    return this.#strong[subject]!.last.floor
  }

  /** A value can be found in the shared store from now on: it is judged as a strong read would be that finds it. */
  stored(subject: number, version: number | undefined, who: string): void {
    const { floor, mayBeLost } = this.#strong[subject]!.last
    const why = this.#database.implausible(this.#rowOf(subject), version, floor, mayBeLost)
    if (why !== undefined)
      this.accuse(
        `${who} has stored ${whatOf(version)} of ${this.#nameOf(subject)}, ${why} (floor v${floor})`,
      )
  }

  /** The last version of the row that says that it is absent; 0 if none does. */
  lastDeletion(subject: number): number {
    return this.#database.lastDeletion(this.#rowOf(subject))
  }

  /** Whether the last version of the row has been invalidated everywhere: if not, only a change feed brings it. */
  isInvalidated(subject: number): boolean {
    return this.#default[subject]!.last.floor >= this.#current(subject)
  }

  /** A read begins. */
  begin(subject: number, isStrong: boolean, shape: number, ownFloor: number): ReadMark {
    const boundMs = this.#clock.nowMs() - this.#maxStaleMs * DRIFT - ROUNDING_MS
    const index = isStrong ? this.#strong[subject]!.length - 1 : this.#default[subject]!.before(boundMs)
    return { subject, isStrong, index, shape, ownFloor, forgetting: this.forgetting }
  }

  /** It has been answered. */
  answered(mark: ReadMark, value: Row | undefined, who: string, how: string): void {
    this.reads++
    const row = this.#rowOf(mark.subject)
    this.#trail.note(who, () => `${how} of ${row} → ${value === undefined ? 'absent' : `v${value.version}`}`)
    if (value !== undefined && (value.row !== row || value.shape !== mark.shape))
      this.accuse(`${how} of row ${row} by ${who} gave row ${value.row} of shape ${value.shape}`)
    this.showed(mark, value?.version, who, how)
  }

  /** A value of several rows has been answered; what it shows is judged row by row. */
  readOf(who: string, what: () => string): void {
    this.reads++
    this.#trail.note(who, what)
  }

  /** An answer shows this version of a row, or that there is none. */
  showed(mark: ReadMark, version: number | undefined, who: string, how: string): void {
    const { subject, isStrong, index } = mark
    const timeline = isStrong ? this.#strong[subject]! : this.#default[subject]!
    const weakest = timeline.weakestSince(index)
    const own = mark.forgetting === this.forgetting ? mark.ownFloor : 0
    const floor = Math.max(weakest.floor, own)
    const why = this.#database.implausible(this.#rowOf(subject), version, floor, weakest.mayBeLost)
    if (why !== undefined)
      this.accuse(
        `${how} of ${this.#nameOf(subject)} by ${who} gave ${whatOf(version)}, ${why} (floor v${floor})`,
      )
  }

  /**
   * Rows that were answered together were all there at one moment: none of them had been followed by a fenced version when
   * the newest of them was committed. Nor by one whose invalidation their process still has in its queue. Versions are numbered
   * in the order of their commits. Where a server or the database has forgotten something, nothing is promised.
   *
   * @param queuedFloor - Which version of a subject the process was told of that it has queued; 0 if it has queued none.
   */
  together(
    shown: readonly ShownTogether[],
    queuedFloor: (subject: number) => number,
    who: string,
    how: string,
  ): void {
    if (this.forgetting > 0) return
    const newest = Math.max(...shown.map(({ version }) => version ?? 0))
    for (const { subjects, version } of shown) {
      if (version === undefined) continue
      for (const subject of subjects) {
        const torn = () => `${how} by ${who} gave v${version} of ${this.#nameOf(subject)} beside v${newest}`
        const fenced = this.#fenced[subject]!
        const next = fenced[fenced.findLastIndex(one => one <= version) + 1]
        if (next !== undefined && next <= newest) this.accuse(`${torn()}, and v${next} of it is older`)
        const queued = queuedFloor(subject)
        if (version < queued && queued <= newest) this.accuse(`${torn()}, and v${queued} of it is queued`)
      }
    }
  }

  #rowOf(subject: number): number {
    return this.#subjects.all[subject]!.row
  }

  #current(subject: number): number {
    return this.#database.current(this.#rowOf(subject))
  }

  /** A plain key shows one row. */
  #nameOf(subject: number): string {
    const { key, row } = this.#subjects.all[subject]!
    const name = this.#subjects.nameOf(key)
    return name === key ? `row ${row} under ${key}` : name
  }
}

const whatOf = (version: number | undefined): string => (version === undefined ? 'absence' : `v${version}`)
