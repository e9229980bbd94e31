import { expect, test } from 'vitest'
import {
  drained,
  type Field,
  idle,
  isSoak,
  killAll,
  openField,
  ready,
  report,
  type TrialDatabase,
} from './field.ts'
import { judge } from './judge.ts'
import { generatorOf } from './random-load.ts'
import { machineMs, type Operation, type ProcessOptions } from './subject.ts'
import type { WorkerProcess } from './worker-process.ts'

const GROUP = '8 random run'
const PROCESSES = 4
const KEYS = 200
const IDS = Array.from({ length: KEYS }, (_, i) => i + 1)
const LOCAL_MAX_STALE_MS = 2_000
const OPERATIONS = 1_000_000
const RUN_MS = 20_000
const CONTROL_MS = isSoak ? 30_000 : 4_000
const CONTROL_ROUNDS = 15
const OPERATIONS_AT_ONCE = 2_000
const FOREIGN_GAP_MS = 100
const SEED = Number(process.env.CACHEASIDE_SEED ?? Math.floor(Math.random() * 2 ** 31))

const field = openField()

const options: Partial<ProcessOptions> = {
  feed: true,
  poolSize: 8,
  statementTimeoutMs: 1_000,
  cache: { guardMs: 2_000, sharedTimeoutMs: 100, localMaxStaleMs: LOCAL_MAX_STALE_MS },
}

/** A place in the run: a process, which is replaced when it is killed, and its way to Redis. */
interface Seat {
  readonly network: Awaited<ReturnType<Field['network']>>
  worker: WorkerProcess
  loading: Promise<void>
}

/** What happens in the meantime, each with how long it lasts. */
const FAULTS: Record<string, (seat: Seat, pauseMs: number) => Promise<void>> = {
  async 'connections reset'(seat) {
    seat.network.cut()
  },
  async 'cut off'(seat, pauseMs) {
    await seat.network.refuse()
    await pass(pauseMs)
    await seat.network.restore()
  },
  async 'packets swallowed'(seat, pauseMs) {
    seat.network.swallow()
    await pass(pauseMs)
    await seat.network.restore()
  },
  async 'packets late'(seat, pauseMs) {
    seat.network.delay(50 + pauseMs / 4)
    await pass(pauseMs)
    await seat.network.restore()
  },
  async 'process suspended'(seat, pauseMs) {
    await seat.worker.suspend()
    await pass(2 * pauseMs)
    await seat.worker.resume()
  },
  async 'process killed'(seat) {
    await seat.worker.kill()
    await seat.loading
    seat.worker = await field.start({ ...options, store: { port: seat.network.port } })
  },
  async 'Redis hung'(_seat, pauseMs) {
    field.redis.suspend()
    await pass(pauseMs)
    field.redis.resume()
  },
  async 'everything flushed'() {
    await field.redis.command('FLUSHALL')
  },
  async 'subscriptions cut'() {
    await field.redis.command('CLIENT', 'KILL', 'TYPE', 'pubsub')
  },
}

/** Lets the run go on for a while. */
async function pass(ms: number): Promise<void> {
  const untilMs = machineMs() + ms
  while (machineMs() < untilMs) await field.database.sql('SELECT pg_sleep(0.01)')
}

/** Everything that is noted in one run, until it is over. */
class Run {
  readonly history: Operation[] = []
  readonly #isOver: () => boolean
  readonly #random: () => number
  operations = 0
  failed = 0
  maxLagMs = 0
  pauseMs = 0

  constructor(seed: number, isOver: (run: Run) => boolean) {
    this.#random = generatorOf(seed)
    this.#isOver = () => isOver(this)
  }

