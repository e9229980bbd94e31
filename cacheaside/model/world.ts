import type { Protection, Setting } from './setting.ts'
import type { Copy, State } from './state.ts'

/** A setting with nothing left open, and where everybody is. */
export class World {
  readonly setting: Setting
  readonly keys: number
  readonly processes: number
  /** Which key and process each reader is at, and which process each writer; equal ones follow each other. */
  readonly readerPlaces: readonly { readonly key: number; readonly process: number }[]
  readonly writerProcesses: readonly number[]
  readonly #without: ReadonlySet<Protection>

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
}
