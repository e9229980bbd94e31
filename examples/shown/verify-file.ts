/** What docs/verify.md shows, with what it takes for granted. It is compiled and not run. */

import { redisShared } from 'cacheaside/redis'
import { auditedKeyspace } from 'cacheaside/verify'
import { Redis } from 'ioredis'
import pg from 'pg'
import { spellOptions } from './spells.ts'

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL })
pool.on('error', () => {}) // of an idle connection: the next query reports it

export default {
  shared: redisShared({
    client: () => new Redis(process.env.REDIS_URL ?? 'redis://localhost'),
    prefix: 'app:',
  }), // as the cache's
  keyspaces: [
    auditedKeyspace('spell', {
      ...spellOptions(pool), // load, loadMany, key, idOf, tags, codec, schema, shape
      idFromKey: ([id]) => Number(id), // from a key's parts, which are texts, back to the id
      versionOf: spell => spell.updated_at, // to tell how far behind a stale one is
    }),
  ],
  close: () => pool.end(), // the store is closed without it
}
