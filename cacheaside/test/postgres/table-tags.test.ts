import { describe, expect, expectTypeOf, it } from 'vitest'
import { createCache, type FeedRow, type Tag } from '../../src/index.ts'
import {
  feedMigrationSql,
  feedTables,
  postgresFeed,
  type TableTagsOptions,
  tableTags,
} from '../../src/postgres/index.ts'
import { GROUP_VERSION, groupsOf, targetsOfRows } from '../../src/postgres/tag-groups.ts'

const pool = { connect: () => Promise.reject(new Error('not used')) }
const cache = createCache()
const comments = cache.keyspace('comment', { load: (_id: number) => 'text' as string | undefined })

const UUID = '9c2cf775-f764-4643-aecf-0b22cdbb453b'

describe('tableTags', () => {
  it('names all rows of a table, and each group of them by the values of its columns', () => {
    const { comment } = tableTags({ comment: { by: ['post_id', ['post_id', 'author_id']] } })
    expect(comment.any()).toBe('table.comment:any')
    expect(comment.where({ post_id: 5 })).toBe('table.comment:post_id:=5')
    expect(comment.where({ post_id: 5n })).toBe(comment.where({ post_id: '5' }))
    expect(comment.where({ post_id: 5, author_id: 7 })).toBe('table.comment:author_id,post_id:=7:=5')
    expect(comment.where({ author_id: 7, post_id: 5 })).toBe(comment.where({ post_id: 5, author_id: 7 }))
    expect(comment.all).toEqual({ wholeKeyspace: 'table.comment' })
    expectTypeOf(comment.any()).toEqualTypeOf<Tag>()
  })

  it('takes null for a group of its own, and for no text', () => {
    const { comment } = tableTags({ comment: { by: ['post_id', 'author_id'] } })
    const all = [null, 'null', '', '=', '%', 'any', ':', 0, false].map(value =>
      comment.where({ post_id: value }),
    )
    expect(new Set(all).size).toBe(all.length)
    expect(comment.where({ author_id: null })).not.toBe(comment.where({ post_id: null }))
  })

  it('knows a group once, in any order of its columns', () => {
    const { one } = tableTags({ one: { by: [['b', 'a'], ['a', 'b'], 'a', 'a'], name: 't' } })
    const { two } = tableTags({ two: { by: [['a', 'b']], name: 't' } })
    expect(one.where({ a: 1, b: 2 })).toBe(two.where({ b: 2, a: 1 }))
    expect(one.tags.map(({ by }) => by)).toEqual([[], ['a', 'b'], ['a']])
    expect(one.reads).toEqual(['a', 'b'])
  })

  it('makes of a value the text that its type is written with', () => {
    const { item } = tableTags({
      item: {
        by: ['owner', 'number', 'day', 'at', 'since', 'code', 'open', 'name'],
        types: {
          owner: 'uuid',
          number: 'bigint',
          day: 'date',
          at: 'timestamptz',
          since: 'timestamp',
          code: 'char',
          open: 'boolean',
          name: 'text',
        },
      },
    })
    const text = (tag: Tag) => tag.slice(tag.indexOf(':', tag.indexOf(':') + 1) + 2).replaceAll('%3A', ':')
    expect(text(item.where({ owner: `{${UUID.toUpperCase()}}` }))).toBe(UUID)
    expect(text(item.where({ number: ' 0x10' }))).toBe('16')
    expect(text(item.where({ day: '2026-11-23' }))).toBe('2026-11-23')
    expect(text(item.where({ at: new Date('2026-11-23T01:02:03.450Z') }))).toBe('2026-11-23 01:02:03.45+00')
    expect(text(item.where({ at: '2026-11-23T01:00:00.000100+01:00' }))).toBe('2026-11-23 00:00:00.0001+00')
    expect(text(item.where({ at: new Date(-1) }))).toBe('1969-12-31 23:59:59.999+00')
    expect(text(item.where({ since: '0099-11-23 01:02' }))).toBe('0099-11-23 01:02:00')
    expect(text(item.where({ code: 'ab  ' }))).toBe('ab')
    expect(text(item.where({ open: true }))).toBe('true')
    expect(text(item.where({ name: 'a b ' }))).toBe('a b ')
  })

  it('refuses a malformed value with INVALID_KEY', () => {
    const { item } = tableTags({
      item: {
        by: ['owner', 'number', 'day', 'at'],
        types: { owner: 'uuid', number: 'bigint', day: 'date', at: 'timestamptz' },
      },
    })
    const malformed = expect.objectContaining({ code: 'INVALID_KEY' })
    expect(() => item.where({ owner: 'x' })).toThrow(malformed)
    expect(() => item.where({ number: '5 apples' })).toThrow(malformed)
    for (const day of ['2026-02-29', '2026-1-1', '2026-11-23T00:00Z', '', '0000-01-01'])
      expect(() => item.where({ day }), day).toThrow(malformed)
    for (const at of [
      '2026-11-23',
      '2026-11-23T00:00',
      '2026-11-23T24:01Z',
      '2026-11-23T00:00+16:00',
      new Date(Number.NaN),
    ])
      expect(() => item.where({ at }), String(at)).toThrow(malformed)
    expect(() => item.where({ at: '0001-01-01T00:00+15:00' })).toThrow(malformed)
    expect(() => tableTags({ a: { by: ['b'] } }).a.where({ b: 'x'.repeat(600) })).toThrow(malformed)
  })

  it('refuses a group that was not declared, or a value that no column has, also as a type', () => {
    const { comment, list } = tableTags({
      comment: { by: ['post_id', ['post_id', 'author_id']], types: { author_id: 'uuid' } },
      list: {},
    })
    const refused = (call: () => unknown) =>
      expect(call).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }))
    // @ts-expect-error: no group of this column alone
    refused(() => comment.where({ author_id: UUID }))
    // @ts-expect-error: no such column
    refused(() => comment.where({ post: 5 }))
    // @ts-expect-error: one column too many
    refused(() => comment.where({ post_id: 5, name: 'x' }))
    // @ts-expect-error: a value that no column has
    refused(() => comment.where({ post_id: [5] }))
    // @ts-expect-error: no value
    refused(() => comment.where({ post_id: undefined }))
    // @ts-expect-error: a Date without a type
    refused(() => comment.where({ post_id: new Date(0) }))
    // @ts-expect-error: a number for a uuid
    expect(() => comment.where({ post_id: 5, author_id: 7 })).toThrow()
    // @ts-expect-error: nothing
    refused(() => comment.where())
    refused(() => comment.where({ post_id: 1.5 }))
    refused(() => comment.where({ post_id: 2 ** 53 }))
    // @ts-expect-error: a table without groups
    refused(() => list.where({ id: 5 }))
  })

  it.each<[string, Record<string, unknown>, RegExp]>([
    ['a misspelt option', { a: { By: [] } }, /tables\.a\.By/],
    ['columns that are none', { a: { by: [''] } }, /tables\.a\.by/],
    ['a group of nothing', { a: { by: [[]] } }, /tables\.a\.by/],
    ['a column twice in a group', { a: { by: [['b', 'b']] } }, /tables\.a\.by/],
    ['a comma', { a: { by: ['b,c'] } }, /without commas/],
    ['by that is no array', { a: { by: 'b' } }, /an array of columns/],
    [
      'a type that is none',
      { a: { by: ['b'], types: { b: 'int' } } },
      /tables\.a\.types\.b to be one of smallint/,
    ],
    ['a type of another column', { a: { by: ['b'], types: { c: 'uuid' } } }, /tables\.a\.types\.c/],
    ['a table whose name cannot be part of a key', { '"A b"': {} }, /tables\."A b"\.name to be given/],
    ['one name for two tables', { a: { name: 'x' }, b: { name: 'x' } }, /tables\.b\.name .* that of a/],
  ])('refuses %s', (_what, tables, message) => {
    expect(() => tableTags(tables as Record<string, TableTagsOptions>)).toThrow(message)
  })

  it('refuses at compile time the type of a column that no group names', () => {
    // @ts-expect-error: no group has it
    expect(() => tableTags({ a: { by: ['b'], types: { c: 'uuid' } } })).toThrow()
  })

  it('refuses an array of names', () => {
    const names = ['comment'] as never
    expect(() => tableTags(names)).toThrow(/tables to be an object: \{ comment: .* got an array/)
  })

  it('refuses what is no cache', () => {
    expect(() => tableTags({} as never, { a: {} })).toThrow(/expected cache to be a cache/)
  })
})

