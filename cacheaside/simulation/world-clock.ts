import { SimulatedClock } from '../src/testing/index.ts'

const TURNS = 64

/**
 * The time of a world in which nothing is real. A turn of Node's event loop for each step would take as long as all that
 * is simulated, because it also asks the system what has arrived; here many steps share one, and between any two of
 * them Node runs all promise jobs, as it does between two immediates.
 */
export class WorldClock extends SimulatedClock {
  readonly #waiting: (() => void)[] = []
  #turns = 0

  override drain(): Promise<void> {
    return new Promise(resolve => {
      this.#waiting.push(resolve)
      if (this.#turns > 0) return
      this.#turns = TURNS
      for (let i = 0; i < TURNS; i++) setImmediate(this.#step)
    })
  }

  readonly #step = () => {
    this.#turns--
    this.#waiting.shift()?.()
  }
}
