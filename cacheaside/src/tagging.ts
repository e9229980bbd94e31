/**
 * Which tags a value of one keyspace depends on: what `tags` says of its id before it is loaded, what `tagsOf` says of the
 * value after that, and what this process remembers of the value that was there last.
 */
import { CacheError } from './base/errors.ts'
import { isKeyspaceName, keyspaceOf, type Tag } from './base/key.ts'
import { silencePromise } from './base/thrown.ts'
import { MAX_TAGS } from './shared/register.ts'

/** At most so many keys are remembered in each keyspace. */
const MOST_KEYS = 8_192

/** The two options of a keyspace that name tags. */
export interface TagOptions<Id, V> {
  readonly tags?: ((id: Id) => readonly Tag[]) | undefined
  readonly tagsOf?: ((value: V | undefined, id: Id) => readonly Tag[]) | undefined
}

/** What is remembered of a key. */
interface Memory {
  /** The tags of the value that was there last. */
  readonly names: readonly string[]
  /** Two loads, one right after the other, have brought different tags: to load twice does not help. */
  readonly isRestless: boolean
}

/** No tags. */
export const NO_NAMES: readonly string[] = Object.freeze([])

/** The tags of one keyspace's values. */
export class Tagging<Id, V> {
  readonly #keyspace: string
  readonly #options: TagOptions<Id, V>
  readonly #isTag: (name: string) => boolean
  readonly #memories = new Map<string, Memory>()
  /** Until when a replaced value, which lacked a tag, could have lived. */
  readonly #replaced = new Map<string, number>()

  /** @param isTag - Whether the keyspace of this name is one of tags, and is this cache's. */
  constructor(keyspace: string, options: TagOptions<Id, V>, isTag: (name: string) => boolean) {
    this.#keyspace = keyspace
    this.#options = options
    this.#isTag = isTag
  }

  /** Whether the value itself names tags, which are unknown before it is loaded. */
  get hasLate(): boolean {
    return this.#options.tagsOf !== undefined
  }

  /**
   * What `tags` says of an id, in order.
   *
   * @throws what `tags` throws; CacheError `INVALID_KEY` for what is no list of tags of this cache, or too many.
   */
  before(id: Id): readonly string[] {
    const { tags } = this.#options
    if (tags === undefined) return NO_NAMES
    const names = this.#checked('tags', tags(id))
    if (names.length > MAX_TAGS)
      throw new CacheError('INVALID_KEY', `${this.#keyspace}.tags: ${tooMany(names.length)}`)
    return names
  }

  /**
   * The tags of a value that was loaded: those of its id, and what `tagsOf` says of it, in order. May be more than
   * {@link MAX_TAGS}.
   *
   * @throws as {@link Tagging.before}.
   */
  after(wanted: readonly string[], value: V | undefined, id: Id): readonly string[] {
    const { tagsOf } = this.#options
    if (tagsOf === undefined) return wanted
    const late = this.#checked('tagsOf', tagsOf(value, id))
    return late.length === 0 ? wanted : inOrder([...wanted, ...late])
  }

  #checked(option: string, names: unknown): readonly string[] {
    // A function that was declared as async may reject: that is handled here.
    silencePromise(names)
    if (!Array.isArray(names))
      throw new CacheError(
        'INVALID_KEY',
        `${this.#keyspace}.${option}: expected a list of tags, got ${typeof names}`,
      )
    for (const name of names) {
      if (typeof name === 'string' && this.#isTag(keyspaceOf(name))) continue
      const what = typeof name === 'string' ? JSON.stringify(name.slice(0, 80)) : typeof name
      throw new CacheError(
        'INVALID_KEY',
        `${this.#keyspace}.${option}: expected tags made by the key() of this cache's tags(), got ${what}${hintOf(name)}`,
      )
    }
    return inOrder(names)
  }

  /** The tags that the value of this key had when it was seen last. */
  remembered(key: string): readonly string[] {
    return this.#memories.get(key)?.names ?? NO_NAMES
  }

  /** Whether its tags change from load to load. */
  isRestless(key: string): boolean {
    return this.#memories.get(key)?.isRestless === true
  }

  /** The value of this key has these tags. */
  remember(key: string, names: readonly string[], isRestless = false): void {
    if (!this.hasLate) return
    const memory = this.#memories.get(key)
    if (memory !== undefined && memory.isRestless === isRestless && areSame(memory.names, names)) return
    putBounded(this.#memories, key, { names, isRestless })
  }

  /**
   * Whether a value that lacks a tag may be replaced: once in its life. Processes that ask for different tags, as in the
   * middle of a deploy, would otherwise take turns for ever.
   *
   * @param untilMs - When its life ends, by the clock's `nowMs`.
   */
  mayReplace(key: string, nowMs: number, untilMs: number): boolean {
    if ((this.#replaced.get(key) ?? Number.NEGATIVE_INFINITY) > nowMs) return false
    putBounded(this.#replaced, key, untilMs)
    return true
  }
}

const tooMany = (count: number): string => `a value has at most ${MAX_TAGS} tags, this one has ${count}`

/** A hint for a tag that another cache has made, or `tableTags` without a cache. */
function hintOf(name: unknown): string {
  const end = typeof name === 'string' ? name.indexOf(':') : -1
  const kind = end === -1 ? '' : (name as string).slice(0, end)
  if (!isKeyspaceName(kind)) return ''
  return `: this cache has no tags of the name ${kind}. Its feed makes those of tables known, or cache.tags('${kind}'), or tableTags with the cache`
}

/** Sorted, without doubles. A copy: the program may use its list again for another id. */
export function inOrder(names: readonly string[]): readonly string[] {
  return names.length === 0 ? NO_NAMES : names.length === 1 ? [names[0]!] : [...new Set(names)].sort()
}

function areSame(one: readonly string[], other: readonly string[]): boolean {
  return one === other || (one.length === other.length && one.every((name, i) => name === other[i]))
}

/** Puts in an entry; a full map loses its oldest. */
function putBounded<T>(map: Map<string, T>, key: string, value: T): void {
  map.delete(key)
  if (map.size >= MOST_KEYS) {
    const [oldest] = map.keys()
    map.delete(oldest!)
  }
  map.set(key, value)
}
