import { createCache } from 'cacheaside'
import { installFeed, postgresFeed } from 'cacheaside/postgres'
import { redisShared } from 'cacheaside/redis'
import { Redis } from 'ioredis'
import pg from 'pg'

const pool = new pg.Pool({
  connectionString: process.env.DATABASE_URL,
  statement_timeout: 5_000, // ends what a dead writer has left running
  idle_in_transaction_session_timeout: 5_000,
})
await installFeed(pool, { tables: ['spell'] }) // as the owner of the table; at every start, or once in a migration

const cache = createCache({
  shared: redisShared({ client: () => new Redis(process.env.REDIS_URL ?? 'redis://localhost') }),
  feed: postgresFeed({ pool, tables: { spell: row => [spells.key(row.id)] } }), // also changes by psql
  local: { maxBytes: 16 * 2 ** 20 }, // L1; every process hears of every write
})
const spells = cache.keyspace('spell', {
  load: async (id: number) => {
    const { rows } = await pool.query<{ damage: number }>('SELECT * FROM spell WHERE id = $1', [id])
    return rows[0] // undefined: no such spell
  },
})

console.log((await spells.get(4))?.damage) // 40
await spells.write(4, () => pool.query('UPDATE spell SET damage = 41 WHERE id = 4'))
console.log((await spells.get(4))?.damage) // 41
await cache.close()
await pool.end()
