import { beforeAll, expect, test } from 'vitest'
import { eventually, startRedisCluster } from '../test/redis-servers.ts'
import {
  count,
  expectFreshUnlikeControl,
  idle,
  isSoak,
  isStale,
  killAll,
  openField,
  ready,
  times,
  warm,
} from './field.ts'
import type { Step } from './steps.ts'
import type { ProcessOptions, Shown } from './subject.ts'
import type { WorkerProcess } from './worker-process.ts'

const GROUP = '10 tags'
const RUNS = times(10, 100)
const CONTROLS = times(3, 20)
const STEPS: readonly Step[] = isSoak
  ? ['guarded', 'commit', 'committed', 'release', 'releasing']
  : ['commit', 'release', 'releasing']
const GUARDING: Partial<ProcessOptions> = {
  cache: { guardMs: 2_400, sharedTimeoutMs: 700 },
  statementTimeoutMs: 1_200,
}

const field = openField()
let byCondition: WorkerProcess[]
let byReference: WorkerProcess[]
let plain: WorkerProcess[]

beforeAll(async () => {
  byCondition = await field.startAll(2, { shown: 'condition', ...GUARDING })
  byReference = await field.startAll(2, { shown: 'reference', ...GUARDING })
  plain = await field.startAll(2, { subject: 'plain', shown: 'reference' })
  await ready([...byCondition, ...byReference])
})

async function planted(): Promise<number> {
  const id = field.nextId()
  await field.database.plantBooks(id)
  return id
}

/** A reader is held with the old book in its hands, a tag of it is written, the reader goes on. */
async function tagWrittenDuringLoad(
  [reader, writer]: readonly WorkerProcess[],
  all: readonly WorkerProcess[],
  plant = planted,
): Promise<boolean> {
  const id = await plant()
  const loaded = reader!.hold('loaded', id)
  const reading = reader!.get(id)
  await loaded.reached
  await writer!.write(id)
  loaded.letGo()
  expect((await reading).version, 'what the reader had loaded').toBe(1)
  await idle(reader!)
  return isStale(field.database, all, id)
}

const OWN = [0, 0]
const ANOTHER = [0, 1]
const loads = [
  { tag: 'a tag known from the id', writer: 'the same process', cast: OWN, ours: () => byCondition },
  { tag: 'a tag known from the id', writer: 'another process', cast: ANOTHER, ours: () => byCondition },
  { tag: 'a late tag', writer: 'the same process', cast: OWN, ours: () => byReference },
  { tag: 'a late tag', writer: 'another process', cast: ANOTHER, ours: () => byReference },
]

test.for(loads)('get keeps no value if $tag is written during its load by $writer', async (one, context) => {
  const castOf = (all: WorkerProcess[]) => one.cast.map(i => all[i]!)
  const stale = await count(RUNS, () => tagWrittenDuringLoad(castOf(one.ours()), one.ours()))
  const control = await count(CONTROLS, () => tagWrittenDuringLoad(castOf(plain), plain))
  expectFreshUnlikeControl(context, {
    group: GROUP,
    trial: `${one.tag} is written during the load, by ${one.writer}`,
    runs: RUNS,
    ours: stale,
    control,
    controlRuns: CONTROLS,
  })
})

test('get joins no load of a value whose tag its process has written since', async context => {
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
  const stale =
    (await count(RUNS, () => lateRead(byCondition))) + (await count(RUNS, () => lateRead(byReference)))
  const control = await count(CONTROLS, () => lateRead(plain))
  expectFreshUnlikeControl(context, {
    group: GROUP,
    trial: 'a read begun after the tag was written, while the old load still runs',
    runs: 2 * RUNS,
    ours: stale,
    control,
    controlRuns: CONTROLS,
  })
})

test('a late tag is learnt, and then the value is kept', async () => {
  const id = await planted()
  await warm(byReference, id)
  const before = await Promise.all(byReference.map(worker => worker.status()))
  for (const worker of byReference) expect(await worker.get(id)).toMatchObject({ version: 1, from: 'local' })
  const after = await Promise.all(byReference.map(worker => worker.status()))
  expect(after.map(({ loads }) => loads)).toEqual(before.map(({ loads }) => loads))
})

