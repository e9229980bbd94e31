/**
 * What an error says about a commit. The rule names PostgreSQL: SQLSTATE as its manual lists it, the errors of its drivers
 * (`pg`, `postgres`), and those of what stands on them. For another database write a rule of your own.
 */

/** The classes of SQLSTATE, the first two characters of the code. */
const SQLSTATE = /^(?:0[0-9A-Z]|2[0-9A-Z]|3[0-9A-Z]|4[0-9A-Z]|5[0-9A-Z]|72|F0|HV|P0|XX)[0-9A-Z]{3}$/

/** Connection exceptions, statement completion unknown, and the server being shut down or crashing. */
const UNDECIDED = /^(?:08|40003|57P0|XX)/

/** Codes of Node, of drivers and of ORMs for what was lost, or given up by the client, while it was under way. */
const LOST =
  /^(?:E[A-Z][A-Z0-9_]+|ABORT_ERR|UND_ERR_.*|P1\d{3}|P20(?:24|27|28))$|CONNECT|CLOSED|DESTROYED|ENDED|TIMEOUT|TIMED_OUT|SOCKET|HANG_?UP/

/**
 * What Prisma tells in a code of its own when the database, or the engine before it, has refused a query.
 *
 * @see https://www.prisma.io/docs/orm/reference/error-reference
 */
const REFUSED_BY_PRISMA = /^P20(?:0\d|1[1-9]|2[0-356]|34)$/

/** More nodes than any chain of causes has; beyond it everything is in doubt. */
const MOST = 64

const MARK = Symbol.for('cacheaside.rolledBack')
/** Marked errors that do not accept a property. */
const marked = new WeakSet<object>()

/**
 * Marks an error: its transaction was rolled back, or never began. A write that throws it is released at once. Use it where
 * you know this and the error does not say so: a rule of your application, a connection that was never opened. The error is
 * rethrown to the caller of `write` as it is.
 *
 * @param error - What you throw. Marked in place.
 * @returns the same error.
 */
export function rolledBack<E extends object>(error: E): E {
  try {
    Object.defineProperty(error, MARK, { value: true })
  } catch {
    marked.add(error)
  }
  return error
}

/**
 * Wraps the function that you give your driver's or ORM's `transaction`. Whatever it throws comes before COMMIT is sent, so
 * its errors are marked as rolled back. An error of COMMIT itself stays in doubt.
 *
 * `db.transaction(rollsBack(async tx => { … }))`, and likewise with `prisma.$transaction`, `knex.transaction`,
 * `kysely.transaction().execute`, `dataSource.transaction` and `sql.begin`. With Knex and Prisma name the type, which TypeScript
 * cannot infer there: `rollsBack(async (tx: Knex.Transaction) => { … })`, `Prisma.TransactionClient`.
 *
 * @param work - Runs *inside* one transaction and sends no COMMIT. Not for statements that each commit by themselves.
 * @returns the function to give in its place. A thrown value that is no object cannot be marked, and leaves the commit in
 * doubt.
 */
export function rollsBack<Arguments extends unknown[], T>(
  work: (...given: Arguments) => Promise<T> | T,
): (...given: Arguments) => Promise<T> {
  return async (...given) => {
    try {
      return await work(...given)
    } catch (error) {
      throw isObject(error) ? rolledBack(error) : error
    }
  }
}

/**
 * Whether the transaction may have committed, or may still commit, although the write's function threw this error.
 *
 * An error is decided if the server rejected a statement (an SQLSTATE in `code`), if an ORM says so, or if
 * {@link rolledBack} or {@link rollsBack} marked it. What it was made of is searched too: `cause`, the errors of an
 * `AggregateError`, both of a `SuppressedError`, and the fields in which ORMs keep the driver's error. One sign of a lost
 * connection leaves all in doubt: another statement may have been sent after the rejected one. So does an unknown error: a
 * query that timed out in the client may still be running.
 *
 * The price of a doubt is small for one key and one moment: it stays guarded for `guardMs`, and reads of it go to the
 * origin. If your own rules throw errors often, use {@link rollsBack}.
 *
 * @param error - What the function threw. May be anything: what cannot be read is in doubt.
 * @see PostgreSQL documentation, appendix A: Error Codes
 */
