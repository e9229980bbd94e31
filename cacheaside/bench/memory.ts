import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { createCache, embeddedShared } from 'cacheaside'
import { LRUCache } from 'lru-cache'
import { spellOf } from './measure.ts'

const ENTRIES = 300_000
const ROOM = 512 * 2 ** 20
const TEXT = JSON.stringify(spellOf(ENTRIES))
const PEEKS = 1_000

setFlagsFromString('--expose-gc')
const collect: () => void = runInNewContext('gc')

/** Bytes that are in use after a collection. */
function usedBytes(): number {
  // The second collects what the first has only marked.
  collect()
  collect()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

/** What memory the entries take, with the same rows in each; and how much of it is charged. */
export async function printMemory(): Promise<void> {
  console.log(
    `\nMemory, ${ENTRIES.toLocaleString('en')} rows of ${TEXT.length} characters; Node ${process.version}\n`,
  )
  console.log('| what | bytes | ratio | goal | charged |\n|---|---|---|---|---|')
  const lru = await perEntry(async () => {
    const cache = new LRUCache<number, object>({ maxSize: ENTRIES * 500, ttl: 600_000 })
    for (let id = 0; id < ENTRIES; id++) cache.set(id, JSON.parse(JSON.stringify(spellOf(id))), { size: 500 })
    return { held: cache }
  })
  const row = (what: string, { bytes, charged }: Taken, goal: string) =>
    console.log(
      `| ${what} | ${bytes.toFixed(0)} | ${(bytes / lru.bytes).toFixed(2)} | ${goal} | ${charged?.toFixed(0) ?? ''} |`,
    )
  row('lru-cache (maxSize, ttl), per entry', lru, '')
  row('L1, per entry', await perEntry(filledLocal), '<= 1.2')
  row('embedded store, per entry', await perEntry(() => filledShared(0)), '')
  row('embedded store, per entry that was read again', await perEntry(() => filledShared(1)), '')
  console.log(`\nA peek takes ${(await bytesPerPeek()).toFixed(1)} bytes; the goal is 0.`)
}

interface Taken {
  readonly bytes: number
  readonly charged: number | undefined
}

/** What a full cache holds on to, for each of its entries. */
async function perEntry(fill: () => Promise<{ held: unknown; charged?: number }>): Promise<Taken> {
  const before = usedBytes()
  const { held, charged } = await fill()
  const bytes = (usedBytes() - before) / ENTRIES
  // Held until here.
  if (held === undefined) throw new Error('nothing was filled')
  return { bytes, charged: charged === undefined ? undefined : charged / ENTRIES }
}

const load = async (id: number) => spellOf(id)

async function filledLocal() {
  const cache = createCache({ shared: embeddedShared({ maxEntries: 1 }), local: { maxBytes: ROOM } })
  const spells = cache.keyspace('spell', { load })
  for (let id = 0; id < ENTRIES; id++) await spells.get(id)
  return { held: spells, charged: cache.stats().now.localBytes }
}

async function filledShared(reads: number) {
  const shared = embeddedShared({ maxBytes: ROOM })
  const spells = createCache({ shared }).keyspace('spell', { load })
  for (let turn = 0; turn <= reads; turn++) for (let id = 0; id < ENTRIES; id++) await spells.get(id)
  return { held: spells, charged: shared.stats().bytes }
}

/** The least of some runs: whatever else allocates in one of them is not the peeks'. */
async function bytesPerPeek(): Promise<number> {
  const spells = createCache({ local: { maxBytes: ROOM } }).keyspace('spell', { load })
  for (let id = 0; id < PEEKS; id++) await spells.get(id)
  let least = Number.POSITIVE_INFINITY
  for (let run = 0; run < 50; run++) {
    const before = process.memoryUsage().heapUsed
    for (let id = 0; id < PEEKS; id++) spells.peek(id)
    const bytes = process.memoryUsage().heapUsed - before
    if (bytes >= 0) least = Math.min(least, bytes)
  }
  return least / PEEKS
}
