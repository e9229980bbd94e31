import type { Address } from './driver.ts'
import type { Examination } from './examine.ts'
import type { Link } from './link.ts'

/** A server that owns keys, and the way to it. */
export interface Primary<Facts = Examination> {
  readonly address: string
  /** The node's name in its Cluster. */
  readonly id: string | undefined
  /** The address for the driver; `undefined` if the driver knows it. */
  readonly at: Address | undefined
  readonly link: Link<Facts>
  /**
   * A key that it owns, under the store's prefix. Each attempt has another one: a slot of a Cluster may be on its way to another
   * primary.
   */
  readonly probeKey: (attempt: number) => string
}

/** The ways to all primaries, and which of them a key is at. One server is the simplest of routes. */
export interface Route<Facts = Examination> {
  /** Sends a command to the primary of its key. */
  send(key: string, args: readonly string[]): Promise<unknown>
  /** Gives up the connection that the commands of this key go through, and opens another at once. */
  reset(key: string, reason: string): void
  /** All primaries; rejects if they cannot be found out. */
  primaries(): Promise<readonly Primary<Facts>[]>
  /**
   * Compares what a primary says of its Cluster with what is known here: who owns what, and that nothing is being
   * moved to a primary unknown here. A single server has nothing to say.
   *
   * @returns what differs, or `undefined`.
   */
  disagreement(primary: Primary<Facts>): Promise<string | undefined>
  /** Finds out the primaries again, in the background. */
  refresh(): void
  /** A text that changes with everything that decides where a key is. */
  topology(): string
  close(): void
}

/** The route to a single server, or to the primary that Sentinel names. */
export function singleRoute<Facts>(primary: Primary<Facts>): Route<Facts> {
  const { link } = primary
  const primaries = [primary]
  return {
    send: (_key, args) => link.send(args),
    reset: (_key, reason) => link.reset(reason),
    primaries: async () => primaries,
    disagreement: async () => undefined,
    refresh() {},
    topology: () => 'single',
    close: () => link.close(),
  }
}
