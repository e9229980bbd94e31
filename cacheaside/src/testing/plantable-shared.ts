import {
  type EmbeddedShared,
  type EmbeddedSharedOptions,
  EmbeddedStore,
  registersFor,
} from '../memory/embedded-shared.ts'

/** An embedded store, and a way to put in texts against its rules. */
export interface PlantableShared {
  /** The store, which keeps its rules. */
  readonly store: EmbeddedShared
  /**
   * Puts `text` into the register of `key` as it is: a text as another version, a person with `redis-cli` or a fault could
   * leave there. Nothing is broadcast.
   *
   * @param lifeMs - how long it stays. Left out: a day.
   * @throws RangeError if there is no room for it.
   */
  plant(key: string, text: string, lifeMs?: number): void
}

const DAY_MS = 86_400_000

/** As `embeddedShared`, for tests that need registers which no operation leaves behind. */
export function plantableShared(options: EmbeddedSharedOptions = {}): PlantableShared {
  const registers = registersFor(options)
  return {
    store: new EmbeddedStore(registers),
    plant(key, text, lifeMs = DAY_MS) {
      const untilMs = registers.timeMs() + lifeMs
      if (text.startsWith('W')) registers.pin(key, text, untilMs)
      else if (!registers.put(key, text, untilMs)) throw new RangeError(`no room to plant ${key}`)
    },
  }
}
