import { Redis as Ioredis, Cluster as IoredisCluster } from 'ioredis'
import { Redis as Iovalkey, Cluster as IovalkeyCluster } from 'iovalkey'
import { createClient, createCluster, createSentinel } from 'redis'
import type { RedisClient } from '../../src/redis/index.ts'

/** Where a server is. */
export interface Place {
  readonly host: string
  readonly port: number
}

/** What may be said about the way to a server. */
export interface Way {
  readonly username?: string
  readonly password?: string
  readonly database?: number
  readonly keyPrefix?: string
}

/** A client library, and how it makes its clients. None of them is connected: the store is to do that. */
export interface ClientLibrary {
  readonly name: string
  single(port: number, way?: Way): RedisClient
  /** By a `rediss://` address, trusting one certificate. */
  encrypted(port: number, ca: string): RedisClient
  cluster(nodes: readonly Place[], way?: Way): RedisClient
  sentinel(nodes: readonly Place[], name: string, way?: Way): RedisClient
}

const ioredisWay = ({ database = 0, ...way }: Way) => ({ ...way, db: database, lazyConnect: true })

/** The libraries that the store is tested with. */
export const CLIENT_LIBRARIES: readonly ClientLibrary[] = [
  {
    name: 'ioredis',
    single: (port, way = {}) => new Ioredis({ port, host: '127.0.0.1', ...ioredisWay(way) }),
    encrypted: (port, ca) => new Ioredis(`rediss://localhost:${port}`, { tls: { ca }, lazyConnect: true }),
    cluster: (nodes, { keyPrefix, ...way } = {}) =>
      new IoredisCluster([...nodes], {
        lazyConnect: true,
        ...(keyPrefix === undefined ? {} : { keyPrefix }),
        redisOptions: way,
      }),
    sentinel: (nodes, name, way = {}) => new Ioredis({ sentinels: [...nodes], name, ...ioredisWay(way) }),
  },
  {
    name: 'iovalkey',
    single: (port, way = {}) => new Iovalkey({ port, host: '127.0.0.1', ...ioredisWay(way) }),
    encrypted: (port, ca) => new Iovalkey(`rediss://localhost:${port}`, { tls: { ca }, lazyConnect: true }),
    cluster: (nodes, { keyPrefix, ...way } = {}) =>
      new IovalkeyCluster([...nodes], {
        lazyConnect: true,
        ...(keyPrefix === undefined ? {} : { keyPrefix }),
        redisOptions: way,
      }),
    sentinel: (nodes, name, way = {}) => new Iovalkey({ sentinels: [...nodes], name, ...ioredisWay(way) }),
  },
  {
    name: 'node-redis',
    single: (port, { keyPrefix, ...way } = {}) =>
      createClient({
        ...way,
        ...(keyPrefix === undefined ? {} : { keyPrefix }),
        socket: { port, host: '127.0.0.1' },
      }),
    encrypted: (port, ca) => createClient({ url: `rediss://localhost:${port}`, socket: { tls: true, ca } }),
    cluster: (nodes, { keyPrefix, ...way } = {}) =>
      createCluster({
        rootNodes: nodes.map(socket => ({ socket })),
        defaults: way,
        ...(keyPrefix === undefined ? {} : { keyPrefix }),
      }),
    sentinel: (nodes, name, { keyPrefix, ...way } = {}) =>
      createSentinel({
        name,
        sentinelRootNodes: [...nodes],
        nodeClientOptions: way,
        ...(keyPrefix === undefined ? {} : { keyPrefix }),
      }),
  },
]

/** The library that a test takes which is not about clients. */
export const IOREDIS = CLIENT_LIBRARIES[0]!
