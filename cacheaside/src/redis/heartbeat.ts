/**
 * Heartbeats, and the identity of the registers. Both ask every primary.
 *
 * A heartbeat's exchange proves that each primary takes writes, and tells who it is and how it sees its Cluster. The
 * stream (`broadcast.ts`) tells the listeners of a heartbeat only when every exchange is done and nothing differs.
 */
import type { Clock } from '../base/clock.ts'
import type { HeartbeatReply } from '../shared/shared-store.ts'
import type { CheckedCommands } from './checked-commands.ts'
import { errorCode } from './driver.ts'
import { identityOf, readDatabase, readInfo } from './examine.ts'
import type { Names } from './names.ts'
import type { RegisterCommands } from './register-commands.ts'
import { timeOf, UnexpectedReply } from './replies.ts'
import type { Primary } from './route.ts'
import { runScript } from './run-script.ts'
import type { Script } from './scripts.ts'
import type { Servers } from './servers.ts'

const SILENCE_MS = 2_000
const MOST_PROBES = 5

/** What a {@link Heartbeat} is made of. */
export interface HeartbeatOptions {
  readonly servers: Servers
  readonly commands: CheckedCommands
  /** Where a heartbeat reads the generations. */
  readonly registers: Pick<RegisterCommands, 'generation'>
  /** The script that one exchange runs. */
  readonly script: Script
  readonly names: Names
  readonly clock: Clock
}

/** The exchange with all primaries: whether they are alive, and which ones they are. */
export class Heartbeat {
  readonly #options: HeartbeatOptions
  /** When the oldest exchange was sent that a primary has not answered yet. */
  readonly #unanswered = new Map<Primary, number>()

  constructor(options: HeartbeatOptions) {
    this.#options = options
  }

  /** As `SharedStream.heartbeat`. */
  async send(
    text: string,
    keyspaces: readonly { name: string; candidate: string }[],
  ): Promise<HeartbeatReply> {
    const { servers, registers } = this.#options
    try {
      const primaries = await servers.route.primaries()
      if (text !== '') servers.broadcast.sending(text)
      const [exchanges, generations] = await Promise.all([
        Promise.all(primaries.map(primary => this.#exchange(primary, text))),
        Promise.all(keyspaces.map(({ name, candidate }) => registers.generation(name, candidate))),
      ])
      const disagreement = exchanges.find(exchange => exchange.disagreement !== undefined)?.disagreement
      if (disagreement === undefined) servers.broadcast.complete(text)
      else {
        servers.route.refresh()
        servers.broadcast.interrupted(disagreement)
      }
      return { timeMs: exchanges[0]!.timeMs, generations }
    } catch (error) {
      servers.route.refresh()
      throw error
    }
  }

  /** One primary's part of a heartbeat: time, proof that it takes writes, who it is, how it sees its Cluster. */
  async #exchange(
    primary: Primary,
    text: string,
  ): Promise<{ timeMs: number; disagreement: string | undefined }> {
    const { servers, clock } = this.#options
    const { link } = primary
    const message = text === '' ? '' : servers.broadcast.heartbeatMessage(primary, text)
    const nowMs = clock.nowMs()
    const sinceMs = this.#unanswered.get(primary)
    if (sinceMs === undefined) this.#unanswered.set(primary, nowMs)
    else if (nowMs - sinceMs >= SILENCE_MS) link.reset('it is silent')
    try {
      const [timeMs, info, disagreement] = await Promise.all([
        this.#beat(primary, message, 0),
        readInfo(link, ['server', 'replication']),
        servers.route.disagreement(primary),
      ])
      servers.broadcast.answered(text, primary, { identity: identityOf(info) })
      return { timeMs, disagreement }
    } catch (error) {
      if (errorCode(error) === 'READONLY') link.reset('it has become a replica')
      if (error instanceof UnexpectedReply) {
        link.reset(error.message)
        servers.broadcast.interrupted(error.message)
      }
      throw error
    } finally {
      this.#unanswered.delete(primary)
    }
  }

  /**
   * The script of a heartbeat. While a slot is moved, its primary redirects what has a key there: the script has not been run,
   * and another key is taken.
   */
  #beat(primary: Primary, message: string, attempt: number): Promise<number> {
    const { commands, script, names } = this.#options
    return runScript(primary.link, {
      script,
      keys: [primary.probeKey(attempt)],
      args: [names.ownChannel, message],
      number: commands.echo(),
      read: timeOf,
      failed: error => {
        const isRedirected = ['ASK', 'MOVED'].includes(errorCode(error))
        if (!isRedirected || attempt + 1 === MOST_PROBES) throw error
        return this.#beat(primary, message, attempt + 1)
      },
    })
  }
}

/** As `SharedIdentity.identity`, for the registers that these servers hold under a prefix. */
export async function identityOfRegisters({ route }: Servers, prefix: string): Promise<string> {
  const primaries = await route.primaries()
  const servers = await Promise.all(
    primaries.map(async ({ link }) => {
      const [info, database] = await Promise.all([
        readInfo(link, ['server', 'replication']),
        readDatabase(link),
      ])
      const identity = identityOf(info)
      return identity === '' || database === undefined ? '' : `${identity} ${info?.get('role')} ${database}`
    }),
  )
  if (servers.includes('')) return ''
  return [JSON.stringify(prefix), ...servers.sort(), route.topology()].join('; ')
}
