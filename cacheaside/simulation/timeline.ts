/** What held from one moment on. */
interface Mark {
  readonly tick: number
  readonly atMs: number
  /** No older version may be read. */
  readonly floor: number
  /** Whether a version may be read that the database has taken back since. */
  readonly mayBeLost: boolean
}

/** What may be read of one row at least, in the course of time: a floor that rises, and falls only when a server forgets. */
export class Timeline {
  readonly #marks: Mark[] = [{ tick: 0, atMs: 0, floor: 0, mayBeLost: false }]

  /** How many marks there are. Anything that begins now is bound by the last one. */
  get length(): number {
    return this.#marks.length
  }

  get last(): Mark {
    return this.#marks.at(-1)!
  }

  /** From now on nothing older than this; the floor never falls by it. */
  rise(tick: number, atMs: number, floor: number): void {
    this.#marks.push({ tick, atMs, floor: Math.max(floor, this.last.floor), mayBeLost: false })
  }

  /** What had risen since then is forgotten. */
  fallBack(tick: number, atMs: number, toTick: number): void {
    const index = this.#marks.findLastIndex(mark => mark.tick <= toTick)
    // What the database has taken back since may be there again.
    const { mayBeLost } = this.weakestSince(index)
    this.#marks.push({ tick, atMs, floor: Math.min(this.#marks[index]!.floor, this.last.floor), mayBeLost })
  }

  /** The database has taken back everything after this version. */
  takeBack(tick: number, atMs: number, toVersion: number): void {
    this.#marks.push({ tick, atMs, floor: Math.min(this.last.floor, toVersion), mayBeLost: true })
  }

  /** The last mark at or before which everything had happened before this moment. */
  before(atMs: number): number {
    return Math.max(
      0,
      this.#marks.findLastIndex(mark => mark.atMs < atMs),
    )
  }

  /** The weakest demand of all moments from this mark until now. */
  weakestSince(index: number): { readonly floor: number; readonly mayBeLost: boolean } {
    let floor = Number.POSITIVE_INFINITY
    let mayBeLost = false
    for (let i = index; i < this.#marks.length; i++) {
      floor = Math.min(floor, this.#marks[i]!.floor)
      mayBeLost ||= this.#marks[i]!.mayBeLost
    }
    return { floor, mayBeLost }
  }
}
