/** Why a session ends of which the ids were set back. */
export const IDS_SET_BACK = 'the ids of the outbox have started again'

/**
 * The id up to which every row of the outbox is decided: committed and visible, or never coming. Deleted rows below it need
 * not be looked for again. Deleted rows stay in the file for as long as any snapshot is older than their deletion, a dump's
 * for instance, and every poll would have to pass all of them.
 *
 * Ids are drawn before their transactions commit, so a large id says nothing of smaller ones. But:
 * 1. the last id that was drawn is read; the writers that drew it, or one before it, have transaction numbers by then;
 * 2. after that a transaction of ours is given a number: all of theirs are smaller;
 * 3. when a snapshot says that no transaction before ours is running any more, all of them have ended.
 *
 * The upper end of a snapshot would not do for 2: it is one past the last number that has *ended*, and a transaction
 * that runs may have that number, or a larger one.
 */
export class Horizon {
  #id = 0n
  #drawn = 0n
  #awaited: { readonly id: bigint; readonly xid: bigint } | undefined

  /** The largest id up to which all rows are decided. */
  get id(): bigint {
    return this.#id
  }

  /**
   * The last id that was drawn. Asked for with every look, because ids that were set back may be overtaken soon.
   *
   * @throws Error if somebody has set the ids back: nothing that was learned counts.
   */
  see(drawn: string): void {
    const before = this.#drawn
    this.#drawn = BigInt(drawn)
    if (this.#drawn < before) throw new Error(IDS_SET_BACK)
  }

  /** Notes the same, and the number that a transaction of ours, which has ended, got after that id was read. */
  mark(drawn: string, xid: string): void {
    this.see(drawn)
    this.#awaited ??= { id: this.#drawn, xid: BigInt(xid) }
  }

  /**
   * Learns the smallest number of a running transaction in a snapshot. What this decides was decided when the snapshot was
   * taken.
   */
  learn(xmin: string): void {
    if (this.#awaited === undefined || BigInt(xmin) < this.#awaited.xid) return
    this.#id = this.#awaited.id
    this.#awaited = undefined
  }
}
