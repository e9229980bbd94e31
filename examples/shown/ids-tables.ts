/** What docs/ids.md shows, with what it takes for granted. It is compiled and not run. */
import { createCache, uuidKey } from 'cacheaside'
import { feedTables } from 'cacheaside/postgres'

const items = createCache().keyspace('item', { key: uuidKey, load: async (id: string) => ({ id }) })

const tables = feedTables({ item: { keys: row => [items.key(row.id)], canonicalIds: true } })

export { tables }
