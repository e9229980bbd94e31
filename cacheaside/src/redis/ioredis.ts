import { isAfterThisTurn, queueMicrotask } from '../base/clock.ts'
import { invalidOption } from '../base/invalid-option.ts'
import type { Address, Driver, RedisConnection } from './driver.ts'
import { ReplyGate } from './reply-gate.ts'
import { selectDatabase } from './select-database.ts'
import { Turn } from './turn.ts'

/** The members by which an ioredis or iovalkey client, or a Cluster of either, is recognised. */
export interface IoredisLike {
  readonly status: string
  call(...args: never[]): unknown
  duplicate(...args: never[]): unknown
}

/** The parts of a client for one server that are used. They are the same in ioredis 5 and 6 and in iovalkey. */
interface Client extends IoredisLike {
  readonly options: Options
  readonly stream?: {
    cork(): void
    uncork(): void
    destroy(): void
    listeners(event: 'data'): readonly ((chunk: Buffer) => void)[]
    on(event: 'data', listener: (chunk: Buffer) => void): unknown
    once(event: 'data', listener: (chunk: Buffer) => void): unknown
    off(event: 'data', listener: (chunk: Buffer) => void): unknown
  }
  /** Commands that wait for their replies. */
  readonly commandQueue: {
    readonly length: number
    peekFront(): { readonly command: unknown } | undefined
    shift(): unknown
  }
  sendCommand(command: Command): Promise<unknown>
  duplicate(override: Options): Client
  connect(): Promise<unknown>
  disconnect(): void
  subscribe(...channels: string[]): Promise<unknown>
  on(event: 'error', listener: (error: Error) => void): unknown
  on(event: 'connect' | 'end', listener: () => void): unknown
  on(event: 'message', listener: (channel: string, message: string) => void): unknown
}

interface Options {
  readonly host?: string
  readonly port?: number
  readonly path?: string
  readonly db?: number
  readonly keyPrefix?: string
  readonly readOnly?: boolean
  /** Missing in ioredis 5 and iovalkey, which only have protocol 2. */
  readonly protocol?: number
  readonly sentinels?: readonly Partial<Address>[] | null
  readonly name?: string
  readonly role?: string
  readonly sentinelCommandTimeout?: number
  readonly [option: string]: unknown
}

/** The parts of a Cluster that are used: its options, and a client for one server as its options make it. */
interface Cluster extends IoredisLike {
  readonly isCluster: true
  readonly options: {
    readonly scaleReads?: unknown
    readonly keyPrefix?: string
    readonly redisOptions?: Options
    readonly natMap?: Record<string, Address> | ((address: string) => Address | null) | null
  }
  duplicate(nodes: readonly unknown[], override: object): Cluster
  connect(): Promise<unknown>
  disconnect(): void
  on(event: '+node', listener: (node: Client) => void): unknown
  on(event: 'error', listener: (error: Error) => void): unknown
}

/**
 * One command, as `sendCommand` takes it: all that ioredis and iovalkey ask of it when it is sent, answered or lost. Their
 * own class looks at each argument several times, for callbacks, buffers, lists, key prefixes and reply transformers, which
 * are not used here. That would take a tenth of a hit's time.
 */
class Command {
  readonly #words: readonly string[]
  /** In lower case. ioredis asks for it several times, and makes it so each time: that would take longer than the rest. */
  readonly name: string
  readonly promise: Promise<unknown>
  readonly inTransaction = false
  /** Set by ioredis, which tells diagnostic channels of it. */
  isTraced = false
  // Not methods: instrumentation calls them without the object.
  resolve!: (reply: unknown) => void
  reject!: (error: unknown) => void

  constructor(words: readonly string[]) {
    this.#words = words
    this.name = lowerCase(words[0]!)
    this.promise = new Promise((resolve, reject) => {
      this.resolve = reply => {
        try {
          resolve(decoded(reply))
        } catch (error) {
          // Thrown in the client's parser, it would end the process.
          reject(error)
        }
      }
      this.reject = reject
    })
  }

  get args(): readonly string[] {
    return this.#words.slice(1)
  }

  /** Replies are not mapped. */
  setReplyContext(): void {}

