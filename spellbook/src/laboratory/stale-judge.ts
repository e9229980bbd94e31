import type { Spell } from '../api.ts'

/** Spells beyond this are forgotten, those that were written first. */
const MOST_SPELLS = 1_000

/** The state that a read has to show at least. */
interface Due {
  /** The `updated_at` of the last write that had ended; `undefined`: the spell had been deleted. */
  readonly updatedAt: string | undefined
}

/**
 * Judges answers: one is stale if it is older than a write that had ended when the read began. It knows the writes of this
 * process. After two overlapping writes of a spell it is unknown which was the last, so no answer is judged until the next
 * write.
 */
export class StaleJudge {
  readonly #due = new Map<string, Due>()
  readonly #writing = new Map<string, number>()
  /** How many answers were judged, and how many of them were stale. */
  judged = 0
  stale = 0

  /** A write of a spell begins. */
  begin(id: string): void {
    const others = this.#writing.get(id) ?? 0
    this.#writing.set(id, others + 1)
  }

  /** A write has ended. @param due - What it has made of the spell; left out: it failed, and may have been done. */
  end(id: string, due?: Due): void {
    const left = (this.#writing.get(id) ?? 1) - 1
    const overlapped = left > 0 || this.#due.get(id) === OVERLAPPED
    if (left > 0) this.#writing.set(id, left)
    else this.#writing.delete(id)
    this.#due.delete(id)
    if (left > 0) this.#due.set(id, OVERLAPPED)
    else if (!overlapped && due !== undefined) this.#due.set(id, due)
    if (this.#due.size > MOST_SPELLS) this.#due.delete(this.#due.keys().next().value!)
  }

  /** The state that a read that begins now has to show at least; `undefined`: not known. */
  due(id: string): Due | undefined {
    const due = this.#due.get(id)
    return due === OVERLAPPED ? undefined : due
  }

  /** An answer to a read that was due to show this. */
  judge(due: Due | undefined, answer: Spell | undefined): void {
    if (due === undefined) return
    this.judged++
    const isStale =
      due.updatedAt === undefined
        ? answer !== undefined
        : answer !== undefined && answer.updated_at < due.updatedAt
    if (isStale) this.stale++
  }
}

const OVERLAPPED: Due = { updatedAt: undefined }
