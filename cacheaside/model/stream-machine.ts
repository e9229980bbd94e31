import { count, flag, Kind, oneOf, set } from './record.ts'
import type { Machine, Step } from './search.ts'

/**
 * G5: a default read is never older than what was applied `localMaxStaleMs` before it began, however late or lost
 * messages are. This is a model of its own, because it is about time: one process with an L1, one key, one write by
 * somebody else, and the process's stream, whose messages wait for as long as they like and keep their order
 * (`shared/broadcast-stream.ts`).
 *
 * Its unit of time is half of `localMaxStaleMs`. A store that is asked answers at once with what was applied.
 */
export interface StreamSetting {
  /** The connection breaks, once: the process is told, or has to notice. */
  readonly cut?: 'told' | 'untold'
  /**
   * The store is reached by requests alone: nobody tells the process of anything, and none of its heartbeats can be heard. It
   * has no L1. What it keeps is its copy of the generation, which stands for the version that can be found by it.
   */
  readonly stream?: 'none'
  readonly without?: StreamProtection
  /** An interruption empties and dooms nothing by itself: that is left to the next proof. */
  readonly leftToProof?: true
}

/** What can be taken out. */
export const STREAM_PROTECTIONS = [
  'proof asked for',
  'proof by the moment of sending',
  'missing heartbeat noticed',
  'new proof empties',
  'new proof dooms',
  'message dooms',
  'young flights joined only',
] as const

/** One of them. */
export type StreamProtection = (typeof STREAM_PROTECTIONS)[number]

const MAX_STALE = 2
/** An age beyond this says no more than that it is beyond the bound. */
const OLD = MAX_STALE + 1
const MOST_MESSAGES = 3

const STREAM = new Kind({
  applied: flag,
  /** Since the write was applied. */
  appliedAge: count,
  /** The version in L1, plus 1. */
  kept: count,
  /** Since the last heartbeat that was heard was sent. */
  proofAge: count,
  proven: flag,
  beaten: flag,
  connection: oneOf('whole', 'cut, told', 'cut, untold', 'mended'),
  /** A heartbeat was lost that is not too old to be missed. */
  missing: flag,
  missingAge: count,
  /** A flight: asked for, answered by the store, and its reply heard. */
  flight: oneOf('none', 'begun', 'answered'),
  flightAge: count,
  flightVersion: count,
  doomed: flag,
  /** A reader that has joined it, and what it must not be older than. */
  joined: flag,
  joinedFloor: count,
})

const MESSAGE = new Kind({ kind: oneOf('none', 'heartbeat', 'invalidation'), age: count })

type Message = ReturnType<typeof MESSAGE.first>
type Stream = ReturnType<typeof STREAM.first> & { messages: Message[]; broken: string | undefined }

/** The model of the stream. */
export class StreamMachine implements Machine<Stream> {
  readonly size = STREAM.size + MOST_MESSAGES * MESSAGE.size
  readonly #setting: StreamSetting

  constructor(setting: StreamSetting) {
    this.#setting = setting
  }

  begin(): Stream {
    return { ...STREAM.first(), proofAge: OLD, messages: [], broken: undefined }
  }

  copy(state: Stream): Stream {
    return { ...state, messages: state.messages.map(message => ({ ...message })), broken: undefined }
  }

  pack(state: Stream, bytes: Uint8Array): void {
    let at = STREAM.pack(state, bytes, 0)
    for (let i = 0; i < MOST_MESSAGES; i++) at = MESSAGE.pack(state.messages[i] ?? MESSAGE.first(), bytes, at)
  }

  unpack(bytes: Uint8Array): Stream {
    const messages: Message[] = []
    for (let i = 0; i < MOST_MESSAGES; i++) {
      const message = MESSAGE.unpack(bytes, STREAM.size + i * MESSAGE.size)
      if (message.kind !== 'none') messages.push(message)
    }
    return { ...STREAM.unpack(bytes, 0), messages, broken: undefined }
  }

  breach(): undefined {
    return undefined
  }

  broken(next: Stream): string | undefined {
    return next.broken
  }

  steps(state: Stream, step: Step<Stream>): void {
    step(
      () => 'half of localMaxStaleMs passes',
      next => this.#pass(next),
    )
    if (!state.applied && state.messages.length < MOST_MESSAGES) {
      step(
        () => 'somebody else’s write is applied',
        next => {
          set(next, { applied: true, appliedAge: 0 })
          if (this.#setting.stream !== 'none') send(next, 'invalidation')
        },
      )
    }
    if (this.#setting.stream !== 'none' && !state.beaten && state.messages.length < MOST_MESSAGES) {
      step(
        () => 'the process sends a heartbeat',
        next => {
          next.beaten = true
          send(next, 'heartbeat')
        },
      )
    }
    const [first] = state.messages
    if (first !== undefined) {
      step(
        () => `the process hears the ${first.kind}`,
        next => this.#hear(next, next.messages.shift()!),
      )
    }
    this.#cutSteps(state, step)
    this.#readSteps(state, step)
  }

  #has(protection: StreamProtection): boolean {
    return this.#setting.without !== protection
  }

