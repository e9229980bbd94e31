import type { EmbeddedShared } from 'cacheaside'
import { z } from 'zod'
import type { Spells } from '../uncached-spells.ts'

/** What an experiment works with. */
export interface Bench {
  /** The spells as they are served. */
  readonly spells: Spells
  /** The same tables, equally far away, without a cache. */
  readonly uncached: Spells
  /** Ends what is cached of a spell. */
  cool(id: string): Promise<void>
  /** How often the cache has called a loader of spells. */
  loads(): number
  /** The shared store, if it is in this process. */
  readonly store: EmbeddedShared | undefined
  /** Aborts when the experiment is to end. */
  readonly signal: AbortSignal
}

/** What an experiment may be asked for. */
export const experiment = z.discriminatedUnion('name', [
  z.strictObject({
    name: z.literal('crowd'),
    id: z
      .string()
      .regex(/^[1-9]\d{0,17}$/)
      .default('1'),
    readers: z.int().min(1).max(500).default(500),
  }),
  z.strictObject({ name: z.literal('fill') }),
  z.strictObject({ name: z.literal('traffic'), seconds: z.int().min(1).max(20).default(10) }),
])
export type Experiment = z.output<typeof experiment>

/** The result of an experiment. */
export type Result =
  | {
      readonly name: 'crowd'
      readonly readers: number
      /** Queries that the database was asked, with the cache and without it. */
      readonly loads: number
      readonly uncachedLoads: number
      readonly failed: number
      /** From the first question to the last answer. */
      readonly ms: number
      readonly uncachedMs: number
    }
  | {
      readonly name: 'fill'
      /** In the order in which they were read first: whether each is still there. Those that were read often come first. */
      readonly kept: readonly boolean[]
      readonly often: number
      readonly evictions: number
      /** Whether room was made. If not, the time was over before the cache was full, or nothing may be evicted. */
      readonly isFull: boolean
    }
  | {
      readonly name: 'traffic'
      readonly reads: number
      readonly writes: number
      readonly failed: number
      readonly ms: number
    }

/** Runs one, to its end or until it is aborted. */
export function run(asked: Experiment, bench: Bench): Promise<Result> {
  switch (asked.name) {
    case 'crowd':
      return crowd(bench, asked.id, asked.readers)
    case 'fill':
      return fill(bench)
    case 'traffic':
      return traffic(bench, asked.seconds)
  }
}

/** Many readers of one key that is not cached, all at once; and as many without a cache. */
async function crowd(bench: Bench, id: string, readers: number): Promise<Result> {
  const { spells, uncached } = bench
  await bench.cool(id)
  const before = bench.loads()
  const ask = async (of: Spells) => {
    const began = performance.now()
    const answers = await Promise.allSettled(Array.from({ length: readers }, () => of.find(id)))
    const failed = answers.filter(({ status }) => status === 'rejected').length
    return { failed, ms: performance.now() - began }
  }
  const { failed, ms } = await ask(spells)
  const loads = bench.loads() - before
  bench.signal.throwIfAborted()
  const without = await ask(uncached)
  return { name: 'crowd', readers, loads, failed, ms, uncachedLoads: readers, uncachedMs: without.ms }
}

/** The ids from here on are of no spell: that there is none is what is cached. */
const FIRST_ABSENT = 900_000_000_000_000_000n
const OFTEN = 24
const TIMES = 6
const AT_ONCE = 24
const MOST_KEYS = 960
/** The experiment ends after this many evictions. */
const EVICTIONS = 120
const FILL_MS = 30_000

/** Reads a few keys often and others once, until many were evicted; then looks which are left. */
async function fill({ spells, store, signal }: Bench): Promise<Result> {
  if (store === undefined) throw new Error('the cache is not in this process')
  const untilMs = performance.now() + FILL_MS
  const before = store.stats().evictions
  const gone = () => store.stats().evictions - before
  const idOf = (at: number) => String(FIRST_ABSENT + BigInt(at))
  const read = (from: number, count: number) =>
    Promise.all(Array.from({ length: count }, (_, i) => spells.find(idOf(from + i))))
  for (let time = 0; time < TIMES; time++) await read(0, OFTEN)
  let asked = OFTEN
  while (asked < MOST_KEYS && gone() < EVICTIONS && performance.now() < untilMs && !signal.aborted) {
    await read(asked, AT_ONCE)
    asked += AT_ONCE
    // Meanwhile the keys that are read often are still read.
    if (asked % (AT_ONCE * 4) === 0) await read(0, OFTEN)
  }
  const kept = Array.from({ length: asked }, (_, at) => store.inspect(`spell:${idOf(at)}`) !== undefined)
  return { name: 'fill', kept, often: OFTEN, evictions: gone(), isFull: gone() > 0 }
}

/** The spell that is written while others are read. It is removed at the end, or at the next start. */
export const SUBJECT = 'A test subject of the laboratory'
const READERS = 8
const WRITE_EVERY_MS = 40
const READ_EVERY_MS = 2

/** Readers, and a writer who changes one of the spells all the time. */
async function traffic({ spells, signal }: Bench, seconds: number): Promise<Result> {
  const began = performance.now()
  const isOver = () => signal.aborted || performance.now() - began > seconds * 1000
  const { value: page } = await spells.page('0', READERS)
  const { value: subject } = await spells.create({ name: SUBJECT, damage: 1 })
  const ids = [String(subject.id), ...page.spells.map(({ id }) => String(id))]
  const counts = { reads: 0, writes: 0, failed: 0 }
  const again = async (kind: 'reads' | 'writes', everyMs: number, work: () => Promise<unknown>) => {
    while (!isOver()) {
      counts[kind]++
      await work().catch(() => counts.failed++)
      await new Promise(resolve => setTimeout(resolve, everyMs))
    }
  }
  const readers = Array.from({ length: READERS }, (_, i) =>
    // Every second reader wants what is written.
    again('reads', READ_EVERY_MS, () =>
      spells.find(ids[i % 2 === 0 ? 0 : (counts.reads % (ids.length - 1)) + 1]!),
    ),
  )
  const writer = again('writes', WRITE_EVERY_MS, () =>
    spells.update(String(subject.id), { damage: (counts.writes % 100) + 1 }),
  )
  try {
    await Promise.all([...readers, writer])
  } finally {
    await spells.delete(String(subject.id))
  }
  return { name: 'traffic', ...counts, ms: performance.now() - began }
}
