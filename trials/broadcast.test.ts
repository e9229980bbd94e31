import { beforeAll, expect, test } from 'vitest'
import { isStale, openField, ready, report, times, warm } from './field.ts'
import { BOUND_MS, writeAndWatch } from './stale-reads.ts'
import type { ProcessOptions } from './subject.ts'
import type { WorkerProcess } from './worker-process.ts'

const GROUP = '9 lost messages'
const DELAY_MS = 3_000
const KEYS = 10

const field = openField()
const plainly: Partial<ProcessOptions> = { subject: 'plain' }
let writer: WorkerProcess
let plainWriter: WorkerProcess

beforeAll(async () => {
  writer = await field.start()
  plainWriter = await field.start(plainly)
  await ready([writer])
})

type Network = Awaited<ReturnType<typeof field.network>>
type Trouble = (reader: WorkerProcess, network: Network) => Promise<void> | void

/** Counts the keys of which the reader still serves the old version from a read that began after the bound. */
async function staleAfterBound(
  options: Partial<ProcessOptions>,
  from: WorkerProcess,
  begin: Trouble,
  end: Trouble,
): Promise<{ stale: number; oldestMs: number; staleAtRest: number }> {
  const network = await field.network()
  const reader = await field.start({ ...options, store: { port: network.port } })
  await ready([reader])
  const ids = Array.from({ length: KEYS }, field.nextId)
  await field.database.plant(...ids)
  for (const id of ids) await warm([reader], id)
  await begin(reader, network)
  const watched = await writeAndWatch(from, reader, ids, () => end(reader, network))
  await network.restore()
  await ready([reader])
  let staleAtRest = 0
  for (const id of ids) if (await isStale(field.database, [reader], id)) staleAtRest++
  await reader.kill()
  await network.close()
  return { ...watched, staleAtRest }
}

/** Lets time pass in which the reader does not run. */
async function passMs(ms: number): Promise<void> {
  const untilMs = performance.now() + ms
  while (performance.now() < untilMs) await writer.status()
}

const killSubscribers = async () => void (await field.redis.command('CLIENT', 'KILL', 'TYPE', 'pubsub'))

interface TroubleCase {
  readonly trouble: string
  readonly begin: Trouble
  readonly end: Trouble
  /** Whether it is everybody's, so that subject and control must take turns. */
  readonly isShared?: boolean
}

const troubles: TroubleCase[] = [
  {
    trouble: 'its subscription is cut',
    async begin(_reader, network) {
      // Not let in again before the messages are gone.
      await network.refuse()
    },
    end: (_reader, network) => network.restore(),
  },
  {
    trouble: `its stream is ${DELAY_MS / 1000} s late, heartbeats and all`,
    begin: (_reader, network) => network.delay(DELAY_MS, 'toClient'),
    end: () => {},
  },
  {
    trouble: 'its packets are swallowed without a reset',
    begin: (_reader, network) => network.swallow('toClient'),
    end: () => {},
  },
  {
    trouble: 'Redis was restarted, and it is late to connect again',
    async begin(_reader, network) {
      await network.refuse()
      await field.redis.restart()
      await ready([writer])
    },
    end: (_reader, network) => network.restore(),
    isShared: true,
  },
  {
    trouble: 'the process was paused for longer than the bound, and disconnected meanwhile',
    async begin(reader) {
      await reader.suspend()
      await killSubscribers()
    },
    async end(reader) {
      await passMs(BOUND_MS)
      await reader.resume()
    },
  },
]

for (const { trouble, begin, end, isShared = false } of troubles) {
  test(`get is no older than localMaxStaleMs though ${trouble}`, async context => {
    const rounds = times(1, 10)
    const oursInRounds = async () => {
      const sum = { stale: 0, staleAtRest: 0, oldestMs: 0 }
      for (let round = 0; round < rounds; round++) {
        const found = await staleAfterBound({}, writer, begin, end)
        sum.stale += found.stale
        sum.staleAtRest += found.staleAtRest
        sum.oldestMs = Math.max(sum.oldestMs, found.oldestMs)
      }
      return sum
    }
    const theirs = () => staleAfterBound(plainly, plainWriter, begin, end)
    const [{ stale, staleAtRest, oldestMs }, control] = isShared
      ? [await oursInRounds(), await theirs()]
      : await Promise.all([oursInRounds(), theirs()])
    report(context, {
      group: GROUP,
      trial: `L1 of a reader, ${trouble}`,
      ours: `${stale} of ${rounds * KEYS} older than ${BOUND_MS} ms`,
      control: `${control.stale} of ${KEYS}`,
      notes: `oldest ${Math.round(oldestMs)} ms, control ${Math.round(control.oldestMs)} ms`,
    })
    expect(stale, 'reads that began later and were answered with the old version').toBe(0)
    expect(staleAtRest, 'stale when all was well again').toBe(0)
    expect(control.stale, 'the same of the control').toBe(KEYS)
  })
}
