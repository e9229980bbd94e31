import { type Columns, resized } from './columns.ts'
import { decayed, INITIAL_COUNTER, raised } from './lfu-counter.ts'

/** How a sampled policy compares its candidates. */
export interface Ranking {
  /** From now on there are this many slots. */
  grow(capacity: number): void
  /** The entry is new. */
  begin(slot: number, nowMs: number): void
  /** The entry was read or overwritten. */
  accessed(slot: number, nowMs: number): void
  /** The worth of the entry now. The entry with the least goes first. */
  worth(slot: number, nowMs: number): number
}

/**
 * By the last access. Accesses are numbered and not timed: Redis's clock of one second makes all accesses within a second
 * equal; a number never does.
 */
export function byLastAccess(): Ranking {
  let accesses = 0
  let last = new Float64Array(0)
  const touch = (slot: number) => {
    last[slot] = ++accesses
  }
  return {
    grow(capacity) {
      last = resized(last, capacity)
    },
    begin: touch,
    accessed: touch,
    worth: slot => last[slot]!,
  }
}

const MINUTE_MS = 60_000

/** By how often they are used, in the counter of Redis's LFU: see `lfu-counter.ts`. */
export function byFrequency(options: {
  logFactor: number
  decayMinutes: number
  random: () => number
}): Ranking {
  const { logFactor, decayMinutes, random } = options
  let counters = new Uint8Array(0)
  /** The minute of the last access. */
  let minutes = new Float64Array(0)
  const worthAt = (slot: number, minute: number) =>
    decayed(counters[slot]!, minute - minutes[slot]!, decayMinutes)
  return {
    grow(capacity) {
      counters = resized(counters, capacity)
      minutes = resized(minutes, capacity)
    },
    begin(slot, nowMs) {
      counters[slot] = INITIAL_COUNTER
      minutes[slot] = Math.floor(nowMs / MINUTE_MS)
    },
    accessed(slot, nowMs) {
      const minute = Math.floor(nowMs / MINUTE_MS)
      counters[slot] = raised(worthAt(slot, minute), logFactor, random())
      minutes[slot] = minute
    },
    worth: (slot, nowMs) => worthAt(slot, Math.floor(nowMs / MINUTE_MS)),
  }
}

/** By the rest of their life. */
export function byExpiry(columns: Columns): Ranking {
  return { grow() {}, begin() {}, accessed() {}, worth: slot => columns.expiresAtMs[slot]! }
}
