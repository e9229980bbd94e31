import { installFeed } from 'cacheaside/postgres'
import pg from 'pg'
import { beforeAll, expect, test } from 'vitest'
import { eventually } from '../test/redis-servers.ts'
import { groups } from './cacheaside-subject.ts'
import {
  distrusted,
  drained,
  expectFreshUnlikeControl,
  killAll,
  openField,
  ready,
  times,
  warm,
} from './field.ts'
import type { ProcessOptions } from './subject.ts'
import type { WorkerProcess } from './worker-process.ts'

const GROUP = '11 tags of tables'
const KEYS = 10
const DEADLINE_MS = 30_000

const field = openField()
const byTable: Partial<ProcessOptions> = { shown: 'table', feed: true }
const plainly: Partial<ProcessOptions> = { subject: 'plain', shown: 'reference', local: false }
let ours: WorkerProcess[]
let plain: WorkerProcess[]

async function startAll(): Promise<void> {
  ours = await field.startAll(2, byTable)
  plain = await field.startAll(1, plainly)
  await ready(ours, true)
}

beforeAll(async () => {
  const pool = new pg.Pool({ connectionString: field.database.url, max: 1 })
  await installFeed(pool, { tables: groups })
  await pool.end()
  await startAll()
})

/** Books with a scroll each. */
async function planted(): Promise<number[]> {
  const ids = Array.from({ length: KEYS }, field.nextId)
  await field.database.plantBooks(...ids)
  return ids
}

/** What the books show now, by their ids; an empty one is not there. */
async function truth(ids: readonly number[]): Promise<ReadonlyMap<number, number>> {
  const rows = await field.database.sql(
    `SELECT scroll.book::int AS id, sum(spell.version)::int AS version
     FROM scroll JOIN spell ON spell.id = scroll.spell WHERE scroll.book = ANY($1::bigint[]) GROUP BY scroll.book`,
    [ids],
  )
  return new Map(rows.map(row => [row.id as number, row.version as number]))
}

/** How many of these books any of the processes shows otherwise than they are. */
async function staleBooks(workers: readonly WorkerProcess[], ids: readonly number[], isStrong: boolean) {
  const versions = await truth(ids)
  let stale = 0
  for (const id of ids) {
    const seen = await Promise.all(workers.map(worker => worker.get(id, isStrong)))
    if (seen.some(({ version }) => version !== (versions.get(id) ?? null))) stale++
  }
  return stale
}

/** The same; messages to L1 are on their way for a moment. */
async function staleForLong(workers: readonly WorkerProcess[], ids: readonly number[]): Promise<number> {
  const untilMs = performance.now() + DEADLINE_MS
  for (;;) {
    const stale = await staleBooks(workers, ids, false)
    if (stale === 0 || performance.now() > untilMs) return stale
  }
}

const changes = [
  {
    change: 'rows move to other groups, one by one',
    // Each scroll of the first half goes into a book of the second.
    async make(ids: readonly number[]) {
      for (const [i, id] of ids.slice(0, KEYS / 2).entries())
        await field.database.sql('UPDATE scroll SET book = $1 WHERE id = $2', [ids[KEYS / 2 + i], id])
    },
  },
  {
    change: 'one UPDATE moves all rows to the next group',
    async make(ids: readonly number[]) {
      await field.database.sql('UPDATE scroll SET book = book + 1 WHERE book = ANY($1::bigint[])', [
        ids.slice(0, -1),
      ])
    },
  },
  {
    change: 'a row is inserted into a group',
    async make(ids: readonly number[]) {
      await field.database.sql('INSERT INTO scroll SELECT -id, id, id FROM unnest($1::bigint[]) AS id', [ids])
    },
  },
  {
    change: 'the rows that a group shows are changed in their own table',
    async make(ids: readonly number[]) {
      await field.database.sql('UPDATE spell SET version = version + 1 WHERE id = ANY($1::bigint[])', [ids])
    },
  },
]

test('get is fresh in every process when psql changes a row or moves it between groups', async context => {
  const rounds = times(1, 10)
  const found: { change: string; ours: number; control: number; changed: number }[] = []
  for (const { change, make } of changes) {
    const sums = { change, ours: 0, control: 0, changed: 0 }
    for (let round = 0; round < rounds; round++) {
      const ids = await planted()
      await drained(field.database)
      for (const id of ids) {
        await warm(ours, id)
        await warm(plain, id, false)
      }
      const before = await truth(ids)
      await make(ids)
      await drained(field.database)
      const after = await truth(ids)
      const changed = ids.filter(id => before.get(id) !== after.get(id))
      sums.changed += changed.length
      sums.ours += (await staleBooks(ours, ids, true)) + (await staleForLong(ours, ids))
      sums.control += await staleBooks(plain, changed, false)
    }
    found.push(sums)
  }
  for (const { change, changed, ...sums } of found)
    expectFreshUnlikeControl(context, {
      group: GROUP,
      trial: `${change}, by psql`,
      runs: changed,
      controlRuns: changed,
      ...sums,
    })
  expect(found.every(({ changed }) => changed > 0)).toBe(true)
})

test('get finds nothing under a stamp of a snapshot that is older than the change', async context => {
  const rounds = times(1, 5)
  const found = { ours: 0, control: 0 }
  for (let round = 0; round < rounds; round++) {
    const [ids, others] = [await planted(), await planted()]
    await drained(field.database)
    for (const id of ids) await warm(ours, id)
    for (const id of others) await warm(plain, id, false)
    await field.redis.command('SAVE')
    await field.database.sql('UPDATE spell SET version = version + 1 WHERE id = ANY($1::bigint[])', [ids])
    for (const id of others) await plain[0]!.write(id)
    await drained(field.database)
    await eventually(async () => (await staleBooks(ours, ids, false)) === 0, 'the books to be read again')
    await killAll([...ours, ...plain])
    await field.redis.restart()
    await startAll()
    await distrusted(ours, 0)
    found.ours += await staleBooks(ours, ids, false)
    found.control += await staleBooks(plain, others, false)
  }
  expectFreshUnlikeControl(context, {
    group: GROUP,
    trial: 'Redis restarted from a snapshot saved before a tag was invalidated, all processes down meanwhile',
    runs: rounds * KEYS,
    controlRuns: rounds * KEYS,
    ...found,
  })
})
