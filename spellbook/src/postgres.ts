import { createHash } from 'node:crypto'
import pg from 'pg'
import type { PostgresConfig } from './config.ts'
import {
  type Database,
  DatabaseAwayError,
  fromDriver,
  NOT_COMMITTED,
  type Parameter,
  parseInt8,
  type Transaction,
} from './database.ts'

/** How much longer than the server we wait for a statement: beyond it the server is not there any more. */
const PATIENCE_MS = 1_000

const types = {
  getTypeParser: ((oid: number, format?: 'text') =>
    oid === pg.types.builtins.INT8
      ? parseInt8
      : pg.types.getTypeParser(oid, format)) as typeof pg.types.getTypeParser,
}

/**
 * A pool of connections to a PostgreSQL server. Nothing is sent before the first statement.
 *
 * The server ends every statement, and every transaction that sits idle, after `timeoutMs`, and from PostgreSQL 17 on
 * every transaction a little later: a process that dies with a
 * transaction open must not commit it when its guards in the cache are long gone.
 *
 * @param onError - Told when an idle connection breaks. The pool replaces it; somebody may want to know.
 */
export function openPostgres(config: PostgresConfig, onError: (error: Error) => void): Database {
  const { timeoutMs } = config
  const settings: pg.PoolConfig = {
    connectionString: config.url,
    types,
    keepAlive: true,
    connectionTimeoutMillis: timeoutMs,
    statement_timeout: timeoutMs,
    idle_in_transaction_session_timeout: timeoutMs,
    query_timeout: timeoutMs + PATIENCE_MS,
    onConnect: client => limitTransactions(client, timeoutMs),
  }
  const pool = new pg.Pool({ ...settings, application_name: 'spellbook', max: config.poolMax })
  // The change feed keeps one connection for as long as it runs, and must not have to wait until a request gives one
  // back. The second is only there because the feed, for the sake of others, takes no pool that it would use up.
  const feedPool = new pg.Pool({ ...settings, application_name: 'spellbook feed', max: 2 })
  for (const each of [pool, feedPool]) each.on('error', onError)
  let closed: Promise<void> | undefined
  return {
    name: nameOf(config.url),
    feedSource: { pool: feedPool },
    query: (text, values, signal) => withClient(pool, signal, client => send(client, text, values)),
    transaction: work =>
      withClient(pool, undefined, (client, discard) => inTransaction(client, discard, work)),
    close() {
      closed ??= Promise.all([pool.end(), feedPool.end()]).then(() => {})
      return closed
    },
  }
}

/**
 * How much longer a transaction may take than a statement. Not as long: then it would be the transaction's timeout that
 * ends a slow statement, and the whole session with it.
 */
const TRANSACTION_FACTOR = 1.1

/** `transaction_timeout` exists from PostgreSQL 17 on, and a server refuses a setting that it does not know. */
async function limitTransactions(client: pg.ClientBase, timeoutMs: number): Promise<void> {
  await client.query(
    `select set_config(name, $1, false) from pg_settings where name = 'transaction_timeout'`,
    [String(Math.ceil(timeoutMs * TRANSACTION_FACTOR))],
  )
}

async function connect(pool: pg.Pool): Promise<pg.PoolClient> {
  try {
    return await pool.connect()
  } catch (error) {
    // Whatever it is, a wrong password included: there is no database for us just now.
    throw new DatabaseAwayError(error, false)
  }
}

/** Says that a connection must not be used again. */
type Discard = (because: Error) => void

/** Lends out a connection; one that failed in any other way than by judging a statement is not used again. */
async function withClient<T>(
  pool: pg.Pool,
  signal: AbortSignal | undefined,
  use: (client: pg.PoolClient, discard: Discard) => Promise<T>,
): Promise<T> {
  signal?.throwIfAborted()
  const client = await connect(pool)
  let broken: Error | undefined
  const discard: Discard = because => {
    broken ??= because
  }
  // A connection that breaks while it is lent out also emits `error`, and nobody listening would end the process.
  client.on('error', discard)
  try {
    signal?.throwIfAborted()
    return await use(client, discard)
  } catch (error) {
    if (error instanceof DatabaseAwayError) discard(error)
    throw error
  } finally {
    client.off('error', discard)
    client.release(broken)
  }
}

/** Prepared statements are named by their text, so that one name means the same in every process behind a pooler. */
const names = new Map<string, string>()

function nameOfStatement(text: string): string {
  let name = names.get(text)
  if (name === undefined) {
    name = 'spellbook_' + createHash('sha256').update(text).digest('base64url').slice(0, 16)
    names.set(text, name)
  }
  return name
}

async function send<Row extends object>(
  client: pg.PoolClient,
  text: string,
  values: readonly Parameter[] = [],
): Promise<Row[]> {
  try {
    const result = await client.query<Row & pg.QueryResultRow>({
      name: nameOfStatement(text),
      text,
      values: [...values],
    })
    return result.rows
  } catch (error) {
    throw fromDriver(error)
  }
}

/** Sends statements by the simple protocol: several in one text, no values. Answers with the last one's command. */
async function sendScript(client: pg.PoolClient, text: string): Promise<string> {
  try {
    const results = [await client.query(text)].flat()
    return results.at(-1)?.command ?? ''
  } catch (error) {
    throw fromDriver(error)
  }
}

async function inTransaction<T>(
  client: pg.PoolClient,
  discard: Discard,
  work: (transaction: Transaction) => Promise<T>,
): Promise<T> {
  const transaction: Transaction = {
    query: (text, values) => send(client, text, values),
    script: async text => void (await sendScript(client, text)),
  }
  // Named, because a default of "repeatable read" would take its snapshot before an advisory lock is waited for.
  await sendScript(client, 'begin isolation level read committed')
  let value: T
  try {
    value = await work(transaction)
  } catch (error) {
    // If even that fails, the connection goes, and with it the transaction.
    await sendScript(client, 'rollback').catch(discard)
    throw error
  }
  // To a transaction in which a statement failed, COMMIT answers ROLLBACK and no error.
  if ((await sendScript(client, 'commit')) !== 'COMMIT') throw new Error(NOT_COMMITTED)
  return value
}

/** Host and database of a connection URL: what may be shown of it. */
function nameOf(url: string): string {
  const { hostname, port, pathname, searchParams } = new URL(url)
  const host = searchParams.get('host') ?? (hostname === '' ? 'localhost' : decodeURIComponent(hostname))
  return `PostgreSQL at ${host}:${port === '' ? 5432 : port}${pathname}`
}
