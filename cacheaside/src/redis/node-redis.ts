import { invalidOption, invalidOptionInWords } from '../base/invalid-option.ts'
import type { Address, Driver, RedisConnection } from './driver.ts'
import { selectDatabase } from './select-database.ts'
import { StreamedCredentials } from './streamed-credentials.ts'

/** The members by which a client of `redis` (node-redis), or a Cluster or Sentinel of it, is recognised. */
export interface NodeRedisLike {
  readonly isOpen: boolean
  sendCommand(...args: never[]): unknown
  duplicate(...args: never[]): unknown
}

/** What is used of a client for one server. */
interface Client extends NodeRedisLike {
  readonly options?: Options
  duplicate(override: object): Client
  connect(): Promise<unknown>
  destroy(): void
  sendCommand(args: readonly string[]): Promise<unknown>
  subscribe(
    channels: readonly string[],
    listener: (message: string, channel: string) => void,
  ): Promise<unknown>
  on(event: 'connect' | 'error' | 'end', listener: (error?: Error) => void): unknown
}

interface Options {
  readonly socket?: Socket
  readonly keyPrefix?: string
  readonly readonly?: boolean
  readonly database?: number
  readonly credentialsProvider?: unknown
}
interface Socket extends Partial<Address> {
  readonly path?: string
  readonly [option: string]: unknown
}

type AddressMap = Record<string, Address> | ((address: string) => Address | undefined)

/** What is used of a Cluster. */
interface Cluster extends NodeRedisLike {
  /** Missing in the first releases of node-redis 5. */
  readonly _options?: {
    readonly rootNodes: readonly { readonly url?: string; readonly socket?: Partial<Address> }[]
    readonly useReplicas?: boolean
    readonly keyPrefix?: string
    readonly nodeAddressMap?: AddressMap
  }
  readonly masters: readonly { readonly client?: Client }[]
  duplicate(override: object): Cluster
  connect(): Promise<unknown>
  nodeClient(node: unknown): Promise<Client>
  destroy(): void
  on(event: 'error', listener: () => void): unknown
}

/** A client for one connection, and the database to be selected on it. */
interface UnopenedClient {
  readonly client: Client
  readonly database: number | undefined
}

/** What is used of a Sentinel. */
interface Sentinel extends NodeRedisLike {
  readonly _keyPrefix?: string
  duplicate(override: object): Sentinel
  connect(): Promise<unknown>
  getMasterNode(): Address | undefined
  _execute(readonly: boolean, work: (client: Client) => Promise<UnopenedClient>): Promise<UnopenedClient>
  destroy(): Promise<void>
  on(event: 'error', listener: () => void): unknown
}

/**
 * One attempt, one connection, nothing kept for later, and no timer per command: the limits are the cache's own.
 * (`disableOfflineQueue` also makes it reject everything that is under way when the connection is lost.)
 */
const ONE_CONNECTION = {
  url: undefined,
  disableOfflineQueue: true,
  commandOptions: { timeout: undefined },
  commandsQueueMaxLength: undefined,
  keyPrefix: undefined,
  // Selected by us: see selectDatabase().
  database: 0,
  readonly: false,
  clientSideCache: undefined,
  emitInvalidate: false,
  pingInterval: undefined,
  maintNotifications: 'disabled',
}
const DEFAULT_PORT = 6379

/** Whether this is a client of node-redis. */
export function isNodeRedis(client: unknown): client is NodeRedisLike {
  const seen = client as Partial<NodeRedisLike> | null | undefined
  return (
    typeof seen?.sendCommand === 'function' &&
    typeof seen.duplicate === 'function' &&
    typeof seen.isOpen === 'boolean'
  )
}

/** Opens connections as this client would; the client itself is only read, not used, and need not be connected. */
export function nodeRedisDriver(client: NodeRedisLike): Driver {
  if (typeof (client as Partial<Cluster>).nodeClient === 'function') return clusterDriver(client as Cluster)
  if (typeof (client as Partial<Sentinel>).getMasterNode === 'function')
    return sentinelDriver(client as Sentinel)
  return singleDriver(client as Client)
}

function singleDriver(client: Client): Driver {
  const { socket, keyPrefix, readonly } = client.options ?? {}
  if (readonly === true) throw invalidOption('client.options.readonly', 'false', true)
  return {
    deployment: 'standalone',
    keyPrefix: keyPrefix ?? '',
    seeds: async () => [],
    reachable: address => address,
    target: socket?.path ?? `${socket?.host ?? 'localhost'}:${socket?.port ?? DEFAULT_PORT}`,
    open: (_to, onLost, signal) => openConnection(single(client), client.options?.database, onLost, signal),
  }
}

/** A client of the same kind for one connection, to another address if there is one. */
function single(client: Client, to?: Address): Client {
  const { socket: { path, ...socket } = {}, credentialsProvider } = client.options ?? {}
  const where = to === undefined ? { path } : { host: to.host, port: to.port }
  const one = { ...socket, ...(where.path === undefined && 'path' in where ? {} : where) }
  return client.duplicate({
    ...ONE_CONNECTION,
    socket: { ...one, reconnectStrategy: false, socketTimeout: undefined },
    credentialsProvider: StreamedCredentials.ofOne(credentialsProvider),
  })
}