  #pass(next: Stream): void {
    next.beaten = false
    if (next.applied) next.appliedAge = older(next.appliedAge)
    next.proofAge = older(next.proofAge)
    if (next.flight !== 'none') next.flightAge = older(next.flightAge)
    for (const message of next.messages) if (message.kind === 'heartbeat') message.age = older(message.age)
    if (!next.missing) return
    next.missingAge = older(next.missingAge)
    if (next.missingAge === OLD) set(next, { missing: false, missingAge: 0 })
  }

  #hear(next: Stream, { kind, age }: Message): void {
    if (kind === 'invalidation') {
      next.kept = 0
      if (this.#has('message dooms')) doom(next)
      return
    }
    if (age === OLD) return
    if (next.missing && this.#has('missing heartbeat noticed')) {
      this.#interrupt(next)
      return
    }
    const proofAge = this.#has('proof by the moment of sending') ? age : 0
    if (proofAge >= next.proofAge) return
    this.#isProven(next)
    next.proofAge = proofAge
    if (next.proven) return
    next.proven = true
    if (this.#has('new proof empties')) next.kept = 0
    if (this.#has('new proof dooms')) doom(next)
  }

  /** Messages may have been lost: so nothing counts as proven, nor what was kept, nor heartbeats that are under way. */
  #interrupt(next: Stream): void {
    set(next, { proven: false, proofAge: OLD, missing: false, missingAge: 0 })
    for (const message of next.messages) if (message.kind === 'heartbeat') message.age = OLD
    if (this.#setting.leftToProof) return
    next.kept = 0
    doom(next)
  }

  /** Asked at every read: when the proof has run out, what relied on it goes. */
  #isProven(next: Stream): boolean {
    if (!this.#has('proof asked for') || next.proofAge <= MAX_STALE) return true
    if (!next.proven) return false
    next.proven = false
    if (this.#setting.leftToProof) return false
    next.kept = 0
    doom(next)
    return false
  }

  #cutSteps(state: Stream, step: Step<Stream>): void {
    const { cut } = this.#setting
    if (cut !== undefined && state.connection === 'whole') {
      step(
        () => (cut === 'told' ? 'the connection breaks' : 'the connection breaks, and nobody is told'),
        next => {
          next.connection = cut === 'told' ? 'cut, told' : 'cut, untold'
          for (const message of next.messages.splice(0)) miss(next, message)
          if (cut === 'told') this.#interrupt(next)
        },
      )
    }
    // A connection that nobody was told of is not mended in less than the time between two heartbeats.
    const isLong = state.missing || state.proofAge === OLD
    if (state.connection === 'cut, told' || (state.connection === 'cut, untold' && isLong)) {
      step(
        () => 'messages arrive again',
        next => {
          next.connection = 'mended'
        },
      )
    }
  }

  #readSteps(state: Stream, step: Step<Stream>): void {
    if (state.kept !== 0) {
      step(
        () =>
          this.#setting.stream === 'none'
            ? `a reader would find v${state.kept - 1} by the copy of the generation`
            : `a reader looks for v${state.kept - 1} in L1`,
        next => {
          if (this.#isProven(next)) answer(next, next.kept - 1, floor(next))
        },
      )
    }
    if (state.flight === 'none') {
      step(
        () => 'a reader begins a flight',
        next => {
          this.#isProven(next)
          set(next, { flight: 'begun', flightAge: 0 })
        },
      )
      return
    }
    const isYoung = state.flightAge <= MAX_STALE || !this.#has('young flights joined only')
    if (!state.joined && !state.doomed && isYoung) {
      step(
        () => 'another reader joins the flight',
        next => {
          this.#isProven(next)
          if (!next.doomed) set(next, { joined: true, joinedFloor: floor(next) })
        },
      )
    }
    if (state.flight === 'begun') {
      step(
        () => `the store answers the flight with v${Number(state.applied)}`,
        next => set(next, { flight: 'answered', flightVersion: Number(next.applied) }),
      )
      return
    }
    step(
      () => 'the answer is heard',
      next => {
        if (next.joined) answer(next, next.flightVersion, next.joinedFloor)
        if (!next.doomed) next.kept = next.flightVersion + 1
        set(next, {
          flight: 'none',
          flightAge: 0,
          flightVersion: 0,
          doomed: false,
          joined: false,
          joinedFloor: 0,
        })
      },
    )
  }
}

const older = (age: number): number => Math.min(OLD, age + 1)

/** What a default reader that begins now must not be older than. */
const floor = ({ applied, appliedAge }: Stream): number => Number(applied && appliedAge > MAX_STALE)

function answer(next: Stream, version: number, atLeast: number): void {
  if (version < atLeast)
    next.broken = `G5: a reader is answered v${version} long after v${atLeast} was applied`
}

function doom(next: Stream): void {
  if (next.flight !== 'none') next.doomed = true
}

function send(next: Stream, kind: 'heartbeat' | 'invalidation'): void {
  const message: Message = { kind, age: 0 }
  if (next.connection === 'whole' || next.connection === 'mended') next.messages.push(message)
  else miss(next, message)
}

function miss(next: Stream, { kind, age }: Message): void {
  if (kind === 'heartbeat' && age !== OLD) set(next, { missing: true, missingAge: age })
}
