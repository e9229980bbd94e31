/**
 * How commands about a key get to the primary that owns it, and how their replies are judged. A reply that cannot belong to
 * its command shows that the replies of its connection have shifted. Then the connection ends, and every listener is
 * interrupted, because other replies of it may be as wrong.
 */
import type { Clock } from '../base/clock.ts'
import { isDenied } from './driver.ts'
import { UnexpectedReply } from './replies.ts'
import { rethrow, runScript } from './run-script.ts'
import type { Script } from './scripts.ts'
import type { Servers } from './servers.ts'

const MOST_DISTRUSTED = 100
const OWN_NUMBER_LENGTH = 6

/** The way of commands about keys, under a store's prefix, with checked replies. */
export class CheckedCommands {
  readonly #servers: Servers
  readonly #prefix: string
  readonly #ownNumber: string
  #calls = 0
  /** How registers began that came as the reply for another key, by that key. */
  readonly #distrusted = new Map<string, string>()

  constructor(servers: Servers, prefix: string, clock: Clock) {
    this.#servers = servers
    this.#prefix = prefix
    this.#ownNumber = clock.token().slice(0, OWN_NUMBER_LENGTH)
  }

  /**
   * Sends a native command to the primary of a name. The reply is unread: see {@link CheckedCommands.read}, and for an error
   * {@link CheckedCommands.failed}.
   */
  send(name: string, args: readonly string[]): Promise<unknown> {
    return this.#servers.route.send(name, args)
  }

  /**
   * Runs a script on the primary of its first key.
   *
   * @param instead - Called with an error: throws it, or answers instead.
   */
  run<T>(
    script: Script,
    keys: readonly string[],
    args: readonly string[],
    read: (reply: unknown) => T,
    instead: (error: unknown) => T | Promise<T> = rethrow,
  ): Promise<T> {
    const [name] = keys as [string]
    const way = { send: (command: readonly string[]) => this.#servers.route.send(name, command) }
    const failed = (error: unknown) => {
      this.#judge(name, error)
      return instead(error)
    }
    return runScript(way, { script, keys, args, number: this.echo(), read, failed })
  }

  /** The same for the register of one key. */
  runAt<T>(
    script: Script,
    key: string,
    args: readonly string[],
    read: (reply: unknown) => T,
    instead?: (error: unknown) => T | Promise<T>,
  ): Promise<T> {
    return this.run(script, [this.#prefix + key], args, read, instead)
  }

  /** Reads a reply that came from the primary of this name. */
  read<T>(name: string, read: (reply: unknown) => T, reply: unknown): T {
    try {
      return read(reply)
    } catch (error) {
      return this.failed(name, error)
    }
  }

  /** A number that no other call of a script has, in this process or in another one behind the same proxy. */
  echo(): string {
    return `${this.#ownNumber}${(++this.#calls).toString(36)}`
  }

  /** As `SharedRegisters.distrust`. */
  distrust(key: string, prefix: string): boolean {
    if (this.#distrusted.get(key) === prefix) return false
    if (this.#distrusted.size >= MOST_DISTRUSTED)
      this.#distrusted.delete(this.#distrusted.keys().next().value!)
    this.#distrusted.set(key, prefix)
    this.#lose(this.#prefix + key, `the reply for ${key} held another key's register`)
    return true
  }

  /** Ends the connection if its reply cannot belong to its command, or if a right is missing; and throws the error. */
  failed(name: string, error: unknown): never {
    this.#judge(name, error)
    throw error
  }

  #judge(name: string, error: unknown): void {
    if (error instanceof UnexpectedReply) this.#lose(name, error.message)
    else if (isDenied(error)) this.#servers.denied(name, error)
  }

  /** Ends the connection to the primary of this name. Nobody may trust other replies that came over it. */
  #lose(name: string, reason: string): void {
    this.#servers.route.reset(name, reason)
    this.#servers.broadcast.interrupted(reason)
  }
}
