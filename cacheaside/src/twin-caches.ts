/**
 * Caches of this process that each have an embedded store of their own, and a keyspace of the same name.
 *
 * A bundler may evaluate the module that makes a cache twice, once for each kind of page. Then: 1. a page reads a row
 * through the first cache; 2. a route writes it through the second, which invalidates its own store; 3. the page goes on
 * showing the old row for its whole time to live.
 *
 * The library itself may have been evaluated twice as well, so the register of them is the process's.
 */

/** What is asked of a cache. */
export interface Twin {
  readonly isClosed: boolean
}

interface Registry {
  /** The last cache that has defined each name. */
  readonly owners: Map<string, WeakRef<Twin>>
  /** Names that were warned of. */
  readonly told: Set<string>
}

const REGISTRY = Symbol.for('cacheaside.caches-with-embedded-stores')

/**
 * Notes that a cache with an embedded store of its own has defined a keyspace.
 *
 * @returns whether another such cache has it too, and this is the first time that it is noticed.
 */
export function hasTwin(name: string, cache: Twin): boolean {
  const host = globalThis as { [REGISTRY]?: Registry }
  host[REGISTRY] ??= { owners: new Map(), told: new Set() }
  const { owners, told } = host[REGISTRY]
  const other = owners.get(name)?.deref()
  owners.set(name, new WeakRef(cache))
  if (other === undefined || other === cache || other.isClosed || told.has(name)) return false
  told.add(name)
  return true
}
