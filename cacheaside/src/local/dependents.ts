import { keyspaceOf } from '../base/key.ts'

/**
 * What depends on which tags: flights of this process, or keys of L1. A tag is known here only while something depends on it,
 * so this grows with what is kept and under way, and not with the tags that were ever seen.
 */
export class Dependents<T> {
  readonly #byTag = new Map<string, Set<T>>()

  /** How many tags are known. */
  get size(): number {
    return this.#byTag.size
  }

  /** Whether anything depends on the tag. */
  has(tag: string): boolean {
    return this.#byTag.has(tag)
  }

  list(dependent: T, tags: Iterable<string>): void {
    for (const tag of tags) {
      const listed = this.#byTag.get(tag)
      if (listed === undefined) this.#byTag.set(tag, new Set([dependent]))
      else listed.add(dependent)
    }
  }

  unlist(dependent: T, tags: Iterable<string>): void {
    for (const tag of tags) {
      const listed = this.#byTag.get(tag)
      if (listed?.delete(dependent) && listed.size === 0) this.#byTag.delete(tag)
    }
  }

  /** All that depend on the tag. A copy: they may be unlisted while it is walked. */
  of(tag: string): readonly T[] {
    const listed = this.#byTag.get(tag)
    return listed === undefined ? NONE : [...listed]
  }

  /** All that depend on any tag of the keyspace. */
  ofKeyspace(keyspace: string): readonly T[] {
    const found = new Set<T>()
    for (const [tag, listed] of this.#byTag)
      if (keyspaceOf(tag) === keyspace) for (const dependent of listed) found.add(dependent)
    return [...found]
  }

  clear(): void {
    this.#byTag.clear()
  }
}

const NONE: readonly never[] = []
