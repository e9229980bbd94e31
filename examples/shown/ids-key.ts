/** What docs/ids.md shows, with what it takes for granted. It is compiled and not run. */
import { createCache, uuidKey } from 'cacheaside'

declare const table: { find(id: string): Promise<object | undefined> }

const cache = createCache()
const items = cache.keyspace('item', { key: uuidKey, load: (id: string) => table.find(id) })
await items.get('9C2CF775-F764-4643-AECF-0B22CDBB453B') // the same key as in lower case: one load, one value
