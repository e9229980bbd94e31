/**
 * The shared store on Redis and Valkey, as users get it. Here it is put together from three parts:
 *
 * - `register-commands.ts`: the commands on registers and generations;
 * - `servers.ts`: the servers, their examination and the report on them;
 * - `heartbeat.ts`: whether the servers are alive, and which ones they are.
 */
import type {
  Expected,
  Fill,
  GuardReply,
  HeartbeatReply,
  LeaseReply,
  LookReply,
  ReleaseReply,
  SharedStore,
  StoreView,
  StreamListener,
} from '../shared/shared-store.ts'
import { CheckedCommands } from './checked-commands.ts'
import { Heartbeat, identityOfRegisters } from './heartbeat.ts'
import { Inquiries } from './inquiries.ts'
import { namesUnder } from './names.ts'
import { type RedisSharedOptions, type ResolvedRedisOptions, resolveRedisOptions } from './options.ts'
import { RegisterCommands } from './register-commands.ts'
import { loadableScripts } from './scripts.ts'
import { type RedisReport, Servers } from './servers.ts'
import { ValueSizes } from './value-sizes.ts'
import { openView } from './view.ts'

/**
 * The shared store on Redis or Valkey. Its connections are open from the beginning until the last cache on it is closed, and
 * again while there is another one; `close()` ends it for good.
 */
export interface RedisShared extends SharedStore {
  /**
   * Waits for the first connection to every primary. A program may call it at its start. It need not: the store works as soon
   * as it can, and tries to connect for ever.
   *
   * @returns what the servers say of themselves, and what is worth a warning.
   * @throws CacheError `INVALID_OPTIONS` while a server is refused for what it is; an error that says why there is no
   * connection.
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
 * the value. A hit that is looked for takes one native command; everything else is one script (`scripts.ts`). Nothing is
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
 * Asks the servers behind a client what they are, and whether a store on them would be safe. Closes what it opened.
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

/** The store, made of the three parts. */
class RedisStore implements RedisShared {
  readonly name = 'redis'
  readonly synchronous = false
  readonly maxValueBytes: number
  readonly #sizes: ValueSizes
  readonly #options: ResolvedRedisOptions
  readonly #servers: Servers
  readonly #commands: CheckedCommands
  readonly #registers: RegisterCommands
  readonly #heartbeat: Heartbeat
  readonly #inquiries: Inquiries

  constructor(options: ResolvedRedisOptions) {
    const { driver, prefix, clock } = options
    const onCluster = driver.deployment === 'cluster'
    const sizes = new ValueSizes(options.maxValueBytes, prefix)
    const scripts = loadableScripts(onCluster, sizes)
    const names = namesUnder(prefix, clock.token())
    const servers = new Servers(options, names, scripts)
    const commands = new CheckedCommands(servers, prefix, clock)
    const registers = new RegisterCommands({ commands, scripts, names, onCluster, clock, sizes })
    this.maxValueBytes = options.maxValueBytes
    this.#sizes = sizes
    this.#options = options
    this.#servers = servers
    this.#commands = commands
    this.#registers = registers
    this.#inquiries = new Inquiries({
      driver,
      clock,
      prefix,
      publish: async (channel, message) => {
        const [primary] = await servers.route.primaries()
        return primary!.link.send(['PUBLISH', channel, message])
      },
    })
    this.#heartbeat = new Heartbeat({ servers, commands, registers, script: scripts.heartbeat, names, clock })
  }

  keysAtOnce(keyspace: string): number {
    return this.#sizes.keysAtOnce(keyspace)
  }

  lease(key: string, token: string, leaseMs: number): Promise<LeaseReply> {
    return this.#registers.lease(key, token, leaseMs)
  }

  leaseMany(requests: readonly { key: string; token: string }[], leaseMs: number): Promise<LeaseReply[]> {
    return this.#registers.leaseMany(requests, leaseMs)
  }

  stampMany(requests: readonly { key: string; token: string }[], lifeMs: number): Promise<LeaseReply[]> {
    return this.#registers.stampMany(requests, lifeMs)
  }

  renewStamp(key: string, token: string, lifeMs: number): Promise<boolean> {
    return this.#registers.renewStamp(key, token, lifeMs)
  }

  look(keys: readonly string[]): Promise<LookReply[]> {
    return this.#registers.look(keys)
  }

  fill(key: string, prefix: string, value: Fill): Promise<boolean> {
    return this.#registers.fill(key, prefix, value)
  }

  swap(key: string, seen: Expected, token: string, leaseMs: number): Promise<boolean> {
    return this.#registers.swap(key, seen, token, leaseMs)
  }

  drop(key: string, seen: Expected): Promise<boolean> {
    return this.#registers.drop(key, seen)
  }

  claim(key: string, nonce: string, token: string, claimMs: number): Promise<boolean> {
    return this.#registers.claim(key, nonce, token, claimMs)
  }

  guard(key: string, token: string, guardMs: number, renewal: boolean): Promise<GuardReply> {
    return this.#registers.guard(key, token, guardMs, renewal)
  }

  release(key: string, token: string, committed?: Fill): Promise<ReleaseReply> {
    return this.#registers.release(key, token, committed)
  }

  invalidate(key: string): Promise<void> {
    return this.#registers.invalidate(key)
  }

  generation(keyspace: string, candidate: string): Promise<string> {
    return this.#registers.generation(keyspace, candidate)
  }

  invalidateKeyspace(keyspace: string, generation: string): Promise<void> {
    return this.#registers.invalidateKeyspace(keyspace, generation)
  }

  distrust(key: string, prefix: string): boolean {
    return this.#commands.distrust(key, prefix)
  }

  view(): Promise<StoreView> {
    return openView(this.#options)
  }

  subscribe(listener: StreamListener): () => void {
    return this.#servers.broadcast.subscribe(listener)
  }

  heartbeat(
    text: string,
    keyspaces: readonly { name: string; candidate: string }[],
  ): Promise<HeartbeatReply> {
    return this.#heartbeat.send(text, keyspaces)
  }

  answer(respond: (question: string) => Promise<string | undefined>): () => void {
    return this.#inquiries.answer(respond)
  }

  ask(question: string, forMs: number): Promise<readonly string[]> {
    return this.#inquiries.ask(question, forMs)
  }

  identity(): Promise<string> {
    return identityOfRegisters(this.#servers, this.#options.prefix)
  }

  ready(): Promise<RedisReport> {
    return this.#servers.ready()
  }

  inspect(): Promise<RedisReport> {
    return this.#servers.inspect()
  }

  retain(): () => void {
    return this.#servers.retain()
  }

  async close(): Promise<void> {
    this.#inquiries.close()
    this.#servers.close()
  }
}
