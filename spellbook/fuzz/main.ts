/**
 * Says strange things to a Spellbook, and looks whether anything that it acknowledged is lost.
 *
 *     npm run fuzz                                    ten thousand requests, of a new seed
 *     npm run fuzz -- --requests 100000 --seed 7      so many, of this one
 */
import { randomInt } from 'node:crypto'
import { parseArgs } from 'node:util'
import { pino } from 'pino'
import { readConfig } from '../src/config.ts'
import { openPGlite } from '../src/database/pglite.ts'
import { migrate } from '../src/migrations.ts'
import { openSharedStore } from '../src/shared-store.ts'
import { cachedSpells } from '../src/spells.ts'
import { fuzz } from './fuzz.ts'

const { values } = parseArgs({
  options: { requests: { type: 'string', default: '10000' }, seed: { type: 'string' } },
})
const numberOf = (name: string, text: string): number => {
  if (/^\d{1,9}$/.test(text)) return Number(text)
  process.stderr.write(`--${name} must be a whole number; it is "${text}"\n`)
  process.exit(2)
}
const requests = numberOf('requests', values.requests)
const seed = values.seed === undefined ? randomInt(2 ** 29) : numberOf('seed', values.seed)
console.log(`seed ${seed}`)

const config = readConfig({ CACHE_FILL: 'blocking' }).cache!
const database = await openPGlite({ kind: 'pglite', folder: undefined })
const shared = await openSharedStore(config.shared, pino({ level: 'silent' }))
try {
  await migrate(database)
  const spells = await cachedSpells(database, shared, config)
  const { byStatus, ...report } = await fuzz({ seed, requests, database, spells })
  await spells.close()
  console.log({
    ...report,
    byStatus: Object.fromEntries([...byStatus].sort(([one], [other]) => one - other)),
  })
} catch (error) {
  console.error((error as Error).message)
  process.exitCode = 1
} finally {
  await shared.close()
  await database.close()
}