  /** Has a process do one bit of load after the other; one that is killed leaves what it was doing. */
  async load(worker: WorkerProcess): Promise<void> {
    const seed = Math.floor(this.#random() * 2 ** 31)
    for (let bit = 0; !this.#isOver(); bit++) {
      try {
        const load = { operations: OPERATIONS_AT_ONCE, keys: KEYS, atOnce: 16, seed: seed + bit }
        const { operations, failed } = await worker.runAtRandom(load, history => {
          for (const operation of history) this.history.push(operation)
        })
        this.operations += operations
        this.failed += failed
        await this.measure(worker)
      } catch {
        return
      }
    }
  }

  async measure(worker: WorkerProcess): Promise<void> {
    const { maxLagMs, pauseMs } = await worker.status()
    this.maxLagMs = Math.max(this.maxLagMs, maxLagMs)
    this.pauseMs = Math.max(this.pauseMs, pauseMs)
  }

  /** Changes rows as another program does. */
  async changeForeign(database: TrialDatabase): Promise<void> {
    while (!this.#isOver()) {
      const id = 1 + Math.floor(this.#random() * KEYS)
      const beganMs = machineMs()
      const [row] = await database.sql(
        'UPDATE spell SET version = version + 1 WHERE id = $1 RETURNING version',
        [id],
      )
      this.history.push(['write', id, row!.version as number, beganMs, machineMs(), 'foreign'])
      await pass(FOREIGN_GAP_MS * this.#random())
    }
  }

  /** One fault after the other, and how often there was each. */
  async trouble(seats: readonly Seat[]): Promise<Record<string, number>> {
    const counts: Record<string, number> = {}
    const names = Object.keys(FAULTS)
    for (let i = 0; !this.#isOver(); i++) {
      const name = i < names.length ? names[i]! : names[Math.floor(this.#random() * names.length)]!
      const seat = seats[Math.floor(this.#random() * seats.length)]!
      counts[name] = (counts[name] ?? 0) + 1
      await FAULTS[name]!(seat, 200 + 1_300 * this.#random())
      if (name === 'process killed') seat.loading = this.load(seat.worker)
      await pass(300 * this.#random())
    }
    return counts
  }
}

/** Keys of which any process has another version than the database. */
async function staleKeys(workers: readonly WorkerProcess[]): Promise<number> {
  const rows = await field.database.sql('SELECT version FROM spell ORDER BY id')
  const versions = rows.map(({ version }) => version as number)
  const stale = new Set<number>()
  for (const worker of workers) {
    for (const strong of [false, true]) {
      const seen = await worker.getMany(IDS, strong)
      for (const [i, id] of IDS.entries()) if (seen[i] !== versions[i]) stale.add(id)
    }
  }
  return stale.size
}

/** The same load on plain processes, without a single fault, until it shows. */
async function control(): Promise<{ staleAtRest: number; staleReads: number; reads: number }> {
  const workers = await field.startAll(PROCESSES, { subject: 'plain', local: false, poolSize: 8 })
  const found = { staleAtRest: 0, staleReads: 0, reads: 0 }
  for (let round = 0; round < CONTROL_ROUNDS && found.staleReads === 0; round++) {
    const endMs = machineMs() + CONTROL_MS
    const run = new Run(SEED + round, () => machineMs() > endMs)
    await Promise.all(workers.map(worker => run.load(worker)))
    await idle(...workers)
    const verdict = judge(run.history, { localMaxStaleMs: 0, lagMs: 0 })
    found.staleAtRest = Math.max(found.staleAtRest, await staleKeys(workers))
    found.staleReads += verdict.oldReads
    found.reads += verdict.reads
  }
  await killAll(workers)
  return found
}

test('reads and writes at random under faults break no promise, and leave nothing stale', {
  timeout: 3_600_000,
}, async context => {
  await field.database.plant(...IDS)
  const plain = await control()
  const seats = await Promise.all(
    Array.from({ length: PROCESSES }, async (): Promise<Seat> => {
      const network = await field.network()
      const worker = await field.start({ ...options, store: { port: network.port } })
      return { network, worker, loading: Promise.resolve() }
    }),
  )
  await ready(
    seats.map(({ worker }) => worker),
    true,
  )
  const endMs = machineMs() + RUN_MS
  const run = new Run(SEED, ({ operations }) => (isSoak ? operations >= OPERATIONS : machineMs() > endMs))
  for (const seat of seats) seat.loading = run.load(seat.worker)
  const [faults] = await Promise.all([run.trouble(seats), run.changeForeign(field.database)])
  await Promise.all(seats.map(({ loading }) => loading))
  const workers = seats.map(({ worker }) => worker)
  await ready(workers, true)
  await idle(...workers)
  await drained(field.database)
  const atRest = await staleKeys(workers)
  for (const worker of workers) await run.measure(worker)
  const verdict = judge(run.history, { localMaxStaleMs: LOCAL_MAX_STALE_MS, lagMs: run.maxLagMs })
  const faultCount = Object.values(faults).reduce((sum, count) => sum + count, 0)
  report(context, {
    group: GROUP,
    trial: `${run.operations} operations on ${KEYS} keys in ${PROCESSES} processes, ${faultCount} faults, seed ${SEED}`,
    ours: `${atRest} stale keys at rest; ${verdict.oldStrongReads} of ${verdict.strongReads} strong reads, ${verdict.oldReads} of ${verdict.reads} reads too old`,
    control: `${plain.staleAtRest} stale keys at rest; ${plain.staleReads} of ${plain.reads} reads older than an acknowledged write`,
    notes: `${verdict.fenced} fenced of ${verdict.writes} writes, ${verdict.queued} queued; oldest read ${Math.round(verdict.oldestReadMs)} ms; longest lag of the feed ${Math.round(run.maxLagMs)} ms; longest pause of a process ${Math.round(run.pauseMs)} ms; ${run.failed} operations failed`,
  })
  expect(verdict.examples, `broken promises; seed ${SEED}`).toEqual([])
  expect(atRest, 'stale keys at rest').toBe(0)
  expect(verdict.fenced).toBeGreaterThan(verdict.writes / 3)
  expect(plain.staleReads, 'stale reads of the control').toBeGreaterThan(0)
})
