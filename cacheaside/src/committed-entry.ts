/** What a write may store at its release: the committed value of one key. */
import type { Key } from './base/key.ts'
import { bytesTooMany, fillOf, timeToLive } from './fill.ts'
import { aliasOf } from './own-key.ts'
import { Unopened } from './shared/codec.ts'
import type { Fill } from './shared/shared-store.ts'
import type { Space } from './space.ts'

/** A committed value for a key, made by a keyspace's `entry()` and by nothing else. */
export interface CommittedEntry {
  readonly key: Key
  /** @internal */
  readonly fill: (generation: string) => Fill | undefined
}

/** The entry that a keyspace makes. Recognised by its private field, which nothing else can have. @internal */
export class MadeEntry implements CommittedEntry {
  readonly #key: Key
  readonly fill: (generation: string) => Fill | undefined

  constructor(key: Key, fill: (generation: string) => Fill | undefined) {
    this.#key = key
    this.fill = fill
  }

  get key(): Key {
    return this.#key
  }

  /** Whether a value is one of these. Asks nothing of the value itself. */
  static is(value: unknown): value is MadeEntry {
    return typeof value === 'object' && value !== null && #key in value
  }
}

/**
 * Makes the entry of a committed value. It is encoded now, as it was committed: the program may change its row before the
 * release.
 */
export function committedEntry<Id, V>(space: Space<Id, V>, key: Key, value: V | undefined): CommittedEntry {
  const { emit } = space.parts
  const sealed = space.envelope.seal(value)
  return new MadeEntry(key, generation => {
    // A value with tags is not stored: nobody has read their stamps before the commit, and they may have changed.
    if (space.tagging !== undefined) return undefined
    const about = { type: 'fill', keyspace: space.name, key, durationMs: 0 } as const
    if (sealed instanceof Unopened) {
      emit({ ...about, outcome: 'unencodable', error: sealed.error })
      return undefined
    }
    const bytes = bytesTooMany(space.parts, sealed)
    if (bytes !== undefined) {
      emit({ ...about, outcome: 'too-large', bytes })
      return undefined
    }
    const alias = aliasOf(space, key, sealed.opened)
    if (alias === undefined)
      return fillOf(space, generation, { text: sealed.text, costMs: 0, tags: [] }, timeToLive(space, sealed))
    emit({ ...about, outcome: 'alias', ...alias })
    return undefined
  })
}
