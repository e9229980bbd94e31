import type { Clock } from '../../src/base/clock.ts'
import { BoundedMap, type EvictionPolicyName } from '../../src/eviction/bounded-map.ts'

/** The traces carry no times. At this pace a minute passes now and then, so that LFU counters have a reason to fall. */
const REQUESTS_PER_MINUTE = 1000

const MINUTE_MS = 60_000
const TTL_MS = 1e12

/** The same numbers in every run (Mulberry32). */
function seededRandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** A clock whose time is the position in the trace. */
function replayClock(nowMs: () => number): Clock {
  return {
    nowMs,
    coarseMs: nowMs,
    epochMs: nowMs,
    random: seededRandom(1),
    after: () => ({ cancel() {} }),
    token: () => 'A'.repeat(16),
  }
}

/** What is replayed. */
export interface Replay {
  readonly policy: EvictionPolicyName
  readonly maxEntries: number
  /** Left out: the map's default. */
  readonly samples?: number
  /** After so many requests, some key of the trace is written by somebody, and its entry is invalidated. Left out: never. */
  readonly requestsPerWrite?: number
}

/**
 * Asks for every key of the trace in turn, and stores what was not there, as cache-aside does. Every entry has an
 * expiry, which no entry reaches, so that `volatile-*` have something to choose among.
 *
 * @returns the percentage of the requests that were hits.
 */
export function hitPercent(trace: readonly string[], replay: Replay): number {
  const { policy, maxEntries, samples, requestsPerWrite = Number.POSITIVE_INFINITY } = replay
  let nowMs = 0
  const clock = replayClock(() => nowMs)
  const pickWritten = seededRandom(2)
  const bounds = samples === undefined ? { maxEntries } : { maxEntries, samples }
  const map = new BoundedMap<true>({ ...bounds, policy, clock })
  let hits = 0
  for (let at = 0; at < trace.length; at++) {
    nowMs = (at / REQUESTS_PER_MINUTE) * MINUTE_MS
    const key = trace[at]!
    if (map.get(key, nowMs) !== undefined) hits++
    else map.set(key, true, { bytes: 1, expiresAtMs: nowMs + TTL_MS })
    if ((at + 1) % requestsPerWrite === 0) map.delete(trace[Math.floor(pickWritten() * trace.length)]!)
  }
  return (hits / trace.length) * 100
}
