import { expect, test } from 'vitest'
import { killAll, losses, openField, ready, report, times, warm } from './field.ts'
import type { WorkerProcess } from './worker-process.ts'

const GROUP = '7 Redis away'
const SHARED_TIMEOUT_MS = 100
/** What a load and a busy machine add to the limit. */
const SLACK_MS = 400
const CONTROL_PATIENCE_MS = 2_000

const field = openField()

async function planted(count: number): Promise<number[]> {
  const ids = Array.from({ length: count }, field.nextId)
  await field.database.plant(...ids)
  return ids
}

/** How many of these reads of a plain cache are answered before its patience ends. */
async function answeredInTime(worker: WorkerProcess, ids: readonly number[]): Promise<number> {
  let answered = 0
  let giveUp = () => {}
  const patience = new Promise<void>(resolve => {
    giveUp = resolve
  })
  const timer = setTimeout(giveUp, CONTROL_PATIENCE_MS)
  const reads = ids.map(async id => {
    await worker.get(id)
    answered++
  })
  await Promise.race([patience, Promise.allSettled(reads)])
  clearTimeout(timer)
  return answered
}

const troubles = [
  { trouble: 'hung', begin: () => field.redis.suspend(), end: () => field.redis.resume() },
  { trouble: 'stopped', begin: () => field.redis.kill(), end: () => field.redis.restart() },
]

test.for(troubles)(
  'get answers from the database while Redis is $trouble, and soon without delay',
  async (one, context) => {
    const options = { local: false, cache: { sharedTimeoutMs: SHARED_TIMEOUT_MS } }
    const rounds = times(3, 20)
    const worker = await field.start(options)
    const control = await field.start({ subject: 'plain', local: false })
    let slowestFirstMs = 0
    /** Without the time for which the machine let the process, or the database, stand still. */
    let mostOwnMs = 0
    let slowestLaterMs = 0
    let waitedAgain = 0
    let wrong = 0
    let controlAnswered = 0
    let controlReads = 0
    for (let round = 0; round < rounds; round++) {
      await ready([worker])
      const [warmId, coldId, ...later] = (await planted(12)) as [number, number, ...number[]]
      const inUse = round === 0 ? [worker, control] : [worker]
      for (const id of [warmId, ...later.slice(0, 5)]) await warm(inUse, id, false)
      await one.begin()
      const lost = await losses(field.database, [worker])
      const first = await Promise.all([worker.get(warmId), worker.get(coldId)])
      const { processMs, databaseMs } = await lost()
      const afterwards = []
      for (const id of later) afterwards.push(await worker.get(id))
      if (round === 0) {
        controlAnswered = await answeredInTime(control, [warmId, coldId])
        controlReads = 2
      }
      await one.end()
      wrong += [...first, ...afterwards].filter(
        ({ version, from }) => version !== 1 || from !== 'origin',
      ).length
      const firstMs = Math.max(...first.map(({ tookMs }) => tookMs))
      slowestFirstMs = Math.max(slowestFirstMs, firstMs)
      mostOwnMs = Math.max(mostOwnMs, firstMs - processMs - databaseMs)
      slowestLaterMs = Math.max(slowestLaterMs, ...afterwards.map(({ tookMs }) => tookMs))
      waitedAgain += afterwards.filter(({ sharedMs = 0 }) => sharedMs >= SHARED_TIMEOUT_MS).length
      await ready([worker])
      await warm([worker], warmId, false)
    }
    const { pauseMs } = await worker.status()
    await killAll([worker, control])
    report(context, {
      group: GROUP,
      trial: `Redis ${one.trouble}: a warm and a cold key, then ten more`,
      ours: `${rounds * 12 - wrong} of ${rounds * 12} answered`,
      control: `${controlAnswered} of ${controlReads} answered within ${CONTROL_PATIENCE_MS / 1000} s`,
      notes: `the first two within ${Math.round(slowestFirstMs)} ms, the others within ${Math.round(slowestLaterMs)} ms, loads included; longest pause of the process ${Math.round(pauseMs)} ms`,
    })
    expect(wrong, 'reads that the database did not answer').toBe(0)
    expect(mostOwnMs).toBeLessThan(SHARED_TIMEOUT_MS + SLACK_MS)
    expect(waitedAgain, 'reads that waited for Redis again').toBe(0)
    expect(controlAnswered, 'reads that the control answered').toBe(0)
  },
)
