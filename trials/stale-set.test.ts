import { beforeAll, expect, test } from 'vitest'
import { eventually } from '../test/redis-servers.ts'
import {
  count,
  drained,
  expectFreshUnlikeControl,
  idle,
  isStale,
  openField,
  ready,
  times,
  warm,
} from './field.ts'
import type { WorkerProcess } from './worker-process.ts'

const RUNS = times(20, 100)
const CONTROLS = times(5, 20)
const GROUP = '1 stale set'

const field = openField()
let ours: [WorkerProcess, WorkerProcess, WorkerProcess]
let plain: [WorkerProcess, WorkerProcess, WorkerProcess]

beforeAll(async () => {
  const three = (workers: WorkerProcess[]) => workers as typeof ours
  ours = three(await field.startAll(3))
  plain = three(await field.startAll(3, { subject: 'plain' }))
  await ready(ours)
})

async function planted(): Promise<number> {
  const id = field.nextId()
  await field.database.plant(id)
  return id
}

/** A reader is held with the old row in its hands, a writer commits and invalidates, the reader goes on. */
async function staleSet(
  reader: WorkerProcess,
  writer: WorkerProcess,
  all: WorkerProcess[],
): Promise<boolean> {
  const id = await planted()
  const loaded = reader.hold('loaded', id)
  const reading = reader.get(id)
  await loaded.reached
  await writer.write(id)
  loaded.letGo()
  expect((await reading).version, 'what the reader had loaded').toBe(1)
  await idle(reader)
  return isStale(field.database, all, id)
}

test('write leaves nothing stale behind a load that began before it in another process', async context => {
  const stale = await count(RUNS, () => staleSet(ours[0], ours[1], ours))
  const control = await count(CONTROLS, () => staleSet(plain[0], plain[1], plain))
  expectFreshUnlikeControl(context, {
    group: GROUP,
    trial: 'a load of another process began before the write',
    runs: RUNS,
    ours: stale,
    control,
    controlRuns: CONTROLS,
  })
})

test('write leaves nothing stale behind a load that began before it in its own process', async context => {
  const stale = await count(RUNS, () => staleSet(ours[0], ours[0], ours))
  const control = await count(CONTROLS, () => staleSet(plain[0], plain[0], plain))
  expectFreshUnlikeControl(context, {
    group: GROUP,
    trial: 'a load of the same process began before the write',
    runs: RUNS,
    ours: stale,
    control,
    controlRuns: CONTROLS,
  })
})

test('get never joins a load that began before a write it knows of', async context => {
  const lateRead = async ([reader]: WorkerProcess[]) => {
    const id = await planted()
    const loaded = reader!.hold('loaded', id)
    const reading = reader!.get(id)
    await loaded.reached
    const { version } = await reader!.write(id)
    const late = reader!.get(id)
    // It has begun when this is answered: messages keep their order.
    await reader!.status()
    loaded.letGo()
    await reading
    return (await late).version !== version
  }
  const stale = await count(RUNS, () => lateRead(ours))
  const control = await count(CONTROLS, () => lateRead(plain))
  expectFreshUnlikeControl(context, {
    group: GROUP,
    trial: 'a read begun after the write, while the old load still runs',
    runs: RUNS,
    ours: stale,
    control,
    controlRuns: CONTROLS,
  })
})

test('get keeps no copy of a value that was written before its fill was answered', async context => {
  const lateAnswer = async (all: WorkerProcess[]) => {
    const [reader, writer] = all as [WorkerProcess, WorkerProcess]
    const id = await planted()
    const filled = reader.hold('filled', id)
    const reading = reader.get(id)
    await filled.reached
    await writer.write(id)
    // Time for the message to be heard where there is nothing to remove yet.
    await writer.get(id)
    filled.letGo()
    await reading
    await idle(reader)
    return isStale(field.database, all, id)
  }
  const stale = await count(RUNS, () => lateAnswer(ours))
  const control = await count(CONTROLS, () => lateAnswer(plain))
  expectFreshUnlikeControl(context, {
    group: GROUP,
    trial: 'a write between the fill and its answer: the copy in L1',
    runs: RUNS,
    ours: stale,
    control,
    controlRuns: CONTROLS,
  })
})

