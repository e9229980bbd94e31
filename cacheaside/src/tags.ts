/**
 * Tags: names on which values depend, and which have no value of their own. To invalidate a tag invalidates every value that
 * was stored under it, in constant time.
 */
import { type IdParts, rememberingByKey, type Tag, type WholeKeyspace, wholeKeyspace } from './base/key.ts'
import { invalidateKeys, invalidateWhole } from './invalidate.ts'
import type { CacheParts } from './space.ts'
import { whileOpen } from './under-way.ts'

/**
 * The tags of one kind, for example one for each author. Made by a cache's `tags()`.
 *
 * A keyspace names the tags of its values by its options `tags` and `tagsOf`. Writers name them in `write` and `guard`,
 * beside keys, and the map of a change feed names them too.
 */
export class Tags<Id extends IdParts = IdParts> {
  /** What its tags begin with. */
  readonly name: string
  /** Every tag of this kind, for the map of a change feed. */
  readonly all: WholeKeyspace
  readonly #parts: CacheParts
  readonly #tagOf: (id: unknown) => Tag

  /** @internal */
  constructor(parts: CacheParts, name: string) {
    this.name = name
    this.all = wholeKeyspace(name)
    this.#parts = parts
    this.#tagOf = rememberingByKey(this.name, key => key as unknown as Tag)
    parts.stream.follow(name)
  }

  /**
   * The tag of an id.
   *
   * @throws CacheError `INVALID_KEY` if the id is malformed or too long.
   */
  key(id: Id): Tag {
    return this.#tagOf(id)
  }

  /**
   * Invalidates every value that was stored under this tag, because what they show has changed. A load that began
   * before is not stored.
   *
   * @returns `'applied'`, or `'queued'` if the shared store could not be told yet.
   * @throws CacheError `INVALID_KEY`, `CLOSED`.
   */
  invalidate(id: Id): Promise<'applied' | 'queued'> {
    return whileOpen(this.#parts, () => invalidateKeys(this.#parts, [this.key(id)]))
  }

  /**
   * Invalidates every value that was stored under any tag of this kind, in constant time.
   *
   * @returns as {@link Tags.invalidate}.
   * @throws CacheError `CLOSED`.
   */
  invalidateAll(): Promise<'applied' | 'queued'> {
    return whileOpen(this.#parts, () => invalidateWhole(this.#parts, this.name))
  }
}
