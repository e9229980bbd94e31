import pg from 'pg'
import type postgres from 'postgres'
import { describe, expect, it, vi } from 'vitest'
import { CacheError } from '../../src/index.ts'
import {
  type FeedMigrationOptions,
  feedMigrationSql,
  installFeed,
  type PostgresFeedOptions,
  postgresFeed,
  removeFeed,
  type ScriptRunner,
} from '../../src/postgres/index.ts'

const pool = { connect: () => Promise.reject(new Error('not used')) }
const tables = { spell: () => [] }

describe('postgresFeed', () => {
  it.each<[string, unknown, string]>([
    ['no options', undefined, 'expected options to be an object, got undefined'],
    ['no driver', { tables }, 'expected either pool or pglite to be given, got neither'],
    ['two drivers', { pool, pglite: {}, tables }, 'expected either pool or pglite to be given, got both'],
    [
      'a client for a pool',
      { pool: { query: () => {} }, tables },
      'expected pool to be a pg Pool, got [object Object]',
    ],
    [
      'a client of pg',
      { pool: new pg.Client(), tables },
      'expected pool to be a pg Pool, got a single client',
    ],
    [
      'a pool of one',
      { pool: { ...pool, options: { max: 1 } }, tables },
      "expected the pool's max to be 2 or more, got 1",
    ],
    ['something else than a PGlite', { pglite: {}, tables }, 'expected pglite to be a PGlite'],
    ['no tables', { pool }, 'expected tables to be an object'],
    ['no table', { pool, tables: {} }, 'expected tables to be one table or more'],
    [
      'names in the place of maps',
      { pool, tables: ['spell'] },
      'expected tables to be an object: { spell: row => [spells.key(row.id)] }, got an array',
    ],
    [
      'the pool itself',
      new pg.Pool(),
      'expected options to be an object: postgresFeed({ pool, tables }), got the database itself',
    ],
    [
      'a map that is none',
      { pool, tables: { spell: 1 } },
      'expected tables.spell to be a function or an object',
    ],
    [
      'a keyspace that cannot be',
      { pool, tables: { spell: { keys: () => [], keyspaces: ['a b'] } } },
      'expected tables.spell.keyspaces to be names of keyspaces, got ["a b"]',
    ],
    [
      'a misspelt option of a table',
      { pool, tables: { spell: { keys: () => [], column: ['wizard_id'] } } },
      'unknown option tables.spell.column, known are: columns, keys, keyspaces, canonicalIds, tags, reads, types',
    ],
    [
      'ids that are half canonical',
      { pool, tables: { spell: { keys: () => [], canonicalIds: 'yes' } } },
      'expected tables.spell.canonicalIds to be true, false, or names of columns, got "yes"',
    ],
    [
      'columns that are none',
      { pool, tables: { spell: { keys: () => [], columns: 'wizard_id' } } },
      'expected tables.spell.columns to be the names of one column or more, got "wizard_id"',
    ],
    [
      'a map of nothing',
      { pool, tables: { spell: null } },
      'expected tables.spell to be a function or an object',
    ],
    [
      'a misspelt option',
      { pool, tables, pollMS: 1 },
      'unknown option options.pollMS, known are: pool, pglite, tables',
    ],
    ['no pause', { pool, tables, pollMs: 0 }, 'expected pollMs to be a whole number from 10 to 60000, got 0'],
    [
      'no patience',
      { pool, tables, timeoutMs: 1 },
      'expected timeoutMs to be a whole number from 100 to 60000, got 1',
    ],
    [
      'writers that never end',
      { pool, tables, writersEndMs: 0 },
      'expected writersEndMs to be a whole number from 1 to 2147483647, got 0',
    ],
    [
      'a schema of others',
      { pool, tables, schema: 'public' },
      "expected schema to be a schema of the feed's own",
    ],
  ])('refuses %s', (_what, options, message) => {
    const make = () => postgresFeed(options as PostgresFeedOptions)
    expect(make).toThrow(CacheError)
    expect(make).toThrow(message)
  })
})

