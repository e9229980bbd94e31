import { setTimeout as sleep } from 'node:timers/promises'
import { beforeAll, expect, test } from 'vitest'
import { expectFreshUnlikeControl, losses, openField, ready, times, warm } from './field.ts'
import type { WorkerProcess } from './worker-process.ts'

const GROUP = '4 foreign changes'
const BOUND_MS = 1_000
const DEADLINE_MS = 60_000
/** Readers that never rest would take the processors from those who bring the change. */
const LOOK_EVERY_MS = 5

const field = openField()
let ours: WorkerProcess[]
let plain: WorkerProcess[]

beforeAll(async () => {
  ours = await field.startAll(3, { feed: true })
  plain = await field.startAll(2, { subject: 'plain' })
  await ready(ours, true)
})

const changes = [
  {
    change: 'UPDATE',
    before: 1,
    after: 2,
    sql: (id: number) => `UPDATE spell SET version = 2 WHERE id = ${id}`,
  },
  { change: 'DELETE', before: 1, after: null, sql: (id: number) => `DELETE FROM spell WHERE id = ${id}` },
  {
    change: 'INSERT of an absent row',
    before: null,
    after: 7,
    sql: (id: number) => `INSERT INTO spell VALUES (${id}, 7)`,
  },
  { change: 'TRUNCATE', before: 1, after: null, sql: () => 'TRUNCATE spell' },
]

/** Reads in a process until it is fresh, and answers with how long after the commit the read began. */
async function freshAfterMs(worker: WorkerProcess, id: number, version: number | null, sinceMs: number) {
  for (;;) {
    const beganMs = performance.now()
    if ((await worker.get(id)).version === version) return beganMs - sinceMs
    if (beganMs - sinceMs > DEADLINE_MS) return Number.POSITIVE_INFINITY
    await sleep(LOOK_EVERY_MS)
  }
}

test.for(changes)(
  'get is fresh in every process within a second of a foreign $change',
  async (one, context) => {
    const runs = times(5, 50)
    const lateRuns: number[] = []
    let [slowestMs, stallMs] = [0, 0]
    let control = 0
    for (let run = 0; run < runs; run++) {
      const id = field.nextId()
      if (one.before !== null) await field.database.plant(id)
      await warm([...ours, ...plain], id)
      const lost = await losses(field.database, ours)
      await field.database.sql(one.sql(id))
      const committedMs = performance.now()
      const took = await Promise.all(ours.map(worker => freshAfterMs(worker, id, one.after, committedMs)))
      const lastMs = Math.max(...took)
      slowestMs = Math.max(slowestMs, lastMs)
      const { processMs, databaseMs } = await lost()
      stallMs = Math.max(stallMs, databaseMs)
      if (lastMs > BOUND_MS + processMs + databaseMs) lateRuns.push(Math.round(lastMs))
      const seen = await Promise.all(plain.map(worker => worker.get(id)))
      if (seen.every(({ version }) => version === one.before)) control++
    }
    const statuses = await Promise.all(ours.map(worker => worker.status()))
    const pauseMs = Math.max(...statuses.map(status => status.pauseMs))
    expectFreshUnlikeControl(context, {
      group: GROUP,
      trial: `${one.change}, three processes with L1`,
      runs,
      ours: lateRuns.length,
      control,
      controlRuns: runs,
      notes: `slowest ${Math.round(slowestMs)} ms; longest pause of a process ${Math.round(pauseMs)} ms, of the database ${Math.round(stallMs)} ms in one run`,
    })
    expect(statuses.every(({ localEntries }) => localEntries > 0)).toBe(true)
  },
)
