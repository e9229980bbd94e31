import pg from 'pg'
import { afterAll, beforeAll, describe, it } from 'vitest'
import { installFeed, postgresFeed } from '../../src/postgres/index.ts'
import { changeFeedContract, type OpenedChangeFeed, SimulatedClock } from '../../src/testing/index.ts'
import { connected, openPGlite, openPooledPostgres, openPostgres, type TestDatabase } from './databases.ts'

const changed = (ids: readonly string[]) =>
  `INSERT INTO spell (id) VALUES ${ids.map(id => `(${pg.escapeLiteral(id)})`).join(', ')}
  ON CONFLICT (id) DO UPDATE SET casts = spell.casts + 1`

/** The outbox of one table in this database, which nobody has changed yet. */
async function openOutbox(database: TestDatabase & { readonly url?: string }): Promise<OpenedChangeFeed> {
  const ends: (() => Promise<void>)[] = []
  await database.reset()
  const { sql, driver, url } = database
  await sql('CREATE TABLE spell (id text PRIMARY KEY, casts int NOT NULL DEFAULT 0)')
  await installFeed(sql, { tables: ['spell'] })
  await sql('DELETE FROM cacheaside.outbox')
  const clock = new SimulatedClock()
  const opened: OpenedChangeFeed = {
    feed: postgresFeed({ ...driver, tables: { spell: () => [] } }),
    table: 'spell',
    clock,
    commit: async (...ids) => void (await sql(changed(ids))),
    rename: async (from, to) =>
      void (await sql(`UPDATE spell SET id = ${pg.escapeLiteral(to)} WHERE id = ${pg.escapeLiteral(from)}`)),
    commitAll: async () => void (await sql('TRUNCATE spell')),
    advance: ms => clock.advance(ms),
    close: async () => void (await Promise.all(ends.map(end => end()))),
  }
  if (url === undefined) return opened
  return {
    ...opened,
    async begin(id) {
      const client = await connected(url)
      ends.push(() => client.end())
      await client.query('BEGIN')
      await client.query(changed([id]))
      return {
        commit: async () => void (await client.query('COMMIT')),
        rollback: async () => void (await client.query('ROLLBACK')),
      }
    },
  }
}

describe.each([
  { name: 'PostgreSQL', open: openPostgres, transactions: true },
  { name: 'PostgreSQL behind PgBouncer', open: openPooledPostgres, transactions: true },
  { name: 'PGlite, which has one session', open: openPGlite, transactions: false },
])('postgresFeed keeps the contract of a change feed on $name', ({ open, transactions }) => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await open()
  })
  afterAll(() => database.close())

  changeFeedContract({ describe, it }, { transactions, open: () => openOutbox(database) })
})
