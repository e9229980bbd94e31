/** Run before Spellbook in its process: the embedded database is made as ever, but who waits for it waits for ever. */
import { PGlite } from '@electric-sql/pglite'

const create = PGlite.create.bind(PGlite) as (...args: unknown[]) => Promise<unknown>
let calls = 0

/** Only the first call is Spellbook's: PGlite calls this itself to make a new database. */
async function createAndNeverTell(...args: unknown[]): Promise<unknown> {
  const isOurs = calls++ === 0
  const made = await create(...args)
  return isOurs ? new Promise(() => {}) : made
}

Object.assign(PGlite, { create: createAndNeverTell })
