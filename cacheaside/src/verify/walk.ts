import type { Clock } from '../base/clock.ts'
import { isKeyspaceName } from '../base/key.ts'
import type { StoreView } from '../shared/shared-store.ts'
import type { AuditedKeyspace } from './audited-keyspace.ts'

/** Most names of unaudited keyspaces that are told apart. */
const MOST_NAMES = 1_000

/**
 * The keys that a walk has found. Keys of audited keyspaces are handed on. The others are kept by name until their owner is
 * known.
 */
export class Encounters {
  readonly #keyspaces: ReadonlyMap<string, AuditedKeyspace>
  readonly #mostKeys: number
  readonly #others = new Map<string, { count: number; readonly keys: string[] }>()
  #unnamed = 0

  /** @param mostKeys - How many keys of each other keyspace are remembered. */
  constructor(keyspaces: ReadonlyMap<string, AuditedKeyspace>, mostKeys: number) {
    this.#keyspaces = keyspaces
    this.#mostKeys = mostKeys
  }

  /** The keys of a page that are to be examined. */
  sift(page: readonly string[]): string[] {
    return page.filter(key => {
      const name = key.slice(0, Math.max(0, key.indexOf(':')))
      if (this.#keyspaces.has(name)) return true
      this.#note(name, key)
      return false
    })
  }

  /**
   * Tells other keyspaces of this cache, which may be those of tags, from other programs' keys, without reading any of
   * them: a keyspace that was ever read has a generation.
   */
  async others(view: StoreView): Promise<{
    readonly known: readonly {
      readonly name: string
      readonly count: number
      readonly keys: readonly string[]
    }[]
    readonly foreign: number
  }> {
    const names = [...this.#others.keys()]
    const generations = await view.generations(names)
    const known: { name: string; count: number; keys: readonly string[] }[] = []
    let foreign = this.#unnamed
    for (const [i, name] of names.entries()) {
      const { count, keys } = this.#others.get(name)!
      if (generations[i] === undefined) foreign += count
      else known.push({ name, count, keys })
    }
    return { known, foreign }
  }

  #note(name: string, key: string): void {
    const met = this.#others.get(name)
    if (met !== undefined) {
      met.count++
      if (met.keys.length < this.#mostKeys) met.keys.push(key)
    } else if (isKeyspaceName(name) && this.#others.size < MOST_NAMES) {
      this.#others.set(name, { count: 1, keys: [key] })
    } else this.#unnamed++
  }
}

/** Keeps a sample of its input, in which every item is equally likely. */
export class Reservoir {
  readonly #size: number
  readonly #clock: Clock
  readonly kept: string[] = []
  #seen = 0

  constructor(size: number, clock: Clock) {
    this.#size = size
    this.#clock = clock
  }

  /** @see Vitter: Random Sampling with a Reservoir, ACM TOMS 11 (1985), algorithm R */
  add(key: string): void {
    this.#seen++
    if (this.kept.length < this.#size) {
      this.kept.push(key)
      return
    }
    const place = Math.floor(this.#clock.random() * this.#seen)
    if (place < this.#size) this.kept[place] = key
  }
}
