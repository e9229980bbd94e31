import pg from 'pg'
import { startPgBouncer } from '../../../test/pgbouncer.ts'
import { emptyPGlite } from '../../../test/pglite.ts'
import { createDatabase, sharedPostgresUrl } from '../../../test/services.ts'
import type { PostgresFeedOptions } from '../../src/postgres/index.ts'

/** A database of a test's own, and the ways to it. */
export interface TestDatabase {
  /** What `postgresFeed` is given; another one after {@link TestDatabase.reset}. */
  readonly driver: Pick<PostgresFeedOptions, 'pool' | 'pglite'>
  /** Runs a script as somebody who knows nothing of the feed, and answers with the last statement's rows. */
  sql(script: string): Promise<Record<string, unknown>[]>
  /**
   * Empties it for the next test, which gets new sessions: a session keeps the plans of all functions that it has ever
   * called, and goes through them whenever a definition changes. In one session the hundredth test takes five times as long
   * as the first.
   */
  reset(): Promise<void>
  close(): Promise<void>
}

const RESET =
  'DROP SCHEMA IF EXISTS cacheaside, other CASCADE; DROP SCHEMA public CASCADE; CREATE SCHEMA public'

/** A new database on the server that all tests of the run share. */
export async function openPostgres(): Promise<ServerDatabase> {
  return openServer(await createDatabase(sharedPostgresUrl()))
}

/** A database on a server, which other programs reach as well. */
export interface ServerDatabase extends TestDatabase {
  readonly url: string
  /** Another one after {@link TestDatabase.reset}. */
  readonly pool: pg.Pool
}

async function openServer(url: string, closed = async () => {}): Promise<ServerDatabase> {
  let pool = poolOf(url)
  let foreign = await connected(url)
  let last: Promise<unknown> = Promise.resolve()
  const sql = (script: string) => {
    // One after the other: in a single session there is no other way.
    const answer = last.then(() => rowsOf(foreign.query(script)))
    last = answer.catch(() => {})
    return answer
  }
  const end = () => Promise.all([foreign.end(), pool.end()])
  return {
    url,
    get pool() {
      return pool
    },
    get driver() {
      return { pool }
    },
    sql,
    async reset() {
      await end()
      pool = poolOf(url)
      foreign = await connected(url)
      await sql(RESET)
    },
    async close() {
      await end()
      await closed()
    },
  }
}

function poolOf(url: string): pg.Pool {
  const pool = new pg.Pool({ connectionString: url, max: 10 })
  // Sessions are ended in these tests, and the pool tells of those that nobody held.
  pool.on('error', () => {})
  return pool
}

/**
 * The same by way of a PgBouncer in transaction mode, which has three connections to the server and takes another one for
 * each transaction.
 */
export async function openPooledPostgres(): Promise<ServerDatabase> {
  // Its connections to the server are replaced after a second, as other sessions are by `reset`.
  const pooler = await startPgBouncer(sharedPostgresUrl(), { server_lifetime: '1' })
  return openServer(pooler.through(await createDatabase(sharedPostgresUrl())), () => pooler.stop())
}

/** A session of its own: another program, for instance. What ends it is the test's business. */
export async function connected(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url })
  client.on('error', () => {})
  await client.connect()
  return client
}

/** How many tests have one PGlite: what a new one costs, they lose to the plans of those before. */
const TESTS_PER_PGLITE = 8

/** A PGlite in memory. Its only session is as old as it is, so `reset` replaces it now and then. */
export async function openPGlite(): Promise<TestDatabase> {
  let pglite = await emptyPGlite()
  let tests = 0
  return {
    get driver() {
      return { pglite }
    },
    sql: script => rowsOf(pglite.exec(script)),
    async reset() {
      tests++
      if (tests % TESTS_PER_PGLITE !== 0) return void (await pglite.exec(RESET))
      await pglite.close()
      pglite = await emptyPGlite()
    },
    close: () => pglite.close(),
  }
}

async function rowsOf(results: Promise<unknown>): Promise<Record<string, unknown>[]> {
  const all = [await results].flat() as { rows: Record<string, unknown>[] }[]
  return all.at(-1)?.rows ?? []
}
