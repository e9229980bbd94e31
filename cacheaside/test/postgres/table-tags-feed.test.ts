import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { startPostgres } from '../../../test/services.ts'
import { type Change, createCache } from '../../src/index.ts'
import {
  type ColumnType,
  installFeed,
  type PostgresFeedTables,
  postgresFeed,
  type TableTags,
  tableTags,
} from '../../src/postgres/index.ts'
import { until } from './conditions.ts'
import { connected, openPGlite, openPostgres, type TestDatabase } from './databases.ts'
import { FeedScene } from './feed-contract.ts'

const { comment } = tableTags({ comment: { by: ['post_id', ['author_id', 'post_id']] } })
const COMMENT = 'CREATE TABLE comment (id bigint PRIMARY KEY, post_id bigint, author_id int, body text)'

/** What this process's own map says of a change, as texts. */
const own = (tags: Pick<TableTags, 'keys'>, { rows }: Change): string[] =>
  (rows ?? []).flatMap(row => Array.from(tags.keys(row), String))

/** What is declared of changes, as texts, each once. */
const declaredIn = (changes: readonly Change[]): string[] => {
  const targets = changes.flatMap(change => change.declared ?? [])
  return [...new Set(targets.map(to => (typeof to === 'string' ? to : `all of ${to.wholeKeyspace}`)))].sort()
}

const ofPost = (...posts: (number | null)[]) => posts.map(post_id => comment.where({ post_id }))
const ofBoth = (...pairs: [post: number | null, author: number | null][]) =>
  pairs.map(([post_id, author_id]) => comment.where({ post_id, author_id }))
const tagsOf = (posts: (number | null)[], pairs: [number | null, number | null][]) =>
  [comment.any(), ...ofPost(...posts), ...ofBoth(...pairs)].sort()

