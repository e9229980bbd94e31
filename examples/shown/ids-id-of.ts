/** What docs/ids.md shows, with what it takes for granted. It is compiled and not run. */
import { createCache } from 'cacheaside'

const cache = createCache()
declare const table: { findByName(name: string): Promise<{ name: string }> }

const users = cache.keyspace('user', {
  load: (name: string) => table.findByName(name), // citext: any case
  idOf: user => user.name, // as the row has it
})

export { users }
