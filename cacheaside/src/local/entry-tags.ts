/** The `refreshAtMs` of an entry whose first hit has to be noted, until that hit. Every hit reads this field anyway. */
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

/** The tags of an entry that depends on none. */
export const NO_TAGS = new EntryTags([], false, Number.POSITIVE_INFINITY)
