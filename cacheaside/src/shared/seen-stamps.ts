import type { Stamp } from './shared-store.ts'

/** Most tags that are remembered: about two megabytes. */
const MOST_TAGS = 8_192

/**
 * Which stamps this process has seen, and since when. This is evidence of the past only: a copy never proves that a stamp
 * still stands.
 *
 * A load may bring tags that nobody knew before. Their stamps are read after the load, so the value may be older than they
 * are. But no stamp ever comes back. A stamp that stands after the load, and that was seen before the load began, has stood
 * all the time in between: nothing was invalidated, and the value may be stored under it.
 */
export class SeenStamps {
  readonly #stamps = new Map<string, { readonly stamp: Stamp; readonly since: number }>()
  #moment = 0

  /** The present moment, to be compared with later ones. */
  now(): number {
    return this.#moment
  }

  /** A reply has brought this stamp. */
  note(stamp: Stamp): void {
    const { name } = stamp
    if (isSame(this.#stamps.get(name)?.stamp, stamp)) return
    this.#stamps.delete(name)
    if (this.#stamps.size >= MOST_TAGS) {
      const [oldest] = this.#stamps.keys()
      this.#stamps.delete(oldest!)
    }
    this.#stamps.set(name, { stamp, since: ++this.#moment })
  }

  /** Whether this very stamp had been seen by that moment. */
  hadSeen(stamp: Stamp, moment: number): boolean {
    const seen = this.#stamps.get(stamp.name)
    return seen !== undefined && seen.since <= moment && isSame(seen.stamp, stamp)
  }
}

/** Whether two stamps of a tag are equal: the same token, and the same generation of the tag's keyspace. */
export const isSame = (one: Stamp | undefined, other: Stamp): boolean =>
  one !== undefined && one.token === other.token && one.generation === other.generation
