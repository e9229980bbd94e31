import type { Clock } from 'cacheaside'

/** Who takes part: the processes, the cache that they share, and the database. */
export type Lifeline = 'reader' | 'writer' | 'cache' | 'database'
export const LIFELINES: readonly Lifeline[] = ['reader', 'writer', 'cache', 'database']

/** What the cache holds under the key. */
export interface CacheState {
  readonly holds: 'nothing' | 'value' | 'lease' | 'guard' | 'something else'
  /** Of a value. */
  readonly version?: number
  /** As it is stored. */
  readonly text?: string
}

/** What everybody holds at one moment. */
export interface State {
  /** The version that the process has in its hands. */
  readonly reader: number | undefined
  readonly writer: number | undefined
  readonly cache: CacheState
  readonly database: number
  /** Whether the cache holds a value that is older than the row. */
  readonly stale: boolean
}

/** What kind of thing has happened. */
export type Tone =
  | 'request'
  | 'reply'
  | 'refused'
  | 'broadcast'
  | 'change'
  | 'began'
  | 'answered'
  | 'stale'
  | 'killed'
  | 'waited'

/** One thing that has happened: a message from one lifeline to another, or something at one of them. */
export interface Entry {
  /** Milliseconds of the simulated clock since the race began. */
  readonly ms: number
  readonly beat: number
  readonly at: Lifeline
  /** Left out: it is no message. */
  readonly to?: Lifeline
  readonly text: string
  readonly tone: Tone
  /** Afterwards. */
  readonly state: State
}

/** Writes down what happens on one side of a race. Nothing is written that has not happened. */
export class Recording {
  readonly #clock: Clock
  readonly #state: () => State
  readonly #entries: Entry[] = []
  #beganMs = 0
  #beat = 0
  #running = false

  constructor(clock: Clock, state: () => State) {
    this.#clock = clock
    this.#state = state
  }

  /** What everybody holds now. */
  get state(): State {
    return this.#state()
  }

  get entries(): readonly Entry[] {
    return this.#entries
  }

  /** The race begins now. */
  begin(): void {
    this.#beganMs = this.#clock.nowMs()
    this.#running = true
  }

  /** What happens from now on is part of this beat. */
  enter(beat: number): void {
    this.#beat = beat
  }

  /** Milliseconds since the race began. */
  get ms(): number {
    return Math.round(this.#clock.nowMs() - this.#beganMs)
  }

  add(tone: Tone, at: Lifeline, text: string, to?: Lifeline): void {
    if (!this.#running) return
    const entry = { ms: this.ms, beat: this.#beat, at, text, tone, state: this.#state() }
    this.#entries.push(to === undefined ? entry : { ...entry, to })
  }

  /** Runs what a message sets off. What is written meanwhile, and the message itself, show the state that it leads to. */
  async following<T>(add: () => void, run: () => Promise<T>): Promise<T> {
    const first = this.#entries.length
    add()
    try {
      return await run()
    } finally {
      const state = this.#state()
      for (let i = first; i < this.#entries.length; i++) this.#entries[i] = { ...this.#entries[i]!, state }
    }
  }
}