describe('the map of a table', () => {
  const { comment } = tableTags({ comment: { by: ['post_id', ['post_id', 'author_id']] } })

  it('is given to installFeed and postgresFeed as it is', () => {
    const tables = feedTables({ comment, note: row => [comments.key(row.id)] })
    expect(postgresFeed({ pool, tables }).tagNames).toEqual(['table.comment'])
    expect([...postgresFeed({ pool, tables: { comment } }).tables.keys()]).toEqual(['comment'])
    const script = feedMigrationSql({ tables })
    expect(script).toContain(`watch(E'comment', E'comment'::pg_catalog.regclass, NULL)`)
    expect(script).toContain('"by":["author_id","post_id"]')
  })

  it('names the tags of a row, and of nothing else', () => {
    const table = postgresFeed({ pool, tables: { comment } }).tables.get('comment')!
    expect([...table.keys({ post_id: '5', author_id: null })]).toEqual([
      'table.comment:any',
      'table.comment:post_id:=5',
      'table.comment:author_id,post_id:null:=5',
    ])
    expect(table.keyspaces).toEqual(['table.comment'])
    expect([...table.keys({ post_id: '5' })]).toContainEqual({ wholeKeyspace: 'table.comment' })
  })

  it('passes over a group whose tag no reader can have asked for', () => {
    const { page } = tableTags({ page: { by: ['path'] } })
    expect(() => page.where({ path: 'x'.repeat(512) })).toThrow()
    expect([...page.keys({ path: 'x'.repeat(512) })]).toEqual(['table.page:any'])
  })

  it('goes together with one of your own', () => {
    const own = comment.with({
      columns: ['id'],
      keys: row => {
        expectTypeOf(row).toEqualTypeOf<FeedRow<'id'>>()
        return [comments.key(row.id)]
      },
      keyspaces: ['comment'],
    })
    const table = postgresFeed({ pool, tables: { comment: own } }).tables.get('comment')!
    expect([...table.keys({ id: '1', post_id: '5', author_id: '7' })]).toEqual([
      'comment:1',
      'table.comment:any',
      'table.comment:post_id:=5',
      'table.comment:author_id,post_id:=7:=5',
    ])
    expect(table.keyspaces).toEqual(['comment', 'table.comment'])
    expect(feedMigrationSql({ tables: { comment: own } })).toContain(`ARRAY[E'id']`)
  })

  it('goes together with one that names no columns, for which the primary key is recorded', () => {
    const own = comment.with(row => [comments.key(row.id)])
    const table = postgresFeed({ pool, tables: { comment: own } }).tables.get('comment')!
    expect(table.keyspaces).toBeUndefined()
    expect([...table.keys({ id: '1', post_id: '5' })]).toEqual([
      'comment:1',
      'table.comment:any',
      'table.comment:post_id:=5',
      { wholeKeyspace: 'table.comment' },
    ])
    expect(() => comment.with({} as never)).toThrow(/given a function/)
  })
})