export function commitInDoubt(error: unknown): boolean {
  try {
    return isUndecided(error)
  } catch {
    // A getter that throws, or a revoked proxy: the error cannot be read.
    return true
  }
}

function isUndecided(error: unknown): boolean {
  const seen = new Set<unknown>()
  const left: unknown[] = [error]
  let isDecided = false
  while (left.length > 0) {
    const one = left.pop()
    if (seen.has(one)) continue
    seen.add(one)
    if (!isObject(one) || seen.size > MOST) return true
    if (isMarked(one) || isRefusedByPrisma(one)) {
      isDecided = true
      continue
    }
    const said = meaningOf(one)
    if (said === 'lost') return true
    if (said === 'refused') isDecided = true
    const parts = partsOf(one)
    // The error has no causes, and does not say what it is.
    if (said === 'nothing' && parts.length === 0) return true
    left.push(...parts)
  }
  return !isDecided
}

/** What one error says by itself. */
function meaningOf(error: object): 'refused' | 'lost' | 'nothing' {
  const { code } = error as { code?: unknown }
  // Prisma does not know whether its other errors were refused.
  if (isPrisma(error)) return 'lost'
  if (isRollbackOfDrizzle(error) || isAbortOfKysely(error)) return 'refused'
  if (typeof code !== 'string') return 'nothing'
  if (SQLSTATE.test(code)) return UNDECIDED.test(code) ? 'lost' : 'refused'
  return LOST.test(code) ? 'lost' : 'nothing'
}

/**
 * Decided by Prisma's own code; for a raw query by the SQLSTATE beside it. The causes of the error have other kinds of codes.
 */
function isRefusedByPrisma(error: object): boolean {
  const { code, meta } = error as { code?: unknown; meta?: MetaOfPrisma }
  if (!isPrisma(error) || typeof code !== 'string') return false
  if (code !== 'P2010') return REFUSED_BY_PRISMA.test(code)
  const told = meta?.driverAdapterError?.cause?.originalCode ?? meta?.code
  return typeof told === 'string' && SQLSTATE.test(told) && !UNDECIDED.test(told)
}

/** Where the SQLSTATE of a raw query is: in `code` by Prisma's engine, deeper by its driver adapters, which Prisma 7 always has. */
interface MetaOfPrisma {
  readonly code?: unknown
  readonly driverAdapterError?: { readonly cause?: { readonly originalCode?: unknown } }
}

/** Any of the classes `PrismaClient…Error`. */
const isPrisma = (error: object): boolean =>
  'clientVersion' in error && 'name' in error && /^PrismaClient\w*Error$/.test(String(error.name))

/** What `tx.rollback()` throws. It arrives once the ROLLBACK has been done. If the ROLLBACK fails, its own error arrives. */
const isRollbackOfDrizzle = (error: object): boolean =>
  (error.constructor as { [KIND]?: unknown } | undefined)?.[KIND] === 'TransactionRollbackError'
const KIND = Symbol.for('drizzle:entityKind')

/** What Kysely throws where the server has answered COMMIT with a rollback, because a statement had failed before. */
const isAbortOfKysely = (error: object): boolean => (error as { [ABORTED]?: unknown })[ABORTED] === true
const ABORTED = Symbol.for('kysely.AbortedTransactionError')

/** `driverError`: TypeORM; `original`, `parent`: Sequelize; `originalError`: Objection, MSSQL's way. */
const INNER = ['cause', 'driverError', 'original', 'originalError', 'parent'] as const

/** The errors that an error was made of. */
function partsOf(error: object): unknown[] {
  const fields = error as Record<string, unknown>
  const parts: unknown[] = INNER.map(name => fields[name]).filter(isObject)
  if (Array.isArray(fields.errors)) parts.push(...fields.errors)
  if ('suppressed' in fields) parts.push(fields.error, fields.suppressed)
  return parts
}

const isMarked = (error: object): boolean =>
  marked.has(error) || (error as { [MARK]?: unknown })[MARK] === true

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null
