/**
 * Goes through all states that a machine can get into, breadth first, so that the first breach found is one that takes
 * the fewest steps.
 *
 * The states themselves are kept, as bytes, and not only their hashes: two states are never taken for one. They lie one
 * behind the other in the order in which they were found, so that the list of what is known is the queue of what is to
 * be done as well; for each there is the number of the one that it was found from, and nothing else. What happened
 * between two states of a trail is found again by doing it again.
 */

/** What is done between two states: what to call it, and how it changes a copy of the first. */
export type Step<State> = (name: () => string, change: (next: State) => void) => void

/** Something with states. */
export interface Machine<State> {
  /** How many bytes a state is written in. */
  readonly size: number
  begin(): State
  copy(state: State): State
  /** Writes a state down. States that nobody can tell apart are written the same. */
  pack(state: State, bytes: Uint8Array): void
  unpack(bytes: Uint8Array): State
  /** Everything that can happen next. */
  steps(state: State, step: Step<State>): void
  /** What is wrong with a state, however it was reached. */
  breach(state: State): string | undefined
  /** What the step that has just been done has broken, if it was wrong in itself. */
  broken(next: State): string | undefined
}

/** What was found. */
export interface Outcome {
  readonly states: number
  readonly steps: number
  /** The shortest way to a breach; left out if there is none. */
  readonly breach?: { readonly what: string; readonly trail: readonly string[] }
}

/**
 * Looks at every state, or stops at the first breach.
 *
 * @throws RangeError for more than `maxStates` states: a bound that is reached is no result.
 */
export function check<State>(machine: Machine<State>, maxStates = 30_000_000): Outcome {
  const known = new KnownStates(machine.size)
  const bytes = new Uint8Array(machine.size)
  machine.pack(machine.begin(), bytes)
  known.add(bytes, 0)
  let steps = 0
  for (let at = 0; at < known.size; at++) {
    if (known.size > maxStates) throw new RangeError(`more than ${maxStates} states`)
    const state = machine.unpack(known.bytes(at))
    let what = machine.breach(state)
    if (what !== undefined)
      return { states: known.size, steps, breach: { what, trail: trailTo(machine, known, at) } }
    machine.steps(state, (_name, change) => {
      if (what !== undefined) return
      const next = machine.copy(state)
      change(next)
      what = machine.broken(next)
      steps++
      machine.pack(next, bytes)
      known.add(bytes, at)
    })
    if (what !== undefined) {
      return { states: known.size, steps, breach: { what, trail: trailTo(machine, known, at, what) } }
    }
  }
  return { states: known.size, steps }
}

/** The names of the steps to a state, and of the one that shows the breach there. */
function trailTo<State>(machine: Machine<State>, known: KnownStates, at: number, what?: string): string[] {
  const way: number[] = []
  for (let i = at; i !== 0; i = known.from(i)) way.unshift(i)
  const trail: string[] = []
  const bytes = new Uint8Array(machine.size)
  let state = machine.begin()
  for (const aim of way) {
    const wanted = known.bytes(aim)
    let reached: State | undefined
    machine.steps(state, (name, change) => {
      if (reached !== undefined) return
      const next = machine.copy(state)
      change(next)
      machine.pack(next, bytes)
      if (!bytes.every((byte, i) => byte === wanted[i])) return
      reached = next
      trail.push(name())
    })
    if (reached === undefined) throw new Error('a step was taken that cannot be taken again')
    state = reached
  }
  if (what === undefined) return trail
  const length = trail.length
  machine.steps(state, (name, change) => {
    if (trail.length > length) return
    const next = machine.copy(state)
    change(next)
    if (machine.broken(next) === what) trail.push(name())
  })
  return trail
}

const CHUNK_BITS = 14
const CHUNK = 1 << CHUNK_BITS

/** States that have been found, numbered in that order. */
class KnownStates {
  size = 0
  readonly #stateSize: number
  readonly #chunks: Uint8Array[] = []
  readonly #froms: Uint32Array[] = []
  /** Numbers of states, plus 1, at the place that their hash says or the next free one. */
  #table = new Uint32Array(1 << 16)

  constructor(stateSize: number) {
    this.#stateSize = stateSize
  }

  bytes(at: number): Uint8Array {
    const start = (at & (CHUNK - 1)) * this.#stateSize
    return this.#chunks[at >>> CHUNK_BITS]!.subarray(start, start + this.#stateSize)
  }

  /** The state that this one was found from. */
  from(at: number): number {
    return this.#froms[at >>> CHUNK_BITS]![at & (CHUNK - 1)]!
  }

  /** Adds a state if it is new. */
  add(state: Uint8Array, from: number): void {
    const place = this.#placeOf(state)
    if (this.#table[place] !== 0) return
    const at = this.size++
    if (at >>> CHUNK_BITS === this.#chunks.length) {
      this.#chunks.push(new Uint8Array(CHUNK * this.#stateSize))
      this.#froms.push(new Uint32Array(CHUNK))
    }
    this.#chunks[at >>> CHUNK_BITS]!.set(state, (at & (CHUNK - 1)) * this.#stateSize)
    this.#froms[at >>> CHUNK_BITS]![at & (CHUNK - 1)] = from
    this.#table[place] = this.size
    if (this.size * 2 > this.#table.length) this.#grow()
  }

  /** Where the state is in the table, or would be. */
  #placeOf(state: Uint8Array): number {
    const mask = this.#table.length - 1
    for (let place = hash(state) & mask; ; place = (place + 1) & mask) {
      const number = this.#table[place]!
      if (number === 0 || this.#equals(number - 1, state)) return place
    }
  }

  #equals(at: number, state: Uint8Array): boolean {
    const chunk = this.#chunks[at >>> CHUNK_BITS]!
    const start = (at & (CHUNK - 1)) * this.#stateSize
    for (let i = 0; i < state.length; i++) if (chunk[start + i] !== state[i]) return false
    return true
  }

  #grow(): void {
    this.#table = new Uint32Array(this.#table.length * 2)
    const mask = this.#table.length - 1
    for (let at = 0; at < this.size; at++) {
      let place = hash(this.bytes(at)) & mask
      while (this.#table[place] !== 0) place = (place + 1) & mask
      this.#table[place] = at + 1
    }
  }
}

/** FNV-1a, and a last stir, because only the low bits are looked at. */
function hash(state: Uint8Array): number {
  let sum = 0x811c9dc5
  for (let i = 0; i < state.length; i++) sum = Math.imul(sum ^ state[i]!, 0x01000193)
  sum = Math.imul(sum ^ (sum >>> 15), 0x85ebca6b)
  return (sum ^ (sum >>> 13)) >>> 0
}
