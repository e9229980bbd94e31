/**
 * async-cache-dedupe on Redis, invalidated by references that are made of the argument.
 *
 * @see https://github.com/mcollina/async-cache-dedupe
 */
import { createCache } from 'async-cache-dedupe'
import { Redis } from 'ioredis'
import type { About, Adapter, Setting } from '../adapter.ts'

export const about: About = {
  name: 'async-cache-dedupe, by argument',
  docs: 'https://github.com/mcollina/async-cache-dedupe#invalidation',
  packages: ['async-cache-dedupe', 'ioredis'],
  setUp:
    "storage redis with invalidation; references: id => ['spell:' + id], which absent rows have too; invalidateAll. For refreshes stale.",
  refreshes: true,
}

export async function open({ redisPort, find, ttlMs, refresh }: Setting): Promise<Adapter> {
  const client = new Redis({ host: '127.0.0.1', port: redisPort })
  client.on('error', () => {})
  const ttl = Math.ceil(ttlMs / 1000)
  const stale = Math.ceil((refresh?.staleMs ?? 0) / 1000)
  const cache = createCache({
    ttl,
    stale,
    storage: { type: 'redis', options: { client, invalidation: { referencesTTL: ttl + stale } } },
  }).define(
    'spell',
    {
      references: (id: number) => [`spell:${id}`],
    },
    (id: number) => find(id),
  )
  return {
    get: id => cache.spell(id),
    async write(id, change) {
      await change()
      await cache.invalidateAll(`spell:${id}`)
      return undefined
    },
  }
}
