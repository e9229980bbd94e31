import type { EntryTags } from './entry-tags.ts'

/** What hands a kept value out; see `shared/codec.ts`. */
export interface LocalValue {
  take(): unknown
  /** Whether each taking gives the same value. Then L1 keeps that. */
  readonly isShared: boolean
}

/** What a `peek` returns. */
export interface Peeked {
  readonly value: unknown
}

/** A value kept in this process. */
export interface LocalEntry {
  readonly opened: LocalValue
  /** The keyspace's generation when the value was read or filled: another one now, and it is not found. */
  readonly generation: string
  /** The tags that it depends on. */
  readonly tags: EntryTags
  /** When it was stored, and until when it is fresh, by the clock's `nowMs`. */
  readonly filledAtMs: number
  readonly expiresAtMs: number
  /** From when on a hit starts a refresh; `FIRST_HIT` where the first hit has to be noted. */
  readonly refreshAtMs: number
}
