import type { EntryTags } from './entry-tags.ts'

/** Hands out a kept value; see `shared/codec.ts`. */
export interface LocalValue {
  take(): unknown
  /** Whether `take` always gives the same object. Then L1 keeps that object. */
  readonly isShared: boolean
}

/** What a `peek` returns. */
export interface Peeked {
  readonly value: unknown
}

/** A value kept in this process. */
export interface LocalEntry {
  readonly opened: LocalValue
  /**
   * The keyspace's generation when the value was read or filled. The value is not found once the keyspace has another one.
   */
  readonly generation: string
  /** The tags that it depends on. */
  readonly tags: EntryTags
  /** When it was stored, and until when it is fresh, by the clock's `nowMs`. */
  readonly filledAtMs: number
  readonly expiresAtMs: number
  /** From when on a hit starts a refresh; `FIRST_HIT` where the first hit has to be noted. */
  readonly refreshAtMs: number
}
