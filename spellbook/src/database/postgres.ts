import { createHash } from 'node:crypto'
import pg from 'pg'
import type { PostgresConfig } from '../config.ts'
import { nameOfPostgres, parsePostgresUrl } from '../postgres-url.ts'
import {
  type Database,
  DatabaseAwayError,
  fromDriver,
  NOT_COMMITTED,
  type Parameter,
  parseInt8,
  type Transaction,
} from './database.ts'
import { BEGIN, SessionLimits } from './session-limits.ts'

/** How much longer than the server's limit we wait for a statement: after that the server counts as gone. */
const PATIENCE_MS = 1_000

const types = {
  getTypeParser: ((oid: number, format?: 'text') =>
    oid === pg.types.builtins.INT8
      ? parseInt8
      : pg.types.getTypeParser(oid, format)) as typeof pg.types.getTypeParser,
}

/**
 * A pool of connections to a PostgreSQL server, or to a pooler in front of one. Nothing is sent before the first
 * statement.
 *
 * The server ends every statement, and every transaction that sits idle, after `timeoutMs`, and from PostgreSQL 17 on
 * every transaction a little later: a process that dies with a transaction open must not commit it when its guards in
 * the cache are long gone. Where a session is ours alone these limits are set in it once. Behind a pooler every
 * statement runs in a transaction that begins with them, and none is prepared by a name: the next transaction may run in
 * another session of the server. See {@link SessionLimits}.
 *
 * @param onError - Called when an idle connection breaks. The pool replaces it.
 * @param onPooler - Told once, when it is found that a pooler answers.
 */
export function openPostgres(
  config: PostgresConfig,
  onError: (error: Error) => void,
  onPooler: () => void = () => {},
): Database {
  const { timeoutMs } = config
  const limits = new SessionLimits(timeoutMs, onPooler)
  const settings: pg.PoolConfig = {
    connectionString: checkingCertificates(config.url),
    types,
    keepAlive: true,
    connectionTimeoutMillis: timeoutMs,
    query_timeout: timeoutMs + PATIENCE_MS,
    onConnect: client => limits.impose(client),
  }
  // Behind a pooler the statements around a statement are sent together with it.
  const pool = new pg.Pool({
    ...settings,
    application_name: 'spellbook',
    max: config.poolMax,
    pipeline: true,
  })
  // The change feed keeps one connection for as long as it runs, and must not wait for a request to give one back. The second
  // connection is there because the feed refuses a pool that it would use up.
  const feedPool = new pg.Pool({ ...settings, application_name: 'spellbook feed', max: 2 })
  for (const each of [pool, feedPool]) each.on('error', onError)
  let closed: Promise<void> | undefined
  return {
    name: nameOfPostgres(config.url),
    poolMax: config.poolMax,
    feedSource: { pool: feedPool, writersEndMs: limits.longestMs },
    query: (text, values, signal) =>
      withClient(pool, signal, client =>
        limits.stand(client)
          ? send(client, { name: nameOfStatement(text), text, values: values ?? [] })
          : sendWithin(client, limits, text, values),
      ),
    transaction: work =>
      withClient(pool, undefined, (client, discard) => inTransaction(client, limits, discard, work)),
    close() {
      closed ??= Promise.all([pool.end(), feedPool.end()]).then(() => {})
      return closed
    },
  }
}

async function connect(pool: pg.Pool): Promise<pg.PoolClient> {
  try {
    return await pool.connect()
  } catch (error) {
    // Any error here, even a wrong password, means that the database is not available now.
    throw new DatabaseAwayError(error, false)
  }
}

/** Says that a connection must not be used again. */
type Discard = (because: Error) => void

/** Lends out a connection. It is not used again after an error that was not the server's judgement of a statement. */
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
  // A connection that breaks while it is lent out also emits `error`. Without a listener that would end the process.
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

/** Prepared statements are named by their text, so that one name means the same in every process. */
const names = new Map<string, string>()

function nameOfStatement(text: string): string {
  let name = names.get(text)
  if (name === undefined) {
    name = 'spellbook_' + createHash('sha256').update(text).digest('base64url').slice(0, 16)
    names.set(text, name)
  }
  return name
}

/** A statement, prepared under its name if it has one. */
interface Statement {
  readonly name?: string
  readonly text: string
  readonly values: readonly Parameter[]
}

async function send<Row extends object>(
  client: pg.PoolClient,
  { values, ...statement }: Statement,
): Promise<Row[]> {
  try {
    const result = await client.query<Row & pg.QueryResultRow>({ ...statement, values: [...values] })
    return result.rows
  } catch (error) {
    throw fromDriver(error)
  }
}

/**
 * Sends a statement in a transaction of its own that begins with the limits, all in one round trip. A writer that dies
 * may have sent its COMMIT already, and the pooler delivers it: the limits also end what stands before it.
 */
async function sendWithin<Row extends object>(
  client: pg.PoolClient,
  limits: SessionLimits,
  text: string,
  values: readonly Parameter[] = [],
): Promise<Row[]> {
  const begun = sendScript(client, limits.begin)
  const answered = send<Row>(client, { text, values })
  const ended = sendScript(client, 'commit')
  // Waits for all of them: after a failed statement COMMIT ends the transaction.
  const [, answer, end] = await Promise.allSettled([begun, answered, ended])
  // The statement's error comes first: after it, COMMIT only rolls back.
  if (answer.status === 'rejected') throw await firstOf(begun, answer.reason)
  if (end.status === 'rejected') throw end.reason
  if (end.value !== 'COMMIT') throw new Error(NOT_COMMITTED)
  return answer.value
}

/** The error of the beginning, or else that of what came after it. */
const firstOf = (begun: Promise<unknown>, reason: unknown): Promise<unknown> =>
  begun.then(
    () => reason,
    error => error,
  )

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
  limits: SessionLimits,
  discard: Discard,
  work: (transaction: Transaction) => Promise<T>,
): Promise<T> {
  const transaction: Transaction = {
    query: (text, values = []) =>
      send(client, limits.stand(client) ? { name: nameOfStatement(text), text, values } : { text, values }),
    script: async text => void (await sendScript(client, text)),
  }
  await sendScript(client, limits.stand(client) ? BEGIN : limits.begin)
  let value: T
  try {
    value = await work(transaction)
  } catch (error) {
    // If even that fails, the connection is ended, and with it the transaction.
    await sendScript(client, 'rollback').catch(discard)
    throw error
  }
  // To a transaction in which a statement failed, COMMIT answers ROLLBACK and no error.
  if ((await sendScript(client, 'commit')) !== 'COMMIT') throw new Error(NOT_COMMITTED)
  return value
}

/**
 * The URL with `verify-full` in the place of `prefer`, `require` and `verify-ca`. `pg` 8 takes all of them for that, and
 * warns that `pg` 9 will check less. A URL with `uselibpqcompat=true` asks for libpq's weaker checks, and stays as it is.
 */
function checkingCertificates(url: string): string {
  if (parsePostgresUrl(url)!.searchParams.get('uselibpqcompat') === 'true') return url
  return url.replace(/([?&]sslmode=)(?:prefer|require|verify-ca)(?=[&#]|$)/g, '$1verify-full')
}