describe('feedMigrationSql', () => {
  it.each<[string, unknown, string]>([
    ['no options', undefined, 'expected options to be an object, got undefined'],
    ['no tables', {}, 'expected tables to be the tables to watch'],
    [
      'the pool, which comes first',
      new pg.Pool(),
      'expected options to be an object: installFeed(pool, { tables }), got a database',
    ],
    [
      'a misspelt option',
      { tables: ['spell'], maxRow: 1000 },
      'unknown option options.maxRow, known are: tables, schema, maxRows, relayRoles',
    ],
    ['a name that is none', { tables: [4] }, 'expected tables to be the names of tables, got [4]'],
    [
      'a misspelt option of a table',
      { tables: { spell: { column: ['wizard_id'] } } },
      'unknown option tables.spell.column, known are: columns, keys, keyspaces',
    ],
    [
      'no rows',
      { tables: [], maxRows: 0 },
      'expected maxRows to be a whole number from 1 to 1000000000, got 0',
    ],
    [
      'no columns',
      { tables: { spell: { columns: [] } } },
      'expected tables.spell.columns to be the names of one column',
    ],
    ...['public', 'pg_toast', 'information_schema', 'Feed', 'a"b', 'a'.repeat(41), ''].map(
      schema =>
        [
          `the schema ${schema}`,
          { tables: [], schema },
          `expected schema to be a schema of the feed's own`,
        ] as [string, unknown, string],
    ),
  ])('refuses %s', async (_what, options, message) => {
    const make = () => feedMigrationSql(options as FeedMigrationOptions)
    expect(make).toThrow(CacheError)
    expect(make).toThrow(message)
    const refuse = () => Promise.reject(new Error('was run'))
    await expect(installFeed(refuse, options as FeedMigrationOptions)).rejects.toThrow(message)
  })

  it('is run by the sql of postgres.js, which is a function for other texts', async () => {
    const unsafe = vi.fn(async () => [])
    const sql = Object.assign(() => Promise.reject(new Error('NOT_TAGGED_CALL')), { unsafe })
    await installFeed(sql as unknown as postgres.Sql, { tables: ['spell'] })
    expect(unsafe).toHaveBeenCalledExactlyOnceWith(feedMigrationSql({ tables: ['spell'] }))
  })

  it.each<[string, unknown]>([
    ['an address', 'postgres://localhost'],
    ['nothing', undefined],
    ['Knex, which is a function', Object.assign(() => {}, { raw: () => {} })],
    ['a database of Drizzle, whose query is no function', { query: {}, execute: () => {} }],
  ])('is refused by installFeed and removeFeed for %s', async (_what, sql) => {
    const message =
      /^expected sql to be a pool or client of pg, a PGlite, or a function that runs a script, got /
    await expect(installFeed(sql as ScriptRunner, { tables: ['spell'] })).rejects.toThrow(message)
    await expect(removeFeed(sql as ScriptRunner)).rejects.toThrow(message)
  })

  it('quotes names and columns', () => {
    const script = feedMigrationSql({ tables: { "it's": { columns: [`o'clock`] } }, relayRoles: ['a"b'] })
    expect(script).toContain(
      `.watch(E'it''s', E'it''s'::pg_catalog.regclass, ARRAY[E'o''clock']::pg_catalog.text[]);`,
    )
    expect(script).toContain('TO "a""b";')
  })

  it('names no other schema than the one it is told', () => {
    expect(feedMigrationSql({ tables: ['spell'], schema: 'other' })).not.toMatch(/cacheaside[._"]/)
  })
})

describe('removeFeed', () => {
  it('refuses a schema of others before anything is run', async () => {
    const refuse = () => Promise.reject(new Error('was run'))
    await expect(removeFeed(refuse, { schema: 'public' })).rejects.toThrow(CacheError)
  })
})
