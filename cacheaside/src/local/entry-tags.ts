/** What `refreshAtMs` of an entry is until its first hit, which has to be noted. A hit looks at it anyway. */
export const FIRST_HIT = Number.NEGATIVE_INFINITY

/** The tags that an entry of L1 depends on, and whether anybody here has read it. */
export class EntryTags {
  readonly names: readonly string[]
  /** From when on a hit starts a refresh: kept here until the first hit. */
  readonly refreshAtMs: number
  /** Whether this process has stored the value, and no read was answered with it since. */
  isUnread: boolean

  constructor(names: readonly string[], isUnread: boolean, refreshAtMs: number) {
    this.names = names
    this.isUnread = isUnread
    this.refreshAtMs = refreshAtMs
  }
}

/** Of an entry that depends on no tag. Nothing is noted of it. */
export const NO_TAGS = new EntryTags([], false, Number.POSITIVE_INFINITY)
