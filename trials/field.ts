import { installFeed } from 'cacheaside/postgres'
import pg from 'pg'
import { afterAll, beforeAll, expect, type TestContext } from 'vitest'
import { type Proxy as Network, startProxy } from '../test/proxy.ts'
import { eventually, type RedisServer, startRedis } from '../test/redis-servers.ts'
import { createDatabase, sharedPostgresUrl } from '../test/services.ts'
import { Stalls } from './stalls.ts'
import type { ProcessOptions } from './subject.ts'
import { WorkerProcess } from './worker-process.ts'

/** Whether the full counts are asked for (`npm run soak`) or the smaller ones. */
export const isSoak = process.env.CACHEASIDE_SOAK === '1'

/** How often a trial is done: each time tests run, and in a soak. */
export const times = (usually: number, inSoak: number): number => (isSoak ? inSoak : usually)

/** A line of the report. */
export interface Row {
  readonly group: string
  readonly trial: string
  /** What was counted, as `stale of 20`. */
  readonly ours: string
  /** The same of the control; `–` where there is none. */
  readonly control: string
  readonly notes?: string
}

declare module 'vitest' {
  interface TaskMeta {
    rows?: Row[]
  }
}

/** Adds a line to the report. */
export function report({ task }: TestContext, row: Row): void {
  task.meta.rows = [...(task.meta.rows ?? []), row]
}

/** A database of a file's own. */
export interface TrialDatabase {
  readonly url: string
  /** Runs a statement as another program does, which knows of no cache. */
  sql(text: string, params?: unknown[]): Promise<Record<string, unknown>[]>
  /** The committed version of a row; `null`: there is no such row. */
  version(id: number): Promise<number | null>
  /** Makes rows of version 1 with these ids. */
  plant(...ids: number[]): Promise<void>
  /** Makes such rows, and for each a book of the same id that shows it. */
  plantBooks(...ids: number[]): Promise<void>
  /** Another session, for a transaction that stays open. */
  session(): Promise<pg.Client>
  /** How long each of a few sessions, which ask for nothing else, has had no answer all in all: the machine's doing. */
  lostMs(): Promise<readonly number[]>
}

/** What the trials of a file are done on. Opened before its first test and closed after its last. */
export interface Field {
  readonly redis: RedisServer
  readonly database: TrialDatabase
  /** Starts a process on these servers, which ends with the file at the latest. */
  start(options?: Partial<ProcessOptions>): Promise<WorkerProcess>
  /** Starts several, side by side. */
  startAll(count: number, options?: Partial<ProcessOptions>): Promise<WorkerProcess[]>
  /** A network between a process and the Redis server, or another port. */
  network(port?: number): Promise<Network>
  /** A new id. */
  nextId(): number
}

/** Opens a field for the file that calls it. */
export function openField(): Field {
  const ending: (() => Promise<unknown>)[] = []
  let redis: RedisServer
  let database: TrialDatabase
  let lastId = 0
  beforeAll(async () => {
    redis = await startRedis()
    ending.push(() => redis.stop())
    const opened = await openDatabase()
    ending.push(opened.close)
    database = opened
  })
  afterAll(async () => {
    for (const end of ending.reverse()) await end()
  })
  const field: Field = {
    get redis() {
      return redis
    },
    get database() {
      return database
    },
    async start(options = {}) {
      const { cache, ...rest } = options
      const worker = await WorkerProcess.start({
        subject: 'cacheaside',
        store: { port: redis.port },
        postgres: database.url,
        local: true,
        cache: { sharedTimeoutMs: PATIENT_MS, ...cache },
        ...rest,
      })
      ending.push(() => worker.kill())
      return worker
    },
    startAll: (count, options) => Promise.all(Array.from({ length: count }, () => field.start(options))),
    async network(port = redis.port) {
      const proxy = await startProxy(port)
      ending.push(() => proxy.close())
      return proxy
    },
    nextId: () => ++lastId,
  }
  return field
}

/** For trials that are not about slowness: on a busy machine 100 ms are soon over. */
const PATIENT_MS = 500

async function openDatabase(): Promise<TrialDatabase & { close(): Promise<void> }> {
  const url = await createDatabase(sharedPostgresUrl())
  const foreign = new pg.Pool({ connectionString: url, max: 4 })
  await foreign.query('CREATE TABLE spell (id bigint PRIMARY KEY, version int NOT NULL)')
  await foreign.query(
    'CREATE TABLE scroll (id bigint PRIMARY KEY, book bigint NOT NULL, spell bigint NOT NULL)',
  )
  await installFeed(foreign, { tables: ['spell'] })
  const sessions: pg.Client[] = []
  const session = async () => {
    const client = new pg.Client({ connectionString: url })
    client.on('error', () => {})
    await client.connect()
    sessions.push(client)
    return client
  }
  let stalls: Promise<readonly Stalls[]> | undefined
  const sql = async (text: string, params: unknown[] = []) => (await foreign.query(text, params)).rows
  return {
    url,
    sql,
    async version(id) {
      const [row] = await sql('SELECT version FROM spell WHERE id = $1', [id])
      return (row?.version as number | undefined) ?? null
    },
    async plant(...ids) {
      await sql('INSERT INTO spell SELECT id, 1 FROM unnest($1::bigint[]) AS id', [ids])
    },
    async plantBooks(...ids) {
      await sql(
        `WITH planted AS (INSERT INTO spell SELECT id, 1 FROM unnest($1::bigint[]) AS id RETURNING id)
         INSERT INTO scroll SELECT id, id, id FROM planted`,
        [ids],
      )
    },
    session,
    async lostMs() {
      stalls ??= Promise.all(
        [1, 2, 3].map(async () => {
          const client = await session()
          return new Stalls(() => client.query('SELECT 1'))
        }),
      )
      return (await stalls).map(one => one.lostMs)
    },
    async close() {
      for (const one of (await stalls) ?? []) await one.end()
      await foreign.end()
      for (const client of sessions) await client.end()
    },
  }
}

