import { expect, test } from 'vitest'
import {
  count,
  distrusted,
  distrustOf,
  drained,
  expectFreshUnlikeControl,
  idle,
  isStale,
  killAll,
  openField,
  ready,
  staleAmong,
  times,
  warm,
} from './field.ts'
import type { ProcessOptions } from './subject.ts'
import type { WorkerProcess } from './worker-process.ts'

const GROUP = '5 old snapshots'
const KEYS = 10

const field = openField()
const plainly: Partial<ProcessOptions> = { subject: 'plain', local: false }

async function planted(keys = KEYS): Promise<number[]> {
  const ids = Array.from({ length: keys }, field.nextId)
  await field.database.plant(...ids)
  return ids
}

/** Processes of one kind, and rows of which they have copies. */
interface Party {
  readonly options: Partial<ProcessOptions>
  readonly ids: readonly number[]
  workers: readonly WorkerProcess[]
}

async function begin(options: Partial<ProcessOptions>): Promise<Party> {
  const workers = await field.startAll(2, options)
  await ready(workers, options.feed)
  const ids = await planted()
  await warmAll({ options, ids, workers })
  return { options, ids, workers }
}

async function warmAll({ options, ids, workers }: Party): Promise<void> {
  for (const id of ids) await warm(workers, id, options.subject !== 'plain')
}

/** Saves a snapshot; then all rows are changed, and read again. */
async function saveThenChange(parties: readonly Party[]): Promise<void> {
  await field.redis.command('SAVE')
  for (const { ids, workers } of parties) for (const id of ids) await workers[0]!.write(id)
  await drained(field.database)
  await Promise.all(parties.map(warmAll))
}

async function staleIn({ ids, workers }: Party): Promise<number> {
  const stale = await staleAmong(field.database, ids, workers)
  await killAll(workers)
  return stale
}

test('get finds nothing of a snapshot that is older than the change, though all relays were down', async context => {
  const rounds = times(1, 10)
  let stale = 0
  let control = 0
  for (let round = 0; round < rounds; round++) {
    const fed = await begin({ feed: true })
    const plain = await begin(plainly)
    const parties = [fed, plain]
    await saveThenChange(parties)
    for (const { workers } of parties) await killAll(workers)
    await field.redis.restart()
    for (const one of parties) one.workers = await field.startAll(2, one.options)
    await distrusted(fed.workers, 0)
    stale += await staleIn(fed)
    control += await staleIn(plain)
  }
  expectFreshUnlikeControl(context, {
    group: GROUP,
    trial: 'Redis restarted from a snapshot saved before the change, all processes down meanwhile',
    runs: rounds * KEYS,
    ours: stale,
    control,
    controlRuns: rounds * KEYS,
  })
})

test('get finds nothing of a snapshot that is older than the change, in processes that live on', async context => {
  const rounds = times(1, 10)
  let stale = 0
  let control = 0
  for (let round = 0; round < rounds; round++) {
    const fed = await begin({ feed: true })
    const plain = await begin(plainly)
    await saveThenChange([fed, plain])
    const before = await distrustOf(fed.workers)
    await field.redis.restart()
    await distrusted(fed.workers, before)
    stale += await staleIn(fed)
    control += await staleIn(plain)
  }
  expectFreshUnlikeControl(context, {
    group: GROUP,
    trial: 'the same, the processes live on',
    runs: rounds * KEYS,
    ours: stale,
    control,
    controlRuns: rounds * KEYS,
  })
})

/** How many of these rows are read as they were before they were changed, until it is over. */
async function readOld({ ids, workers }: Party, isOver: () => boolean): Promise<number> {
  const old = new Set<number>()
  const read = async (worker: WorkerProcess, id: number) => {
    const { version } = await worker.get(id, true)
    if (version === 1) old.add(id)
  }
  const reader = async (worker: WorkerProcess) => {
    while (!isOver()) for (const id of ids) await read(worker, id)
  }
  await Promise.all(workers.map(reader))
  return old.size
}

test('get is not older while Redis comes back from an old snapshot, in processes that live on', async context => {
  const rounds = times(1, 10)
  let old = 0
  let control = 0
  for (let round = 0; round < rounds; round++) {
    const fed = await begin({ feed: true })
    const plain = await begin(plainly)
    await saveThenChange([fed, plain])
    const before = await distrustOf(fed.workers)
    let isOver = false
    const reading = readOld(fed, () => isOver)
    await field.redis.restart()
    await distrusted(fed.workers, before)
    isOver = true
    old += await reading
    control += await staleIn(plain)
    await killAll(fed.workers)
  }
  expectFreshUnlikeControl(context, {
    group: GROUP,
    trial: 'the same, rows that are read as they were at any moment of it',
    runs: rounds * KEYS,
    ours: old,
    control,
    controlRuns: rounds * KEYS,
  })
})

test('write leaves nothing stale when everything is flushed while it is at work', async context => {
  const [writer, reader] = (await field.startAll(2)) as [WorkerProcess, WorkerProcess]
  const plain = (await field.startAll(2, plainly)) as [WorkerProcess, WorkerProcess]
  await ready([writer, reader])
  const guardLost = async () => {
    const [id] = (await planted(1)) as [number]
    const commit = writer.hold('commit', id)
    const writing = writer.write(id)
    await commit.reached
    await field.redis.command('FLUSHALL')
    await warm([reader], id)
    commit.letGo()
    expect((await writing).fenced, 'fenced, though its guard was lost').toBe(false)
    return isStale(field.database, [writer, reader], id)
  }
  const leaseLost = async ([one, other]: readonly [WorkerProcess, WorkerProcess]) => {
    const [id] = (await planted(1)) as [number]
    const loaded = one.hold('loaded', id)
    const reading = one.get(id)
    await loaded.reached
    await other.write(id)
    await field.redis.command('FLUSHALL')
    loaded.letGo()
    await reading
    await idle(one)
    return isStale(field.database, [one, other], id)
  }
  const runs = times(10, 100)
  const controlRuns = times(3, 10)
  const stale = await count(runs, guardLost)
  const late = await count(runs, () => leaseLost([reader, writer]))
  const control = await count(controlRuns, () => leaseLost(plain))
  expectFreshUnlikeControl(context, {
    group: GROUP,
    trial: 'FLUSHALL under a guard, and under a lease',
    runs: 2 * runs,
    ours: stale + late,
    control,
    controlRuns,
  })
  await killAll([writer, reader, ...plain])
})
