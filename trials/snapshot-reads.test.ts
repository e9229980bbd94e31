import { expect, test } from 'vitest'
import { count, isSoak, killAll, openField, ready, report, times, warm } from './field.ts'
import type { SeenTogether, Shown } from './subject.ts'
import type { WorkerProcess } from './worker-process.ts'

const GROUP = '13 snapshot reads'
const RUNS = times(10, 100)
const CONTROLS = times(3, 20)

const field = openField()

/** Two rows, each shown by a book of its own; one is taken from the one and added to the other. */
async function planted(): Promise<[number, number]> {
  const ids: [number, number] = [field.nextId(), field.nextId()]
  await field.database.plantBooks(...ids)
  return ids
}

const isTorn = (versions: readonly (number | null)[]): boolean =>
  (versions[0] ?? 0) + (versions[1] ?? 0) !== 2

/** A reader has found the first of two values, and is held before it loads the second. Both are written meanwhile. */
async function readAround(
  [reader, writer]: readonly WorkerProcess[],
  read: (ids: readonly number[]) => Promise<SeenTogether>,
): Promise<SeenTogether> {
  const ids = await planted()
  const [first, second] = ids
  await warm([reader!], first, false)
  const loading = reader!.hold('load', second)
  const reading = read(ids)
  await loading.reached
  // The first was asked for before the second: what answers this was sent after both.
  await reader!.status()
  await writer!.move(first, second)
  loading.letGo()
  return reading
}

const KINDS: readonly Shown[] = isSoak ? ['row', 'condition', 'reference'] : ['row', 'reference']

test.for(KINDS)(
  'snapshot is not torn by a write between the first value and the second, shown by %s',
  async (shown, context) => {
    const all = await field.startAll(2, { shown, local: false })
    const [reader] = all as [WorkerProcess]
    await ready(all)
    let loaded = 0
    const ours = await count(RUNS, async () => {
      const seen = await readAround(all, ids => reader.snapshot(ids))
      if (seen.isLoaded) loaded++
      return isTorn(seen.versions)
    })
    const control = await count(CONTROLS, async () => {
      const byMany = async (ids: readonly number[]) => ({
        versions: await reader.getMany(ids, true),
        isLoaded: false,
      })
      return isTorn((await readAround(all, byMany)).versions)
    })
    report(context, {
      group: GROUP,
      trial: `both values are written between the looks at them, shown by ${shown}`,
      ours: `${ours} of ${RUNS} torn`,
      control: `${control} of ${CONTROLS}`,
      notes: `control: a strong getMany of cacheaside; ${loaded} snapshots loaded all at once`,
    })
    expect(ours, 'torn snapshots').toBe(0)
    expect(control, 'torn getMany').toBe(CONTROLS)
    await killAll(all)
  },
)

test('snapshot is never torn while others move money between the rows', async context => {
  const all = await field.startAll(3, { shown: 'condition' })
  const [reader, other, writer] = all as [WorkerProcess, WorkerProcess, WorkerProcess]
  await ready(all)
  const ids = await planted()
  const [first, second] = ids
  const READS = times(40, 500)
  const found = { torn: 0, tornMany: 0, loaded: 0, moves: 0 }
  let isOver = false
  const moving = (async () => {
    while (!isOver) {
      await writer.move(
        ...((found.moves++ % 2 === 0 ? [first, second] : [second, first]) as [number, number]),
      )
      // Without a pause between two writes there is never anything to find.
      await field.database.sql('SELECT pg_sleep(0.01)')
    }
  })()
  for (let i = 0; i < READS; i++) {
    const [one, two, many] = await Promise.all([
      reader.snapshot(ids),
      other.snapshot([second, first]),
      reader.getMany(ids),
    ])
    for (const seen of [one, two]) {
      if (isTorn(seen.versions)) found.torn++
      if (seen.isLoaded) found.loaded++
    }
    if (isTorn(many)) found.tornMany++
  }
  isOver = true
  await moving
  report(context, {
    group: GROUP,
    trial: 'two readers while a third process moves money between two rows',
    ours: `${found.torn} of ${2 * READS} torn`,
    control: `${found.tornMany} of ${READS}`,
    notes: `control: getMany of cacheaside, in the same run; ${found.moves} moves; ${found.loaded} snapshots loaded all at once`,
  })
  expect(found.torn, 'torn snapshots').toBe(0)
  expect(found.loaded, 'snapshots that the cache gave').toBeLessThan(2 * READS)
  await killAll(all)
})
