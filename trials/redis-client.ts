import { Cluster, Redis } from 'ioredis'
import type { StoreAddress } from './subject.ts'

/** What a trial says about commands that are not answered. */
export interface Patience {
  readonly commandTimeout?: number
  readonly autoResendUnfulfilledCommands?: boolean
  readonly enableOfflineQueue?: boolean
}

/** A client for the servers at an address. */
export function clientOf(at: StoreAddress, patience: Patience = {}): Redis | Cluster {
  const client = unconnected(at, patience)
  client.on('error', () => {})
  return client
}

function unconnected(at: StoreAddress, patience: Patience): Redis | Cluster {
  const { enableOfflineQueue: _, ...each } = patience
  if ('cluster' in at) return new Cluster([...at.cluster], { lazyConnect: true, redisOptions: each })
  if ('sentinels' in at)
    return new Redis({ ...patience, sentinels: [...at.sentinels], name: at.name, lazyConnect: true })
  return new Redis({ ...patience, host: '127.0.0.1', port: at.port, lazyConnect: true })
}