function clusterDriver(cluster: Cluster): Driver {
  if (cluster._options === undefined)
    throw invalidOptionInWords(
      'client',
      'a Cluster of a later node-redis',
      'one that does not show its options',
    )
  const { rootNodes, useReplicas, keyPrefix, nodeAddressMap } = cluster._options
  if (useReplicas === true) throw invalidOption('client.useReplicas', 'false', true)
  let template: Client | undefined
  return {
    deployment: 'cluster',
    keyPrefix: keyPrefix ?? '',
    seeds: async () => rootNodes.map(rootAddress),
    reachable(address) {
      const text = `${address.host}:${address.port}`
      const mapped = typeof nodeAddressMap === 'function' ? nodeAddressMap(text) : nodeAddressMap?.[text]
      return mapped ?? address
    },
    target: 'the Cluster',
    async open(to, onLost, signal) {
      template ??= await anyNode(cluster)
      return openConnection(single(template, to), 0, onLost, signal)
    },
  }
}

function rootAddress({ url, socket }: NonNullable<Cluster['_options']>['rootNodes'][number]): Address {
  if (url === undefined) return { host: socket?.host ?? 'localhost', port: socket?.port ?? DEFAULT_PORT }
  const { hostname, port } = new URL(url)
  return { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port || DEFAULT_PORT) }
}

/**
 * A client for one server of the Cluster, with everything that the Cluster's options say. Only a Cluster that has
 * found its nodes makes these; so a duplicate finds them, without connecting to all, and is ended at once.
 */
async function anyNode(cluster: Cluster): Promise<Client> {
  const duplicate = cluster.duplicate({ minimizeConnections: true })
  duplicate.on('error', () => {})
  let connecting: Client | undefined
  try {
    await duplicate.connect()
    const node = duplicate.masters[0] as { readonly client?: Client }
    // The client exists at once, even if its connection fails later.
    duplicate.nodeClient(node).catch(() => {})
    connecting = node.client
    return single(connecting as Client)
  } finally {
    if (connecting === undefined) duplicate.destroy()
    else afterAttempt(connecting, () => duplicate.destroy())
  }
}

/**
 * Calls `end` once, when a client that has begun to connect is connected or has failed. node-redis loses hold of a socket
 * that is still connecting when its client is destroyed: the socket then stays open, and keeps the process alive.
 */
function afterAttempt(client: Client, end: () => void): void {
  let ended = false
  const once = () => {
    if (!ended) end()
    ended = true
  }
  client.on('connect', once)
  client.on('error', once)
}

function sentinelDriver(sentinel: Sentinel): Driver {
  return {
    deployment: 'sentinel',
    keyPrefix: sentinel._keyPrefix ?? '',
    seeds: async () => [],
    reachable: address => address,
    target: 'the primary that Sentinel names',
    async open(_to, onLost, signal) {
      const { client, database } = await primaryOf(sentinel)
      return openConnection(client, database, onLost, signal)
    },
  }
}

/**
 * A client for the primary as the sentinels name it now. The client of a Sentinel resends what it has lost, so
 * it is only asked for the way to the primary.
 */
async function primaryOf(sentinel: Sentinel): Promise<UnopenedClient> {
  const asked = sentinel.duplicate({
    maxCommandRediscovers: 0,
    masterPoolSize: 1,
    replicaPoolSize: 0,
    reserveClient: false,
    scanInterval: 0,
  })
  asked.on('error', () => {})
  try {
    await asked.connect()
    return await asked._execute(false, async client => ({
      client: single(client),
      database: client.options?.database,
    }))
  } finally {
    await asked.destroy()
  }
}

async function openConnection(
  client: Client,
  database: number | undefined,
  onLost: (error: Error) => void,
  signal: AbortSignal,
): Promise<RedisConnection> {
  let open = false
  let isConnecting = false
  // Early versions of node-redis 5 throw if there is nothing to close, as after a lost connection.
  const destroyNow = () => {
    if (client.isOpen) client.destroy()
  }
  const destroy = () => {
    StreamedCredentials.end(client.options?.credentialsProvider)
    if (isConnecting) afterAttempt(client, destroyNow)
    else destroyNow()
  }
  const lost = (error?: Error) => {
    if (!open) return
    // An error of an open client is about the bytes that it has read: a reply that no command waits for, or no valid reply.
    if (client.isOpen && error === undefined) return
    open = false
    destroy()
    onLost(error ?? new Error('the connection was closed'))
  }
  client.on('end', lost)
  signal.throwIfAborted()
  client.on('connect', () => {
    isConnecting = false
  })
  // The client may wait for ever for a reply of its opening that it has lost count of, even after it was destroyed.
  const failed = new Promise<never>((_resolve, reject) => {
    client.on('error', error => (open ? lost(error) : reject(error)))
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
  isConnecting = true
  try {
    await Promise.race([client.connect(), failed])
    await Promise.race([selectDatabase({ send: args => client.sendCommand(args) }, database), failed])
  } catch (error) {
    destroy()
    throw error
  }
  open = true
  return {
    send: args => client.sendCommand(args),
    subscribe: (channels, onMessage) =>
      client.subscribe(channels, (message, channel) => onMessage(channel, message)),
    close() {
      open = false
      destroy()
    },
  }
}
