/**
 * Which keyspaces exist, as far as this process can know: a key of one that nobody has defined is a mistake that nothing
 * else would show. Its invalidation is applied, and what should have been invalidated stays stale.
 */
import { CacheError } from './base/errors.ts'
import { keyspaceOf } from './base/key.ts'
import type { Warnings } from './base/warnings.ts'
import type { SharedStore } from './shared/shared-store.ts'

/** The keyspaces of all caches in this process, by the store that they are on. */
const namesOn = new WeakMap<SharedStore, Set<string>>()

/** The keyspaces that are known on one cache's store. */
export class KnownKeyspaces {
  readonly #names: Set<string>
  readonly #isPrivate: boolean
  readonly #warnings: Warnings

  constructor(store: SharedStore, warnings: Warnings) {
    this.#names = namesOn.get(store) ?? new Set()
    namesOn.set(store, this.#names)
    this.#isPrivate = store.synchronous
    this.#warnings = warnings
  }

  add(name: string): void {
    this.#names.add(name)
  }

  has(name: string): boolean {
    return this.#names.has(name)
  }

  /** Those of all caches. */
  get names(): ReadonlySet<string> {
    return this.#names
  }

  /**
   * Checks keys that a caller has named. On a store in this process nobody else can have their keyspace, so an unknown
   * one is an error. On a shared store another process may have it, so it is warned of once.
   *
   * @throws CacheError `INVALID_KEY`, also for what is no key.
   */
  check(keys: readonly string[]): void {
    for (const key of keys) {
      const name = keyspaceOf(key)
      if (this.#names.has(name)) continue
      if (this.#isPrivate) {
        const message = `no cache on this store has the keyspace ${name} of the key ${key}: was it made by another cache?`
        throw new CacheError('INVALID_KEY', message)
      }
      this.#warnings.once('UNKNOWN_KEYSPACE', name, {
        message: `the key ${key} is of the keyspace ${name}, which this process has not defined. Ignore this if another process defines it; otherwise make the key with this cache`,
      })
    }
  }
}