/** Waits until a process has nothing under way and nothing queued. */
export function idle(...workers: WorkerProcess[]): Promise<void> {
  return eventually(async () => {
    const all = await Promise.all(workers.map(worker => worker.status()))
    return all.every(({ working, queued }) => working === 0 && queued === 0)
  }, 'the processes to have nothing under way')
}

/** Waits until the processes hear the broadcast, and their feeds, where asked for, are open. */
export function ready(workers: readonly WorkerProcess[], feed: boolean | undefined = false): Promise<void> {
  return eventually(async () => {
    const all = await Promise.all(workers.map(worker => worker.status()))
    return all.every(one => one.hasProof && one.storeIsAvailable && (one.feedIsOpen || !feed))
  }, 'the processes to be ready')
}

/**
 * Begins to count for how long the machine lets these processes, or the database, stand still. The function that is
 * returned says it: the most that any of the processes has lost since, and any session of the database.
 */
export async function losses(
  database: TrialDatabase,
  workers: readonly WorkerProcess[],
): Promise<() => Promise<{ processMs: number; databaseMs: number }>> {
  const count = async () => ({
    processes: await Promise.all(workers.map(async worker => (await worker.status()).lostMs)),
    sessions: await database.lostMs(),
  })
  const mostSince = (before: readonly number[], now: readonly number[]) =>
    Math.max(...now.map((ms, i) => ms - before[i]!))
  const before = await count()
  return async () => {
    const now = await count()
    return {
      processMs: mostSince(before.processes, now.processes),
      databaseMs: mostSince(before.sessions, now.sessions),
    }
  }
}

/** Waits until the relays have taken everything out of the outbox. */
export function drained(database: TrialDatabase): Promise<void> {
  return eventually(async () => {
    const [row] = await database.sql('SELECT count(*)::int AS left FROM cacheaside.outbox')
    return row?.left === 0
  }, 'the outbox to be empty')
}

/** Whether any of the processes, read both ways, has another version of the row than the database. */
export async function isStale(
  database: TrialDatabase,
  workers: readonly WorkerProcess[],
  id: number,
): Promise<boolean> {
  const version = await database.version(id)
  for (const worker of workers) {
    if ((await worker.get(id)).version !== version) return true
    if ((await worker.get(id, true)).version !== version) return true
  }
  return false
}

/** How many of these rows any of the processes has another version of. */
export async function staleAmong(
  database: TrialDatabase,
  ids: readonly number[],
  workers: readonly WorkerProcess[],
): Promise<number> {
  let stale = 0
  for (const id of ids) if (await isStale(database, workers, id)) stale++
  return stale
}

/** How often the relays of these processes have distrusted the store. */
export async function distrustOf(workers: readonly WorkerProcess[]): Promise<number> {
  const statuses = await Promise.all(workers.map(worker => worker.status()))
  return statuses.reduce((sum, one) => sum + one.distrusted, 0)
}

/** Waits until a relay has distrusted the store more often than before, and all are ready. */
export async function distrusted(workers: readonly WorkerProcess[], before: number): Promise<void> {
  await eventually(async () => (await distrustOf(workers)) > before, 'a relay to distrust the store')
  await ready(workers, true)
}

/** Ends processes that a trial needs no more. */
export async function killAll(workers: readonly WorkerProcess[]): Promise<void> {
  await Promise.all(workers.map(worker => worker.kill()))
}

/** Has every process read a row until a copy is where it will be found. */
export async function warm(workers: readonly WorkerProcess[], id: number, local = true): Promise<void> {
  for (const worker of workers) {
    await eventually(async () => {
      const { from } = await worker.get(id)
      return from === 'local' || (from === 'shared' && !local)
    }, `spell ${id} to be warm`)
  }
}

/** Counts how often a trial comes out true. */
export async function count(runs: number, trial: () => Promise<boolean>): Promise<number> {
  let found = 0
  for (let i = 0; i < runs; i++) if (await trial()) found++
  return found
}

/** Expects that the subject was never stale, and its control always; and reports both. */
export function expectFreshUnlikeControl(
  context: TestContext,
  row: {
    group: string
    trial: string
    runs: number
    ours: number
    control: number
    controlRuns: number
    notes?: string
  },
): void {
  const { group, trial, runs, ours, control, controlRuns, notes } = row
  report(context, {
    group,
    trial,
    ours: `${ours} of ${runs}`,
    control: `${control} of ${controlRuns}`,
    ...(notes === undefined ? {} : { notes }),
  })
  expect(ours, 'stale in cacheaside').toBe(0)
  expect(control, 'stale in the control').toBe(controlRuns)
}
