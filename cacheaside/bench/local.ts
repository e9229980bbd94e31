import { AsyncLocalStorage } from 'node:async_hooks'
import { tracingChannel } from 'node:diagnostics_channel'
import { type CacheOptions, createCache, embeddedShared } from 'cacheaside'
import { LRUCache } from 'lru-cache'
import { type Case, randomIds, spellOf, times, timesAwaited } from './measure.ts'
import { memoryPeers } from './peers.ts'

const KEYS = 1_000
/** So many that no memory of the ids asked for last helps, and that they do not fit into a processor's caches. */
const MANY_KEYS = 300_000
const load = async (id: number) => spellOf(id)
const ROOM = { maxBytes: 512 * 2 ** 20 }

/** What happens in this process alone: hits in L1 and in the embedded store, misses, writes. */
export async function localCases(): Promise<Case[]> {
  const few = await fewKeys()
  return [...few, ...(await manyKeys()), ...misses()]
}

/** A thousand keys, one after the other. */
async function fewKeys(): Promise<Case[]> {
  const lru = new LRUCache<number, object>({ max: 10_000, ttl: 600_000 })
  const withLocal = createCache({ local: ROOM }).keyspace('spell', { load })
  const proven = createCache({ shared: farAway(), local: ROOM }).keyspace('spell', { load })
  const defaults = createCache().keyspace('spell', { load })
  // What has been written is loaded again by the next read, which is no hit.
  const written = createCache().keyspace('written', { load })
  const tagged = withTags({ local: ROOM })
  const taggedShared = withTags({})
  const peers = await memoryPeers(10_000, load)
  const plain = new Map<number, object>()
  for (let id = 0; id < KEYS; id++) {
    lru.set(id, spellOf(id))
    plain.set(id, spellOf(id))
    for (const one of [withLocal, proven, defaults, written, tagged, taggedShared, ...peers])
      await one.get(id)
  }
  const ids = Array.from({ length: 100 }, (_, id) => id)
  const awaited = (get: (id: number) => Promise<unknown>) => (n: number) =>
    timesAwaited(n, i => get(i % KEYS))
  const floor = 'await async Map.get'
  const embedded = 'await get, defaults: hit in the embedded store'
  const layered = 'layered-loader, memory'
  return [
    { name: 'lru-cache get (max, ttl)', operations: 100_000, run: n => times(n, i => lru.get(i % KEYS)) },
    {
      name: 'peek, L1 hit',
      against: 'lru-cache get (max, ttl)',
      goal: 1.2,
      operations: 100_000,
      run: n => times(n, i => withLocal.peek(i % KEYS)),
    },
    { name: floor, operations: 50_000, run: awaited(async id => plain.get(id)) },
    { name: embedded, against: floor, goal: 3, operations: 20_000, run: awaited(id => defaults.get(id)) },
    ...peers.map(({ name, get }) => ({ name, against: embedded, operations: 5_000, run: awaited(get) })),
    {
      name: 'await get, L1 hit with the proof of a stream',
      against: peers.length === 0 ? floor : layered,
      goal: 1.2,
      operations: 50_000,
      run: awaited(id => proven.get(id)),
    },
    { name: 'await get, L1 hit', against: floor, operations: 50_000, run: awaited(id => withLocal.get(id)) },
    {
      name: 'await get, L1 hit, with a subscriber to cacheaside:read',
      against: 'await get, L1 hit',
      operations: 20_000,
      run: n => followed(() => awaited(id => withLocal.get(id))(n)),
    },
    {
      name: 'await get with three tags, L1 hit',
      against: 'await get, L1 hit',
      goal: 1.5,
      operations: 50_000,
      run: awaited(id => tagged.get(id)),
    },
    {
      name: 'await get, hit in the embedded store, with a subscriber to cacheaside:read',
      against: embedded,
      operations: 5_000,
      run: n => followed(() => awaited(id => defaults.get(id))(n)),
    },
    {
      name: 'await get with three tags, hit in the embedded store',
      against: embedded,
      operations: 5_000,
      run: awaited(id => taggedShared.get(id)),
    },
    {
      name: 'await getMany of 100, embedded store, per key',
      against: embedded,
      goal: 1,
      operations: 10_000,
      run: n => timesAwaited(n / 100, () => defaults.getMany(ids)),
    },
    {
      name: 'write: guard, commit, release',
      against: embedded,
      operations: 5_000,
      run: n => timesAwaited(n, i => written.write(i % KEYS, noCommit)),
    },
  ]
}

