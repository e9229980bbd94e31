import { type Columns, HELD } from './columns.ts'

/** Most slots that are passed over on the way to an entry. */
const MOST_PASSED = 64

/**
 * Examines all slots one after the other, in rounds: so entries that have expired and are never asked for again do not
 * stay. Slots do not move, so none is passed over.
 */
export class ExpirySweep {
  readonly #columns: Columns
  #hand = 0

  constructor(columns: Columns) {
    this.#columns = columns
  }

  /**
   * The slot of the entry to examine next, among those that are in use at all.
   *
   * @param used - No slot from here on was ever used.
   * @returns `undefined` if none of the next {@link MOST_PASSED} slots has an entry.
   */
  next(used: number): number | undefined {
    const { flags } = this.#columns
    for (let passed = Math.min(MOST_PASSED, used); passed > 0; passed--) {
      if (this.#hand >= used) this.#hand = 0
      const slot = this.#hand++
      if ((flags[slot]! & HELD) !== 0) return slot
    }
    return undefined
  }

  clear(): void {
    this.#hand = 0
  }
}
