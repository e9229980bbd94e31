import type { Clock } from '../base/clock.ts'
import { CacheError } from '../base/errors.ts'
import { markedToken } from '../shared/key-mark.ts'
import { leaseText, valueAroundTimes } from '../shared/register.ts'
import {
  type Expected,
  type Fill,
  type GuardReply,
  type HeartbeatReply,
  type LeaseReply,
  type LookReply,
  REFUSED,
  type ReleaseReply,
  type SharedStore,
  type StoreView,
  type StreamListener,
} from '../shared/shared-store.ts'
import { Broadcast, INVALIDATED, KEYSPACE } from './broadcast.ts'
import { ClusterRoute } from './cluster-route.ts'
import { type Address, addressText, type Connection, errorCode } from './driver.ts'
import {
  type Examination,
  examine,
  identityOf,
  mayNotListen,
  type RedisFinding,
  type RedisNode,
  readInfo,
} from './examine.ts'
import { Findings } from './findings.ts'
import { Link } from './link.ts'
import { type RedisSharedOptions, type ResolvedRedisOptions, resolveRedisOptions } from './options.ts'
import {
  doneOf,
  echoed,
  generationOf,
  guardOf,
  nothingOf,
  releaseOf,
  textOf,
  textsOf,
  timeOf,
  UnexpectedReply,
} from './replies.ts'
import { generationKey, type Primary, type Route, singleRoute } from './route.ts'
import {
  beginsAsRegister,
  channelOf,
  loadableScripts,
  NOT_A_STRING,
  type Script,
  type Scripts,
  WRONG_SCRIPT,
} from './scripts.ts'
import { openView } from './view.ts'

/** How the servers behind a store are arranged, what each says of itself, and what is not as it should be. */
export interface RedisReport {
  readonly deployment: 'standalone' | 'sentinel' | 'cluster'
  readonly nodes: readonly RedisNode[]
  readonly findings: readonly RedisFinding[]
}

/**
 * The shared store on Redis or Valkey. Its connections are open from the beginning until the last cache on it is closed, and
 * again while there is another one; `close()` ends it for good.
 */
export interface RedisShared extends SharedStore {
  /**
   * Waits for the first connection to every primary. To be called where a program starts, or not at all: the store
   * works as soon as it can, and goes on trying for ever.
   *
   * @returns what the servers say of themselves, and what is worth a warning.
   * @throws CacheError `INVALID_OPTIONS` while a server is refused for what it is; an error that says why there is no
   *   connection.
   */
  ready(): Promise<RedisReport>
  /**
   * Asks every primary again. Servers that are refused are reported, not thrown.
   *
   * @throws an error that says why there is no connection.
   */
  inspect(): Promise<RedisReport>
}

/**
 * A shared store on Redis 7.0 or later, or Valkey: one server, Sentinel, or a Cluster.
 *
 * One register is one string under its key, readable in `redis-cli`: `GET spell:4` shows the fixed-width header and
 * the value. A read takes one native command, hit or miss; everything else is one script (`scripts.ts`). Nothing is
 * ever sent twice, looked for with KEYS, or flushed.
 *
 * An outage makes operations reject at once, or when the cache's own time limit is over; the store comes back by
 * itself.
 *
 * @throws CacheError `INVALID_OPTIONS`, naming the option, what it should be and what it is; for a client that reads
 *   from replicas too.
 */
export function redisShared(options: RedisSharedOptions): RedisShared {
  return new RedisStore(resolveRedisOptions(options))
}

/**
 * Asks the servers behind a client what they are and whether a store on them would be safe, and closes what it opened.
 *
 * @throws as {@link RedisShared.inspect}; CacheError `INVALID_OPTIONS` as {@link redisShared}.
 */
export async function inspectRedis(options: RedisSharedOptions): Promise<RedisReport> {
  const store = redisShared(options)
  try {
    return await store.inspect()
  } finally {
    await store.close()
  }
}

const SILENCE_MS = 2_000
const MOST_TOGETHER = 1_000
const MOST_DISTRUSTED = 100
const OWN_NUMBER_LENGTH = 6