test('getMany puts back no row that was written while it loaded', async context => {
  const batch = async (all: WorkerProcess[]) => {
    const [reader, writer] = all as [WorkerProcess, WorkerProcess]
    const ids = [await planted(), await planted(), await planted()]
    const loaded = reader.hold('loaded', ids[0]!)
    const reading = reader.getMany(ids)
    await loaded.reached
    for (const id of ids) await writer.write(id)
    loaded.letGo()
    expect(await reading, 'what the reader had loaded').toEqual([1, 1, 1])
    await idle(reader)
    const stale = []
    for (const id of ids) stale.push(await isStale(field.database, all, id))
    return stale.includes(true)
  }
  const stale = await count(RUNS, () => batch(ours))
  const control = await count(CONTROLS, () => batch(plain))
  expectFreshUnlikeControl(context, {
    group: GROUP,
    trial: 'a batch of three loads',
    runs: RUNS,
    ours: stale,
    control,
    controlRuns: CONTROLS,
  })
})

test('a refresh puts back no row that was written while it loaded', async context => {
  const keyspace = { ttlMs: 50, staleMs: 600_000 }
  const [reader, writer] = await field.startAll(2, { keyspace, local: false })
  const [plainReader, plainWriter] = await field.startAll(2, { subject: 'plain', keyspace, local: false })
  const refresh = async (one: WorkerProcess, other: WorkerProcess) => {
    const id = await planted()
    await warm([one], id, false)
    const loaded = one.hold('loaded', id)
    let reached = false
    loaded.reached.then(() => {
      reached = true
    })
    await eventually(async () => {
      if (!reached) await one.get(id)
      return reached
    }, 'a refresh')
    await other.write(id)
    loaded.letGo()
    await idle(one)
    return isStale(field.database, [one, other], id)
  }
  const stale = await count(RUNS, () => refresh(reader!, writer!))
  const control = await count(CONTROLS, () => refresh(plainReader!, plainWriter!))
  expectFreshUnlikeControl(context, {
    group: GROUP,
    trial: 'a refresh in the background',
    runs: RUNS,
    ours: stale,
    control,
    controlRuns: CONTROLS,
  })
})

test('write-through stores no row that another writer has changed since', async context => {
  const twoWriters = async (all: WorkerProcess[]) => {
    const [first, second] = all as [WorkerProcess, WorkerProcess]
    const id = await planted()
    const committed = first.hold('committed', id)
    const writing = first.write(id, { through: true })
    await committed.reached
    await second.write(id, { through: true })
    committed.letGo()
    await writing
    return isStale(field.database, all, id)
  }
  const stale = await count(RUNS, () => twoWriters(ours))
  const control = await count(CONTROLS, () => twoWriters(plain))
  expectFreshUnlikeControl(context, {
    group: GROUP,
    trial: 'write-through, the earlier of two commits stored last',
    runs: RUNS,
    ours: stale,
    control,
    controlRuns: CONTROLS,
  })
})

test('write-through stores no row that another program has changed since', async context => {
  const fed = await field.startAll(3, { feed: true })
  await ready(fed, true)
  const foreignChange = async (all: WorkerProcess[]) => {
    const id = await planted()
    const [writer] = all as [WorkerProcess]
    const committed = writer.hold('committed', id)
    const writing = writer.write(id, { through: true })
    await committed.reached
    await field.database.sql('UPDATE spell SET version = version + 1 WHERE id = $1', [id])
    await drained(field.database)
    committed.letGo()
    await writing
    return isStale(field.database, all, id)
  }
  const stale = await count(RUNS, () => foreignChange(fed))
  const control = await count(CONTROLS, () => foreignChange(plain))
  expectFreshUnlikeControl(context, {
    group: GROUP,
    trial: 'write-through, the row changed by another program meanwhile, with the feed',
    runs: RUNS,
    ours: stale,
    control,
    controlRuns: CONTROLS,
  })
  await Promise.all(fed.map(worker => worker.kill()))
})

test('write-through stores a row that nobody else has changed', async () => {
  const [writer, reader] = ours
  const id = await planted()
  await writer.write(id, { through: true })
  const { loads } = await reader.status()
  expect(await reader.get(id)).toMatchObject({ version: 2, from: 'shared' })
  expect((await reader.status()).loads).toBe(loads)
})
