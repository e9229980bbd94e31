import { PGlite } from '@electric-sql/pglite'
import pg from 'pg'
import { startPgBouncer } from '../../../test/pgbouncer.ts'
import { createDatabase, sharedPostgresUrl } from '../../../test/services.ts'
import type { PostgresFeedOptions } from '../../src/postgres/index.ts'

/** A database of a test's own, and the ways to it. */
export interface TestDatabase {
  /** What `postgresFeed` is given. */
  readonly driver: Pick<PostgresFeedOptions, 'pool' | 'pglite'>
  /** Runs a script as somebody who knows nothing of the feed, and answers with the last statement's rows. */
  sql(script: string): Promise<Record<string, unknown>[]>
  /** Empties it for the next test. */
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
  readonly pool: pg.Pool
}

async function openServer(url: string): Promise<ServerDatabase> {
  const pool = new pg.Pool({ connectionString: url, max: 10 })
  // Sessions are ended in these tests, and the pool tells of those that nobody held.
  pool.on('error', () => {})
  const foreign = await connected(url)
  let last: Promise<unknown> = Promise.resolve()
  const sql = (script: string) => {
    // One after the other: in a single session there is no other way.
    const answer = last.then(() => rowsOf(foreign.query(script)))
    last = answer.catch(() => {})
    return answer
  }
  return {
    url,
    pool,
    driver: { pool },
    sql,
    reset: async () => void (await sql(RESET)),
    async close() {
      await foreign.end()
      await pool.end()
    },
  }
}

/**
 * The same by way of a PgBouncer in transaction mode, which has three connections to the server and takes another one for
 * each transaction.
 */
export async function openPooledPostgres(): Promise<ServerDatabase> {
  const pooler = await startPgBouncer(sharedPostgresUrl())
  const database = await openServer(pooler.through(await createDatabase(sharedPostgresUrl())))
  return { ...database, close: () => database.close().then(() => pooler.stop()) }
}

/** A session of its own: another program, for instance. What ends it is the test's business. */
export async function connected(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url })
  client.on('error', () => {})
  await client.connect()
  return client
}

/** A PGlite in memory. */
export async function openPGlite(): Promise<TestDatabase> {
  const pglite = await PGlite.create()
  return {
    driver: { pglite },
    sql: script => rowsOf(pglite.exec(script)),
    reset: async () => void (await pglite.exec(RESET)),
    close: () => pglite.close(),
  }
}

async function rowsOf(results: Promise<unknown>): Promise<Record<string, unknown>[]> {
  const all = [await results].flat() as { rows: Record<string, unknown>[] }[]
  return all.at(-1)?.rows ?? []
}
