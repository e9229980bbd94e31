import { invalidOption, knownNames } from '../base/invalid-option.ts'
import { Cache } from '../cache.ts'
import type { Snapshot } from './metrics.ts'

/** The name of a cache if none is given. */
export const DEFAULT_NAME = 'default'

/** A cache whose metrics are exported, under its name. */
export interface Source {
  readonly name: string
  readonly cache: Cache
}

const LONGEST_NAME = 64

/**
 * Checks the arguments that every exporter has.
 *
 * @throws CacheError `INVALID_OPTIONS`.
 */
export function checkSource(cache: unknown, options: unknown, names: readonly string[]): void {
  if (!(cache instanceof Cache)) throw invalidOption('cache', 'a cache made by createCache', cache)
  knownNames('options', options, names)
  const { name } = options as { name?: unknown }
  if (name === undefined) return
  if (typeof name !== 'string' || name === '' || name.length > LONGEST_NAME)
    throw invalidOption('name', `a string of 1 to ${LONGEST_NAME} characters`, name)
}

/** Everything that is exported of a cache at one moment. */
export const snapshotOf = (cache: Cache): Snapshot =>
  Object.assign(cache.stats(), { hasFeed: cache.measurable.hasFeed })

/**
 * Tells of every call of a loader: its keyspace, how it ended, and how many seconds it took. A load that was refused before
 * the loader was called is not told.
 *
 * @returns ends it.
 */
export function onLoad(
  cache: Cache,
  record: (keyspace: string, outcome: string, tookS: number) => void,
): () => void {
  return cache.measurable.listenToWork(event => {
    if (event.type === 'load' && event.outcome !== 'overloaded')
      record(event.keyspace, event.outcome, event.costMs / 1_000)
  })
}
