import { beforeAll, expect, test } from 'vitest'
import { eventually } from '../test/redis-servers.ts'
import { isStale, openField, ready, report, times } from './field.ts'
import type { ProcessOptions } from './subject.ts'
import type { Hold, WorkerProcess } from './worker-process.ts'

const GROUP = '6 stampede'
const PROCESSES = 4
const READERS = 50
const BUSY_WAIT_MS = 800

const field = openField()
let ours: WorkerProcess[]
let plain: WorkerProcess[]

beforeAll(async () => {
  // A process that the machine holds up for longer than this rightly stops waiting for Redis, and loads by itself.
  ours = await field.startAll(PROCESSES, { cache: { sharedTimeoutMs: 1_900 } })
  plain = await field.startAll(PROCESSES, { subject: 'plain' })
  await ready(ours)
})

async function loadsOf(workers: readonly WorkerProcess[]): Promise<number> {
  const statuses = await Promise.all(workers.map(worker => worker.status()))
  return statuses.reduce((sum, { loads }) => sum + loads, 0)
}

/** Others wait for a load for about as long as loads have taken lately: one that is slow makes them patient. */
async function loadSlowly(workers: readonly WorkerProcess[]): Promise<void> {
  const loads = workers.map(async worker => {
    const id = field.nextId()
    await field.database.plant(id)
    const loaded = worker.hold('loaded', id)
    const reading = worker.get(id)
    await loaded.reached
    await field.database.sql('SELECT pg_sleep(0.4)')
    loaded.letGo()
    await reading
  })
  await Promise.all(loads)
}

/**
 * Everybody reads one cold key at once; the answers, once the loads that this takes are let go.
 *
 * @param loadEach - Whether every process loads, as without anything that keeps them from it: all are waited for.
 */
async function stampede(
  workers: readonly WorkerProcess[],
  id: number,
  loadEach: boolean,
): Promise<(number | null)[]> {
  const holds = workers.map(worker => worker.hold('loaded', id))
  const reads = workers.flatMap(worker => Array.from({ length: READERS }, () => worker.get(id)))
  const loaded = holds.map(({ reached }) => reached)
  await (loadEach ? Promise.all(loaded) : Promise.race(loaded))
  // All reads have begun when this is answered: messages keep their order.
  await Promise.all(workers.map(worker => worker.status()))
  for (const hold of holds) hold.letGo()
  return (await Promise.all(reads)).map(({ version }) => version)
}

test('get loads a cold key once for all readers of all processes', async context => {
  const runs = times(10, 100)
  const controlRuns = times(3, 10)
  const counts = { ours: 0, plain: 0 }
  for (const [name, workers, rounds] of [
    ['ours', ours, runs],
    ['plain', plain, controlRuns],
  ] as const) {
    for (let run = 0; run < rounds; run++) {
      const id = field.nextId()
      await field.database.plant(id)
      await loadSlowly(workers)
      const before = await loadsOf(workers)
      expect(await stampede(workers, id, name === 'plain')).toEqual(Array(PROCESSES * READERS).fill(1))
      counts[name] += (await loadsOf(workers)) - before
    }
  }
  report(context, {
    group: GROUP,
    trial: `a cold key, ${PROCESSES} processes of ${READERS} readers`,
    ours: `${counts.ours} loads in ${runs} runs`,
    control: `${counts.plain} loads in ${controlRuns} runs`,
  })
  expect(counts.ours).toBe(runs)
  expect(counts.plain).toBe(controlRuns * PROCESSES)
})

test('get loads a cold key at most once per process when the load takes longer than others wait', async context => {
  const patient = await field.startAll(PROCESSES, { cache: { busyWaitMs: BUSY_WAIT_MS } })
  await ready(patient)
  const runs = times(2, 20)
  let loads = 0
  for (let run = 0; run < runs; run++) {
    const id = field.nextId()
    await field.database.plant(id)
    const before = await loadsOf(patient)
    const [leader, ...others] = patient as [WorkerProcess, ...WorkerProcess[]]
    const loaded = leader.hold('loaded', id)
    const leading = Array.from({ length: READERS }, () => leader.get(id))
    await loaded.reached
    const waiting = others.flatMap(worker => Array.from({ length: READERS }, () => worker.get(id)))
    const answers = await Promise.all(waiting)
    expect(answers.map(({ version, why }) => [version, why])).toEqual(waiting.map(() => [1, 'busy']))
    loaded.letGo()
    await Promise.all(leading)
    loads += (await loadsOf(patient)) - before
    await eventually(async () => (await leader.get(id)).from === 'local', 'the value to be kept')
    expect(await isStale(field.database, patient, id)).toBe(false)
  }
  const controlRuns = times(1, 5)
  const control = await loadsOfApart(controlRuns)
  report(context, {
    group: GROUP,
    trial: `the same, with a load slower than busyWaitMs (${BUSY_WAIT_MS} ms)`,
    ours: `${loads} loads in ${runs} runs`,
    control: `${control} loads in ${controlRuns} runs`,
    notes: 'those who wait too long load once per process, and keep nothing; control without single-flight',
  })
  expect(loads).toBe(runs * PROCESSES)
  expect(control, 'loads of the control').toBeGreaterThan(controlRuns * PROCESSES)
})

/** The loads that plain processes make of cold keys when each reader loads by itself and the first load is slow. */
async function loadsOfApart(runs: number): Promise<number> {
  const apart = await field.startAll(PROCESSES, { subject: 'plain', loadsApart: true })
  const before = await loadsOf(apart)
  for (let run = 0; run < runs; run++) {
    const id = field.nextId()
    await field.database.plant(id)
    const [leader, ...others] = apart as [WorkerProcess, ...WorkerProcess[]]
    const loaded = leader.hold('loaded', id)
    const leading = Array.from({ length: READERS }, () => leader.get(id))
    await loaded.reached
    await Promise.all(others.flatMap(worker => Array.from({ length: READERS }, () => worker.get(id))))
    loaded.letGo()
    await Promise.all(leading)
  }
  return (await loadsOf(apart)) - before
}

test('get loads no more than its load limit at once while Redis is away', async context => {
  const LIMIT = 4
  const keys = 200
  const options: Partial<ProcessOptions> = {
    local: false,
    poolSize: 20,
    cache: { maxLoads: LIMIT, sharedTimeoutMs: 100 },
  }
  const worker = await field.start(options)
  const control = await field.start({ ...options, subject: 'plain', commandTimeoutMs: 100 })
  await ready([worker])
  const ids = Array.from({ length: keys }, field.nextId)
  await field.database.plant(...ids)
  field.redis.suspend()
  const most: number[] = []
  for (const one of [worker, control]) {
    // All loads but the held ones queue behind them: the most at once is what the limit lets through.
    const held: Hold[] = ids.map(id => one.hold('load', id))
    const reads = ids.map(id => one.get(id))
    await Promise.race(held.map(({ reached }) => reached))
    const least = one === worker ? LIMIT : keys
    await eventually(async () => (await one.status()).mostLoads >= least, 'the loads to begin')
    for (const hold of held) hold.letGo()
    expect((await Promise.all(reads)).map(({ version }) => version)).toEqual(Array(keys).fill(1))
    most.push((await one.status()).mostLoads)
  }
  field.redis.resume()
  report(context, {
    group: GROUP,
    trial: `${keys} cold keys while Redis hangs, maxLoads ${LIMIT}`,
    ours: `${most[0]} loads at once`,
    control: `${most[1]} loads at once`,
  })
  expect(most).toEqual([LIMIT, keys])
})