describe.each([
  ['PostgreSQL', openPostgres],
  ['PGlite', openPGlite],
])('tags of tables on %s', (_name, open) => {
  let database: TestDatabase
  let scene: FeedScene

  beforeAll(async () => {
    database = await open()
  })
  afterAll(() => database.close())
  beforeEach(async () => {
    await database.reset()
    scene = new FeedScene(database)
    await database.sql(COMMENT)
  })
  afterEach(() => scene.end())

  /** Opens a relay of an older process, which has a map of these tables and knows nothing of tags. */
  const openOlder = () => scene.open(['comment'])

  /** What a relay of an older process is told to invalidate by this script of a stranger. */
  async function declaredBy(script: string): Promise<string[]> {
    await database.sql('DELETE FROM cacheaside.outbox')
    await database.sql(script)
    const session = await openOlder()
    const changes = await scene.all(session)
    await session.close()
    return declaredIn(changes)
  }

  /** What a stranger does, and what it invalidates: each begins with the same rows. */
  const CHANGES: [what: string, script: string, expected: string[]][] = [
    ['that is inserted', 'INSERT INTO comment VALUES (9, 50, 70)', tagsOf([50], [[50, 70]])],
    ['that is deleted', 'DELETE FROM comment WHERE id = 1', tagsOf([5], [[5, 7]])],
    ['of which another column changes', `UPDATE comment SET body = 'x' WHERE id = 1`, tagsOf([5], [[5, 7]])],
    [
      'that moves: the one that it leaves and the one that it comes to',
      'UPDATE comment SET post_id = 6 WHERE id = 1',
      tagsOf(
        [5, 6],
        [
          [5, 7],
          [6, 7],
        ],
      ),
    ],
    [
      'that moves in one of two',
      'UPDATE comment SET author_id = 8 WHERE id = 1',
      tagsOf(
        [5],
        [
          [5, 7],
          [5, 8],
        ],
      ),
    ],
    [
      'that comes from null, which is a group too',
      'UPDATE comment SET post_id = 6 WHERE id = 4',
      tagsOf(
        [null, 6],
        [
          [null, null],
          [6, null],
        ],
      ),
    ],
    [
      'that goes to null',
      'UPDATE comment SET post_id = NULL WHERE id = 1',
      tagsOf(
        [5, null],
        [
          [5, 7],
          [null, 7],
        ],
      ),
    ],
    [
      'and of every other that a bulk UPDATE changes',
      'UPDATE comment SET post_id = post_id + 1 WHERE post_id >= 5',
      tagsOf(
        [5, 6, 7],
        [
          [5, 7],
          [6, 7],
          [5, 8],
          [6, 8],
          [6, null],
          [7, null],
        ],
      ),
    ],
    [
      'by MERGE',
      'MERGE INTO comment USING (VALUES (1::bigint)) AS given (id) ON comment.id = given.id WHEN MATCHED THEN DELETE',
      tagsOf([5], [[5, 7]]),
    ],
    [
      'by an upsert',
      `INSERT INTO comment VALUES (1, 6, 7) ON CONFLICT (id) DO UPDATE SET post_id = EXCLUDED.post_id`,
      tagsOf(
        [5, 6],
        [
          [5, 7],
          [6, 7],
        ],
      ),
    ],
    ['and all of them by TRUNCATE', 'TRUNCATE comment', ['all of table.comment']],
    ['and none of what was rolled back', 'BEGIN; DELETE FROM comment; ROLLBACK', []],
    ['and none by an UPDATE that finds no row', 'UPDATE comment SET post_id = 1 WHERE id = 77', []],
  ]

  it('invalidate the groups of a row that is changed by anyone, in any way', async () => {
    await scene.install({ tables: { comment } })
    for (const [what, script, expected] of CHANGES) {
      await database.sql(`TRUNCATE comment;
        INSERT INTO comment VALUES (1, 5, 7), (2, 5, 8), (3, 6, NULL), (4, NULL, NULL)`)
      expect(await declaredBy(script), what).toEqual(expected)
    }
  })

  describe('invalidate the groups of a row', () => {
    beforeEach(async () => {
      await scene.install({ tables: { comment } })
      await database.sql(`INSERT INTO comment VALUES (1, 5, 7), (2, 5, 8), (3, 6, NULL), (4, NULL, NULL)`)
    })

    it('by a cascade from another table', async () => {
      await database.sql(`CREATE TABLE post (id bigint PRIMARY KEY); INSERT INTO post VALUES (5), (6);
        ALTER TABLE comment ADD FOREIGN KEY (post_id) REFERENCES post ON DELETE CASCADE ON UPDATE CASCADE`)
      expect(await declaredBy('DELETE FROM post WHERE id = 5')).toEqual(
        tagsOf(
          [5],
          [
            [5, 7],
            [5, 8],
          ],
        ),
      )
      expect(await declaredBy('UPDATE post SET id = 60 WHERE id = 6')).toEqual(
        tagsOf(
          [6, 60],
          [
            [6, null],
            [60, null],
          ],
        ),
      )
      expect(await declaredBy('TRUNCATE post CASCADE')).toEqual(['all of table.comment'])
      await database.sql(`ALTER TABLE comment DROP CONSTRAINT comment_post_id_fkey; INSERT INTO post VALUES (5);
        INSERT INTO comment VALUES (1, 5, 7); ALTER TABLE comment ADD FOREIGN KEY (post_id) REFERENCES post ON DELETE SET NULL`)
      expect(await declaredBy('DELETE FROM post')).toEqual(
        tagsOf(
          [5, null],
          [
            [5, 7],
            [null, 7],
          ],
        ),
      )
    })

    it('by a trigger of another table, and through a view', async () => {
      await database.sql(`CREATE TABLE log (id int);
        CREATE FUNCTION move() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE comment SET post_id = 6 WHERE id = 1; RETURN NEW; END $$;
        CREATE TRIGGER move AFTER INSERT ON log FOR EACH ROW EXECUTE FUNCTION move();
        CREATE VIEW latest AS SELECT id, post_id FROM comment`)
      expect(await declaredBy('INSERT INTO log VALUES (1)')).toEqual(
        tagsOf(
          [5, 6],
          [
            [5, 7],
            [6, 7],
          ],
        ),
      )
      expect(await declaredBy('DELETE FROM latest WHERE id = 2')).toEqual(tagsOf([5], [[5, 8]]))
    })

    it('and all of them when the rows are not known any more, because there were too many', async () => {
      await installFeed(database.sql, { tables: { comment }, maxRows: 1_000 })
      expect(
        await declaredBy('INSERT INTO comment SELECT n + 100, n % 3 FROM generate_series(1, 5000) AS n'),
      ).toContain('all of table.comment')
    })
  })

  it('are those of the partitions of a table, and a row that moves from one to another invalidates both groups', async () => {
    await database.sql(`DROP TABLE comment; CREATE TABLE comment (id bigint, post_id bigint, author_id int) PARTITION BY RANGE (post_id);
      CREATE TABLE comment_low PARTITION OF comment FOR VALUES FROM (0) TO (10);
      CREATE TABLE comment_high PARTITION OF comment FOR VALUES FROM (10) TO (20)`)
    await scene.install({ tables: { comment } })
    expect(await declaredBy('INSERT INTO comment VALUES (1, 5, 7)')).toEqual(tagsOf([5], [[5, 7]]))
    expect(await declaredBy('UPDATE comment SET post_id = 15')).toEqual(
      tagsOf(
        [5, 15],
        [
          [5, 7],
          [15, 7],
        ],
      ),
    )
    expect(await declaredBy('DELETE FROM comment_high')).toEqual(tagsOf([15], [[15, 7]]))
    expect(await declaredBy('TRUNCATE comment_low')).toEqual(['all of table.comment'])
    await database.sql('CREATE TABLE comment_late PARTITION OF comment FOR VALUES FROM (20) TO (30)')
    expect(await declaredBy('INSERT INTO comment VALUES (2, 25, 7)')).toContain(
      comment.where({ post_id: 25 }),
    )
  })

  it('need no primary key', async () => {
    await database.sql(
      'DROP TABLE comment; CREATE TABLE comment (post_id bigint, author_id int); CREATE TABLE list (name text)',
    )
    const { list } = tableTags({ list: {} })
    await scene.install({ tables: { comment, list } })
    expect(await declaredBy('INSERT INTO comment VALUES (5, 7)')).toEqual(tagsOf([5], [[5, 7]]))
    await database.sql(`INSERT INTO list VALUES ('a')`)
    const session = await scene.open(['list'])
    expect(declaredIn(await scene.all(session))).toEqual([list.any()])
  })

  describe('that a newer process has declared', () => {
    const postTags = tableTags({ comment: { by: ['post_id'] } }).comment
    const authorTags = tableTags({ comment: { by: ['author_id'], name: 'comments-by-author' } }).comment
    const author = (author_id: number) => authorTags.where({ author_id })

    it('are invalidated by a relay of an older one, also of one that has been running', async () => {
      await scene.install({ tables: ['comment'] })
      const older = await openOlder()
      expect(await older.take(undefined)).toMatchObject({ changes: [] })
      await installFeed(database.sql, { tables: { comment: postTags } })
      await scene.all(older)
      await database.sql('INSERT INTO comment VALUES (1, 5, 7)')
      const { changes } = await older.take(undefined)
      expect(declaredIn(changes)).toEqual([postTags.any(), postTags.where({ post_id: 5 })])
      await older.settle(changes)
    })

    it('and without the definitions beside the outbox are not: the control', async () => {
      await scene.install({ tables: { comment: { columns: ['id', 'post_id'], keys: () => [] } } })
      const older = await openOlder()
      await database.sql('INSERT INTO comment VALUES (1, 5, 7)')
      expect(declaredIn(await scene.all(older))).toEqual([])
    })

    it('are all invalidated once when they are declared, after any earlier changes', async () => {
      await scene.install({ tables: ['comment'] })
      await database.sql('INSERT INTO comment VALUES (1, 5, 7)')
      await installFeed(database.sql, { tables: { comment: postTags } })
      expect(declaredIn(await scene.all(await openOlder()))).toEqual(['all of table.comment', postTags.any()])
      await installFeed(database.sql, { tables: { comment: postTags } })
      expect(await scene.all(await openOlder())).toEqual([])
    })

    it('stay, with their columns, when an older process installs its own feed again', async () => {
      const older = { comment: { columns: ['id'], keys: () => [] } }
      await scene.install({ tables: older })
      await installFeed(database.sql, { tables: { comment: postTags } })
      await installFeed(database.sql, { tables: older })
      await installFeed(database.sql, { tables: ['comment'] })
      expect(await declaredBy('INSERT INTO comment VALUES (1, 5, 7)')).toEqual([
        postTags.any(),
        postTags.where({ post_id: 5 }),
      ])
      const [row] = await database.sql('SELECT columns FROM cacheaside.watched')
      expect(row?.columns).toEqual(['id', 'post_id'])
    })

    it('leave older processes the primary key, which their maps may look at', async () => {
      await scene.install({ tables: ['comment'] })
      await installFeed(database.sql, { tables: { comment: postTags } })
      await database.sql('DELETE FROM cacheaside.outbox; INSERT INTO comment VALUES (1, 5, 7)')
      const [change] = await scene.all(await openOlder())
      expect(change?.rows).toEqual([{ id: '1', post_id: '5' }])
    })

    it('add to those of another version, and both are applied', async () => {
      await scene.install({ tables: { comment: postTags } })
      await installFeed(database.sql, { tables: { comment: authorTags } })
      const expected = [
        authorTags.any(),
        author(7),
        author(8),
        postTags.any(),
        postTags.where({ post_id: 5 }),
      ].sort()
      expect(
        await declaredBy('INSERT INTO comment VALUES (1, 5, 7); UPDATE comment SET author_id = 8'),
      ).toEqual(expected)
    })

    it('are invalidated by a relay that does not even know the table, once those that do have left it', async () => {
      await database.sql('CREATE TABLE other (id int PRIMARY KEY)')
      await scene.install({ tables: { comment: postTags, other: () => [] } })
      await database.sql('INSERT INTO comment VALUES (1, 5, 7)')
      const stranger = await scene.open(['other'])
      expect(await scene.all(stranger)).toEqual([])
      await database.sql(`UPDATE cacheaside.outbox SET at = at - interval '11 seconds'`)
      expect(declaredIn(await scene.all(stranger))).toEqual([postTags.any(), postTags.where({ post_id: 5 })])
    })

    it('in a form of a later version of the library are all invalidated by each change', async () => {
      await scene.install({ tables: { comment: postTags } })
      await database.sql(`UPDATE cacheaside.watched SET tags =
        '[{"tag": "table.comment", "by": ["post_id"], "version": 2, "asked": 0}, {"tag": "others", "where": "post_id > 5"}, 7]'`)
      expect(await declaredBy('INSERT INTO comment VALUES (1, 5, 7)')).toEqual([
        'all of others',
        'all of table.comment',
      ])
    })
  })

  describe('that nobody asks for any more', () => {
    const olderTags = tableTags({ comment: { by: ['post_id'] } }).comment
    const newerTags = tableTags({ comment: { by: ['author_id'] } }).comment
    const groups = async () => {
      const [row] = await database.sql('SELECT tags, columns FROM cacheaside.watched')
      const tags = (row?.tags ?? []) as { by: string[] }[]
      return { by: tags.map(({ by }) => by.join()).sort(), columns: row?.columns }
    }
    /** Lets time pass for what was asked for until now. */
    const age = (days: number) =>
      database.sql(`UPDATE cacheaside.watched SET tags = (SELECT jsonb_agg(part || jsonb_build_object('asked',
        (part ->> 'asked')::bigint - ${days} * 86400)) FROM jsonb_array_elements(tags) AS part)`)

    beforeEach(() => scene.install({ tables: { comment: olderTags } }))

    it('are removed by the first installation after thirty days, with their columns', async () => {
      await age(29)
      await installFeed(database.sql, { tables: { comment: newerTags } })
      expect(await groups()).toEqual({
        by: ['', 'author_id', 'post_id'],
        columns: ['id', 'author_id', 'post_id'],
      })
      await age(2)
      await installFeed(database.sql, { tables: { comment: newerTags } })
      expect(await groups()).toEqual({ by: ['', 'author_id'], columns: ['id', 'author_id'] })
      expect(await declaredBy('INSERT INTO comment VALUES (1, 5, 7)')).toEqual([
        newerTags.any(),
        newerTags.where({ author_id: 7 }),
      ])
    })

    it('and all of them by one that asks for none', async () => {
      await age(31)
      await installFeed(database.sql, { tables: ['comment'] })
      expect(await database.sql('SELECT tags, columns FROM cacheaside.watched')).toEqual([
        { tags: null, columns: ['id'] },
      ])
    })

    it('stay while a process runs that asks for them', async () => {
      await age(31)
      const feed = postgresFeed({ ...database.driver, tables: { comment: olderTags } })
      const session = await feed.open({
        clock: scene.clock,
        guardMs: 10_000,
        isPrivate: false,
        lost: () => {},
        warn: () => {},
        mended: () => {},
      })
      await installFeed(database.sql, { tables: { comment: newerTags } })
      expect((await groups()).by).toEqual(['', 'author_id', 'post_id'])
      await age(31)
      await scene.clock.advance(3_600_000)
      const { changes } = await session.take(undefined)
      await session.settle(changes)
      await installFeed(database.sql, { tables: { comment: newerTags } })
      expect((await groups()).by).toEqual(['', 'author_id', 'post_id'])
      await session.close()
    })

    it('are removed at once when one of their columns is gone', async () => {
      await database.sql('ALTER TABLE comment DROP COLUMN post_id')
      await installFeed(database.sql, { tables: { comment: newerTags } })
      expect(await groups()).toEqual({ by: ['', 'author_id'], columns: ['id', 'author_id'] })
      await expect(installFeed(database.sql, { tables: { comment: olderTags } })).rejects.toThrow(
        /no stored column post_id/,
      )
    })

    it('and by unwatch', async () => {
      await database.sql(`SELECT cacheaside.unwatch('comment')`)
      await installFeed(database.sql, { tables: { comment: newerTags } })
      expect((await groups()).by).toEqual(['', 'author_id'])
    })

    it('are at most 64 groups', async () => {
      const columns = Array.from({ length: 40 }, (_, i) => `c${i}`)
      await database.sql(`ALTER TABLE comment ${columns.map(column => `ADD ${column} int`).join(', ')}`)
      const one = tableTags({ comment: { by: columns } }).comment
      await installFeed(database.sql, { tables: { comment: one } })
      const other = tableTags({ comment: { by: columns, name: 'other' } }).comment
      await expect(installFeed(database.sql, { tables: { comment: other } })).rejects.toThrow(
        /more than 64 groups/,
      )
    })
  })

  describe('of a feed that opens', () => {
    const opened = async (tables: PostgresFeedTables) => {
      const feed = postgresFeed({ ...database.driver, tables })
      const warn = (message: string, code?: string) => void scene.warnings.push(`${code} ${message}`)
      const session = await feed.open({
        clock: scene.clock,
        guardMs: 10_000,
        isPrivate: false,
        lost: () => {},
        warn,
        mended: () => {},
      })
      await session.close()
      return scene.warnings.filter(text => !text.startsWith('SETTING'))
    }

    it('are warned of if they were not installed, until they are', async () => {
      await scene.install({ tables: ['comment'] })
      const mended: string[] = []
      const session = await postgresFeed({ ...database.driver, tables: { comment } }).open({
        clock: scene.clock,
        guardMs: 10_000,
        isPrivate: false,
        lost: () => {},
        warn: (message, code) => void scene.warnings.push(`${code} ${message}`),
        mended: message => void mended.push(message),
      })
      const missing = ['', 'post_id', 'author_id, post_id'].map(by =>
        expect.stringContaining(`the feed does not know the tags of comment by (${by}),`),
      )
      expect(scene.warnings.filter(text => text.startsWith('NOT_WATCHED'))).toEqual(missing)
      await installFeed(database.sql, { tables: { comment } })
      await scene.clock.advance(10_000)
      const { changes } = await session.take(undefined)
      await session.settle(changes)
      expect(mended).toEqual(missing)
      await session.close()
    })

    it('are warned of if an earlier version of the library has installed it, and served as ever', async () => {
      await scene.install({ tables: { comment } })
      await database.sql(`ALTER TABLE cacheaside.watched DROP COLUMN tags; DROP FUNCTION cacheaside.ask_for_tags(jsonb);
        DROP FUNCTION cacheaside.declare_tags(text, regclass, jsonb, jsonb); DROP FUNCTION cacheaside.tag_columns(text)`)
      expect(await opened({ comment })).toEqual([
        expect.stringContaining('OUTDATED the feed keeps no tags of the table comment'),
      ])
      await database.sql('INSERT INTO comment VALUES (1, 5, 7)')
      const [change] = await scene.all(await openOlder())
      expect(own(comment, change!)).toContain(comment.where({ post_id: 5 }))
      scene.warnings.length = 0
      await scene.install({ tables: { comment } })
      expect(await opened({ comment })).toEqual([])
      expect(await declaredBy('INSERT INTO comment VALUES (2, 5, 7)')).toEqual(tagsOf([5], [[5, 7]]))
    })

    it('are warned of if their column has another type, which installFeed refuses', async () => {
      const typed = tableTags({ comment: { by: ['post_id'], types: { post_id: 'bigint' } } }).comment
      await scene.install({ tables: { comment: typed } })
      expect(await opened({ comment: typed })).toEqual([])
      await database.sql('ALTER TABLE comment ALTER post_id TYPE text')
      expect(await opened({ comment: typed })).toEqual([
        expect.stringContaining('KEY_TYPE the column post_id of the table comment is of the type text'),
      ])
      await expect(installFeed(database.sql, { tables: { comment: typed } })).rejects.toThrow(
        /the column post_id of the table \S*comment is of the type text, and its tags take it for another one/,
      )
    })

    it('are warned of if their column has several texts for a value, unless its type is named', async () => {
      await database.sql('ALTER TABLE comment ADD owner uuid, ALTER id TYPE numeric')
      const loose = tableTags({ comment: { by: ['owner', 'post_id'] } }).comment
      const typed = tableTags({ comment: { by: ['owner', 'post_id'], types: { owner: 'uuid' } } }).comment
      await scene.install({ tables: { comment: loose } })
      const warning = expect.stringContaining(
        'KEY_TYPE the column owner of the table comment is of the type uuid',
      )
      expect(await opened({ comment: loose })).toEqual([warning])
      scene.warnings.length = 0
      await scene.install({ tables: { comment: typed } })
      expect(await opened({ comment: typed })).toEqual([])
      const ids = createCache().keyspace('owner', { load: (_id: string) => undefined })
      const map = {
        columns: ['id', 'owner'],
        keys: (row: Record<string, string>) => [ids.key(row.owner!)],
      } as const
      expect(await opened({ comment: typed.with(map) })).toEqual([
        expect.stringContaining('KEY_TYPE the column id of the table comment is of the type numeric'),
        warning,
      ])
      scene.warnings.length = 0
      expect(await opened({ comment: typed.with({ ...map, canonicalIds: true }) })).toEqual([])
    })
  })

  describe('are made of the very text that the feed records:', () => {
    /** A type of columns, what it is called in tableTags, and values: as a literal, and as `where` takes them. */
    const TYPES: [column: string, type: ColumnType | undefined, values: [sql: string, js: unknown][]][] = [
      [
        'smallint',
        'smallint',
        [
          ['-7', -7],
          ['0', '-0'],
        ],
      ],
      [
        'integer',
        'bigint',
        [
          ['2147483647', 2147483647],
          ['5', '+05'],
        ],
      ],
      [
        'bigint',
        'bigint',
        [
          ['9223372036854775807', 9223372036854775807n],
          ['9223372036854775807', '9223372036854775807'],
          ['9007199254740991', 9007199254740991],
        ],
      ],
      [
        'bigint',
        undefined,
        [
          ['9223372036854775807', 9223372036854775807n],
          ['5', 5],
          ['5', '5'],
          ['0', -0],
        ],
      ],
      ['uuid', 'uuid', [[`'9C2CF775-f764-4643-AECF-0b22cdbb453b'`, '9c2cf775F7644643aecf0b22cdbb453B']]],
      [
        'uuid',
        undefined,
        [[`'9C2CF775-f764-4643-AECF-0b22cdbb453b'`, '9c2cf775-f764-4643-aecf-0b22cdbb453b']],
      ],
      [
        'text',
        'text',
        [
          [`'Näïve ☃ 50% a:b{c} '`, 'Näïve ☃ 50% a:b{c} '],
          [`''`, ''],
          [`'null'`, 'null'],
          [`E'a\\nb\\\\'`, 'a\nb\\'],
        ],
      ],
      [
        'text',
        undefined,
        [
          [`'5'`, 5],
          [`'x'`, 'x'],
        ],
      ],
      ['varchar(20)', 'text', [[`'x '`, 'x ']]],
      [
        'char(6)',
        'char',
        [
          [`'ab'`, 'ab'],
          [`'ab'`, 'ab    '],
        ],
      ],
      [
        'boolean',
        'boolean',
        [
          ['true', true],
          ['false', false],
        ],
      ],
      [
        'boolean',
        undefined,
        [
          ['true', true],
          ['false', 'false'],
        ],
      ],
      [
        'date',
        'date',
        [
          [`'2026-11-23'`, '2026-11-23'],
          [`'infinity'`, 'infinity'],
          [`'0099-01-02'`, '0099-01-02'],
        ],
      ],
      [
        'timestamp',
        'timestamp',
        [
          [`'2026-11-23 01:02:03.450'`, '2026-11-23T01:02:03.45'],
          [`'2026-11-23'`, '2026-11-23T00:00'],
          [`'-infinity'`, '-infinity'],
        ],
      ],
      [
        'timestamptz',
        'timestamptz',
        [
          [`'2026-11-23 01:02:03.456789+05:30'`, '2026-11-22T19:32:03.456789Z'],
          [`'2026-11-23 01:02:03.45+01'`, new Date('2026-11-23T00:02:03.450Z')],
          [`'1969-12-31 23:59:59.999Z'`, new Date(-1)],
          [`'0001-01-01 00:00Z'`, '0001-01-01T01:00+01:00'],
        ],
      ],
      ['mood', 'text', [[`'glad'`, 'glad']]],
      ['positive', 'bigint', [['5', 5]]],
      ['most_positive', 'bigint', [['5', 5]]],
      ['flag', 'boolean', [['true', true]]],
      ['flag_of_flag', undefined, [['false', false]]],
      ['code', 'char', [[`'ab'`, 'ab']]],
      ['code_of_code', 'char', [[`'ab'`, 'ab   ']]],
      ['mood_of_mood', 'text', [[`'glad'`, 'glad']]],
      ['moment', 'timestamptz', [[`'2026-11-23 01:02:03.45+01'`, new Date('2026-11-23T00:02:03.450Z')]]],
    ]

    it('of each type', async () => {
      const columns = TYPES.map(([column], i) => `c${i} ${column}`).join(', ')
      await database.sql(`CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE DOMAIN positive AS bigint CHECK (VALUE > 0);
        CREATE DOMAIN most_positive AS positive; CREATE DOMAIN flag AS boolean; CREATE DOMAIN flag_of_flag AS flag;
        CREATE DOMAIN code AS char(5); CREATE DOMAIN code_of_code AS code; CREATE DOMAIN moment AS timestamptz;
        CREATE DOMAIN mood_in_short AS mood; CREATE DOMAIN mood_of_mood AS mood_in_short;
        CREATE TABLE item (id serial PRIMARY KEY, ${columns})`)
      const types = TYPES.map(([, type], i) => [`c${i}`, type] as const).filter(
        ([, type]) => type !== undefined,
      )
      const item = tableTags({
        item: {
          by: TYPES.map((_, i) => `c${i}`),
          types: Object.fromEntries(types) as Record<string, ColumnType>,
        },
      }).item as unknown as TableTags
      await scene.install({ tables: { item } as PostgresFeedTables })
      const session = await scene.open(['item'])
      // However the writer's session likes to see them.
      await database.sql(`SET DateStyle = 'German'; SET TimeZone = 'Asia/Kolkata'`)
      for (const [i, [column, type, values]] of TYPES.entries()) {
        for (const [sql, js] of values) {
          await database.sql(`INSERT INTO item (c${i}) VALUES (${sql})`)
          const declared = declaredIn(await scene.all(session))
          expect(declared, `${column} as ${type}: ${sql}`).toContain(item.where({ [`c${i}`]: js }))
          expect(declared.filter(tag => !tag.endsWith(':null'))).toHaveLength(2)
        }
      }
      await database.sql('RESET DateStyle; RESET TimeZone')
    })

    it('and no other type is taken for one of them', async () => {
      const cases: [column: string, type: ColumnType][] = [
        ['text', 'bigint'],
        ['citext_like', 'text'],
        ['text COLLATE ignoring_case', 'text'],
        ['timestamp', 'timestamptz'],
        ['numeric', 'bigint'],
        ['bigint[]', 'bigint'],
        ['flags', 'bigint'],
      ]
      await database.sql(`CREATE TYPE citext_like AS (v text); CREATE DOMAIN flag AS boolean; CREATE DOMAIN flags AS flag; CREATE COLLATION ignoring_case
        (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`)
      await database.sql(
        `CREATE TABLE item (id int PRIMARY KEY, ${cases.map(([column], i) => `c${i} ${column}`).join(', ')})`,
      )
      for (const [i, [column, type]] of cases.entries()) {
        const { item } = tableTags({ item: { by: [`c${i}`], types: { [`c${i}`]: type } } })
        await expect(scene.install({ tables: { item } as never }), column).rejects.toThrow(
          /its tags take it for another one/,
        )
      }
    })
  })
})

