/** What docs/verify.md imports: the options of a keyspace, for the cache and for the auditor. */
import type pg from 'pg'

export const spellOptions = (pool: pg.Pool) => ({
  load: async (id: number) =>
    (await pool.query<{ id: number; updated_at: Date }>('SELECT * FROM spell WHERE id = $1', [id])).rows[0],
})
