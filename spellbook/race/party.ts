import { type Gate, gate } from 'cacheaside/testing'
import type { Recording } from './recording.ts'

/** A message that waits for its gate. */
export interface Held {
  readonly to: 'cache' | 'database'
  readonly stage: 'request' | 'reply'
}

/** What is asked, what that does, and what comes back. */
export interface Exchange<T> {
  readonly asked: string
  readonly run: () => Promise<T>
  readonly answered: (answer: T) => Answered
}

/** A reply, as the page shows it. */
export interface Answered {
  readonly text: string
  /** The version that the process has in its hands from now on. Left out: it keeps what it has. */
  readonly version?: number | undefined
  /** Whether it says no. */
  readonly refused?: boolean
}

/**
 * A process whose every message waits at a gate, requests and replies alike. The order in which the
 * gates are opened is the order in which things happen.
 */
export class Party {
  readonly name: 'reader' | 'writer'
  readonly #recording: Recording
  readonly #waiting: (Held & { readonly gate: Gate<void> })[] = []
  /** The version that it has in its hands. */
  version: number | undefined
  /** Whether its messages pass without waiting. */
  isFree = true
  #isDead = false

  constructor(name: Party['name'], recording: Recording) {
    this.name = name
    this.#recording = recording
  }

  /** The message that has waited for longest. */
  get held(): Held | undefined {
    return this.#waiting[0]
  }

  get isDead(): boolean {
    return this.#isDead
  }

  /** Lets the message go that has waited for longest. */
  pass(): void {
    this.#waiting.shift()?.gate.open()
  }

  /** The process dies: it hears nothing more, and nothing more is heard of it. */
  kill(): void {
    this.#isDead = true
    this.#waiting.length = 0
    this.#recording.add('killed', this.name, 'killed')
    this.version = undefined
  }

  /** Sends a request and waits for the reply. */
  async exchange<T>(to: Held['to'], { asked, run, answered }: Exchange<T>): Promise<T> {
    await this.#stop({ to, stage: 'request' })
    const answer = await this.#recording.following(
      () => this.#recording.add('request', this.name, asked, to),
      run,
    )
    await this.#stop({ to, stage: 'reply' })
    const { text, version, refused = false } = answered(answer)
    if (version !== undefined) this.version = version
    this.#recording.add(refused ? 'refused' : 'reply', to, text, this.name)
    return answer
  }

  /** What is not drawn, such as heartbeats: it passes for as long as the process lives. */
  async quietly<T>(run: () => Promise<T>): Promise<T> {
    if (this.#isDead) await never()
    const answer = await run()
    if (this.#isDead) await never()
    return answer
  }

  async #stop(held: Held): Promise<void> {
    if (this.#isDead) await never()
    if (this.isFree) return
    const waiting = { ...held, gate: gate() }
    this.#waiting.push(waiting)
    await waiting.gate.wait()
  }
}

const never = (): Promise<never> => new Promise(() => {})
