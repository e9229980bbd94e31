import { EventEmitter } from 'node:events'
import { type Cache, createCache, embeddedShared } from 'cacheaside'
import { auditedKeyspace, type VerifyConfig } from 'cacheaside/verify'

/**
 * A file for `cacheaside verify`, whose store is in its own process and holds what `CASE` names.
 *
 * | CASE | |
 * |---|---|
 * | `clean` | two spells |
 * | `empty` | nothing |
 * | `stale` | two spells, one of which was changed behind the cache's back |
 * | `half` | two spells, one of which cannot be read any more |
 * | `broken` | two spells, and an origin that is away |
 * | `misspelt` | an option that does not exist |
 * | `exits` | nothing, because it ends the process |
 * | `throws` | two spells, and an error that nobody catches during the comparison |
 * | `rejects` | two spells, and a rejection that nobody takes during the comparison |
 */
const { CASE = 'clean' } = process.env

const damages = new Map([
  [1, 10],
  [2, 20],
])
let isAway = false
const find = async (id: number) => {
  if (wasFilled && CASE in UNCAUGHT) await UNCAUGHT[CASE]!()
  if (isAway || (CASE === 'half' && id === 1 && wasFilled))
    throw new Error('the database is away\nand this is why')
  return damages.get(id)
}
let wasFilled = false

/** As a pool without a listener for `error` does when its server goes away. The load waits on, as a query of such a pool may. */
const UNCAUGHT: Readonly<Record<string, () => Promise<never>>> = {
  throws: () =>
    new Promise(() => {
      setImmediate(() => new EventEmitter().emit('error', new Error('the server\nhas ended')))
    }),
  rejects: () =>
    new Promise(() => {
      Promise.reject(new Error('the server\nhas ended'))
    }),
}

async function filled(cache: Cache): Promise<void> {
  const spells = cache.keyspace('spell', { load: find })
  await spells.getMany([1, 2])
  await cache.close()
  wasFilled = true
}

export default async function config(): Promise<VerifyConfig> {
  const shared = embeddedShared()
  if (CASE !== 'empty') await filled(createCache({ shared }))
  if (CASE === 'exits') process.exit(0)
  if (CASE === 'stale') damages.set(2, 25)
  isAway = CASE === 'broken'
  return {
    shared,
    keyspaces: [
      auditedKeyspace('spell', { load: find, idFromKey: ([id]) => Number(id), versionOf: damage => damage }),
    ],
    graceMs: 50,
    close: () => {
      if (process.env.CASE !== undefined) console.error('closed')
    },
    ...(CASE === 'misspelt' ? { keyspace: [] } : {}),
  }
}
