import type { Checker } from './checker.ts'
import type { Subjects } from './subjects.ts'

/** A version that is to be invalidated, and how things stood when that became so. */
interface Debt {
  readonly version: number
  readonly forgetting: number
  readonly disturbances: number
}

/**
 * What a process has to invalidate: the versions that it has committed, or was told of. When it has nothing more to do, and
 * nothing is queued, all of that has been applied; or else nobody will ever do it.
 */
export class Debts {
  readonly #checker: Checker
  readonly #subjects: Subjects
  readonly #owed = new Map<number, Debt>()

  constructor(checker: Checker, subjects: Subjects) {
    this.#checker = checker
    this.#subjects = subjects
  }

  get isEmpty(): boolean {
    return this.#owed.size === 0
  }

  /** This version is to be invalidated. */
  owe(subject: number, version: number, disturbances: number): void {
    this.#owed.set(subject, { version, forgetting: this.#checker.forgetting, disturbances })
  }

  /**
   * The process has nothing more to do: what has it left undone? Said once. Of what a server or a database has forgotten
   * since nothing is expected, nor across a pause, in which a commit in doubt may take longer than its process knows.
   */
  settle(disturbances: number): string[] {
    const left: string[] = []
    for (const [subject, debt] of this.#owed) {
      const isExcused = debt.forgetting !== this.#checker.forgetting || debt.disturbances !== disturbances
      if (!isExcused && this.#checker.strongFloor(subject) < debt.version)
        left.push(`v${debt.version} of ${this.#subjects.nameOf(this.#subjects.all[subject]!.key)}`)
    }
    this.#owed.clear()
    return left
  }
}
