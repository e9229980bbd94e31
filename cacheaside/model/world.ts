import type { Machine, Step } from './checker.ts'
import { foreignSteps, relaySteps } from './feed.ts'
import { processSteps } from './processes.ts'
import { breachIn } from './promises.ts'
import { readerSteps } from './readers.ts'
import { sortStretches } from './record.ts'
import type { Protection, Setting } from './setting.ts'
import { COPY, type Copy, FOREIGN, KEY, PART, PROCESS, READER, SHARED, type State, WRITER } from './state.ts'
import { storeSteps } from './store.ts'
import { tick, writerSteps } from './writers.ts'

/** A setting with nothing left open, and where everybody is. */
export class World implements Machine<State> {
  readonly setting: Setting
  readonly keys: number
  readonly processes: number
  readonly size: number
  /** Which key and process each reader is at, and which process each writer; equal ones follow each other. */
  readonly readerPlaces: readonly { readonly key: number; readonly process: number }[]
  readonly writerProcesses: readonly number[]
  readonly #without: ReadonlySet<Protection>
  readonly #readerClasses: readonly number[]
  readonly #writerClasses: readonly number[]

  constructor(setting: Setting) {
    this.setting = setting
    this.#without = new Set([setting.without ?? []].flat())
    this.keys = setting.keys ?? 1
    this.processes = setting.processes ?? 1
    const places: { key: number; process: number }[] = []
    for (let process = 0; process < this.processes; process++)
      for (let key = 0; key < this.keys; key++)
        for (let i = process; i < setting.readers; i += this.processes) places.push({ key, process })
    this.readerPlaces = places
    this.writerProcesses = Array.from({ length: setting.writers ?? 0 }, (_, i) =>
      setting.sharing ? this.processes - 1 - ((i >> 1) % this.processes) : i % this.processes,
    ).sort()
    this.#readerClasses = runs(places.map(({ key, process }) => `${key} ${process}`))
    this.#writerClasses = runs(
      this.writerProcesses.map((process, i) => (setting.sharing ? `${i}` : `${process}`)),
    )
    this.size =
      SHARED.size +
      this.keys * KEY.size +
      this.processes * (PROCESS.size + this.keys * COPY.size) +
      places.length * READER.size +
      this.writerProcesses.length * (WRITER.size + this.keys * PART.size) +
      (setting.foreign ?? 0) * FOREIGN.size
  }

  /** Whether a protection is there. */
  has(protection: Protection): boolean {
    return !this.#without.has(protection)
  }

  /** A key in a process. */
  copyOf(state: State, process: number, key: number): Copy {
    return state.copies[process * this.keys + key]!
  }

  /** What a key is called in a trail. */
  of(key: number): string {
    return this.keys === 1 ? '' : ` of ${'xy'[key]}`
  }

  /** The name of an actor in a trail. */
  named(i: number, process: number): string {
    return this.processes === 1 ? String(i + 1) : `${i + 1} in process ${'AB'[process]}`
  }

  begin(): State {
    const state: State = {
      shared: SHARED.first(),
      keys: Array.from({ length: this.keys }, () => KEY.first()),
      processes: Array.from({ length: this.processes }, () => PROCESS.first()),
      copies: Array.from({ length: this.processes * this.keys }, () => COPY.first()),
      readers: this.readerPlaces.map(() => READER.first()),
      writers: this.writerProcesses.map(() => ({
        ...WRITER.first(),
        parts: Array.from({ length: this.keys }, () => PART.first()),
      })),
      foreign: Array.from({ length: this.setting.foreign ?? 0 }, () => FOREIGN.first()),
      broken: undefined,
    }
    if (this.setting.unreadable) state.keys[0]!.register = 'unreadable'
    if (this.setting.later) state.keys[0]!.register = 'later'
    // Most breaches need an old value: where nobody loads one first, it is there.
    if (this.setting.refresh || this.setting.guardStuck || this.setting.releaseStuck)
      for (const key of state.keys) key.register = 'value'
    return state
  }

  copy(state: State): State {
    return {
      shared: { ...state.shared },
      keys: state.keys.map(key => ({ ...key })),
      processes: state.processes.map(process => ({ ...process })),
      copies: state.copies.map(copy => ({ ...copy })),
      readers: state.readers.map(reader => ({ ...reader })),
      writers: state.writers.map(writer => ({ ...writer, parts: writer.parts.map(part => ({ ...part })) })),
      foreign: state.foreign.map(foreign => ({ ...foreign })),
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
    sortClasses(bytes, writersAt, WRITER.size + this.keys * PART.size, this.#writerClasses)
    const foreignAt = at
    for (const foreign of state.foreign) at = FOREIGN.pack(foreign, bytes, at)
    // A foreign program changes the key of its number.
    if (this.keys === 1) sortStretches(bytes, foreignAt, FOREIGN.size, state.foreign.length)
  }

  unpack(bytes: Uint8Array): State {
    let at = 0
    const next = <R>(kind: { size: number; unpack(bytes: Uint8Array, at: number): R }): R => {
      const record = kind.unpack(bytes, at)
      at += kind.size
      return record
    }
    const many = <R>(amount: number, one: () => R): R[] => Array.from({ length: amount }, one)
    return {
      shared: next(SHARED),
      keys: many(this.keys, () => next(KEY)),
      processes: many(this.processes, () => next(PROCESS)),
      copies: many(this.processes * this.keys, () => next(COPY)),
      readers: many(this.readerPlaces.length, () => next(READER)),
      writers: many(this.writerProcesses.length, () => ({
        ...next(WRITER),
        parts: many(this.keys, () => next(PART)),
      })),
      foreign: many(this.setting.foreign ?? 0, () => next(FOREIGN)),
      broken: undefined,
    }
  }

  steps(state: State, step: Step<State>): void {
    readerSteps(this, state, step)
    writerSteps(this, state, step)
    foreignSteps(this, state, step)
    relaySteps(this, state, step)
    processSteps(this, state, step)
    tick(this, state, step)
    storeSteps(this, state, step)
  }

  breach(state: State): string | undefined {
    return breachIn(this, state)
  }

  broken(next: State): string | undefined {
    return next.broken
  }
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
