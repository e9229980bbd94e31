/**
 * `npm run bench`: speed as ratios, measured side by side in one run.
 *
 * Every case is run for a number of rounds, all cases in turn within a round and in an order that changes, and the
 * best round of each counts: a noisy neighbour makes a round slower, never faster. A ratio of two cases of the same
 * run says something on any machine; a time alone does not.
 */
import { createCache, embeddedShared } from 'cacheaside'
import { LRUCache } from 'lru-cache'

interface Case {
  readonly name: string
  /** The case that this one is compared with. */
  readonly against?: string
  /** What we want of the ratio. */
  readonly goal?: number
  readonly operations: number
  readonly run: (operations: number) => Promise<void> | void
}

const KEYS = 1_000
const spellOf = (id: number) => ({
  id,
  name: `Spell ${id}`,
  damage: id % 50,
  created_at: '2026-01-01T00:00:00.000Z',
})
const load = async (id: number) => spellOf(id)

async function cases(): Promise<Case[]> {
  const lru = new LRUCache<number, object>({ max: 10_000, ttl: 600_000 })
  const lruBytes = new LRUCache<string, object>({ max: 10_000, maxSize: 10_000 * 500, ttl: 600_000 })
  const withLocal = createCache({ local: { maxBytes: 64 * 2 ** 20 } }).keyspace('spell', { load })
  const evicting = createCache({ local: { maxEntries: 10_000 } }).keyspace('spell', { load })
  const sharedOnly = createCache({ shared: embeddedShared() }).keyspace('spell', { load })
  const plain = new Map<number, object>()
  for (let id = 0; id < KEYS; id++) {
    lru.set(id, spellOf(id))
    plain.set(id, spellOf(id))
    await withLocal.get(id)
    await sharedOnly.get(id)
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
      name: 'await get, hit in the embedded store',
      against: 'await async Map.get',
      operations: 20_000,
      run: n => timesAwaited(n, i => sharedOnly.get(i % KEYS)),
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

const noCommit = () => undefined

function times(operations: number, run: (i: number) => unknown): void {
  for (let i = 0; i < operations; i++) run(i)
}

async function timesAwaited(operations: number, run: (i: number) => Promise<unknown>): Promise<void> {
  for (let i = 0; i < operations; i++) await run(i)
}

async function measure(all: readonly Case[], rounds: number): Promise<Map<string, number>> {
  const best = new Map<string, number>()
  for (let round = 0; round < rounds; round++) {
    for (let at = 0; at < all.length; at++) {
      const one = all[(at + round) % all.length]!
      const beganMs = performance.now()
      await one.run(one.operations)
      const nanoseconds = ((performance.now() - beganMs) * 1e6) / one.operations
      best.set(one.name, Math.min(best.get(one.name) ?? Number.POSITIVE_INFINITY, nanoseconds))
    }
  }
  return best
}

const all = await cases()
const best = await measure(all, 12)
console.log(`Node ${process.version}, best of 12 rounds\n`)
console.log('| case | ns | ratio | goal |\n|---|---|---|---|')
for (const { name, against, goal } of all) {
  const ratio =
    against === undefined ? '' : `${(best.get(name)! / best.get(against)!).toFixed(2)} x ${against}`
  console.log(
    `| ${name} | ${best.get(name)!.toFixed(0)} | ${ratio} | ${goal === undefined ? '' : `<= ${goal}`} |`,
  )
}
process.exit(0)
