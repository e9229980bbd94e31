import type { From, Why } from './base/events.ts'
import type { LocalEntry } from './local/local-store.ts'
import type { Answer } from './space.ts'

/** What {@link Keyspace.read} tells about an answer. */
export interface ReadResult<V> {
  /** `undefined`: there is no such row. Frozen, or a copy of its own. */
  readonly value: V | undefined
  readonly from: From
  readonly why: Why
  /** The tag that has invalidated the old value, or because of which the store was bypassed; `undefined` if it was no tag. */
  readonly tag: string | undefined
  /** Whether the value is, or is about to be, in the cache. */
  readonly kept: boolean
  /** Whether this caller waited for a flight that another caller leads. */
  readonly joined: boolean
  /** Milliseconds since the value was stored, as well as this process knows; `undefined` for what is not kept. */
  readonly ageMs: number | undefined
  /** Milliseconds for which it is still fresh; negative for a stale value. */
  readonly ttlMs: number | undefined
  /** Milliseconds: of this call, of its flight's work on the shared store before the load, and of the load. */
  readonly timings: { readonly totalMs: number; readonly sharedMs: number; readonly loadMs: number }
}

/** @param nowMs, beganMs - By the clock's `nowMs`. */
export function readResult<V>(
  value: V | undefined,
  answer: Answer<V>,
  joined: boolean,
  beganMs: number,
  nowMs: number,
): ReadResult<V> {
  const { from, why, kept, filledAtMs, freshUntilMs, sharedMs, loadMs, tag } = answer
  return {
    value,
    from,
    why,
    tag,
    kept,
    joined,
    ageMs: filledAtMs === undefined ? undefined : Math.max(0, nowMs - filledAtMs),
    ttlMs: freshUntilMs === undefined ? undefined : freshUntilMs - nowMs,
    timings: { totalMs: nowMs - beganMs, sharedMs, loadMs },
  }
}

/** What a read is answered with by an entry of L1. */
export function localAnswer<V>(entry: LocalEntry): Answer<V> {
  return {
    opened: entry.opened as Answer<V>['opened'],
    // A value of which each reader gets a copy is never absent.
    absent: entry.opened.isShared && entry.opened.take() === undefined,
    from: 'local',
    why: 'fresh',
    kept: true,
    filledAtMs: entry.filledAtMs,
    freshUntilMs: entry.expiresAtMs,
    sharedMs: 0,
    loadMs: 0,
  }
}
