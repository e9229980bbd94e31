import { beforeAll, expect, test } from 'vitest'
import { expectFreshUnlikeControl, idle, isSoak, isStale, losses, openField, ready, warm } from './field.ts'
import type { ProcessOptions } from './subject.ts'
import type { WorkerProcess } from './worker-process.ts'

const GROUP = '3 writer cut off'
const OUTAGES_MS = isSoak ? [3_000, 30_000] : [1_000, 3_000]
const SHARED_TIMEOUT_MS = 100
/** Two time limits, the commit, and what a busy machine adds. */
const BUDGET_MS = 2 * SHARED_TIMEOUT_MS + 800
const KEYS = 10

const field = openField()
const plainly: Partial<ProcessOptions> = { subject: 'plain', commandTimeoutMs: SHARED_TIMEOUT_MS }
let readers: WorkerProcess[]
let plainReaders: WorkerProcess[]

beforeAll(async () => {
  readers = await field.startAll(2)
  plainReaders = await field.startAll(1, plainly)
  await ready(readers)
})

const kinds = ['reset', 'swallowed'] as const
const cases = kinds.flatMap(kind => OUTAGES_MS.map(outageMs => ({ kind, outageMs })))

/** Cuts a writer off from Redis while it writes, and counts the keys that are stale afterwards, in any process. */
async function staleKeysAfter(
  { kind, outageMs }: (typeof cases)[number],
  others: readonly WorkerProcess[],
  options: Partial<ProcessOptions>,
) {
  const network = await field.network()
  const writer = await field.start({
    cache: { sharedTimeoutMs: SHARED_TIMEOUT_MS },
    ...options,
    store: { port: network.port },
  })
  await ready([writer])
  const ids = Array.from({ length: KEYS }, field.nextId)
  await field.database.plant(...ids)
  const all = [writer, ...others]
  for (const id of ids) await warm(all, id)
  const restoreMs = performance.now() + outageMs
  if (kind === 'reset') await network.refuse()
  else network.swallow()
  const lost = await losses(field.database, [writer])
  const written = []
  for (const id of ids) written.push(await writer.write(id))
  const { processMs, databaseMs } = await lost()
  const lostMs = processMs + databaseMs
  let staleHere = 0
  while (performance.now() < restoreMs) {
    for (const id of ids) if ((await writer.get(id)).version !== 2) staleHere++
    await field.database.sql('SELECT pg_sleep(0.02)')
  }
  await network.restore()
  const restoredMs = performance.now()
  await idle(writer)
  const healedMs = performance.now() - restoredMs
  if (options.subject !== 'plain') await ready([writer])
  let stale = 0
  for (const id of ids) if (await isStale(field.database, all, id)) stale++
  await writer.kill()
  await network.close()
  return { written, lostMs, staleHere, stale, healedMs }
}

test.for(cases)(
  'write resolves as queued while Redis is $kind for $outageMs ms, and nothing stays stale',
  async (one, context) => {
    const [ours, control] = await Promise.all([
      staleKeysAfter(one, readers, {}),
      staleKeysAfter(one, plainReaders, plainly),
    ])
    const { written, lostMs, staleHere, stale, healedMs } = ours
    const slowestMs = Math.max(...written.map(({ tookMs }) => tookMs))
    expectFreshUnlikeControl(context, {
      group: GROUP,
      trial: `Redis ${one.kind} for ${one.outageMs / 1000} s`,
      runs: KEYS,
      ours: stale,
      control: control.stale,
      controlRuns: KEYS,
      notes: `slowest write ${Math.round(slowestMs)} ms, ${Math.round(lostMs)} ms of pauses; applied ${Math.round(healedMs)} ms after the restore`,
    })
    expect(written.map(({ invalidation }) => invalidation)).toEqual(Array(KEYS).fill('queued'))
    expect(written.map(({ fenced }) => fenced)).toEqual(Array(KEYS).fill(false))
    expect(slowestMs).toBeLessThan(BUDGET_MS + lostMs)
    expect(staleHere, "stale reads in the writer's own process during the outage").toBe(0)
  },
)
