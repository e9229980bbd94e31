import type { ClientBase } from 'pg'

/**
 * How long the server lets a statement and a transaction go on.
 *
 * They are not sent as startup parameters: poolers refuse those that they do not know (PgBouncer with 08P01, RDS Proxy with
 * 0A000), or take them and do nothing. And what is set in a session behind a pooler in transaction mode is set for strangers,
 * and not for us: the next transaction may run in another session. So it is found out first whether a pooler answers. No
 * pooler has to tell; what they all do shows it: at the start of a session a server tells the number of its process, and a
 * pooler, which has many sessions, can only make up a number. If that number differs from the one that the session itself
 * reports, the limits go into every transaction.
 */

/**
 * How much longer a transaction may take than a statement. Not as long: then the transaction's limit would end a slow
 * statement, and the whole session with it.
 */
const TRANSACTION_FACTOR = 1.1

/** Named, because a default of "repeatable read" would take its snapshot before an advisory lock is waited for. */
export const BEGIN = 'begin isolation level read committed'

/** The limits of a pool's sessions. */
export class SessionLimits {
  /** How long work goes on in the server, at most, after the client's process has died, in milliseconds. */
  readonly longestMs: number
  /** Begins a transaction within the limits, wherever it runs. */
  readonly begin: string
  readonly #wanted: readonly (readonly [name: string, value: string])[]
  /** The clients whose session is theirs alone, and has the limits. */
  readonly #standing = new WeakSet<ClientBase>()
  readonly #onPooler: () => void
  #isPooled = false

  /** @param onPooler - Told once, when the first session turns out to be a pooler's. */
  constructor(timeoutMs: number, onPooler: () => void) {
    this.longestMs = Math.ceil(timeoutMs * TRANSACTION_FACTOR)
    this.#onPooler = onPooler
    this.#wanted = [
      ['statement_timeout', String(timeoutMs)],
      ['idle_in_transaction_session_timeout', String(timeoutMs)],
      // From PostgreSQL 17 on; a server refuses a setting that it does not know.
      ['transaction_timeout', String(this.longestMs)],
    ]
    this.begin = [BEGIN, ...this.#wanted.map(([name, value]) => setIfKnown(name, value))].join('; ')
  }

  /** Sets the limits in a session that has just begun, if it is its client's alone. */
  async impose(client: ClientBase): Promise<void> {
    const { processID } = client as ClientBase & { readonly processID?: number | null }
    const rows = this.#wanted.map((_, i) => `($${2 * i + 2}, $${2 * i + 3})`)
    const { rowCount } = await client.query(
      `select set_config(name, value, false) from (values ${rows.join(', ')}) as wanted (name, value)
        where pg_backend_pid() = $1::int and current_setting(name, true) is not null`,
      [processID ?? null, ...this.#wanted.flat()],
    )
    if (rowCount !== 0) this.#standing.add(client)
    else if (!this.#isPooled) {
      this.#isPooled = true
      this.#onPooler()
    }
  }

  /** Whether the limits stand in a client's session. If not, every transaction has to {@link begin} with them. */
  stand(client: ClientBase): boolean {
    return this.#standing.has(client)
  }
}

const setIfKnown = (name: string, value: string): string =>
  `select set_config('${name}', '${value}', true) where current_setting('${name}', true) is not null`