describe('groups that another process has declared', () => {
  const group = { tag: 'table.comment', by: ['post_id'], version: GROUP_VERSION }

  it('are applied as they stand', () => {
    const found = groupsOf({ comment: [{ ...group, asked: 1 }], spell: null })
    expect([...found.keys()]).toEqual(['comment'])
    expect(targetsOfRows(found.get('comment')!, [{ post_id: '5' }, { post_id: null }])).toEqual([
      'table.comment:post_id:=5',
      'table.comment:post_id:null',
    ])
  })

  it.each<[string, unknown]>([
    ['of a later version', { ...group, version: GROUP_VERSION + 1 }],
    ['of no version', { tag: group.tag, by: group.by }],
    ['in another form', { tag: group.tag, by: { column: 'post_id' }, version: GROUP_VERSION }],
  ])('stand for all tags of their name if they are %s', (_what, one) => {
    const found = groupsOf({ comment: [one] }).get('comment')!
    expect(targetsOfRows(found, [{ post_id: '5' }])).toEqual([{ wholeKeyspace: 'table.comment' }])
  })

  it('stand for all tags of their name if a row does not tell, or no row is known', () => {
    expect(targetsOfRows([group], [{ id: '1' }])).toEqual([{ wholeKeyspace: 'table.comment' }])
    expect(targetsOfRows([group, group], undefined)).toEqual([{ wholeKeyspace: 'table.comment' }])
  })

  it('are passed over if they have no name, as nobody can have asked for such a tag', () => {
    expect(groupsOf({ comment: [null, 5, { by: [] }, { tag: 'a:b' }] }).get('comment')).toEqual([])
    expect(groupsOf(null).size).toBe(0)
  })
})
