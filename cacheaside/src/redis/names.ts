/**
 * The names of a store on its servers: the keys that are no registers, and the channels. Everything has the store's prefix,
 * because channels ignore databases.
 */

/** The names of one store. */
export interface Names {
  /** Comes before every key and channel. */
  readonly prefix: string
  /** Where scripts publish invalidations. On a Cluster, each primary's id comes after it. */
  readonly channel: string
  /** Where this store publishes its own heartbeats. */
  readonly ownChannel: string
  /** The key that a heartbeat writes to where one server has every key. */
  readonly probeKey: string
}

/**
 * The names under a prefix.
 *
 * @param token - A token that no other store has.
 */
export function namesUnder(prefix: string, token: string): Names {
  return {
    prefix,
    channel: `${prefix}@broadcast`,
    ownChannel: `${prefix}@heartbeat:${token}`,
    probeKey: probeKeyUnder(prefix),
  }
}

/** {@link Names.probeKey}. Cannot be a register's key, as a generation's cannot. */
export const probeKeyUnder = (prefix: string): string => `${prefix}@probe`

/** Where a keyspace's generation is kept. Cannot be a register's key: names of keyspaces have no `@`. */
export const generationKey = (keyspace: string): string => `@generation:${keyspace}`
