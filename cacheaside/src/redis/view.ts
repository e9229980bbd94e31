import type { Clock } from '../base/clock.ts'
import { isMarked, markOf, parseRegister } from '../shared/register.ts'
import type { StoreView } from '../shared/shared-store.ts'
import { ClusterRoute } from './cluster-route.ts'
import { type Address, addressText, errorCode } from './driver.ts'
import { readInfo } from './examine.ts'
import { Link } from './link.ts'
import { generationKey, probeKeyUnder } from './names.ts'
import type { ResolvedRedisOptions } from './options.ts'
import { type Primary, type Route, singleRoute } from './route.ts'
import type { Way } from './run-script.ts'
import { NOT_A_STRING } from './scripts.ts'

/** What a connection of a view has learned of its server. */
interface ViewFacts {
  /** Why reads count as uses of the keys there; `undefined` if they do not. */
  readonly caveat: string | undefined
}

const COUNT = '500'
const RECONNECTION_PAUSE_MS = 20
const RECONNECTION_LOOKS = 50

/**
 * A look at the registers behind a client, on connections of its own: GET, PTTL and SCAN on the primaries, and nothing else.
 *
 * A server counts a GET as a use of the key, and decides by its uses what to evict. So an audit would make all keys look
 * recently used. `CLIENT NO-TOUCH`, in Redis and Valkey from 7.2 on, keeps the reads of a connection from counting. Where it
 * is missing, the view says so and goes on.
 *
 * @throws an error that says why there is no connection.
 * @see https://redis.io/docs/latest/commands/client-no-touch/
 */
export async function openView(options: ResolvedRedisOptions): Promise<StoreView> {
  const route = routeOver(options)
  try {
    const primaries = await route.primaries()
    await Promise.all(primaries.map(({ link }) => link.started))
    for (const { link } of primaries) if (link.problem !== undefined) throw link.problem
    const caveats = primaries.flatMap(({ link }) => link.facts?.caveat ?? [])
    return new RedisView(options.prefix, route, [...new Set(caveats)], options.clock)
  } catch (error) {
    route.close()
    throw error
  }
}

function routeOver({ driver, clock, prefix }: ResolvedRedisOptions): Route<ViewFacts> {
  const link = (at?: Address) => {
    const target = at === undefined ? driver.target : addressText(at)
    return new Link<ViewFacts>({
      clock,
      target,
      open: (onLost, signal) => driver.open(at, onLost, signal),
      welcome: connection => askNotToTouch(connection, target),
    })
  }
  if (driver.deployment === 'cluster')
    return new ClusterRoute<ViewFacts>({ driver, clock, prefix, link, onChange: () => {} })
  const address = driver.target
  return singleRoute({
    address,
    id: undefined,
    at: undefined,
    link: link(),
    probeKey: () => probeKeyUnder(prefix),
  })
}

async function askNotToTouch(connection: Way, address: string): Promise<ViewFacts> {
  try {
    await connection.send(['CLIENT', 'NO-TOUCH', 'ON'])
    return { caveat: undefined }
  } catch (error) {
    if (errorCode(error) === '' || errorCode(error) === 'NOAUTH') throw error
    const info = await readInfo(connection, ['server'])
    const version = info?.get('valkey_version') ?? info?.get('redis_version') ?? 'of unknown version'
    const why = errorCode(error) === 'NOPERM' ? 'does not let this user say' : 'does not know'
    return {
      caveat: `${address} (${version}) ${why} CLIENT NO-TOUCH: what is looked at there counts as used when it evicts`,
    }
  }
}

class RedisView implements StoreView {
  readonly caveats: readonly string[]
  readonly #prefix: string
  readonly #route: Route<ViewFacts>
  readonly #clock: Clock
  /** How often a connection was ended here, and how many of these are still being opened again. */
  #resets = 0
  #reopening = 0

  constructor(prefix: string, route: Route<ViewFacts>, caveats: readonly string[], clock: Clock) {
    this.#prefix = prefix
    this.#clock = clock
    this.#route = route
    this.caveats = caveats
  }

