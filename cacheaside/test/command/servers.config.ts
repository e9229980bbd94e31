import type { OperationConfig } from 'cacheaside/operate'
import { feedTables, postgresFeed } from 'cacheaside/postgres'
import { redisShared } from 'cacheaside/redis'
import { auditedKeyspace } from 'cacheaside/verify'
import { Redis } from 'ioredis'
import pg from 'pg'

/**
 * A file for `cacheaside` on a Redis on this machine, at `CASE_PORT`, under `CASE_PREFIX`, with `CASE_PASSWORD` if there is one;
 * and with a change feed in the database at `CASE_DATABASE`, if that is given.
 */
export default function config(): OperationConfig {
  const { CASE_PORT = '', CASE_PREFIX = '', CASE_PASSWORD, CASE_DATABASE } = process.env
  const login = CASE_PASSWORD === undefined ? '' : `:${CASE_PASSWORD}@`
  const shared = redisShared({
    client: new Redis(`redis://${login}127.0.0.1:${CASE_PORT}`, { lazyConnect: true }),
    prefix: CASE_PREFIX,
    onWarning: () => {},
  })
  const spells = auditedKeyspace('spell', {
    load: async (id: number) => id * 10,
    idFromKey: ([id]) => Number(id),
  })
  const wizards = auditedKeyspace('wizard', { load: async (id: string) => id })
  const common = { shared, keyspaces: [spells, wizards], tags: ['school'], timeoutMs: 2_000, graceMs: 20 }
  if (CASE_DATABASE === undefined) return common
  const pool = new pg.Pool({ connectionString: CASE_DATABASE, max: 3 })
  const tables = feedTables({ spell: row => [spells.key(row.id)] })
  return {
    ...common,
    feed: postgresFeed({ pool, tables }),
    migration: { sql: pool, tables },
    pool,
    cache: { maxLoads: 2 },
    close: () => pool.end(),
  }
}
