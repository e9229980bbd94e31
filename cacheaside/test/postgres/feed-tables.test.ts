import { describe, expect, expectTypeOf, it } from 'vitest'
import { createCache, type FeedRow } from '../../src/index.ts'
import { feedMigrationSql, feedTables, installFeed, postgresFeed } from '../../src/postgres/index.ts'

const pool = { connect: () => Promise.reject(new Error('not used')) }
const cache = createCache()
const load = () => undefined
const spells = cache.keyspace<number, string>('spell', { load })
const spellsOf = cache.keyspace<string, string[]>('spells-of', { load })

interface NoteRow {
  readonly id: string
  readonly wizard_id: string | null
}

/** What both calls are given; a type that one of them refuses fails the compilation of this file. */
const bothTake = (
  tables: Parameters<typeof installFeed>[1]['tables'] & Parameters<typeof postgresFeed>[0]['tables'],
) => [feedMigrationSql({ tables }), [...postgresFeed({ pool, tables }).tables.keys()]]

describe('one object of tables', () => {
  it('serves installFeed and postgresFeed, whether its tables name columns or not', async () => {
    const tables = feedTables({
      spell: {
        columns: ['id', 'wizard_id'],
        keys: row => [spells.key(row.id), spellsOf.key(row.wizard_id)],
        keyspaces: ['spell', 'spells-of'],
      },
      note: { keys: row => [spells.key(row.id)], keyspaces: ['spell'] },
      word: row => [spells.key(row.word)],
      role: () => [spells.all],
    })
    const run: string[] = []
    await installFeed(async script => void run.push(script), { tables })
    expect(run[0]).toContain(`ARRAY[E'id', E'wizard_id']`)
    expect([...postgresFeed({ pool, tables }).tables.keys()]).toEqual(['spell', 'note', 'word', 'role'])
  })

  it('may be written as a constant, without a helper', async () => {
    const tables = {
      spell: {
        columns: ['id', 'wizard_id'],
        keys: (row: FeedRow) => [spells.key(row.id)],
        keyspaces: ['spell', 'spells-of'],
      },
      note: { keys: (row: FeedRow) => [spells.key(row.id)], keyspaces: ['spell'] },
    }
    expect(bothTake(tables)[1]).toEqual(['spell', 'note'])
    await installFeed(async () => {}, { tables })
    postgresFeed({ pool, tables })
  })

  it('may say what type a row has', async () => {
    const tables = {
      spell: { columns: ['id', 'wizard_id'], keys: (row: NoteRow) => [spells.key(Number(row.id))] },
      note: { keys: (row: NoteRow) => (row.wizard_id === null ? [] : [spellsOf.key(row.wizard_id)]) },
      word: (row: { readonly id: string }) => [spells.key(Number(row.id))],
    }
    await installFeed(async () => {}, { tables })
    postgresFeed({ pool, tables })
    feedTables(tables)
    feedTables({ note: { columns: ['id', 'wizard_id'], keys: (row: NoteRow) => [spellsOf.key(row.id)] } })
  })
})

describe('the row of a map', () => {
  it('has the columns that the table names, and no others', () => {
    feedTables({
      spell: {
        columns: ['id', 'wizard_id'],
        keys: row => {
          expectTypeOf(row).toEqualTypeOf<FeedRow<'id' | 'wizard_id'>>()
          // @ts-expect-error: the feed does not record it
          return [spells.key(row.name)]
        },
      },
    })
    // @ts-expect-error: a row that is said to have more than the table names
    feedTables({ note: { columns: ['id'], keys: (row: NoteRow) => [spellsOf.key(row.id)] } })
    // @ts-expect-error: a misspelt option
    const misspelt = () => feedTables({ note: { column: ['id'], keys: () => [] } })
    expect(misspelt).not.toThrow()
  })

  it('has any column where the table names none', () => {
    postgresFeed({
      pool,
      tables: {
        word: row => {
          expectTypeOf(row).toEqualTypeOf<FeedRow>()
          return [spells.key(row.word)]
        },
        note: { keys: row => [spells.key(row.whatever)] },
      },
    })
  })

  it('is answered with keys and whole keyspaces, and with nothing else', () => {
    feedTables({ spell: () => [spells.key(1), spells.all, spellsOf.all] })
    // @ts-expect-error: a text that no keyspace has made
    feedTables({ spell: () => ['spell:1'] })
    expect(spells.all).toEqual({ wholeKeyspace: 'spell' })
    expect(Object.isFrozen(spells.all)).toBe(true)
  })
})
