import { certificateAdvice } from 'cacheaside/operate'
import type { PostgresFeedOptions } from 'cacheaside/postgres'

/** The value of a parameter such as `$1`. Ids are texts: a bigint does not always fit a number. */
export type Parameter = string | number | null | readonly string[]

/** Where statements can be sent: the database, each in a transaction of its own, or one transaction. */
export interface Queryable {
  /**
   * Runs one statement and answers with its rows. An int8 is a number where it is a safe integer, otherwise its text.
   *
   * @param signal - A statement that has not been sent yet when this aborts is not sent. One that has been sent is
   *   left to the database's own timeout: its connection is busy for that long, even if no caller waits.
   * @throws DatabaseAwayError if the database cannot be reached, or cannot answer now.
   */
  query<Row extends object>(text: string, values?: readonly Parameter[], signal?: AbortSignal): Promise<Row[]>
}

/** A transaction that is open. */
export interface Transaction extends Queryable {
  /** Runs a script of several statements without values or rows. */
  script(text: string): Promise<void>
}

/** A PostgreSQL, wherever it runs. */
export interface Database extends Queryable {
  /** For people, without secrets: `PostgreSQL at localhost:5432/spells`. */
  readonly name: string
  /** How many connections the requests share; left out: none, the database is in this process. */
  readonly poolMax?: number
  /** The options for a change feed of this database. */
  readonly feedSource: Pick<PostgresFeedOptions, 'pool' | 'pglite' | 'writersEndMs'>
  /**
   * Runs `work` in a transaction, at the isolation level "read committed", and commits. If `work` throws, the transaction is
   * rolled back and the error is thrown on. It is also rolled back, and this rejects, if a statement failed and `work`
   * ignored that.
   */
  transaction<T>(work: (transaction: Transaction) => Promise<T>): Promise<T>
  /** Lets what is running finish, then closes the connections or files. Idempotent. */
  close(): Promise<void>
}

/**
 * The database cannot be reached or cannot answer now: no connection, none free in time, shutting down, out of
 * resources, a statement cut off by its timeout. The same request may well succeed a little later.
 */
export class DatabaseAwayError extends Error {
  override readonly name = 'DatabaseAwayError'
  /** The SQLSTATE, where the database itself said so. */
  readonly code: string | undefined
  /**
   * Whether a statement may have reached the database. If so, and there is no `code` or one of class 08 (a pooler reports it
   * when it has lost the server), a COMMIT may have been done.
   */
  readonly sent: boolean

  constructor(cause: unknown, sent: boolean) {
    const code = sqlState(cause)
    const trouble = code === '25006' ? 'the database takes no writes: ' : 'the database does not answer: '
    super(trouble + describe(cause) + certificateAdvice(cause), { cause })
    this.code = code
    this.sent = sent
  }
}

/** The error of a transaction that went on after a statement had failed. */
export const NOT_COMMITTED = 'the transaction was rolled back, because one of its statements had failed'

/** The SQLSTATE of an error that came from the database itself. Errors of Node have codes too, such as `EPIPE`. */
export function sqlState(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error) || !('severity' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}

/**
 * The SQLSTATEs of a database that cannot answer now: connection (08), transaction rolled back to resolve a conflict (40),
 * resources (53), shutdown and timeouts (57, 25P03, 25P04), system (58), read-only after a failover (25006), lock not
 * available (55P03).
 */
const AWAY = /^(08|40|53|57|58)|^(25006|25P03|25P04|55P03)$/

/** A driver's error as this module's callers see it: as it is, if the database judged the statement. */
export function fromDriver(error: unknown): unknown {
  const code = sqlState(error)
  const judged = code !== undefined && !AWAY.test(code)
  return judged || error instanceof TypeError || error instanceof DatabaseAwayError
    ? error
    : new DatabaseAwayError(error, true)
}

/** Node reports several refused addresses as one error without a message. */
function describe(cause: unknown): string {
  if (cause instanceof AggregateError && cause.message === '') {
    return cause.errors.map(error => (error instanceof Error ? error.message : String(error))).join(', ')
  }
  return cause instanceof Error ? cause.message : String(cause)
}

/** An int8, as both drivers hand it out: exact, and a number whenever a number can be. */
export function parseInt8(text: string): number | string {
  const value = Number(text)
  return Number.isSafeInteger(value) ? value : text
}