type Way = Pick<Connection, 'send'>

class RedisStore implements RedisShared {
  readonly name = 'redis'
  readonly synchronous = false
  readonly #options: ResolvedRedisOptions
  readonly #prefix: string
  readonly #clock: Clock
  readonly #channel: string
  readonly #ownChannel: string
  readonly #scripts: Scripts
  #route: Route
  #broadcast: Broadcast
  /** Caches that use the store. */
  #users = 0
  /** `idle`: the last cache has gone, and the connections with it. */
  #state: 'open' | 'idle' | 'closed' = 'open'
  /** The last examination of each server, also of those that were refused. */
  readonly #examined = new Map<string, Examination>()
  readonly #findings: Findings
  /** When the oldest exchange was sent that a primary has not answered yet. */
  readonly #unanswered = new Map<Primary, number>()
  /** What registers began with that were answered for another key, by that key. */
  readonly #distrusted = new Map<string, string>()
  readonly #ownNumber: string
  #calls = 0
  /** Whether a SET was refused for want of memory, and none has succeeded since: then GET comes first. */
  #full = false

  constructor(options: ResolvedRedisOptions) {
    this.#options = options
    this.#findings = new Findings(options)
    this.#prefix = options.prefix
    this.#clock = options.clock
    this.#channel = `${this.#prefix}@broadcast`
    this.#ownChannel = `${this.#prefix}@heartbeat:${options.clock.token()}`
    this.#ownNumber = options.clock.token().slice(0, OWN_NUMBER_LENGTH)
    this.#scripts = loadableScripts(options.driver.deployment === 'cluster')
    this.#broadcast = this.#newBroadcast()
    this.#route = this.#routeOver(options)
  }

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
    this.#route = this.#routeOver(this.#options)
  }

  #rest(): void {
    if (this.#state !== 'open') return
    this.#state = 'idle'
    this.#broadcast.close()
    this.#route.close()
  }

  #newBroadcast(): Broadcast {
    return new Broadcast({
      clock: this.#clock,
      ownChannel: this.#ownChannel,
      listen: (primary, hooks) => this.#listen(primary, hooks),
    })
  }

  #routeOver({ driver, clock, prefix }: ResolvedRedisOptions): Route {
    if (driver.deployment === 'cluster') {
      const onChange = (primaries: readonly Primary[]) => this.#broadcast.listenTo(primaries)
      return new ClusterRoute({ driver, clock, prefix, link: at => this.#link(at), onChange })
    }
    const primary = {
      address: driver.target,
      id: undefined,
      at: undefined,
      link: this.#link(),
      probeKey: this.#probeKey(),
    }
    this.#broadcast.listenTo([primary])
    return singleRoute(primary)
  }

  #probeKey(): string {
    return `${this.#prefix}@probe`
  }

  #link(at?: Address): Link<Examination> {
    const { driver } = this.#options
    const address = at === undefined ? driver.target : addressText(at)
    return new Link({
      clock: this.#clock,
      target: address,
      open: (onLost, signal) => driver.open(at, onLost, signal),
      welcome: connection => this.#welcome(connection, address),
    })
  }

  /** Examines the server at the other end, refuses it or warns, and loads the scripts. */
  async #welcome(connection: Connection, address: string): Promise<Examination> {
    const { policy } = this.#options
    const examination = await this.#examine(connection, address, policy)
    // What it is refused for too: a server that only comes later has nobody waiting who would be told by a rejection.
    this.#findings.found(address, examination.findings)
    const refusals = examination.findings.filter(({ severity }) => severity === 'refused')
    if (refusals.length > 0)
      throw new CacheError('INVALID_OPTIONS', refusals.map(({ message }) => message).join('; '))
    await Promise.all(Object.values(this.#scripts).map(script => load(connection, script)))
    return examination
  }

  async #examine(way: Way, address: string, policy: ResolvedRedisOptions['policy']): Promise<Examination> {
    const { driver, allowUnsafePolicy } = this.#options
    const examination = await examine(way, {
      address,
      deployment: driver.deployment,
      allowUnsafePolicy,
      policy,
      channels: [channelOf(this.#channel, 'probe'), this.#ownChannel],
      key: this.#probeKey(),
    })
    this.#examined.set(address, examination)
    return examination
  }

  #listen(
    primary: Primary,
    hooks: {
      onMessage: (channel: string, message: string) => void
      onLive: () => void
      onLost: (error: Error) => void
    },
  ): Link<string> {
    const { driver } = this.#options
    const channel = primary.id === undefined ? this.#channel : channelOf(this.#channel, primary.id)
    return new Link({
      clock: this.#clock,
      target: primary.address,
      open: (onLost, signal) => driver.open(primary.at, onLost, signal),
      onLive: hooks.onLive,
      onLost: hooks.onLost,
      welcome: async connection => {
        const identity = identityOf(await readInfo(connection, ['server', 'replication']))
        const source = `listening to ${primary.address}`
        try {
          await connection.subscribe([channel, this.#ownChannel], hooks.onMessage)
        } catch (error) {
          if (errorCode(error) === 'NOPERM')
            this.#findings.found(source, [mayNotListen(primary.address, error as Error)])
          throw error
        }
        this.#findings.found(source, [])
        return identity
      },
    })
  }

  lease(key: string, token: string, leaseMs: number): Promise<LeaseReply> {
    const name = this.#prefix + key
    if (this.#full) return this.#leaseWhenFull(name, token, leaseMs)
    return this.#takeLease(name, token, leaseMs).then(
      reply => this.#read(name, textOf, reply),
      error => {
        if (errorCode(error) === 'WRONGTYPE') return NOT_A_STRING
        if (errorCode(error) !== 'OOM') throw error
        this.#full = true
        return this.#lookWhenFull(name)
      },
    )
  }

  #takeLease(name: string, token: string, leaseMs: number): Promise<unknown> {
    const args = ['SET', name, leaseText(token), 'NX', 'GET', 'PX', String(leaseMs)]
    return this.#route.send(name, args)
  }

  /** What is under the key, in a way that is not refused when memory is full, but wherever writes are. */
  async #lookWhenFull(name: string): Promise<string | typeof REFUSED> {
    return (await this.#run(this.#scripts.lookWhenFull, [name], [], textOf)) ?? REFUSED
  }

  async #leaseWhenFull(name: string, token: string, leaseMs: number): Promise<LeaseReply> {
    const seen = await this.#lookWhenFull(name)
    if (seen !== REFUSED) return seen
    try {
      const reply = this.#read(name, textOf, await this.#takeLease(name, token, leaseMs))
      this.#full = false
      return reply
    } catch (error) {
      if (errorCode(error) === 'OOM') return REFUSED
      throw error
    }
  }

  async leaseMany(
    requests: readonly { key: string; token: string }[],
    leaseMs: number,
  ): Promise<LeaseReply[]> {
    // A script may touch one slot of a Cluster only, and is refused as a whole when memory is full.
    if (this.#options.driver.deployment === 'cluster' || this.#full) return this.#leaseEach(requests, leaseMs)
    try {
      return (await this.#leaseTogether(requests, leaseMs)).flat()
    } catch (error) {
      if (errorCode(error) !== 'OOM') throw error
      this.#full = true
      return this.#leaseEach(requests, leaseMs)
    }
  }

  /** In one piece per primary. */
  #leaseEach(requests: readonly { key: string; token: string }[], leaseMs: number): Promise<LeaseReply[]> {
    return Promise.all(requests.map(({ key, token }) => this.lease(key, token, leaseMs)))
  }

  /** By few scripts, each of which is over soon. */
  #leaseTogether(
    requests: readonly { key: string; token: string }[],
    leaseMs: number,
  ): Promise<LeaseReply[][]> {
    const batches: Promise<LeaseReply[]>[] = []
    for (let at = 0; at < requests.length; at += MOST_TOGETHER) {
      const batch = requests.slice(at, at + MOST_TOGETHER)
      const names = batch.map(({ key }) => this.#prefix + key)
      const args = [String(leaseMs), ...batch.map(({ token }) => leaseText(token))]
      batches.push(this.#run(this.#scripts.leaseMany, names, args, reply => textsOf(reply, names.length)))
    }
    return Promise.all(batches)
  }

  look(keys: readonly string[]): Promise<LookReply[]> {
    if (keys.length === 1) return this.#get(this.#prefix + keys[0]!)
    const names = keys.map(key => this.#prefix + key)
    if (this.#options.driver.deployment === 'cluster')
      return Promise.all(names.map(name => this.#get(name))).then(replies => replies.flat())
    const batches: Promise<LookReply[]>[] = []
    for (let at = 0; at < names.length; at += MOST_TOGETHER)
      batches.push(this.#mget(names.slice(at, at + MOST_TOGETHER)))
    return batches.length === 1 ? batches[0]! : Promise.all(batches).then(replies => replies.flat())
  }

  #get(name: string): Promise<LookReply[]> {
    return this.#route.send(name, ['GET', name]).then(
      reply => [this.#read(name, textOf, reply)],
      error => {
        if (errorCode(error) === 'WRONGTYPE') return [NOT_A_STRING]
        throw error
      },
    )
  }

  /** What is no string is told as absent. It is noticed by the lease that is then asked for. */
  #mget(names: readonly string[]): Promise<LookReply[]> {
    const first = names[0]!
    return this.#route
      .send(first, ['MGET', ...names])
      .then(reply => this.#read(first, given => textsOf(given, names.length), reply))
  }

  async fill(key: string, prefix: string, value: Fill): Promise<boolean> {
    try {
      return await this.#runAt(this.#scripts.fill, key, [prefix, ...this.#valueArgs(key, value)], doneOf)
    } catch (error) {
      // There is no room for it: as refused as by a lease that is gone.
      if (errorCode(error) === 'OOM') return false
      throw error
    }
  }

  async swap(key: string, seen: Expected, token: string, leaseMs: number): Promise<boolean> {
    const args = [...comparison(seen), leaseText(token), String(leaseMs)]
    return this.#runAt(this.#scripts.replace, key, args, doneOf)
  }

  async drop(key: string, seen: Expected): Promise<boolean> {
    return this.#runAt(this.#scripts.replace, key, comparison(seen), doneOf)
  }

  async claim(key: string, nonce: string, token: string, claimMs: number): Promise<boolean> {
    return this.#runAt(this.#scripts.claim, key, [nonce, token, String(claimMs)], doneOf)
  }

  async guard(key: string, token: string, guardMs: number, renewal: boolean): Promise<GuardReply> {
    const args = [...this.#invalidation(key), token, String(guardMs), renewal ? '1' : '0']
    return this.#runAt(this.#scripts.guard, key, args, guardOf)
  }

  async release(key: string, token: string, through?: Fill): Promise<ReleaseReply> {
    const args = [...this.#invalidation(key), token]
    if (through !== undefined) {
      try {
        const valueArgs = this.#valueArgs(key, through)
        return await this.#runAt(this.#scripts.releaseThrough, key, [...args, ...valueArgs], releaseOf)
      } catch (error) {
        // There is no room for the value, and nothing was done: the guard must still go.
        if (errorCode(error) !== 'OOM') throw error
      }
    }
    return this.#runAt(this.#scripts.release, key, args, releaseOf)
  }

  async invalidate(key: string): Promise<void> {
    await this.#runAt(this.#scripts.invalidate, key, this.#invalidation(key), nothingOf)
  }

  async generation(keyspace: string, candidate: string): Promise<string> {
    const key = generationKey(keyspace)
    const name = this.#prefix + key
    try {
      const standing = await this.#route.send(name, ['SET', name, candidate, 'NX', 'GET'])
      if (typeof standing === 'string' && standing.length === candidate.length)
        return this.#read(name, reply => generationOf(reply, keyspace), standing)
    } catch (error) {
      if (errorCode(error) !== 'OOM' && errorCode(error) !== 'WRONGTYPE') throw error
    }
    // A reply of nothing may be to another command. So a script is asked what stands there now: its reply is certain.
    return this.#runAt(this.#scripts.generation, key, [candidate], reply => generationOf(reply, keyspace))
  }

  async invalidateKeyspace(keyspace: string, generation: string): Promise<void> {
    const args = [this.#channel, KEYSPACE + keyspace, generation]
    await this.#runAt(this.#scripts.invalidateKeyspace, generationKey(keyspace), args, nothingOf)
  }

  view(): Promise<StoreView> {
    return openView(this.#options)
  }

  subscribe(listener: StreamListener): () => void {
    return this.#broadcast.subscribe(listener)
  }

  async heartbeat(
    text: string,
    keyspaces: readonly { name: string; candidate: string }[],
  ): Promise<HeartbeatReply> {
    try {
      const primaries = await this.#route.primaries()
      if (text !== '') this.#broadcast.sending(text)
      const [exchanges, generations] = await Promise.all([
        Promise.all(primaries.map(primary => this.#exchange(primary, text))),
        Promise.all(keyspaces.map(({ name, candidate }) => this.generation(name, candidate))),
      ])
      const disagreement = exchanges.find(exchange => exchange.disagreement !== undefined)?.disagreement
      if (disagreement === undefined) this.#broadcast.complete(text)
      else {
        this.#route.refresh()
        this.#broadcast.interrupted(disagreement)
      }
      return { timeMs: exchanges[0]!.timeMs, generations }
    } catch (error) {
      this.#route.refresh()
      throw error
    }
  }

  /** One primary's part of a heartbeat: time, proof that it takes writes, who it is, how it sees its Cluster. */
  async #exchange(
    primary: Primary,
    text: string,
  ): Promise<{ timeMs: number; disagreement: string | undefined }> {
    const { link, probeKey } = primary
    const message = text === '' ? '' : this.#broadcast.heartbeatMessage(primary, text)
    const nowMs = this.#clock.nowMs()
    const sinceMs = this.#unanswered.get(primary)
    if (sinceMs === undefined) this.#unanswered.set(primary, nowMs)
    else if (nowMs - sinceMs >= SILENCE_MS) link.reset('it is silent')
    try {
      const args = [this.#ownChannel, message]
      const [timeMs, info, disagreement] = await Promise.all([
        runOn(link, this.#scripts.heartbeat, [probeKey], args, this.#echo()),
        readInfo(link, ['server', 'replication']),
        this.#route.disagreement(primary),
      ])
      this.#broadcast.answered(text, primary, { identity: identityOf(info) })
      return { timeMs: timeOf(timeMs), disagreement }
    } catch (error) {
      if (errorCode(error) === 'READONLY') link.reset('it has become a replica')
      if (error instanceof UnexpectedReply) {
        link.reset(error.message)
        this.#broadcast.interrupted(error.message)
      }
      throw error
    } finally {
      this.#unanswered.delete(primary)
    }
  }

  async identity(): Promise<string> {
    const primaries = await this.#route.primaries()
    const servers = await Promise.all(
      primaries.map(async ({ link }) => {
        const [info, client] = await Promise.all([
          readInfo(link, ['server', 'replication']),
          link.send(['CLIENT', 'INFO']),
        ])
        const database = /\bdb=(\d+)/.exec(String(client))?.[1]
        return identityOf(info) && `${identityOf(info)} ${info?.get('role')} ${database}`
      }),
    )
    if (servers.includes('')) return ''
    return [JSON.stringify(this.#prefix), ...servers.sort(), this.#route.topology()].join('; ')
  }

  async ready(): Promise<RedisReport> {
    this.#wake()
    const primaries = await this.#route.primaries()
    await Promise.all(primaries.map(({ link }) => link.started))
    for (const { link } of primaries) if (link.problem !== undefined) throw link.problem
    return this.#report(primaries.map(({ link, address }) => link.facts ?? this.#examined.get(address)!))
  }

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
        if (link.facts !== undefined) return this.#examine(link, address, undefined)
        const refused = this.#examined.get(address)
        if (refused !== undefined && link.problem instanceof CacheError) return refused
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

  async close(): Promise<void> {
    this.#rest()
    this.#state = 'closed'
    this.#findings.close()
  }

  distrust(key: string, prefix: string): boolean {
    if (this.#distrusted.get(key) === prefix) return false
    if (this.#distrusted.size >= MOST_DISTRUSTED)
      this.#distrusted.delete(this.#distrusted.keys().next().value!)
    this.#distrusted.set(key, prefix)
    this.#lose(this.#prefix + key, "a reply held another key's register")
    return true
  }

  /** Runs a script on the primary of its first key. */
  #run<T>(
    script: Script,
    names: readonly string[],
    args: readonly string[],
    read: (reply: unknown) => T,
  ): Promise<T> {
    const [name] = names as [string]
    const way = { send: (command: readonly string[]) => this.#route.send(name, command) }
    return runOn(way, script, names, args, this.#echo())
      .then(read)
      .catch(error => this.#afterFailure(name, error))
  }

  #runAt<T>(script: Script, key: string, args: readonly string[], read: (reply: unknown) => T): Promise<T> {
    return this.#run(script, [this.#prefix + key], args, read)
  }

  /** Reads a reply that came from the primary of this name. */
  #read<T>(name: string, read: (reply: unknown) => T, reply: unknown): T {
    try {
      return read(reply)
    } catch (error) {
      return this.#afterFailure(name, error)
    }
  }

  /** A reply that cannot be the one to its command ends the connection that it came over. */
  #afterFailure(name: string, error: unknown): never {
    if (error instanceof UnexpectedReply) this.#lose(name, error.message)
    throw error
  }

  /** Ends the connection to the primary of this name, and lets nobody trust what else has come over it. */
  #lose(name: string, reason: string): void {
    this.#route.reset(name, reason)
    this.#broadcast.interrupted(reason)
  }

  /** A number that no other call of a script has, here or in another process behind the same proxy. */
  #echo(): string {
    return `${this.#ownNumber}${(++this.#calls).toString(36)}`
  }

  /** The arguments of a script that stores a value. */
  #valueArgs(key: string, value: Fill): string[] {
    const [before, after] = valueAroundTimes(markedToken(key, this.#clock.token()), value)
    return [before, after, String(value.freshMs), String(value.freshMs + value.staleMs)]
  }

  /** The arguments by which a script broadcasts that a key was invalidated. */
  #invalidation(key: string): string[] {
    return [this.#channel, INVALIDATED + key]
  }
}

async function load(connection: Connection, script: Script): Promise<void> {
  try {
    const reply = await connection.send(['SCRIPT', 'LOAD', script.source])
    if (typeof reply !== 'string' || !/^[\da-f]{40}$/.test(reply)) throw new UnexpectedReply(reply)
    script.sha = reply
  } catch (error) {
    // Without leave to load it is sent as a whole each time.
    if (errorCode(error) === '') throw error
  }
}

/** Runs a script by its name, or as a whole where the server does not know it: after a restart, or SCRIPT FLUSH. */
async function runOn(
  way: Pick<Connection, 'send'>,
  script: Script,
  keys: readonly string[],
  args: readonly string[],
  number: string,
): Promise<unknown> {
  const echo = `${script.name} ${number}`
  const rest = [String(keys.length), ...keys, ...args, echo]
  if (script.sha !== undefined) {
    try {
      return echoed(await way.send(['EVALSHA', script.sha, ...rest]), echo)
    } catch (error) {
      if (errorCode(error) === WRONG_SCRIPT) throw new UnexpectedReply((error as Error).message)
      if (errorCode(error) !== 'NOSCRIPT') throw error
    }
  }
  return echoed(await way.send(['EVAL', script.source, ...rest]), echo)
}

/** How a register is compared with what was seen of it. */
function comparison(seen: Expected): string[] {
  if ('prefix' in seen) return ['prefix', seen.prefix]
  // Bytes that are no UTF-8 were seen as replacement characters, and can only be compared by what they are not.
  const lossy =
    seen.exactly === NOT_A_STRING || (seen.exactly.includes('\ufffd') && !beginsAsRegister(seen.exactly))
  return lossy ? ['unreadable', ''] : ['exactly', seen.exactly]
}
