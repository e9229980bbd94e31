import { createHistogram, type RecordableHistogram } from 'node:perf_hooks'

/** Half of the reads took at most the first, 99 of 100 at most the second; in milliseconds, `undefined` without reads. */
export interface Percentiles {
  readonly p50: number | undefined
  readonly p99: number | undefined
}

const NANOSECONDS = 1_000_000
/** A minute: longer than any read may take. */
const LONGEST_NS = 60_000 * NANOSECONDS

const histogram = (): RecordableHistogram => createHistogram({ lowest: 1, highest: LONGEST_NS, figures: 2 })

/** How long reads took in the last few seconds, to two digits, in constant memory. */
export class Latencies {
  /** One for each second; the current one is being filled. */
  readonly #seconds: RecordableHistogram[]
  #current = 0

  /** @param windowS - Over how many seconds. */
  constructor(windowS: number) {
    this.#seconds = Array.from({ length: windowS }, histogram)
  }

  record(ms: number): void {
    const ns = Math.round(ms * NANOSECONDS)
    this.#seconds[this.#current]!.record(Math.min(LONGEST_NS, Math.max(1, ns)))
  }

  /** Ends a second: what is older than the window is forgotten. */
  next(): void {
    this.#current = (this.#current + 1) % this.#seconds.length
    this.#seconds[this.#current]!.reset()
  }

  /** Over the whole window. */
  percentiles(): Percentiles {
    const all = histogram()
    for (const second of this.#seconds) if (second.count > 0) all.add(second)
    if (all.count === 0) return { p50: undefined, p99: undefined }
    return { p50: all.percentile(50) / NANOSECONDS, p99: all.percentile(99) / NANOSECONDS }
  }
}
