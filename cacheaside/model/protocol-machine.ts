import { foreignSteps, relaySteps } from './feed.ts'
import { tick } from './passing-time.ts'
import { processSteps } from './processes.ts'
import { breachIn } from './promises.ts'
import { readerSteps } from './readers.ts'
import { many, sortStretches } from './record.ts'
import type { Machine, Step } from './search.ts'
import type { Setting } from './setting.ts'
import {
  COPY,
  FOREIGN,
  KEY,
  PART,
  type Part,
  PROCESS,
  READER,
  SHARED,
  type State,
  WRITER,
  type Writer,
} from './state.ts'
import { storeSteps } from './store.ts'
import { World } from './world.ts'
import { writerSteps } from './writers.ts'

/** All states of a setting: how one is written down, and what can happen next in it. */
export class ProtocolMachine implements Machine<State> {
  readonly size: number
  readonly #world: World
  readonly #setting: Setting
  readonly #readerClasses: readonly number[]
  readonly #writerClasses: readonly number[]

  constructor(setting: Setting) {
    const world = new World(setting)
    const { keys, processes, readerPlaces, writerProcesses } = world
    this.#world = world
    this.#setting = setting
    this.#readerClasses = runs(readerPlaces.map(({ key, process }) => `${key} ${process}`))
    this.#writerClasses = runs(writerProcesses.map((process, i) => (setting.sharing ? `${i}` : `${process}`)))
    this.size =
      SHARED.size +
      keys * KEY.size +
      processes * (PROCESS.size + keys * COPY.size) +
      readerPlaces.length * READER.size +
      writerProcesses.length * (WRITER.size + keys * PART.size) +
      (setting.foreign ?? 0) * FOREIGN.size
  }

  begin(): State {
    const state: State = {
      shared: SHARED.first(),
      keys: Array.from({ length: this.#world.keys }, () => KEY.first()),
      processes: Array.from({ length: this.#world.processes }, () => PROCESS.first()),
      copies: Array.from({ length: this.#world.processes * this.#world.keys }, () => COPY.first()),
      readers: this.#world.readerPlaces.map(() => READER.first()),
      writers: this.#world.writerProcesses.map(() => ({
        ...WRITER.first(),
        parts: Array.from({ length: this.#world.keys }, () => PART.first()),
      })),
      foreign: Array.from({ length: this.#setting.foreign ?? 0 }, () => FOREIGN.first()),
      broken: undefined,
    }
    if (this.#setting.unreadable) state.keys[0]!.register = 'unreadable'
    if (this.#setting.later) state.keys[0]!.register = 'later'
    // Most breaches need an old value: where nobody loads one first, it is there.
    if (this.#setting.refresh || this.#setting.guardStuck || this.#setting.releaseStuck)
      for (const key of state.keys) key.register = 'value'
    return state
  }

  copy(state: State): State {
    return {
      shared: SHARED.copy(state.shared),
      keys: state.keys.map(KEY.copy),
      processes: state.processes.map(PROCESS.copy),
      copies: state.copies.map(COPY.copy),
      readers: state.readers.map(READER.copy),
      writers: state.writers.map(writer => withParts(WRITER.copy(writer), writer.parts.map(PART.copy))),
      foreign: state.foreign.map(FOREIGN.copy),
      broken: undefined,
    }
  }

  pack(state: State, bytes: Uint8Array): void {
    let at = SHARED.pack(state.shared, bytes, 0)
    for (const key of state.keys) at = KEY.pack(key, bytes, at)
    for (const process of state.processes) at = PROCESS.pack(process, bytes, at)
    for (const copy of state.copies) at = COPY.pack(copy, bytes, at)
    const readersAt = at
    for (const reader of state.readers) at = READER.pack(reader, bytes, at)
    sortClasses(bytes, readersAt, READER.size, this.#readerClasses)
    const writersAt = at
    for (const writer of state.writers) {
      at = WRITER.pack(writer, bytes, at)
      for (const part of writer.parts) at = PART.pack(part, bytes, at)
    }
    sortClasses(bytes, writersAt, WRITER.size + this.#world.keys * PART.size, this.#writerClasses)
    const foreignAt = at
    for (const foreign of state.foreign) at = FOREIGN.pack(foreign, bytes, at)
    // A foreign program changes the key of its number.
    if (this.#world.keys === 1 && !this.#world.setting.later)
      sortStretches(bytes, foreignAt, FOREIGN.size, state.foreign.length)
  }

  unpack(bytes: Uint8Array): State {
    let at = 0
    const next = <R>(kind: { size: number; unpack(bytes: Uint8Array, at: number): R }): R => {
      const record = kind.unpack(bytes, at)
      at += kind.size
      return record
    }
    return {
      shared: next(SHARED),
      keys: many(this.#world.keys, () => next(KEY)),
      processes: many(this.#world.processes, () => next(PROCESS)),
      copies: many(this.#world.processes * this.#world.keys, () => next(COPY)),
      readers: many(this.#world.readerPlaces.length, () => next(READER)),
      writers: many(this.#world.writerProcesses.length, () =>
        withParts(
          next(WRITER),
          many(this.#world.keys, () => next(PART)),
        ),
      ),
      foreign: many(this.#setting.foreign ?? 0, () => next(FOREIGN)),
      broken: undefined,
    }
  }

  steps(state: State, step: Step<State>): void {
    readerSteps(this.#world, state, step)
    writerSteps(this.#world, state, step)
    foreignSteps(this.#world, state, step)
    relaySteps(this.#world, state, step)
    processSteps(this.#world, state, step)
    tick(this.#world, state, step)
    storeSteps(this.#world, state, step)
  }

  breach(state: State): string | undefined {
    return breachIn(this.#world, state)
  }

  broken(next: State): string | undefined {
    return next.broken
  }
}

/** A writer of a record that nobody else has. */
function withParts(record: ReturnType<typeof WRITER.first>, parts: Part[]): Writer {
  const writer = record as Writer
  writer.parts = parts
  return writer
}

/** The lengths of the runs of equal ones. */
function runs(names: readonly string[]): number[] {
  const lengths: number[] = []
  names.forEach((name, i) => {
    if (i > 0 && names[i - 1] === name) lengths[lengths.length - 1]!++
    else lengths.push(1)
  })
  return lengths
}

function sortClasses(bytes: Uint8Array, at: number, size: number, classes: readonly number[]): void {
  let first = at
  for (const amount of classes) {
    sortStretches(bytes, first, size, amount)
    first += amount * size
  }
}
