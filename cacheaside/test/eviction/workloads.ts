import { BoundedMap, type EvictionPolicyName } from '../../src/eviction/bounded-map.ts'
import { HandClock } from './hand-clock.ts'

/** Draws numbers from 0 up, the n-th with a probability in proportion to `1 / (n + 1) ** exponent`. */
export function zipf(count: number, exponent: number, random: () => number): () => number {
  const cumulated: number[] = []
  let sum = 0
  for (let n = 1; n <= count; n++) {
    sum += 1 / n ** exponent
    cumulated.push(sum)
  }
  return () => {
    const drawn = random() * sum
    let low = 0
    let high = count - 1
    while (low < high) {
      const middle = (low + high) >> 1
      if (cumulated[middle]! < drawn) low = middle + 1
      else high = middle
    }
    return low
  }
}

/** Requests for popular keys, now and then interrupted by a scan over a thousand keys that never come again. */
export function zipfWithScans(options: {
  keys: number
  exponent: number
  requests: number
  scanShare: number
  random: () => number
}): string[] {
  const draw = zipf(options.keys, options.exponent, options.random)
  const trace: string[] = []
  let scanned = 0
  while (trace.length < options.requests) {
    if (options.random() < options.scanShare) {
      for (let step = 0; step < 1000; step++) trace.push(`scanned ${scanned++}`)
    } else trace.push(`key ${draw()}`)
  }
  return trace
}

/** The share of requests that find their key, when what is not found is stored. */
export function hitRatio(
  trace: readonly string[],
  options:
    | { policy: EvictionPolicyName; maxEntries: number; samples: number }
    | { policy: 's3-fifo'; maxEntries: number },
): number {
  const map = new BoundedMap<true>({ ...options, clock: new HandClock() })
  let hits = 0
  for (const key of trace) {
    if (map.get(key, 0) !== undefined) hits++
    else map.set(key, true, { bytes: 1 })
  }
  return hits / trace.length
}
