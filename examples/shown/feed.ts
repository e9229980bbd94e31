/** What docs/feed.md shows, with what it takes for granted. It is compiled and not run. */

import { createCache } from 'cacheaside'
import { installFeed, postgresFeed } from 'cacheaside/postgres'
import pg from 'pg'

declare const table: { find(id: number): Promise<object | undefined>; count(): Promise<number> }

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL })
await installFeed(pool, { tables: ['spell'] }) // or put the text of feedMigrationSql() into a migration of yours

const cache = createCache({
  feed: postgresFeed({ pool, tables: { spell: row => [spells.key(row.id), count.key('all')] } }),
})
const spells = cache.keyspace('spell', { load: (id: number) => table.find(id) })
const count = cache.keyspace('spell-count', { load: () => table.count() })
