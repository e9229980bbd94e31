import pg from 'pg'
import { type Proxy as Network, startProxy } from '../test/proxy.ts'
import { type RedisServer, startRedis } from '../test/redis-servers.ts'
import { createDatabase } from '../test/services.ts'
import type { AdapterModule, RefreshTimes, TagsFrom } from './adapter.ts'
import { LabProcess } from './lab-process.ts'

/** How long everything is left alone before answers are counted as stale: longer than any bound of ours. */
export const REST_MS = 3_000

const TTL_MS = 3_600_000
const WARM_DEADLINE_MS = 5_000
const SETTLE_MS = 1_000
/** Longer than any client here waits between two attempts. */
const RECONNECT_DEADLINE_MS = 20_000

/** How the processes of a trial are started. */
export interface StartOptions {
  /** Where they find Redis, if not directly. */
  readonly redisPort?: number
  readonly ttlMs?: number
  readonly refresh?: RefreshTimes
  /** From the id, unless it is said. */
  readonly tagsFrom?: TagsFrom
}

/** What one trial of one library is done on: servers and processes of its own. */
export interface Stage {
  readonly redis: RedisServer
  /** Whether the library caches at all. */
  readonly caches: boolean
  /** In which keys the library keeps what it knows of tags. */
  readonly tagKeys: RegExp | undefined
  start(count: number, options?: StartOptions): Promise<LabProcess[]>
  /** A network between a process and Redis. */
  network(): Promise<Network>
  /** New ids. */
  ids(count: number): number[]
  /** Makes rows of version 1; for libraries with tags also a book of the same id for each, which shows it. */
  plant(ids: readonly number[]): Promise<void>
  /** A statement of another program, which knows of no cache. */
  sql(text: string, params?: unknown[]): Promise<Record<string, unknown>[]>
  /** Which of these rows any of the processes answers with another version than the database has. */
  staleAmong(processes: readonly LabProcess[], ids: readonly number[]): Promise<Set<number>>
  close(): Promise<void>
}

const ROWS = 'SELECT id::int AS id, version FROM spell WHERE id = ANY($1::bigint[])'
const BOOKS = `SELECT scroll.book::int AS id, sum(spell.version)::int AS version
  FROM scroll JOIN spell ON spell.id = scroll.spell WHERE scroll.book = ANY($1::bigint[]) GROUP BY scroll.book`

/** Opens a stage for a library. */
export async function openStage(
  adapter: string,
  library: AdapterModule,
  postgresUrl: string,
  redisProgram: string,
): Promise<Stage> {
  const postgres = await createDatabase(postgresUrl)
  const pool = new pg.Pool({ connectionString: postgres, max: 4 })
  pool.on('error', () => {})
  await pool.query('CREATE TABLE spell (id bigint PRIMARY KEY, version int NOT NULL)')
  await pool.query('CREATE TABLE scroll (id bigint PRIMARY KEY, book bigint NOT NULL, spell bigint NOT NULL)')
  const hasBooks = library.about.hasTags === true
  await library.install?.(pool)
  const redis = await startRedis({}, redisProgram)
  const processes: LabProcess[] = []
  const networks: Network[] = []
  let lastId = 0
  const sql = async (text: string, params: unknown[] = []) => (await pool.query(text, params)).rows
  return {
    redis,
    caches: library.about.isControl !== true,
    tagKeys: library.about.tagKeys,
    async start(count, options = {}) {
      const { redisPort = redis.port, ttlMs = TTL_MS, refresh, tagsFrom = 'id' } = options
      const base = { adapter, postgres, redisPort, ttlMs, tagsFrom }
      const asked = { ...base, ...(refresh === undefined ? {} : { refresh }) }
      const started = await Promise.all(Array.from({ length: count }, () => LabProcess.start(asked)))
      processes.push(...started)
      await passes(SETTLE_MS)
      return started
    },
    async network() {
      const network = await startProxy(redis.port)
      networks.push(network)
      return network
    },
    ids: count => Array.from({ length: count }, () => ++lastId),
    async plant(ids) {
      await sql('INSERT INTO spell SELECT id, 1 FROM unnest($1::bigint[]) AS id', [ids])
      if (hasBooks) await sql('INSERT INTO scroll SELECT id, id, id FROM unnest($1::bigint[]) AS id', [ids])
    },
    sql,
    async staleAmong(asked, ids) {
      const rows = await sql(hasBooks ? BOOKS : ROWS, [ids])
      const versions = new Map(rows.map(row => [row.id, row.version]))
      const stale = new Set<number>()
      for (const one of asked) {
        for (const id of ids) if ((await one.get(id)) !== (versions.get(id) ?? null)) stale.add(id)
      }
      return stale
    },
    async close() {
      await Promise.all(processes.map(one => one.kill()))
      await Promise.all(networks.map(network => network.close()))
      await redis.stop()
      await pool.end()
      const admin = new pg.Client({ connectionString: postgresUrl })
      await admin.connect()
      await admin.query(`DROP DATABASE "${new URL(postgres).pathname.slice(1)}" WITH (FORCE)`)
      await admin.end()
    },
  }
}

/** Resolves after a time: only for what the trial says it waits for, never for something to have happened. */
export const passes = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

/**
 * Has every process read the rows until it reads them without a load, and answers with those that every process has.
 * Where nothing is cached, nothing can become stale: such a row counts as one whose trial was not possible.
 */
export async function warm(processes: readonly LabProcess[], ids: readonly number[]): Promise<number[]> {
  const cold = new Set<number>()
  await Promise.all(
    processes.map(async one => {
      const left = await readUntilCached(one, ids)
      for (const id of left) cold.add(id)
    }),
  )
  return ids.filter(id => !cold.has(id))
}

async function readUntilCached(one: LabProcess, ids: readonly number[]): Promise<number[]> {
  const untilMs = Date.now() + WARM_DEADLINE_MS
  let left = [...ids]
  for (;;) {
    const before = await one.loads(left)
    await Promise.all(left.map(id => one.get(id)))
    const after = await one.loads(left)
    left = left.filter((_, i) => before[i] !== after[i])
    if (left.length === 0 || Date.now() > untilMs) return left
    await passes(50)
  }
}

/**
 * Waits until Redis has as many clients as it had: those that were cut off are back. If a library gives one up, it waits for as long
 * as that may take otherwise.
 */
export async function reconnected(redis: RedisServer, clients: number): Promise<void> {
  const untilMs = Date.now() + RECONNECT_DEADLINE_MS
  while (Date.now() < untilMs) {
    const now = await clientsOf(redis).catch(() => 0)
    if (now >= clients) return
    await passes(50)
  }
}

/** How many clients Redis has, without the one that asks. */
export async function clientsOf(redis: RedisServer): Promise<number> {
  return (
    String(await redis.command('CLIENT', 'LIST'))
      .trim()
      .split('\n').length - 1
  )
}
