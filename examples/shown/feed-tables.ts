/** What docs/feed.md shows, with what it takes for granted. It is compiled and not run. */
import { createCache } from 'cacheaside'
import { feedTables, installFeed, postgresFeed } from 'cacheaside/postgres'
import pg from 'pg'

const pool = new pg.Pool()
const cache = createCache()
const spells = cache.keyspace('spell', { load: async (id: number) => ({ id }) })
const spellsOfWizard = cache.keyspace('spells-of-wizard', { load: async (id: number) => [id] })
const permissions = cache.keyspace('permission', { load: async (role: string) => [role] })

const tables = feedTables({
  spell: {
    columns: ['id', 'wizard_id'],
    keys: row => [spells.key(row.id), spellsOfWizard.key(row.wizard_id)],
    keyspaces: ['spell', 'spells-of-wizard'],
  },
  role: () => [permissions.all],
})
await installFeed(pool, { tables })
const feed = postgresFeed({ pool, tables })

export { feed }
