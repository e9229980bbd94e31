import { beforeAll, expect, test } from 'vitest'
import { eventually } from '../test/redis-servers.ts'
import { count, expectFreshUnlikeControl, idle, isStale, openField, ready, times, warm } from './field.ts'
import type { Step } from './steps.ts'
import type { ProcessOptions } from './subject.ts'
import type { WorkerProcess } from './worker-process.ts'

const GROUP = '2 killed writers'
const GUARD_MS = 2_400
/** Less than a guard lives after its last renewal, as the promise demands. */
const STATEMENT_TIMEOUT_MS = 1_200
const STEPS: readonly Step[] = ['guard', 'guarded', 'commit', 'committed', 'release', 'releasing']

const field = openField()
const guarding: Partial<ProcessOptions> = {
  cache: { guardMs: GUARD_MS, sharedTimeoutMs: 700 },
  statementTimeoutMs: STATEMENT_TIMEOUT_MS,
}
const plainly: Partial<ProcessOptions> = { subject: 'plain' }
let readers: WorkerProcess[]
let plainReaders: WorkerProcess[]

beforeAll(async () => {
  readers = await field.startAll(2, guarding)
  plainReaders = await field.startAll(2, plainly)
  await ready(readers)
})

async function plantedAndWarm(all: readonly WorkerProcess[]): Promise<number> {
  const id = field.nextId()
  await field.database.plant(id)
  await warm(all, id)
  return id
}

/** Whether a strong read of any process is older than what is committed; and default reads, for what they may spoil. */
async function isStaleAtOnce(all: readonly WorkerProcess[], id: number): Promise<boolean> {
  const version = await field.database.version(id)
  const strong = await Promise.all(all.map(worker => worker.get(id, true)))
  await Promise.all(all.map(worker => worker.get(id)))
  return strong.some(seen => seen.version !== version)
}

/** Waits until no guard stands. */
function unguarded(id: number): Promise<void> {
  return eventually(async () => {
    const register = await field.redis.command('GET', `spell:${id}`)
    return !String(register ?? '').startsWith('W')
  }, `the guard of spell ${id} to run out`)
}

async function isStaleAfterDeathAt(step: Step, all: WorkerProcess[], options: Partial<ProcessOptions>) {
  const id = await plantedAndWarm(all)
  // On a busy machine the store may count as away for a moment, and then a writer passes over its steps.
  await eventually(async () => {
    const writer = await field.start(options)
    await ready([writer])
    const died = writer.dieAt(step, id).then(() => true)
    const outlived = writer.write(id).then(
      () => false,
      () => died,
    )
    if (await Promise.race([died, outlived])) return true
    await writer.kill()
    return false
  }, `a writer to die at ${step}`)
  const atOnce = await isStaleAtOnce(all, id)
  await unguarded(id)
  return atOnce || (await isStale(field.database, all, id))
}

test('write leaves nothing stale when its process is killed at any step', async context => {
  const rounds = times(2, 17)
  let stale = 0
  for (let round = 0; round < rounds; round++) {
    const outcomes = await Promise.all(STEPS.map(step => isStaleAfterDeathAt(step, readers, guarding)))
    stale += outcomes.filter(Boolean).length
  }
  const controlRuns = times(2, 10)
  const control = await count(controlRuns, () => isStaleAfterDeathAt('committed', plainReaders, plainly))
  expectFreshUnlikeControl(context, {
    group: GROUP,
    trial: `SIGKILL at each of ${STEPS.length} steps: ${STEPS.join(', ')}`,
    runs: rounds * STEPS.length,
    ours: stale,
    control,
    controlRuns,
    notes: `guardMs ${GUARD_MS}; control killed between commit and delete`,
  })
})

/** A writer is killed while its statement waits for a row lock: the server goes on with it, and may commit it. */
async function killedWaiting(options: Partial<ProcessOptions>, all: WorkerProcess[]) {
  const writer = await field.start(options)
  const id = await plantedAndWarm(all)
  const other = await field.database.session()
  await other.query('BEGIN')
  await other.query('SELECT FROM spell WHERE id = $1 FOR UPDATE', [id])
  writer.write(id, { statement: true }).catch(() => {})
  await eventually(async () => {
    const [row] = await field.database.sql(
      `SELECT count(*)::int AS waiting FROM pg_locks JOIN pg_stat_activity USING (pid)
        WHERE NOT granted AND datname = current_database() AND query LIKE 'UPDATE spell%'`,
    )
    return (row?.waiting as number) > 0
  }, 'the writer to wait for the lock')
  await writer.kill()
  return { id, unlock: () => other.query('COMMIT') }
}