/** Many keys, at random. */
async function manyKeys(): Promise<Case[]> {
  const lru = new LRUCache<number, object>({ max: MANY_KEYS, ttl: 600_000 })
  const withLocal = createCache({ shared: embeddedShared({ maxEntries: 100 }), local: ROOM }).keyspace(
    'spell',
    { load },
  )
  const plain = new Map<number, object>()
  for (let id = 0; id < MANY_KEYS; id++) {
    const spell = spellOf(id)
    lru.set(id, spell)
    plain.set(id, spell)
    await withLocal.get(id)
  }
  const ids = randomIds(MANY_KEYS)
  const awaited = (get: (id: number) => Promise<unknown>) => (n: number) => timesAwaited(n, i => get(ids[i]!))
  const against = 'lru-cache get (max, ttl), 300,000 keys at random'
  return [
    { name: against, operations: 100_000, run: n => times(n, i => lru.get(ids[i]!)) },
    {
      name: 'peek, L1 hit, the same keys',
      against,
      operations: 100_000,
      run: n => times(n, i => withLocal.peek(ids[i]!)),
    },
    // What the `await` alone takes: no cache with promises can be faster.
    {
      name: 'await async Map.get, the same keys',
      against,
      operations: 100_000,
      run: awaited(async id => plain.get(id)),
    },
    {
      name: 'await async lru-cache get, the same keys',
      against,
      operations: 100_000,
      run: awaited(async id => lru.get(id)),
    },
    {
      name: 'await get, L1 hit, the same keys',
      against,
      goal: 1.5,
      operations: 100_000,
      run: awaited(id => withLocal.get(id)),
    },
  ]
}

/** Loads that wait for nothing, and what is stored of them. */
function misses(): Case[] {
  const lru = new LRUCache<number, object>({ max: 10_000, maxSize: 10_000 * 500, ttl: 600_000 })
  const evicting = createCache({ local: { maxEntries: 10_000 } }).keyspace('spell', { load })
  const defaults = createCache().keyspace('spell', { load })
  let coldId = 1_000_000
  const set = 'lru-cache set, evicting (max, maxSize, ttl)'
  return [
    {
      name: set,
      operations: 50_000,
      run: n => times(n, () => lru.set(coldId, spellOf(coldId++), { size: 500 })),
    },
    {
      name: 'await get-or-set by hand: a signal, a time limit, a context, lru-cache set',
      against: set,
      operations: 5_000,
      run: getOrSetByHand(() => coldId++),
    },
    {
      name: 'await get, defaults: load and fill',
      against: set,
      goal: 4,
      operations: 5_000,
      run: n => timesAwaited(n, () => defaults.get(coldId++)),
    },
    {
      name: 'await get: load, fill, L1 with eviction',
      against: set,
      operations: 5_000,
      run: n => timesAwaited(n, () => evicting.get(coldId++)),
    },
  ]
}

/** Misses by hand, with what a loader is given at least: a signal, a time limit and an asynchronous context. */
function getOrSetByHand(nextId: () => number): (n: number) => Promise<void> {
  const lru = new LRUCache<number, object>({ max: 10_000, maxSize: 10_000 * 500, ttl: 600_000 })
  const context = new AsyncLocalStorage<object>()
  const loadWith = (id: number, _: AbortSignal) => load(id)
  const getOrSet = async (id: number) => {
    const known = lru.get(id)
    if (known !== undefined) return known
    const abort = new AbortController()
    const timer = setTimeout(() => abort.abort(), 10_000)
    try {
      const loaded = await context.run({ id }, () => loadWith(id, abort.signal))
      lru.set(id, loaded, { size: 500 })
      return loaded
    } finally {
      clearTimeout(timer)
    }
  }
  return async n => {
    await timesAwaited(n, () => getOrSet(nextId()))
    // As long as a context is in use, every promise of the process is slower.
    context.disable()
  }
}

/** A store whose stream has to be proven, as that of a server, and that answers at once. */
function farAway() {
  const store = embeddedShared()
  return new Proxy(store, {
    get: (target, name) => {
      if (name === 'synchronous') return false
      const member: unknown = Reflect.get(target, name, target)
      return typeof member === 'function' ? member.bind(target) : member
    },
  })
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
