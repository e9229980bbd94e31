/**
 * async-cache-dedupe on Redis, invalidated by references that are made of the result, as in the first example of its documentation.
 *
 * @see https://github.com/mcollina/async-cache-dedupe
 */
import { createCache } from 'async-cache-dedupe'
import { Redis } from 'ioredis'
import type { About, Adapter, Setting, Spell } from '../adapter.ts'

export const about: About = {
  name: 'async-cache-dedupe',
  docs: 'https://github.com/mcollina/async-cache-dedupe#invalidation',
  packages: ['async-cache-dedupe', 'ioredis'],
  setUp:
    "storage redis with invalidation; references: (args, key, result) => result ? ['spell:' + result.id] : null, as documented; invalidateAll. For refreshes stale.",
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
      // The types know no null; the documentation teaches it, and the code takes it.
      references: (_id: number, _key: string, result: Spell | null) =>
        (result === null ? null : [`spell:${result.id}`]) as string[],
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