describe('a relay that takes a change while its group is being declared', () => {
  it('reads the groups after the changes, and so finds it', async () => {
    const database = await openPostgres()
    const scene = new FeedScene(database)
    const deploy = await connected(database.url)
    const { comment } = tableTags({ comment: { by: ['post_id'] } })
    try {
      await database.sql(COMMENT)
      await scene.install({ tables: { comment: { columns: ['id', 'post_id'], keys: () => [] } } })
      await database.sql('INSERT INTO comment VALUES (1, 4, 7)')
      /** Stops every statement that reads the outbox, and goes on when the relay stands before it. */
      const declare = async () => {
        await deploy.query('BEGIN; LOCK TABLE cacheaside.outbox')
        return async () => {
          await until('the relay to wait', async () => {
            const [row] = await database.sql(`SELECT count(*)::int AS n FROM pg_locks WHERE NOT granted
              AND relation = 'cacheaside.outbox'::regclass AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`)
            return row?.n === 1
          })
          await installFeed(deploy, { tables: { comment } })
          await deploy.query('INSERT INTO comment VALUES (2, 5, 7); COMMIT')
        }
      }
      let declaring: Promise<void> | undefined
      const pool = {
        async connect() {
          const client = await database.pool.connect()
          return new Proxy(client, {
            get(target, name) {
              if (name !== 'query') {
                const value = Reflect.get(target, name)
                return typeof value === 'function' ? value.bind(target) : value
              }
              return async (text: string) => {
                if (!text.includes('FOR UPDATE SKIP LOCKED')) return target.query(text)
                const goOn = await declare()
                const answer = target.query(text)
                declaring = goOn()
                return answer
              }
            },
          })
        },
      }
      const session = await scene.open(['comment'], { pool: pool as never })
      const { changes } = await session.take(undefined)
      await declaring
      expect(changes.flatMap(({ rows }) => rows ?? [])).toContainEqual({ id: '2', post_id: '5' })
      expect(declaredIn(changes)).toContain(comment.where({ post_id: 5 }))
      await session.settle(changes)
    } finally {
      scene.end()
      await deploy.end()
      await database.close()
    }
  })
})

describe('tags of tables on PostgreSQL 13', () => {
  it('are installed and applied as on later ones', async () => {
    const server = await startPostgres(13)
    const client = await connected(server.url)
    try {
      await client.query(COMMENT)
      await installFeed(client, { tables: { comment } })
      await installFeed(client, { tables: { comment } })
      await client.query('DELETE FROM cacheaside.outbox; INSERT INTO comment VALUES (1, 5, 7)')
      const { rows } =
        await client.query(`SELECT new, cacheaside.ask_for_tags('[{"source": "comment", "tag": "x", "by": ["a", "b"]}]')
        FROM cacheaside.outbox`)
      expect(rows).toEqual([
        { new: { id: '1', author_id: '7', post_id: '5' }, ask_for_tags: ['comment by (a, b)'] },
      ])
    } finally {
      await client.end()
      await server.stop()
    }
  })
})
