/** What README.md shows, with what it takes for granted. It is compiled and not run. */

import { createCache, embeddedShared } from 'cacheaside'
import { postgresFeed } from 'cacheaside/postgres'
import pg from 'pg'
import { z } from 'zod'

const schema = z.object({ id: z.number(), name: z.string(), damage: z.number() })
type Spell = z.infer<typeof schema>
declare const spellTable: {
  find(id: number, context: { signal: AbortSignal }): Promise<Spell | undefined>
  findMany(ids: readonly number[], context: { signal: AbortSignal }): Promise<Map<number, Spell>>
  update(id: number, change: Partial<Spell>): Promise<void>
  nextId(): Promise<number>
  insert(id: number, spell: Omit<Spell, 'id'>): Promise<void>
}
const pool = new pg.Pool()
const list = createCache().keyspace('list', { load: async (_: string) => [4] })

const cache = createCache({
  shared: embeddedShared({ maxBytes: 64 * 2 ** 20 }), // or redisShared({ client: redis }) from 'cacheaside/redis'
  // changes by anyone; run `installFeed(pool, { tables: ['spell'] })` once before; both are from 'cacheaside/postgres'
  feed: postgresFeed({ pool, tables: { spell: row => [spells.key(row.id)] } }),
  local: { maxBytes: 16 * 2 ** 20 }, // L1: hits without I/O, in this process
  logger: console, // warnings: once per cause, and again at its end. A Pino logger works too. Left out: stderr
  onEvent: event => console.log(event), // everything the cache does; stats() counts it
})

const spells = cache.keyspace('spell', {
  load: (id: number, { signal }) => spellTable.find(id, { signal }),
  loadMany: (ids, { signal }) => spellTable.findMany(ids, { signal }), // for getMany and snapshots
  ttlMs: 600_000, // shortened at random by up to a tenth
  absentTtlMs: 60_000, // how long an absent row is remembered
  staleMs: 30_000, // after ttlMs: return the old value while one refresh runs
  staleIfErrorMs: 3_600_000, // after ttlMs: return the old value if the load fails
  refreshAhead: 1, // refresh before expiry; 1 is usual, 2 begins twice as early
  schema, // any Standard Schema; it checks what comes out of the store
  shape: 2, // the format of the values: raise it when they change
})

await spells.get(4)
await spells.get(4, { consistency: 'strong' }) // linearizable with writes
await spells.getMany([1, 2, 3]) // Map: one round trip, one call of loadMany
await spells.read(4) // why it was so: { value, from: 'local' | 'shared' | 'origin', why, ageMs, ttlMs, timings, … }
spells.peek(4) // L1 only: no I/O, no promise

await spells.write(4, () => spellTable.update(4, { damage: 31 })) // { value, invalidation, fenced }
await cache.write([list.key('all')], async ({ guard }) => {
  const id = await spellTable.nextId()
  await guard(spells.key(id)) // the cache may remember this id as absent; the guard ends that before the commit
  return spellTable.insert(id, { name: 'Frost Nova', damage: 22 })
})
await spells.invalidate(4) // 'applied', or 'queued' while the store cannot be told
await spells.invalidateAll() // the whole keyspace, in constant time