/** Waits until no guard stands over the tag. */
function unguarded(kind: Shown, id: number): Promise<void> {
  return eventually(async () => {
    const register = await field.redis.command('GET', `${kind === 'condition' ? 'shelf' : 'shown'}:${id}`)
    return !String(register ?? '').startsWith('W')
  }, `the guard of the tag ${id} to run out`)
}

/** A writer of a tag is killed at a step; readers have what shows it. */
async function isStaleAfterDeathAt(step: Step, options: Partial<ProcessOptions>, all: WorkerProcess[]) {
  const id = await planted()
  await warm(all, id)
  const isPlain = options.subject === 'plain'
  // On a busy machine the store may count as away for a moment, and then a writer passes over its steps.
  await eventually(async () => {
    const writer = await field.start(options)
    if (!isPlain) await ready([writer])
    const died = writer.dieAt(step, id).then(() => true)
    const outlived = writer.write(id).then(
      () => false,
      () => died,
    )
    if (await Promise.race([died, outlived])) return true
    await writer.kill()
    return false
  }, `a writer to die at ${step}`)
  if (isPlain) return isStale(field.database, all, id)
  const version = await field.database.version(id)
  const strong = await Promise.all(all.map(worker => worker.get(id, true)))
  await Promise.all(all.map(worker => worker.get(id)))
  await unguarded(options.shown!, id)
  return strong.some(seen => seen.version !== version) || (await isStale(field.database, all, id))
}

test('write of a tag leaves nothing stale when its process is killed at any step', async context => {
  const rounds = times(1, 8)
  let stale = 0
  for (let round = 0; round < rounds; round++) {
    const outcomes = await Promise.all(
      STEPS.map((step, i) => {
        const shown = (round + i) % 2 === 0 ? 'condition' : 'reference'
        const all = shown === 'condition' ? byCondition : byReference
        return isStaleAfterDeathAt(step, { ...GUARDING, shown }, all)
      }),
    )
    stale += outcomes.filter(Boolean).length
  }
  const controlRuns = times(1, 10)
  const control = await count(controlRuns, () =>
    isStaleAfterDeathAt('release', { subject: 'plain', shown: 'reference' }, plain),
  )
  expectFreshUnlikeControl(context, {
    group: GROUP,
    trial: `a writer of a tag is killed at each of ${STEPS.length} steps: ${STEPS.join(', ')}`,
    runs: rounds * STEPS.length,
    ours: stale,
    control,
    controlRuns,
    notes: 'control killed between commit and delete',
  })
})

test('get keeps no value whose tag, on another node of a Cluster, is written during the load', async context => {
  const servers = await startRedisCluster()
  try {
    const store = { cluster: servers.nodes }
    const fixed = await field.startAll(1, { store, shown: 'condition' })
    const late = await field.startAll(1, { store, shown: 'reference' })
    const controls = await field.startAll(1, { store, subject: 'plain', shown: 'reference' })
    await ready([...fixed, ...late])
    const nodeOf = async (key: string) => {
      const slot = Number(await servers.primaries[0]!.command('CLUSTER', 'KEYSLOT', key))
      return Math.floor((slot * servers.primaries.length) / 16_384)
    }
    /** Its key and its tag are on different nodes. */
    const plantApart = (tags: string) => async () => {
      for (;;) {
        const id = field.nextId()
        if ((await nodeOf(`book:${id}`)) === (await nodeOf(`${tags}:${id}`))) continue
        await field.database.plantBooks(id)
        return id
      }
    }
    const stale =
      (await count(RUNS, () => tagWrittenDuringLoad([fixed[0]!, fixed[0]!], fixed, plantApart('shelf')))) +
      (await count(RUNS, () => tagWrittenDuringLoad([late[0]!, late[0]!], late, plantApart('shown'))))
    const alone = [controls[0]!, controls[0]!]
    const control = await count(CONTROLS, () => tagWrittenDuringLoad(alone, controls, plantApart('shown')))
    expectFreshUnlikeControl(context, {
      group: GROUP,
      trial: 'a tag is written during the load, key and tag on different nodes of a Cluster',
      runs: 2 * RUNS,
      ours: stale,
      control,
      controlRuns: CONTROLS,
    })
    await killAll([...fixed, ...late, ...controls])
  } finally {
    await servers.stop()
  }
})
