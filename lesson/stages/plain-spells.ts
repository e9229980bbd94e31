import type { Redis } from 'ioredis'
import type { Spell } from '../../spellbook/src/api.ts'
import type { Database } from '../../spellbook/src/database/database.ts'
import { spellTable } from '../../spellbook/src/spell-table.ts'
import {
  type Answer,
  type Spells,
  uncachedSpells,
  type Written,
} from '../../spellbook/src/uncached-spells.ts'
import { plainCacheAside } from '../plain-cache-aside.ts'

const TTL_MS = 600_000

/**
 * Spellbook's spells behind a plain cache-aside, as the second and the third stage of the lesson have them: single spells are cached, and all
 * else comes from the tables. Closing it leaves the client open.
 */
export function plainSpells(database: Database, redis: Redis, fill: 'blocking' | 'background'): Spells {
  const table = spellTable(database)
  const uncached = uncachedSpells(database)
  const spells = plainCacheAside<Spell>({
    redis,
    name: 'spell',
    load: id => table.find(String(id)),
    ttlMs: TTL_MS,
    fill,
  })
  return {
    ...uncached,
    async find(id): Promise<Answer<Spell | undefined>> {
      const began = performance.now()
      const { value, from, cacheMs } = await spells.get(id)
      const totalMs = performance.now() - began
      const timings = { totalMs, sharedMs: cacheMs, loadMs: from === 'cache' ? 0 : totalMs - cacheMs }
      const how = {
        value,
        kept: value !== undefined,
        joined: false,
        ageMs: undefined,
        ttlMs: undefined,
        timings,
      }
      return from === 'cache'
        ? { ...how, from: 'shared', why: 'fresh' }
        : { ...how, from: 'origin', why: 'missing' }
    },
    update: (id, change, condition) => told(spells.write(id, () => uncached.update(id, change, condition))),
    delete: (id, condition) => told(spells.write(id, () => uncached.delete(id, condition))),
  }
}

/** What came of a change whose key is deleted. */
async function told<T>(writing: Promise<Written<T>>): Promise<Written<T>> {
  return { ...(await writing), invalidation: 'applied' }
}
