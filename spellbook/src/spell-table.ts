import type { Spell, SpellChange, SpellFields } from './api.ts'
import type { Queryable } from './database/database.ts'

/**
 * Times are ISO 8601 texts from here on: a `Date` would have to be turned into text and back on its way through every cache.
 */
export const TIMES = `
  to_char(created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as created_at,
  to_char(updated_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as updated_at`

/** The rows as the API shows them. */
export const COLUMNS = `id, name, damage, ${TIMES}`

const FIND = `select ${COLUMNS} from spell where id = $1`
const LOCK = `${FIND} for update`
const FIND_MANY = `select ${COLUMNS} from spell where id = any($1::bigint[])`
const PAGE = `select ${COLUMNS} from spell where id > $1 order by id limit $2`
const INSERT = `insert into spell (name, damage) values ($1, $2) returning ${COLUMNS}`
// The clock, not now(), which is when the statement began: it may have waited for a row lock since.
const UPDATE = `
  update spell set damage = $2, name = coalesce($3, name), updated_at = clock_timestamp() where id = $1 returning ${COLUMNS}`
const DELETE = `delete from spell where id = $1 returning id`

/** SQL, and nothing else. Every statement is one snapshot of its own, unless `at` is a transaction. */
export interface SpellTable {
  find(id: string, signal?: AbortSignal): Promise<Spell | undefined>
  /** As `find`, and keeps others from changing it until the transaction ends. */
  lock(id: string): Promise<Spell | undefined>
  /** The spells among `ids` that exist, in no particular order. */
  findMany(ids: readonly string[], signal?: AbortSignal): Promise<Spell[]>
  /** At most `limit` spells with an id greater than `after`, in the order of their ids. */
  page(after: string, limit: number, signal?: AbortSignal): Promise<Spell[]>
  /** Inserts a spell with the next id. An id is given out only once, even if the transaction is rolled back. */
  insert(fields: SpellFields): Promise<Spell>
  /** The changed spell, or `undefined` if there is none with this id. */
  update(id: string, change: SpellChange): Promise<Spell | undefined>
  /** Whether there was one. */
  delete(id: string): Promise<boolean>
}

/** The table as it is seen at `at`: the database, or a transaction. */
export function spellTable(at: Queryable): SpellTable {
  return {
    async find(id, signal) {
      const rows = await at.query<Spell>(FIND, [id], signal)
      return rows[0]
    },
    async lock(id) {
      const rows = await at.query<Spell>(LOCK, [id])
      return rows[0]
    },
    findMany: (ids, signal) => at.query<Spell>(FIND_MANY, [ids], signal),
    page: (after, limit, signal) => at.query<Spell>(PAGE, [after, limit], signal),
    async insert({ name, damage }) {
      const rows = await at.query<Spell>(INSERT, [name, damage])
      return rows[0]!
    },
    async update(id, { name, damage }) {
      const rows = await at.query<Spell>(UPDATE, [id, damage, name ?? null])
      return rows[0]
    },
    async delete(id) {
      const rows = await at.query(DELETE, [id])
      return rows.length > 0
    },
  }
}
