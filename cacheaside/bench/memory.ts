import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { createCache, embeddedShared } from 'cacheaside'
import { LRUCache } from 'lru-cache'
import { spellOf } from './measure.ts'
import { type Row, rowOf } from './report.ts'

const ENTRIES = 300_000
const ROOM = 512 * 2 ** 20
/** Told beside the rows. */
export const MEASURED = `${ENTRIES.toLocaleString('en')} rows of ${JSON.stringify(spellOf(ENTRIES)).length} characters`
const PEEKS = 1_000
const LRU = 'lru-cache (maxSize, ttl)'
const BYTES = 'bytes'

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
export async function memoryRows(): Promise<Row[]> {
  const lru = await perEntry(async () => {
    const cache = new LRUCache<number, object>({ maxSize: ENTRIES * 500, ttl: 600_000 })
    for (let id = 0; id < ENTRIES; id++) cache.set(id, JSON.parse(JSON.stringify(spellOf(id))), { size: 500 })
    return { held: cache }
  })
  const rows = [rowOf({ name: LRU, value: { amount: lru.bytes, unit: BYTES } })]
  const add = (name: string, { bytes, charged }: Taken, goal?: number) => {
    const ratios = [bytes / lru.bytes]
    rows.push(rowOf({ name, value: { amount: bytes, unit: BYTES }, against: LRU, goal, ratios }))
    rows.push(rowOf({ name: `${name}, charged`, value: { amount: charged!, unit: BYTES } }))
  }
  add('L1', await perEntry(filledLocal), 1.2)
  add('embedded store', await perEntry(() => filledShared(0)))
  add('embedded store, read again', await perEntry(() => filledShared(1)))
  return [
    ...rows,
    rowOf({ name: 'allocated by a peek', value: { amount: await bytesPerPeek(), unit: BYTES }, goal: 0 }),
  ]
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

/** What peeks allocate beyond what the measuring does by itself. */
async function bytesPerPeek(): Promise<number> {
  const spells = createCache({ local: { maxBytes: ROOM } }).keyspace('spell', { load })
  for (let id = 0; id < PEEKS; id++) await spells.get(id)
  const peeks = () => {
    for (let id = 0; id < PEEKS; id++) spells.peek(id)
  }
  return (leastBytes(peeks) - leastBytes(() => {})) / PEEKS
}

/** The least of many runs: the first are not compiled yet, and whatever else allocates in one of them is not the work's. */
function leastBytes(work: () => void): number {
  let least = Number.POSITIVE_INFINITY
  for (let run = 0; run < 2_000; run++) {
    const before = process.memoryUsage().heapUsed
    work()
    const bytes = process.memoryUsage().heapUsed - before
    if (bytes >= 0) least = Math.min(least, bytes)
  }
  return least
}
