import type { Batch, Change, FeedSession } from '../feed/change-feed.ts'
import { readJson } from './origin.ts'
import { groupsSql, type Outbox, type Poll, withGroups } from './outbox.ts'
import { literal, literals } from './sql.ts'

/** How many rows of the outbox are locked at once. */
const MOST_ROWS = 500
/** How many changes are handed out at once, not counting those of the last batch. */
const MOST_CHANGES = 2_000
/** How long a change of a table that is unknown here is left to processes that know the table. */
const FOREIGN_MS = 10_000

/**
 * Relays of several processes that share one store share the outbox as well: each takes rows that no other has locked, and
 * removes those that were applied, in the transaction in which it took them. So the rows of a relay that dies are free again.
 * Nothing has to be ordered, and nothing has to be waited for.
 *
 * While the store is asked, that transaction is open, and PostgreSQL ends it if it is left so: a relay whose network
 * has gone must not keep its rows for the hours that TCP takes to notice. With PGlite there is nobody to lock out, and
 * no transaction is held open in the session that the whole program uses.
 */
export class SharingSession implements FeedSession {
  readonly #outbox: Outbox
  /** No row up to this id will ever exist again. */
  #gone = 0n

  constructor(outbox: Outbox) {
    this.#outbox = outbox
  }

  get origin(): string {
    return this.#outbox.origin.identity
  }

  get server(): string {
    return this.#outbox.origin.server
  }

  get mayTakeBack(): boolean {
    return this.#outbox.mayTakeBack
  }

  async take(after: string | undefined): Promise<Batch> {
    const { connection, schema, pollSql, horizon } = this.#outbox
    await this.#outbox.upkeep()
    const { columns, changes: counted } = this.#outbox
    // What comes from a moment ahead was written before the server's clock was set back.
    const foreign = `interval '${FOREIGN_MS} ms'`
    const isOurs = `(source = ANY (${literals(this.#outbox.scope.tables)})
    OR at NOT BETWEEN clock_timestamp() - ${foreign} AND clock_timestamp() + ${foreign})`
    const from = `FROM ${schema}.outbox WHERE id > ${BigInt(after ?? 0)} AND ${isOurs}`
    // Deleted rows that an old snapshot keeps are passed once, by the look for the smallest id: what comes then begins there.
    // Not by EXISTS: it reads the whole file if the planner expects to find something soon.
    const { waiting, least, ...poll } = (await readJson(
      connection,
      `WITH first AS MATERIALIZED (SELECT min(id) AS id FROM ${schema}.outbox WHERE id > ${this.#gone})
SELECT json_build_object(${pollSql},
  'least', (SELECT id FROM first)::text,
  'waiting', (SELECT id ${from} AND id >= (SELECT id FROM first) ORDER BY id LIMIT 1) IS NOT NULL)::text AS value`,
    )) as Poll & { waiting: boolean; least: string | null }
    this.#outbox.learn(poll)
    // A row that was decided before this poll, and was not seen in it, is gone for good.
    this.#gone = least === null ? horizon.id : smaller(horizon.id, BigInt(least) - 1n)
    if (least === null || !waiting) return { changes: [], more: false, drained: true }
    // If batches are long, fewer rows are handed out than were locked. The others are free again when these are settled.
    const rows = await connection.runWithin(
      `${this.#begin()}WITH locked AS MATERIALIZED (
  SELECT * ${from} AND id >= ${least} ORDER BY outbox.id LIMIT ${MOST_ROWS}${connection.isShared ? ' FOR UPDATE SKIP LOCKED' : ''}
)
SELECT ${columns}, locked FROM (
  SELECT *, (count(*) OVER ())::text AS locked, sum(${counted}) OVER (ORDER BY id) - ${counted} AS ahead FROM locked
) AS placed WHERE ahead < ${MOST_CHANGES} ORDER BY placed.id; ${groupsSql(this.#outbox.scope.schema)}`,
    )
    const changes = withGroups(rows)
    if (changes.length === 0 && connection.isShared) await connection.runWithin('COMMIT')
    const locked = changes.length === 0 ? 0 : Number(rows[0]?.locked)
    return { changes, more: locked === MOST_ROWS || locked > changes.length, drained: false }
  }

  async settle(applied: readonly Change[]): Promise<void> {
    const { connection, schema } = this.#outbox
    const end = connection.isShared ? 'COMMIT' : ''
    const ids = applied.map(({ id }) => BigInt(id)).join(', ')
    const script = ids === '' ? end : `DELETE FROM ${schema}.outbox WHERE id IN (${ids}); ${end}`
    if (script !== '') await connection.runWithin(script)
  }

  async remembered(): Promise<ReadonlyMap<string, string>> {
    const { connection, schema } = this.#outbox
    const found = await readJson(
      connection,
      `SELECT json_object_agg(name, identity)::text AS value FROM ${schema}.keyspace`,
    )
    return new Map(Object.entries((found ?? {}) as Record<string, string>))
  }

  async remember(keyspaces: readonly string[], identity: string, instead?: string): Promise<void> {
    const { connection, schema } = this.#outbox
    // Always in the same order, so that two sessions that lock the same rows do not wait for each other.
    const names = [...keyspaces].sort()
    if (instead !== undefined) {
      await connection.run(
        `UPDATE ${schema}.keyspace SET identity = ${literal(identity)} FROM (
  SELECT name FROM ${schema}.keyspace WHERE name = ANY(${literals(names)}) AND identity = ${literal(instead)}
    ORDER BY name FOR UPDATE
) AS same WHERE keyspace.name = same.name`,
      )
      return
    }
    const values = names.map(name => `(${literal(name)}, ${literal(identity)})`)
    await connection.run(
      `INSERT INTO ${schema}.keyspace (name, identity) VALUES ${values.join(', ')}
  ON CONFLICT (name) DO UPDATE SET identity = EXCLUDED.identity`,
    )
  }

  async close(): Promise<void> {
    this.#outbox.connection.close()
  }

  abandon(): void {
    this.#outbox.connection.abandon()
  }

  /**
   * The transaction does not wait for the disk: if its end is lost in a crash, the changes are applied again, which does no
   * harm.
   */
  #begin(): string {
    if (!this.#outbox.connection.isShared) return ''
    const { timeoutMs } = this.#outbox.scope
    return `BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL synchronous_commit = off;
SET LOCAL statement_timeout = ${timeoutMs}; SET LOCAL idle_in_transaction_session_timeout = ${2 * timeoutMs}; `
  }
}

const smaller = (a: bigint, b: bigint): bigint => (a < b ? a : b)
