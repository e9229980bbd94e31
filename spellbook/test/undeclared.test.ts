import { type Cache, createCache } from 'cacheaside'
import { observeLoads } from 'cacheaside/postgres'
import pg from 'pg'
import { pino } from 'pino'
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { createDatabase, sharedPostgresUrl } from '../../test/services.ts'
import { wizard } from '../src/api.ts'
import type { Database, Queryable } from '../src/database/database.ts'
import { openPostgres } from '../src/database/postgres.ts'
import { installChangeFeed, migrate } from '../src/migrations.ts'
import { endsOf, feedTables, keyspaceOptions, type PageId, tagsIn, uncachedSpells } from '../src/spells.ts'
import { reset } from './harness.ts'

let database: Database
let pool: pg.Pool
beforeAll(async () => {
  const url = await createDatabase(sharedPostgresUrl())
  database = openPostgres({ kind: 'postgres', url, poolMax: 4, timeoutMs: 5_000 }, () => {})
  await migrate(database)
  await installChangeFeed(database)
  const getTypeParser = (oid: number, format?: 'text') =>
    oid === pg.types.builtins.INT8 ? Number : pg.types.getTypeParser(oid, format)
  pool = new pg.Pool({ connectionString: url, types: { getTypeParser } as pg.CustomTypesConfig })
})
beforeEach(async () => {
  await reset(database)
  const { wizards } = uncachedSpells(database)
  await wizards.create({ name: 'Merlin' })
  for (const id of ['1', '4']) await wizards.add('1', id)
})
afterAll(async () => {
  await pool.end()
  await database.close()
})

/** What the loaders ask, on the client that is watched. */
const on = (db: pg.Pool): Queryable => ({
  query: async (text, values = []) => (await db.query(text, [...values])).rows,
})

/**
 * Spellbook's keyspaces, in which a load fails that reads a table of which a change would not end the value; the wizards
 * without the tags of the spells in their books, if it is not careful.
 */
function observedKeyspaces(cache: Cache, isCareful: boolean) {
  const tags = tagsIn(cache)
  const optionsOn = (db: pg.Pool) => keyspaceOptions(on(db), tags, 60_000)
  const options = optionsOn(pool)
  const keys = { key: (id: string) => id as never }
  const tables = feedTables(() => endsOf({ spells: keys, wizards: keys }, tags))
  const observed = observeLoads(cache, { pool, tables, sample: 1, undeclared: 'throw' })
  return {
    observed,
    spells: observed.keyspace('spell', {
      ...options.spells,
      load: (id: string, { db, ...context }) => optionsOn(db).spells.load(id, context),
      loadMany: (ids: readonly string[], { db, ...context }) => optionsOn(db).spells.loadMany(ids, context),
    }),
    spellPages: observed.keyspace('spell-page', {
      ...options.spellPages,
      load: (id: PageId, { db, ...context }) => optionsOn(db).spellPages.load(id, context),
    }),
    wizards: observed.keyspace('wizard', {
      ...(isCareful ? options.wizards : { schema: wizard }),
      load: (id: string, { db, ...context }) => optionsOn(db).wizards.load(id, context),
    }),
    wizardPages: observed.keyspace('wizard-page', {
      ...options.wizardPages,
      load: (id: PageId, { db, ...context }) => optionsOn(db).wizardPages.load(id, context),
    }),
  }
}

function opened(isCareful = true) {
  const cache = createCache({ logger: pino({ level: 'silent' }) })
  onTestFinished(() => cache.close())
  return observedKeyspaces(cache, isCareful)
}

describe('a load of Spellbook', () => {
  test('reads no table of which a change would not end its value', async () => {
    const { observed, spells, spellPages, wizards, wizardPages } = opened()
    expect((await spells.get('4'))?.name).toBe('Earthquake')
    expect((await spells.getMany(['1', '99'])).size).toBe(1)
    expect((await spellPages.get(['0', 20]))?.spells).toHaveLength(8)
    expect((await wizards.get('1'))?.spells.map(({ id }) => id)).toEqual([1, 4])
    expect((await wizardPages.get(['0', 20]))?.wizards).toHaveLength(1)
    expect(observed.findings).toEqual([])
  })

  test('would be found out if it read one', async () => {
    const { observed, wizards } = opened(false)
    await expect(wizards.get('1')).rejects.toThrow(/wizard.*spell/)
    expect(observed.findings.map(({ key, tables }) => [key, tables])).toEqual([['wizard:1', ['spell']]])
  })
})