  async *keys(keyspace?: string): AsyncIterable<readonly string[]> {
    const match = literalPattern(this.#prefix + (keyspace === undefined ? '' : `${keyspace}:`)) + '*'
    const primaries = await this.#route.primaries()
    for (const primary of primaries) yield* this.#keysOf(primary, match)
    // Slots that moved from a server not yet walked to one already walked were not seen at all.
    for (const primary of primaries) {
      const disagreement = await this.#route.disagreement(primary)
      if (disagreement !== undefined)
        throw new Error(`the Cluster has changed while its keys were walked over: ${disagreement}`)
    }
  }

  async *#keysOf({ link }: Primary<ViewFacts>, match: string): AsyncIterable<readonly string[]> {
    let cursor = '0'
    do {
      const reply = await this.#ask(() => link.send(['SCAN', cursor, 'MATCH', match, 'COUNT', COUNT]))
      const [next, names] = reply as [string, string[]]
      cursor = String(next)
      const keys = names.map(name => name.slice(this.#prefix.length))
      // Generations and probes are the store's own.
      yield keys.filter(key => !key.startsWith('@'))
    } while (cursor !== '0')
  }

  peek(keys: readonly string[]): Promise<readonly (string | undefined)[]> {
    return Promise.all(keys.map(key => this.#register(key)))
  }

  /**
   * What the register of a key holds. If that is another key's, a reply was lost or added on the way: the connection is
   * ended, and the register is asked for once more over another one. The second reply is returned as it is.
   */
  async #register(key: string): Promise<string | undefined> {
    const name = this.#prefix + key
    const text = await this.#get(name)
    if (text === undefined || !isForeign(text, key)) return text
    this.#resets++
    this.#route.reset(name, "a reply held another key's register")
    this.#reopening++
    try {
      await this.#reconnected()
    } finally {
      this.#reopening--
    }
    return this.#get(name)
  }

  /**
   * Sends a command that only reads. It is sent again if a connection has been ended here meanwhile, or is not open again yet.
   * Each register of another key ends one at most.
   */
  async #ask(send: () => Promise<unknown>): Promise<unknown> {
    for (;;) {
      const resets = this.#resets
      try {
        return await send()
      } catch (error) {
        if (resets === this.#resets && this.#reopening === 0) throw error
        await this.#reconnected()
      }
    }
  }

  async #reconnected(): Promise<void> {
    for (const { link } of await this.#route.primaries()) {
      for (let attempt = 0; link.problem !== undefined && attempt < RECONNECTION_LOOKS; attempt++)
        await new Promise<void>(resolve => void this.#clock.after(RECONNECTION_PAUSE_MS, resolve))
    }
  }

  generations(keyspaces: readonly string[]): Promise<readonly (string | undefined)[]> {
    return Promise.all(keyspaces.map(name => this.#get(this.#prefix + generationKey(name))))
  }

  lives(keys: readonly string[]): Promise<readonly (number | undefined)[]> {
    return Promise.all(
      keys.map(async key => {
        const name = this.#prefix + key
        const leftMs = Number(await this.#ask(() => this.#route.send(name, ['PTTL', name])))
        return leftMs < 0 ? undefined : leftMs
      }),
    )
  }

  async timeMs(): Promise<number> {
    const [primary] = await this.#route.primaries()
    const [seconds, microseconds] = (await this.#ask(() => primary!.link.send(['TIME']))) as [string, string]
    return Number(seconds) * 1000 + Math.floor(Number(microseconds) / 1000)
  }

  async close(): Promise<void> {
    this.#route.close()
  }

  async #get(name: string): Promise<string | undefined> {
    try {
      return ((await this.#ask(() => this.#route.send(name, ['GET', name]))) as string | null) ?? undefined
    } catch (error) {
      if (errorCode(error) === 'WRONGTYPE') return NOT_A_STRING
      throw error
    }
  }
}

/** Whether a register's text says that it is another key's. */
function isForeign(text: string, key: string): boolean {
  const register = parseRegister(text)
  return isMarked(register) && markOf(register, key) === 'foreign'
}

/** A pattern of SCAN that matches this text and nothing else. */
const literalPattern = (text: string): string => text.replace(/[\\*?[\]]/g, '\\$&')