  toWritable(): string {
    const text = written(this.#words, charsOf)
    // Mostly all characters are of one byte. To ask that once is faster than to ask each word for its length.
    return Buffer.byteLength(text) === text.length ? text : written(this.#words, Buffer.byteLength)
  }
}

const lowerCased = new Map<string, string>()

/** The name of a command in lower case. There are a few names only. */
function lowerCase(name: string): string {
  const known = lowerCased.get(name)
  if (known !== undefined) return known
  const lower = name.toLowerCase()
  lowerCased.set(name, lower)
  return lower
}

const charsOf = (word: string): number => word.length

/** A command in the protocol. */
function written(words: readonly string[], lengthOf: (word: string) => number): string {
  let text = `*${words.length}\r\n`
  for (const word of words) text += `$${lengthOf(word)}\r\n${word}\r\n`
  return text
}

/** A reply with its strings as strings. */
function decoded(reply: unknown): unknown {
  if (reply instanceof Buffer) return reply.toString()
  return Array.isArray(reply) ? reply.map(decoded) : reply
}

/**
 * One attempt, one connection, nothing kept for later. ioredis resends unanswered commands after a reconnect by
 * default, and keeps those that it does not resend waiting until `maxRetriesPerRequest` is reached.
 */
const ONE_CONNECTION: Options = {
  lazyConnect: true,
  retryStrategy: null,
  reconnectOnError: null,
  maxRetriesPerRequest: 0,
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  autoResubscribe: false,
  enableAutoPipelining: false,
  enableReadyCheck: false,
  keyPrefix: '',
  // Selected by us: see selectDatabase().
  db: 0,
  readOnly: false,
  monitor: false,
  stringNumbers: false,
  replyMapping: 'legacy',
  commandTimeout: undefined,
  socketTimeout: undefined,
  disconnectTimeout: 100,
  sentinelRetryStrategy: null,
}
const SENTINEL_ANSWERS_MS = 2000
const DEFAULT_PORT = 6379

/** Whether this is a client of ioredis or iovalkey. */
export function isIoredis(client: unknown): client is IoredisLike {
  const seen = client as Partial<Client> | null | undefined
  return (
    typeof seen?.call === 'function' &&
    typeof seen.duplicate === 'function' &&
    typeof seen.status === 'string'
  )
}

/** Opens connections as this client would; the client itself is only read, not used. */
export function ioredisDriver(client: IoredisLike): Driver {
  return isCluster(client) ? clusterDriver(client) : singleDriver(client as Client)
}

const isCluster = (client: IoredisLike): client is Cluster => (client as Partial<Cluster>).isCluster === true

function singleDriver(client: Client): Driver {
  const { options } = client
  const sentinel = Array.isArray(options.sentinels)
  if (options.readOnly === true) throw invalidOption('client.options.readOnly', 'false', true)
  if (sentinel && options.role !== undefined && options.role !== 'master')
    throw invalidOption('client.options.role', '"master"', options.role)
  const one: Options = sentinel
    ? { ...ONE_CONNECTION, sentinelCommandTimeout: options.sentinelCommandTimeout ?? SENTINEL_ANSWERS_MS }
    : ONE_CONNECTION
  return {
    deployment: sentinel ? 'sentinel' : 'standalone',
    keyPrefix: options.keyPrefix ?? '',
    seeds: async () => [],
    reachable: address => address,
    target: sentinel
      ? `the primary of ${options.name}`
      : (options.path ?? `${options.host ?? 'localhost'}:${options.port ?? DEFAULT_PORT}`),
    open: (_to, onLost, signal) => openConnection(client.duplicate(one), options.db, onLost, signal),
  }
}

function clusterDriver(cluster: Cluster): Driver {
  const { scaleReads, keyPrefix, redisOptions, natMap } = cluster.options
  if (scaleReads !== undefined && scaleReads !== 'master')
    throw invalidOption('client.options.scaleReads', '"master"', scaleReads)
  let template: Client | undefined
  const { username, password } = redisOptions ?? {}
  /** What connections log in with, if the client's options have changed. A node may have credentials of its own. */
  const changedLogin = (): Options => {
    const now = cluster.options.redisOptions ?? {}
    if (now.username === username && now.password === password) return {}
    return { username: now.username, password: now.password }
  }
  return {
    deployment: 'cluster',
    keyPrefix: keyPrefix || redisOptions?.keyPrefix || '',
    async seeds() {
      const nodes = await startupNodes(cluster)
      template ??= nodes[0]
      return nodes.map(({ options }) => ({ host: options.host as string, port: options.port as number }))
    },
    reachable(address) {
      const text = `${address.host}:${address.port}`
      const mapped = typeof natMap === 'function' ? natMap(text) : natMap?.[text]
      return mapped ?? address
    },
    target: 'the Cluster',
    async open(to, onLost, signal) {
      template ??= (await startupNodes(cluster))[0] as Client
      const { host, port } = to as Address
      const one = template.duplicate({ ...ONE_CONNECTION, ...changedLogin(), host, port })
      return openConnection(one, 0, onLost, signal)
    },
  }
}

/**
 * Clients for the servers that the Cluster starts from, unconnected, with all that its options say and their host
 * names looked up. Only a Cluster makes these, as soon as it begins to connect; so a duplicate begins to, and is
 * ended at once.
 */
async function startupNodes(cluster: Cluster): Promise<Client[]> {
  const duplicate = cluster.duplicate([], { lazyConnect: true, enableOfflineQueue: false })
  const nodes: Client[] = []
  duplicate.on('error', () => {})
  try {
    await new Promise<void>((resolve, reject) => {
      duplicate.on('+node', node => {
        nodes.push(node.duplicate(ONE_CONNECTION))
        // All of them are made in one go.
        queueMicrotask(resolve)
      })
      duplicate.connect().then(() => resolve(), reject)
    })
  } finally {
    duplicate.disconnect()
  }
  return nodes
}

async function openConnection(
  client: Client,
  database: number | undefined,
  onLost: (error: Error) => void,
  signal: AbortSignal,
): Promise<RedisConnection> {
  let problem: Error | undefined
  let refusal: Error | undefined
  let open = false
  // The reason for the end of a connection comes as an event, before the end. Without a listener it would be printed. Only
  // the first event is the reason; later ones are its consequences.
  client.on('error', error => {
    problem ??= error
  })
  client.on('end', () => {
    if (open) onLost(refusal ?? problem ?? new Error('the connection was closed'))
  })
  // The client writes each command apart.
  let corked = false
  const turn = new Turn(() => {
    if (!corked) return
    corked = false
    client.stream?.uncork()
  })
  let gate: ReplyGate | undefined
  // By then its parser exists, and no bytes have come.
  client.on('connect', () => {
    gate = putGate(client, turn, error => {
      problem ??= error
      client.stream?.destroy()
    })
    client.stream?.once('data', chunk => {
      refusal = refusalIn(chunk)
    })
  })
  const giveUp = () => client.disconnect()
  signal.throwIfAborted()
  signal.addEventListener('abort', giveUp, { once: true })
  try {
    await client.connect()
    await selectDatabase({ send: args => client.sendCommand(new Command(args)) }, database)
  } catch (error) {
    client.disconnect()
    throw signal.aborted ? signal.reason : (refusal ?? problem ?? error)
  } finally {
    signal.removeEventListener('abort', giveUp)
  }
  open = true
  problem = undefined
  return {
    // ioredis 5 and iovalkey count as connected before they have the reply to AUTH.
    get problem() {
      return refusal ?? problem
    },
    send(args) {
      if (!isAfterThisTurn() && !turn.add() && !corked) {
        corked = true
        client.stream?.cork()
      }
      return client.sendCommand(new Command(args))
    },
    subscribe(channels, onMessage) {
      client.on('message', onMessage)
      gate?.listen()
      return client.subscribe(...channels)
    },
    close() {
      open = false
      client.disconnect()
      // Without this the client only sends FIN, and still hands out what arrives.
      client.stream?.destroy()
    },
  }
}

/**
 * Why a server lets nobody in, if it begins with that: it has no room, or it is in protected mode. It asks for no command, and
 * closes. The client takes its words for the reply to a command of its own whose errors it ignores.
 */
function refusalIn(chunk: Buffer): Error | undefined {
  const words = /^-(ERR max number of clients|DENIED )[^\r]*/.exec(chunk.toString('latin1', 0, 1000))?.[0]
  return words === undefined ? undefined : new Error(words.slice(1))
}

/** Puts a gate before the client's parser. */
function putGate(
  { stream, commandQueue, options }: Client,
  turn: Turn,
  end: (error: Error) => void,
): ReplyGate {
  const parsers = stream!.listeners('data')
  const gate = new ReplyGate({
    isResp3: options.protocol === 3,
    waiting: () => commandQueue.length,
    answer(reply) {
      const command = commandQueue.peekFront()?.command
      if (!(command instanceof Command)) return false
      commandQueue.shift()
      command.resolve(reply)
      return true
    },
    handOn(bytes) {
      for (const parse of parsers) parse(bytes)
    },
    end,
  })
  stream!.on('data', chunk => {
    turn.replied()
    gate.read(chunk)
  })
  for (const parse of parsers) stream!.off('data', parse)
  return gate
}
