import { silencePromise } from './thrown.ts'

/** One listener. */
interface Listening<Told> {
  readonly listener: (told: Told) => unknown
  isOn: boolean
}

/**
 * The listeners to something. A listener that was added twice is told twice, and each addition is taken off by itself. A
 * listener that is added while all are told hears of the next thing first. Otherwise one that takes itself off and listens
 * again would be told for ever.
 */
export class Listeners<Told> {
  /** Replaced and never changed, so it can be iterated while others come and go. */
  #all: readonly Listening<Told>[] = []
  readonly #threw: (error: unknown) => void

  /** @param threw - Told of what a listener throws, or rejects with. */
  constructor(threw: (error: unknown) => void) {
    this.#threw = threw
  }

  get size(): number {
    return this.#all.length
  }

  /** @returns takes it off again. */
  add(listener: (told: Told) => unknown): () => void {
    const one = { listener, isOn: true }
    this.#all = [...this.#all, one]
    return () => {
      one.isOn = false
      this.#all = this.#all.filter(other => other !== one)
    }
  }

  tell(told: Told): void {
    for (const one of this.#all) {
      if (!one.isOn) continue
      try {
        const { listener } = one
        // An async function may be given as a listener: its rejection counts as thrown.
        silencePromise(listener(told), this.#threw)
      } catch (error) {
        this.#threw(error)
      }
    }
  }
}
