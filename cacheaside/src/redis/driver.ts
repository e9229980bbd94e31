/**
 * What the store needs of a Redis client: single connections, which never resend, queue or reconnect by themselves.
 * All of that is decided here (`link.ts`), once for every client, because what creates a token must be sent at most
 * once. Routing to the primaries of a Cluster is done here as well (`cluster-route.ts`): a heartbeat has to go
 * through each of them and to be heard back on the same one.
 */
import { isOf, messageOf } from '../base/thrown.ts'

/** A server's host and port. */
export interface Address {
  readonly host: string
  readonly port: number
}

/** One connection to one server. Its errors are the client's own; those of the server carry its words as `message`. */
export interface RedisConnection {
  /** Why it is about to end, if the client knows more than its rejections say. */
  readonly problem?: Error | undefined
  /**
   * Sends one command; what is sent in one turn of the event loop leaves in one piece. Rejects when the connection is
   * lost, and never sends anything twice.
   */
  send(args: readonly string[]): Promise<unknown>
  /** Listens to channels; the connection is used for nothing else afterwards. */
  subscribe(
    channels: readonly string[],
    onMessage: (channel: string, message: string) => void,
  ): Promise<unknown>
  /** Ends it; what is under way rejects. Idempotent. */
  close(): void
}

/** How the servers behind a client are arranged. */
export type Deployment = 'standalone' | 'sentinel' | 'cluster'

/** Opens connections as the user's client is configured: address, TLS, credentials, database. */
export interface Driver {
  readonly deployment: Deployment
  /** The prefix that the user's client puts before every key. */
  readonly keyPrefix: string
  /** The addresses at which a Cluster may be asked for its primaries; empty for other deployments. */
  seeds(): Promise<readonly Address[]>
  /** The address to use here for one that a Cluster has told (NAT). */
  reachable(address: Address): Address
  /** For messages: where the client is configured to connect to. */
  readonly target: string
  /**
   * Opens a connection.
   *
   * @param to - A node of a Cluster; left out: the server, or the primary that Sentinel names at this moment.
   * @param onLost - Called once if it ends by itself after it was opened.
   * @param signal - Gives up the attempt.
   */
  open(to: Address | undefined, onLost: (error: Error) => void, signal: AbortSignal): Promise<RedisConnection>
}

/** The first word of a server's error: `OOM`, `READONLY`, `NOSCRIPT` …; `''` for any other error. */
export function errorCode(error: unknown): string {
  if (!isOf(error, Error)) return ''
  return /^[A-Z]+(?= |$)/.exec(messageOf(error))?.[0] ?? ''
}

/** In a script of Redis 7.0 a missing right has no code of its own. */
const DENIED_IN_SCRIPT = /executing the script can't (run|access|publish)/

/** Whether the server says that this user lacks a right. */
export const isDenied = (error: unknown): boolean =>
  errorCode(error) === 'NOPERM' || (errorCode(error) === 'ERR' && DENIED_IN_SCRIPT.test(messageOf(error)))

/** How an address is written. */
export const addressText = ({ host, port }: Address): string =>
  host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
