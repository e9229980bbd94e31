import type { EntryNode } from './entry-node.ts'
import { decayed, INITIAL_COUNTER, raised } from './lfu-counter.ts'

/** How a sampled policy compares its candidates. */
export interface Ranking {
  /** The node is new. */
  begin(node: EntryNode<unknown>, nowMs: number): void
  /** The node was read or overwritten. */
  accessed(node: EntryNode<unknown>, nowMs: number): void
  /** What the node is worth now; the least goes first. */
  worth(node: EntryNode<unknown>, nowMs: number): number
}

/**
 * By the last access. Accesses are numbered rather than timed: Redis's clock of one second makes all that was used
 * within it equal, a number never does.
 */
export function byLastAccess(): Ranking {
  let accesses = 0
  const touch = (node: EntryNode<unknown>) => {
    node.stamp = ++accesses
  }
  return { begin: touch, accessed: touch, worth: node => node.stamp }
}

const MINUTE_MS = 60_000

/** By how often they are used, in the counter of Redis's LFU: see `lfu-counter.ts`. */
export function byFrequency(options: {
  logFactor: number
  decayMinutes: number
  random: () => number
}): Ranking {
  const { logFactor, decayMinutes, random } = options
  const worthAt = (node: EntryNode<unknown>, minute: number) =>
    decayed(node.frequency, minute - node.stamp, decayMinutes)
  return {
    begin(node, nowMs) {
      node.frequency = INITIAL_COUNTER
      node.stamp = Math.floor(nowMs / MINUTE_MS)
    },
    accessed(node, nowMs) {
      const minute = Math.floor(nowMs / MINUTE_MS)
      node.frequency = raised(worthAt(node, minute), logFactor, random())
      node.stamp = minute
    },
    worth: (node, nowMs) => worthAt(node, Math.floor(nowMs / MINUTE_MS)),
  }
}

/** By what is left of their life. */
export function byExpiry(): Ranking {
  return { begin() {}, accessed() {}, worth: node => node.expiresAtMs }
}
