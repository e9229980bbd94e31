import { tracingChannel } from 'node:diagnostics_channel'
import { type CacheOptions, createCache, embeddedShared } from 'cacheaside'
import { LRUCache } from 'lru-cache'
import { type Case, spellOf, times, timesAwaited } from './measure.ts'

const KEYS = 1_000
const load = async (id: number) => spellOf(id)

/** What happens in this process alone: hits in L1 and in the embedded store, misses, writes. */
export async function localCases(): Promise<Case[]> {
  const lru = new LRUCache<number, object>({ max: 10_000, ttl: 600_000 })
  const lruBytes = new LRUCache<string, object>({ max: 10_000, maxSize: 10_000 * 500, ttl: 600_000 })
  const withLocal = createCache({ local: { maxBytes: 64 * 2 ** 20 } }).keyspace('spell', { load })
  const evicting = createCache({ local: { maxEntries: 10_000 } }).keyspace('spell', { load })
  const sharedOnly = createCache({ shared: embeddedShared() }).keyspace('spell', { load })
  const tagged = withTags({ local: { maxBytes: 64 * 2 ** 20 } })
  const taggedShared = withTags({ shared: embeddedShared() })
  const plain = new Map<number, object>()
  for (let id = 0; id < KEYS; id++) {
    lru.set(id, spellOf(id))
    plain.set(id, spellOf(id))
    await withLocal.get(id)
    await sharedOnly.get(id)
    await tagged.get(id)
    await taggedShared.get(id)
  }
  const ids = Array.from({ length: 100 }, (_, id) => id)
  let coldId = 1_000_000
  return [
    { name: 'lru-cache get (max, ttl)', operations: 400_000, run: n => times(n, i => lru.get(i % KEYS)) },
    {
      name: 'peek, L1 hit',
      against: 'lru-cache get (max, ttl)',
      goal: 1,
      operations: 400_000,
      run: n => times(n, i => withLocal.peek(i % KEYS)),
    },
    {
      name: 'await async Map.get',
      operations: 200_000,
      run: n => timesAwaited(n, async i => plain.get(i % KEYS)),
    },
    {
      name: 'await get, L1 hit',
      against: 'lru-cache get (max, ttl)',
      goal: 2.8,
      operations: 200_000,
      run: n => timesAwaited(n, i => withLocal.get(i % KEYS)),
    },
    {
      name: 'await get, L1 hit, with a subscriber to cacheaside:read',
      against: 'await get, L1 hit',
      operations: 20_000,
      run: n => followed(() => timesAwaited(n, i => withLocal.get(i % KEYS))),
    },
    {
      name: 'await get with three tags, L1 hit',
      against: 'await get, L1 hit',
      goal: 1.5,
      operations: 200_000,
      run: n => timesAwaited(n, i => tagged.get(i % KEYS)),
    },
    {
      name: 'await get, hit in the embedded store',
      against: 'await async Map.get',
      operations: 20_000,
      run: n => timesAwaited(n, i => sharedOnly.get(i % KEYS)),
    },
    {
      name: 'await get, hit in the embedded store, with a subscriber to cacheaside:read',
      against: 'await get, hit in the embedded store',
      operations: 20_000,
      run: n => followed(() => timesAwaited(n, i => sharedOnly.get(i % KEYS))),
    },
    {
      name: 'await get with three tags, hit in the embedded store',
      against: 'await get, hit in the embedded store',
      operations: 20_000,
      run: n => timesAwaited(n, i => taggedShared.get(i % KEYS)),
    },
    {
      name: 'await getMany of 100, embedded store, per key',
      against: 'await get, hit in the embedded store',
      goal: 1,
      operations: 20_000,
      run: n => timesAwaited(n / 100, () => sharedOnly.getMany(ids)),
    },
    {
      name: 'await get, miss: load, fill, L1 with eviction',
      against: 'await get, hit in the embedded store',
      operations: 5_000,
      run: n => timesAwaited(n, () => evicting.get(coldId++)),
    },
    {
      name: 'write: guard, commit, release',
      against: 'await get, hit in the embedded store',
      operations: 5_000,
      run: n => timesAwaited(n, i => sharedOnly.write(i % KEYS, noCommit)),
    },
    {
      name: 'lru-cache set, evicting (max, maxSize, ttl)',
      operations: 50_000,
      run: n => times(n, () => lruBytes.set(`spell:${coldId++}`, plain, { size: 500 })),
    },
  ]
}

/** A keyspace whose values have three tags each, known from the id. */
function withTags(options: CacheOptions) {
  const cache = createCache(options)
  const one = cache.tags<number>('one')
  return cache.keyspace('spell', { load, tags: id => [one.key(id % 10), one.key(100 + id), one.key(5_000)] })
}

const noCommit = () => undefined

/** Does it while somebody subscribes to reads. */
async function followed(work: () => Promise<void>): Promise<void> {
  const reads = tracingChannel('cacheaside:read')
  let ended = 0
  const subscribers = { asyncEnd: () => void ended++ }
  reads.subscribe(subscribers as never)
  await work()
  reads.unsubscribe(subscribers as never)
  if (ended === 0) throw new Error('nothing was published')
}
