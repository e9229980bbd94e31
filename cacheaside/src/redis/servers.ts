/**
 * The servers behind a store: the ways to them, for as long as a cache uses the store, and the report on them.
 *
 * Commands go over a route (`route.ts`), messages come over the broadcast (`broadcast.ts`). Both are closed with the
 * last cache and made again for the next one, so they are asked for here at every use.
 */
import { CacheError } from '../base/errors.ts'
import { messageOf } from '../base/thrown.ts'
import { Broadcast, type EarHooks } from './broadcast.ts'
import { ClusterRoute } from './cluster-route.ts'
import { type Address, addressText } from './driver.ts'
import { Examinations } from './examinations.ts'
import {
  type Examination,
  identityOf,
  listeningFinding,
  type RedisFinding,
  type RedisNode,
  readInfo,
} from './examine.ts'
import { Findings } from './findings.ts'
import { Link } from './link.ts'
import type { Names } from './names.ts'
import type { ResolvedRedisOptions } from './options.ts'
import { type Primary, type Route, singleRoute } from './route.ts'
import { channelOf, type Scripts } from './scripts.ts'

/** How the servers behind a store are arranged, what each says of itself, and the findings about them. */
export interface RedisReport {
  readonly deployment: 'standalone' | 'sentinel' | 'cluster'
  readonly nodes: readonly RedisNode[]
  readonly findings: readonly RedisFinding[]
}

const DENIED_AGAIN_MS = 10_000

/** The connections of a store, from its first cache to its last, and what is known of the servers they lead to. */
export class Servers {
  readonly #options: ResolvedRedisOptions
  readonly #names: Names
  readonly #findings: Findings
  readonly #examinations: Examinations
  #route: Route
  #deniedMs = Number.NEGATIVE_INFINITY
  #broadcast: Broadcast
  /** Caches that use the store. */
  #users = 0
  /** `idle`: the last cache has gone, and the connections with it. */
  #state: 'open' | 'idle' | 'closed' = 'open'

  /**
   * Begins to connect.
   *
   * @param scripts - Loaded into every server.
   */
  constructor(options: ResolvedRedisOptions, names: Names, scripts: Scripts) {
    this.#options = options
    this.#names = names
    this.#findings = new Findings(options)
    this.#examinations = new Examinations({ options, names, scripts, findings: this.#findings })
    this.#broadcast = this.#newBroadcast()
    this.#route = this.#newRoute()
  }

  /** The way of commands to the primaries. */
  get route(): Route {
    return this.#route
  }

  /** The way of messages from the primaries. */
  get broadcast(): Broadcast {
    return this.#broadcast
  }

  /**
   * A command about this key was denied: somebody has taken a right away. The server is examined again, and not used while the
   * right is missing. Otherwise its heartbeats would succeed, and the store would become unavailable and available again for
   * ever. If an examination does not find what is missing, the next denial in ten seconds changes nothing.
   */
  denied(key: string, error: unknown): void {
    const nowMs = this.#options.clock.nowMs()
    if (!this.#examinations.hasExplained && nowMs - this.#deniedMs < DENIED_AGAIN_MS) return
    this.#deniedMs = nowMs
    this.#examinations.denied(key)
    this.#route.reset(key, messageOf(error))
  }

  /** As `SharedStore.retain`. */
  retain(): () => void {
    this.#users++
    this.#wake()
    let isHeld = true
    return () => {
      if (isHeld && --this.#users === 0) this.#rest()
      isHeld = false
    }
  }

  /** Opens connections again that were ended with the last cache. */
  #wake(): void {
    if (this.#state !== 'idle') return
    this.#state = 'open'
    this.#broadcast = this.#newBroadcast()
    this.#route = this.#newRoute()
  }

  /** Closes them until there is another cache. */
  #rest(): void {
    if (this.#state !== 'open') return
    this.#state = 'idle'
    this.#broadcast.close()
    this.#route.close()
  }

  /** As `RedisShared.ready`. */
  async ready(): Promise<RedisReport> {
    this.#wake()
    const primaries = await this.#route.primaries()
    await Promise.all(primaries.map(({ link }) => link.started))
    for (const { link } of primaries) if (link.problem !== undefined) throw link.problem
    return this.#report(primaries.map(({ link, address }) => link.facts ?? this.#examinations.last(address)!))
  }

  /** As `RedisShared.inspect`. */
  async inspect(): Promise<RedisReport> {
    const wasIdle = this.#state === 'idle'
    this.#wake()
    try {
      return await this.#inspect()
    } finally {
      if (wasIdle && this.#users === 0) this.#rest()
    }
  }

  async #inspect(): Promise<RedisReport> {
    const primaries = await this.#route.primaries()
    const examinations = await Promise.all(
      primaries.map(async ({ link, address }) => {
        await link.started
        if (link.facts !== undefined) return this.#examinations.again(link, address)
        const last = this.#examinations.last(address)
        const isRefused = last?.findings.some(({ severity }) => severity === 'refused')
        if (last !== undefined && isRefused && link.problem instanceof CacheError) return last
        throw link.problem
      }),
    )
    return this.#report(examinations)
  }

  #report(examinations: readonly Examination[]): RedisReport {
    return {
      deployment: this.#options.driver.deployment,
      nodes: examinations.map(({ node }) => node),
      findings: examinations.flatMap(({ findings }) => findings),
    }
  }

  /** Closes them for good. Idempotent. */
  close(): void {
    this.#rest()
    this.#state = 'closed'
    this.#findings.close()
  }

  #newBroadcast(): Broadcast {
    return new Broadcast({
      clock: this.#options.clock,
      ownChannel: this.#names.ownChannel,
      listen: (primary, hooks) => this.#ear(primary, hooks),
    })
  }

  #newRoute(): Route {
    const { driver, clock, prefix } = this.#options
    if (driver.deployment === 'cluster') {
      const onChange = (primaries: readonly Primary[]) => this.#broadcast.listenTo(primaries)
      return new ClusterRoute({ driver, clock, prefix, link: at => this.#link(at), onChange })
    }
    const primary = {
      address: driver.target,
      id: undefined,
      at: undefined,
      link: this.#link(),
      probeKey: () => this.#names.probeKey,
    }
    this.#broadcast.listenTo([primary])
    return singleRoute(primary)
  }

  #link(at?: Address): Link<Examination> {
    const { driver } = this.#options
    const address = at === undefined ? driver.target : addressText(at)
    return new Link({
      clock: this.#options.clock,
      target: address,
      open: (onLost, signal) => driver.open(at, onLost, signal),
      welcome: connection => this.#examinations.welcome(connection, address),
    })
  }

  /** The way of one primary's messages. */
  #ear(primary: Primary, hooks: EarHooks): Link<string> {
    const { driver, clock } = this.#options
    const { channel: one, ownChannel } = this.#names
    const channel = primary.id === undefined ? one : channelOf(one, primary.id)
    return new Link({
      clock,
      target: primary.address,
      open: (onLost, signal) => driver.open(primary.at, onLost, signal),
      onLive: () => hooks.onLive(),
      onLost: error => hooks.onLost(error),
      welcome: async connection => {
        const identity = identityOf(await readInfo(connection, ['server', 'replication']))
        const source = `listening to ${primary.address}`
        try {
          await connection.subscribe([channel, ownChannel], (from, message) => hooks.onMessage(from, message))
        } catch (error) {
          const finding = listeningFinding(primary.address, error as Error)
          if (finding !== undefined) this.#findings.found(source, [finding])
          throw error
        }
        this.#findings.found(source, [])
        return identity
      },
    })
  }
}
