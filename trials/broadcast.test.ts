import { beforeAll, expect, test } from 'vitest'
import { isStale, openField, ready, report, times, warm } from './field.ts'
import type { ProcessOptions } from './subject.ts'
import type { WorkerProcess } from './worker-process.ts'

const GROUP = '9 lost messages'
const BOUND_MS = 2_000
const DELAY_MS = 3_000
const KEYS = 10
/** How long a copy is watched: well past the bound. */
const WATCHED_MS = 2 * BOUND_MS

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
  const applied = new Map<number, number>()
  for (const id of ids) {
    const { invalidation } = await from.write(id)
    expect(invalidation).toBe('applied')
    applied.set(id, performance.now())
  }
  await end(reader, network)
  const oldest = await Promise.all(ids.map(id => lastStaleReadMs(reader, id, applied.get(id)!)))
  await network.restore()
  await ready([reader])
  let staleAtRest = 0
  for (const id of ids) if (await isStale(field.database, [reader], id)) staleAtRest++
  await reader.kill()
  await network.close()
  return { stale: oldest.filter(ms => ms > BOUND_MS).length, oldestMs: Math.max(...oldest), staleAtRest }
}

/** How long after its invalidation was applied the last read began that was answered with the old version. */
async function lastStaleReadMs(reader: WorkerProcess, id: number, appliedMs: number): Promise<number> {
  let lastMs = 0
  for (;;) {
    const beganMs = performance.now()
    if (beganMs - appliedMs > WATCHED_MS) return lastMs
    const { version } = await reader.get(id)
    if (version === 1) lastMs = beganMs - appliedMs
    else if (beganMs - appliedMs > BOUND_MS) return lastMs
  }
}

/** Lets time pass in which the reader does not run. */
async function passMs(ms: number): Promise<void> {
  const untilMs = performance.now() + ms
  while (performance.now() < untilMs) await writer.status()
}

const killSubscribers = async () => void (await field.redis.command('CLIENT', 'KILL', 'TYPE', 'pubsub'))

const troubles: { trouble: string; begin: Trouble; end: Trouble }[] = [
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

for (const { trouble, begin, end } of troubles) {
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
    const [{ stale, staleAtRest, oldestMs }, control] = await Promise.all([
      oursInRounds(),
      staleAfterBound(plainly, plainWriter, begin, end),
    ])
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