const settled = (): Promise<void> =>
  eventually(async () => {
    const [row] = await field.database.sql(
      `SELECT count(*)::int AS active FROM pg_stat_activity
       WHERE datname = current_database() AND state = 'active' AND query LIKE 'UPDATE spell%'`,
    )
    return row?.active === 0
  }, "the dead writer's statement to end")

test('write leaves nothing stale when its statement goes on after its death', async context => {
  const trial = async (options: Partial<ProcessOptions>, all: WorkerProcess[]) => {
    let id = 0
    await eventually(async () => {
      const waiting = await killedWaiting(options, all)
      id = waiting.id
      await isStaleAtOnce(all, id)
      await waiting.unlock()
      await settled()
      // On a busy machine the statement's time may be up before the lock is free: that is the next trial.
      return (await field.database.version(id)) === 2
    }, 'a dead writer to commit')
    await unguarded(id)
    return isStale(field.database, all, id)
  }
  const runs = times(2, 12)
  const controlRuns = times(1, 5)
  const stale = await count(runs, () => trial(guarding, readers))
  const control = await count(controlRuns, () => trial(plainly, plainReaders))
  expectFreshUnlikeControl(context, {
    group: GROUP,
    trial: 'SIGKILL while its statement waits for a row lock, which is then freed',
    runs,
    ours: stale,
    control,
    controlRuns,
  })
})

test("write leaves nothing stale because statement_timeout ends a dead writer's statement first", async context => {
  const trial = async (options: Partial<ProcessOptions>) => {
    const { id, unlock } = await killedWaiting(options, readers)
    await unguarded(id)
    await warm(readers, id)
    await unlock()
    await settled()
    return isStale(field.database, readers, id)
  }
  const { statementTimeoutMs: _, ...unlimited } = guarding
  const runs = times(2, 12)
  const controlRuns = times(1, 5)
  const stale = await count(runs, () => trial(guarding))
  const control = await count(controlRuns, () => trial(unlimited))
  expectFreshUnlikeControl(context, {
    group: GROUP,
    trial: 'SIGKILL while its statement waits for a row lock, which is freed when the guard has run out',
    runs,
    ours: stale,
    control,
    controlRuns,
    notes: `statement_timeout ${STATEMENT_TIMEOUT_MS} ms; control: cacheaside without one`,
  })
})

/** The connection is lost while COMMIT is under way: it was carried out, or never arrived. */
async function isStaleAfterDoubt(
  lost: 'answer' | 'question',
  all: WorkerProcess[],
  options: Partial<ProcessOptions>,
): Promise<boolean> {
  const url = new URL(field.database.url)
  const network = await field.network(Number(url.port))
  url.port = String(network.port)
  const writer = await field.start({ ...options, postgres: url.href })
  const id = await plantedAndWarm(all)
  const commit = writer.hold('commit', id)
  const outcome = writer.write(id).then(
    () => 'resolved',
    () => 'rejected',
  )
  await commit.reached
  network.swallow(lost === 'answer' ? 'toClient' : 'toServer')
  commit.letGo()
  if (lost === 'answer')
    await eventually(async () => (await field.database.version(id)) === 2, 'the row to be committed')
  network.cut()
  expect(await outcome).toBe('rejected')
  await network.restore()
  const atOnce = options.subject !== 'plain' && (await isStaleAtOnce(all, id))
  await idle(writer)
  await unguarded(id)
  const stale = await isStale(field.database, all, id)
  await writer.kill()
  await network.close()
  return atOnce || stale
}

test('write leaves nothing stale when the connection is lost during its commit', async context => {
  const runs = times(2, 10)
  const controlRuns = times(1, 5)
  const stale = await count(runs, () => isStaleAfterDoubt('answer', readers, guarding))
  const rolledBack = await count(runs, () => isStaleAfterDoubt('question', readers, guarding))
  const control = await count(controlRuns, () => isStaleAfterDoubt('answer', plainReaders, plainly))
  expectFreshUnlikeControl(context, {
    group: GROUP,
    trial: 'the connection is lost during COMMIT, before or after it is carried out',
    runs: 2 * runs,
    ours: stale + rolledBack,
    control,
    controlRuns,
  })
})
