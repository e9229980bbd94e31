import type { Batch, Change, FeedSession } from '../feed/change-feed.ts'
import type { Texts } from './connection.ts'
import { readJson } from './origin.ts'
import { changeOf, type Outbox, type Poll } from './outbox.ts'
import { literal } from './sql.ts'

/** More changes than this at once count as a change of every table. */
const MOST_CHANGES = 5_000
/** How long rows stay in the outbox, at least, after everybody could see them. */
const KEPT_MS = 10_000
/** After how long without a poll an observer may have missed something. Less than {@link KEPT_MS}, for certainty. */
const BLIND_MS = 8_000

/**
 * A process with a store of its own must see every change, and so must every other such process. So nobody takes rows out of
 * the outbox: each observer asks for those that its last poll did not see, by the transactions that wrote them. A poll is a
 * snapshot, and a snapshot tells exactly which transactions it saw; so a transaction that commits late is not missed,
 * whatever its number, and nobody waits for it.
 *
 * Rows are removed when they could be seen {@link KEPT_MS} ago: an observer that has polled since has seen them. One
 * that has not counts its session as lost, and everything that it holds as stale. What was there before the first poll is not
 * asked for, because the relay gives all keyspaces new generations after it.
 */
export class ObservingSession implements FeedSession {
  readonly #outbox: Outbox
  /** What was seen by the last poll that was settled. */
  #seen: string
  #seenMs: number
  /** The last poll, and the number of changes that it brought. */
  #left = 0
  #taken: { readonly snapshot: string; readonly sentMs: number; readonly known: bigint } | undefined
  /** All rows up to this id were seen by it. */
  #known = 0n
  /** Earlier polls, the oldest first: what the first one saw may be removed when it is old enough. */
  readonly #polls: { readonly snapshot: string; readonly answeredMs: number }[] = []

  private constructor(outbox: Outbox, seen: string, seenMs: number) {
    this.#outbox = outbox
    this.#seen = seen
    this.#seenMs = seenMs
  }

  /** Begins with a first poll. */
  static async begin(outbox: Outbox): Promise<ObservingSession> {
    const sentMs = outbox.opening.clock.nowMs()
    // Rows that are there, though their transactions are still to come, were restored from a dump of another server. No
    // snapshot would see them until these have come, and nobody would remove them.
    const seen = await readJson(
      outbox.connection,
      `UPDATE ${outbox.schema}.outbox SET xid = pg_current_xact_id()
  WHERE NOT pg_visible_in_snapshot(xid, pg_current_snapshot());
SELECT to_json(pg_current_snapshot()::text)::text AS value`,
    )
    return new ObservingSession(outbox, String(seen), sentMs)
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

  async take(): Promise<Batch> {
    const { connection, schema, pollSql, opening, horizon } = this.#outbox
    if (await this.#outbox.upkeep()) await this.#prune()
    const { columns, changes: counted } = this.#outbox
    const sentMs = opening.clock.nowMs()
    const { snapshot, rows, ...poll } = (await readJson(
      connection,
      `SELECT json_build_object(${pollSql}, 'snapshot', pg_current_snapshot()::text, 'rows', (
  SELECT coalesce(json_agg(found), '[]') FROM (
    SELECT ${columns} FROM (
      SELECT *, sum(${counted}) OVER (ORDER BY id) - ${counted} AS ahead FROM (
        SELECT * FROM ${schema}.outbox
        WHERE id > ${this.#known} AND NOT pg_visible_in_snapshot(xid, ${literal(this.#seen)})
        ORDER BY outbox.id LIMIT ${MOST_CHANGES + 1}
      ) AS oldest
    ) AS placed WHERE ahead <= ${MOST_CHANGES} ORDER BY placed.id
  ) AS found
))::text AS value`,
    )) as Poll & { snapshot: string; rows: Texts[] }
    const answeredMs = opening.clock.nowMs()
    this.#outbox.learn(poll)
    if (answeredMs - this.#seenMs > BLIND_MS)
      throw new Error(`the outbox was not looked at for ${Math.round(answeredMs - this.#seenMs)} ms`)
    this.#polls.push({ snapshot, answeredMs })
    this.#taken = { snapshot, sentMs, known: horizon.id }
    const changes = this.#changesOf(rows, answeredMs - this.#seenMs)
    this.#left = changes.length
    if (changes.length === 0) this.#advance()
    return { changes, more: false, drained: true }
  }

  async settle(applied: readonly Change[]): Promise<void> {
    // If anything is left, the next poll asks for all of them once more.
    if (applied.length === this.#left) this.#advance()
  }

  /** Nothing is stored: a process with a store of its own remembers by itself. */
  async remembered(): Promise<ReadonlyMap<string, string>> {
    return new Map()
  }

  async remember(): Promise<void> {}

  async close(): Promise<void> {
    this.#outbox.connection.close()
  }

  abandon(): void {
    this.#outbox.connection.abandon()
  }

  #advance(): void {
    if (this.#taken === undefined) return
    this.#seen = this.#taken.snapshot
    this.#seenMs = this.#taken.sentMs
    this.#known = this.#taken.known
  }

  #changesOf(rows: Texts[], sinceMs: number): Change[] {
    const { tables } = this.#outbox.scope
    const count = rows.reduce((sum, { changes }) => sum + Number(changes), 0)
    if (count > MOST_CHANGES)
      return tables.map(table => ({ id: '0', table, rows: undefined, ageMs: sinceMs }))
    // No keyspace of this process depends on a table that it does not know. Other processes see the change themselves.
    return rows.map(row => changeOf(row)).filter(({ table }) => tables.includes(table))
  }

  /** Removes the rows that everybody has seen: each observer does it for all. */
  async #prune(): Promise<void> {
    const untilMs = this.#outbox.opening.clock.nowMs() - KEPT_MS
    const old = this.#polls.filter(({ answeredMs }) => answeredMs <= untilMs)
    const last = this.#polls.splice(0, old.length).at(-1)
    if (last === undefined) return
    const { connection, schema } = this.#outbox
    await connection.run(
      `DELETE FROM ${schema}.outbox WHERE id IN (
  SELECT id FROM ${schema}.outbox WHERE pg_visible_in_snapshot(xid, ${literal(last.snapshot)}) FOR UPDATE SKIP LOCKED
)`,
    )
  }
}
