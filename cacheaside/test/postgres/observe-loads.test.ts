import type { PGlite } from '@electric-sql/pglite'
import { drizzle } from 'drizzle-orm/node-postgres'
import { integer, pgTable } from 'drizzle-orm/pg-core'
import { Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Cache, type CacheEvent, createCache, systemClock } from '../../src/index.ts'
import {
  type LoadObserver,
  type ObserveLoadsOptions,
  observeLoads,
  type PgPool,
  tableTags,
} from '../../src/postgres/index.ts'
import { notingLogger } from '../heard-warnings.ts'
import { openPGlite, openPooledPostgres, openPostgres, type TestDatabase } from './databases.ts'

/** What both drivers have in common. */
interface Querying {
  query(text: string, values?: unknown[]): Promise<{ rows: Record<string, unknown>[] }>
}

const groups = { author: { by: ['id'] }, word: {}, log: {} } as const
const declared = tableTags(groups)
const { author, word } = declared

const SCHEMA = `
  CREATE TABLE author (id int PRIMARY KEY, name text);
  CREATE TABLE post (id int PRIMARY KEY, author_id int REFERENCES author, body text);
  CREATE TABLE word (id int PRIMARY KEY); CREATE TABLE aside (id int PRIMARY KEY);
  CREATE TABLE log (day int, line text) PARTITION BY RANGE (day);
  CREATE TABLE log_1 PARTITION OF log FOR VALUES FROM (0) TO (10);
  CREATE TABLE log_2 PARTITION OF log FOR VALUES FROM (10) TO (20);
  CREATE TABLE heir (more text) INHERITS (word);
  CREATE VIEW shown AS SELECT post.*, author.name FROM post JOIN author ON author.id = author_id;
  CREATE VIEW outer_view AS SELECT * FROM shown WHERE id > 0;
  CREATE MATERIALIZED VIEW kept AS SELECT count(*) AS n FROM word;
  CREATE FUNCTION words() RETURNS bigint LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN (SELECT count(*) FROM word); END $$;
  CREATE FUNCTION name_of(wanted int) RETURNS text LANGUAGE sql STABLE AS $$ SELECT name FROM author WHERE id = wanted $$;
  INSERT INTO author VALUES (7, 'Ann'); INSERT INTO post VALUES (5, 7, 'x'), (6, 7, 'y');`

describe.each<[string, () => Promise<TestDatabase>]>([
  ['PostgreSQL', openPostgres],
  ['PGlite', openPGlite],
])('observeLoads on %s', (_name, open) => {
  let database: TestDatabase
  let cache: Cache
  let events: CacheEvent[]
  const logger = notingLogger()

  beforeAll(async () => {
    database = await open()
    await database.sql(SCHEMA)
  })
  afterAll(() => database.close())
  beforeEach(() => {
    events = []
    cache = createCache({ logger, onEvent: event => events.push(event) })
    tableTags(cache, groups)
  })
  afterEach(() => cache.close())

  const tables = { post: { keys: () => [], keyspaces: ['post'] }, ...declared }
  const observer = (options: Partial<ObserveLoadsOptions<Querying>> = {}): LoadObserver<Querying> =>
    observeLoads<Querying>(cache, {
      ...(database.driver as { pool?: PgPool & Querying; pglite?: PGlite & Querying }),
      tables,
      sample: 1,
      ...options,
    } as ObserveLoadsOptions<Querying>)

  /** What a load of these statements is found to depend on, though it declares only its own rows. */
  async function found(...statements: string[]): Promise<readonly string[]> {
    const observed = observer({ unwatched: true })
    const posts = observed.keyspace('post', {
      load: async (_id: number, { db }) => {
        let last: unknown
        for (const statement of statements) last = (await db.query(statement)).rows
        return last as unknown[]
      },
    })
    await posts.get(5)
    await cache.close()
    cache = createCache({ logger })
    expect(events.filter(({ type }) => type === 'fault')).toEqual([])
    return observed.findings.flatMap(({ tables, unwatched }) => [
      ...tables,
      ...unwatched.map(name => `(${name})`),
    ])
  }

  it.each<[string, string, string[]]>([
    ['a table', 'SELECT FROM author', ['author']],
    ['its own table, which invalidates its keys', 'SELECT FROM post', []],
    ['a view of a view', 'SELECT * FROM outer_view WHERE id = 5', ['author']],
    ['a function in SQL', 'SELECT name_of(author_id) FROM post', ['author']],
    ['a function in plpgsql', 'SELECT words()', ['word']],
    [
      'a subquery that finds no row',
      'SELECT FROM post WHERE EXISTS (SELECT FROM author WHERE id = -1)',
      ['author'],
    ],
    ['a table with a lock', 'SELECT FROM author FOR UPDATE', ['author']],
    ['a table that it changes', 'DELETE FROM author WHERE id = -1', ['author']],
    ['the partition that is left after pruning', 'SELECT FROM log WHERE day = 5', ['log']],
    ['a partition by its own name', 'SELECT FROM log_2', ['log']],
    ['a child table by its own name', 'SELECT FROM heir', ['word']],
    ['a materialized view, which no feed watches', 'SELECT FROM kept', ['(kept)']],
    ['a table that is not watched', 'SELECT FROM aside', ['(aside)']],
    ['the catalog', 'SELECT FROM pg_class, information_schema.tables', []],
    ['nothing', 'SELECT 1', []],
  ])('finds %s', async (_what, statement, expected) => {
    expect(await found(statement)).toEqual(expected)
  })

  it('finds what a policy reads', async () => {
    await database.sql(`CREATE ROLE reader; GRANT ALL ON ALL TABLES IN SCHEMA public TO reader;
      ALTER TABLE post ENABLE ROW LEVEL SECURITY;
      CREATE POLICY only_known ON post USING (EXISTS (SELECT FROM word WHERE word.id = post.id))`)
    try {
      expect(await found('SET LOCAL ROLE reader', 'SELECT FROM post')).toEqual(['word'])
      expect(await found('SELECT FROM post')).toEqual([])
    } finally {
      await database.sql(
        'ALTER TABLE post DISABLE ROW LEVEL SECURITY; DROP POLICY only_known ON post; DROP OWNED BY reader; DROP ROLE reader',
      )
    }
  })

  it('finds what a plan reads that was made before', async () => {
    const prepared =
      'SET plan_cache_mode = force_generic_plan; PREPARE known (int) AS SELECT FROM shown WHERE id = $1; EXECUTE known (5); EXECUTE known (5)'
    const script = prepared.split(';').filter(text => text.trim() !== '')
    expect(await found(...script, 'EXECUTE known (6)', 'DEALLOCATE known', 'RESET plan_cache_mode')).toEqual([
      'author',
    ])
  })

  it('finds a table whichever path or role the load has set, and takes no other for it', async () => {
    await database.sql(`CREATE SCHEMA other; CREATE TABLE other.author (id int);
      CREATE FUNCTION other.peek() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS $$ SELECT count(*) FROM public.author $$;
      CREATE ROLE narrow; GRANT USAGE ON SCHEMA other TO narrow; REVOKE USAGE ON SCHEMA public FROM public`)
    try {
      expect(await found('SET LOCAL search_path = other', 'SELECT FROM public.author')).toEqual(['author'])
      expect(await found('SET LOCAL search_path = other', 'SELECT FROM author')).toEqual(['(other.author)'])
      expect(await found('SET LOCAL search_path = other', 'SELECT FROM public.aside')).toEqual(['(aside)'])
      expect(await found('SET LOCAL ROLE narrow', 'SELECT other.peek()')).toEqual(['author'])
      expect(await found('SET search_path = other', 'SET ROLE narrow')).toEqual([])
      expect(await found('RESET ROLE', 'SELECT FROM public.author, author AS own')).toEqual([
        'author',
        '(other.author)',
      ])
      expect(await found('RESET search_path', 'CREATE TEMPORARY TABLE author (id int)')).toEqual([])
      expect(await found('SELECT FROM public.author', 'DROP TABLE author')).toEqual(['author'])
    } finally {
      await database.sql(`GRANT USAGE ON SCHEMA public TO public; DROP SCHEMA other CASCADE;
        DROP OWNED BY narrow; DROP ROLE narrow`)
    }
  })

  it('finds a table that was not there when the first load was observed', async () => {
    const observed = observer({ tables: { ...tables, late: { keys: () => [], keyspaces: ['late'] } } })
    const posts = observed.keyspace('post', {
      load: async (id: number, { db }) => (await db.query(id === 1 ? 'SELECT 1' : 'SELECT FROM late')).rows,
    })
    await posts.get(1)
    await database.sql('CREATE TABLE late (id int)')
    try {
      await posts.get(2)
      expect(observed.findings.map(({ tables }) => tables)).toEqual([['late']])
    } finally {
      await database.sql('DROP TABLE late')
    }
  })

  it('finds nothing where the tags of the value cover what it has read', async () => {
    const observed = observer({ undeclared: 'throw' })
    const posts = observed.keyspace('post', {
      load: async (id: number, { db }) => (await db.query('SELECT * FROM shown WHERE id = $1', [id])).rows[0],
      tagsOf: post => (post === undefined ? [] : [author.where({ id: Number(post.author_id) })]),
    })
    const words = observed.keyspace('words', {
      load: async (_: string, { db }) => (await db.query('SELECT words() AS n')).rows[0],
      tags: () => [word.any()],
    })
    expect(await posts.get(5)).toMatchObject({ name: 'Ann' })
    expect(await words.get('all')).toMatchObject({ n: expect.anything() })
    expect(observed.findings).toEqual([])
    // An absent row has no author whose tag could be named, and a row to come may be any author's.
    await expect(posts.get(77)).rejects.toThrow(
      'the load of post:77 has read author, whose changes invalidate none of its tags (its tags: none)',
    )
  })

  it('tells of each load by an event, a count, a function and a warning; and lists each finding once', async () => {
    const told: unknown[] = []
    const observed = observer({ undeclared: finding => told.push(finding) })
    const posts = observed.keyspace('post', {
      load: async (id: number, { db }) => (await db.query('SELECT * FROM shown WHERE id = $1', [id])).rows[0],
      tags: () => [word.any()],
    })
    expect(await posts.get(5)).toMatchObject({ body: 'x' })
    expect(await posts.get(6)).toMatchObject({ body: 'y' })
    const finding = {
      keyspace: 'post',
      key: 'post:5',
      tables: ['author'],
      unwatched: [],
      tags: ['table.word:any'],
    }
    expect(observed.findings).toEqual([finding])
    expect(told).toEqual([finding, { ...finding, key: 'post:6' }])
    expect(events.filter(({ type }) => type === 'undeclared')).toEqual([
      { type: 'undeclared', ...finding },
      { type: 'undeclared', ...finding, key: 'post:6' },
    ])
    expect(cache.stats().keyspaces.post!.undeclared).toBe(2)
    expect(logger.heard).toContainEqual([
      'error',
      'UNDECLARED',
      'values of post depend on author, and no change there invalidates them, for example post:5',
    ])
  })

  it('judges each value of loadMany by its own tags', async () => {
    const observed = observer()
    const posts = observed.keyspace('post', {
      loadMany: async (ids: readonly number[], { db }) => {
        const { rows } = await db.query('SELECT * FROM shown WHERE id = ANY ($1::int[])', [ids])
        const pairs = rows.map(row => [Number(row.id), row] as const)
        // An answer that can be gone through once only, with an id of another type.
        return (function* answer() {
          for (const [id, row] of pairs) yield [String(id) as unknown as number, row] as const
          yield [78, new Error('not read')] as const
        })()
      },
      tagsOf: post => (post ? [author.where({ id: Number(post.author_id) })] : []),
    })
    const found = await posts.getMany([5, 6, 77]).catch(error => error)
    expect([...found.keys()]).toEqual([5, 6])
    expect(observed.findings.map(({ key }) => key)).toEqual(['post:77'])
  })

  it('leaves loads alone without a sample, and takes some of them by chance with one', async () => {
    let drawn = 0
    const clock = Object.assign(Object.create(systemClock), { random: () => drawn })
    await cache.close()
    cache = createCache({ logger, clock })
    const load = async (id: number, { db }: { db: Querying }) =>
      (await db.query(`SELECT ${id} AS id FROM author`)).rows
    const { sample: _, ...without } = { sample: undefined }
    const off = observeLoads<Querying>(cache, { ...database.driver, tables, ...without } as never)
    const never = off.keyspace('off', { load: load as never })
    for (const id of [1, 2, 3]) await never.get(id as never)
    expect(off.findings).toEqual([])
    const some: string[] = []
    const on = observer({ sample: 0.25, undeclared: ({ key }) => some.push(key) })
    const chosen = on.keyspace('on', { load })
    for (const [id, random] of [0.25, 0.24, 0.99, 0].entries()) {
      drawn = random
      await chosen.get(id)
    }
    expect(some).toEqual(['on:1', 'on:3'])
  })

  it('lets a load go on that passes over an error, and says that it does not know all', async () => {
    const load = async (_id: number, { db }: { db: Querying }) => {
      await db.query('SELECT FROM author')
      await db.query('SELECT FROM no_such_table').catch(() => {})
      return (await db.query('SELECT count(*)::int AS n FROM post')).rows
    }
    expect(await observer().keyspace('post', { load }).get(1)).toEqual([{ n: 2 }])
    expect(events.flatMap(event => (event.type === 'fault' ? [String(event.error)] : []))).toEqual([
      expect.stringContaining('no_such_table'),
    ])
    const strict = observer({ undeclared: 'throw' }).keyspace('strict', { load })
    await expect(strict.get(1)).rejects.toThrow('no_such_table')
  })

  it('sees what a load reads in a transaction that it rolls back, as PGlite does, and after it', async () => {
    const load = async (_id: number, { db }: { db: Querying }) => {
      if (database.driver.pool) return (await db.query('SELECT name FROM author, words() AS n')).rows
      await (db as PGlite & Querying).transaction(async own => {
        await own.query('INSERT INTO word VALUES (1)')
        await own.rollback()
      })
      return (await db.query('SELECT name FROM author')).rows
    }
    const observed = observer()
    expect(await observed.keyspace('post', { load }).get(1)).toEqual([{ name: 'Ann' }])
    expect(events.filter(({ type }) => type === 'fault')).toEqual([])
    expect(observed.findings.map(({ tables }) => [...tables].sort())).toEqual([['author', 'word']])
  })

  it('lets a load on PGlite choose an isolation level after a statement, and pass over its own error in a transaction', async () => {
    const load = async (_id: number, { db }: { db: Querying }) => {
      if (database.driver.pool) return (await db.query('SELECT name FROM author, words() AS n')).rows
      const { transaction } = db as PGlite & Querying
      await db.query('SELECT FROM word')
      const rows = await transaction(async own => {
        await own.query('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ')
        await own.query('SELECT FROM author')
        throw new Error('not this one')
      }).catch(String)
      expect(rows).toBe('Error: not this one')
      return (await db.query('SELECT count(*) FROM post')).rows
    }
    const observed = observer({ unwatched: true })
    await observed.keyspace('post', { load }).get(1)
    expect(events.filter(({ type }) => type === 'fault')).toEqual([])
    expect(observed.findings.map(({ tables }) => [...tables].sort())).toEqual([['author', 'word']])
  })

  it('lets a load fail with its own error, and is not in its way afterwards', async () => {
    const observed = observer()
    const failure = new Error('of my own')
    const posts = observed.keyspace('post', {
      load: async (id: number, { db }) => {
        if (id === 1) throw failure
        if (id === 2) await db.query('SELECT FROM no_such_table')
        return (await db.query('SELECT * FROM post WHERE id = $1', [id])).rows[0]
      },
    })
    await expect(posts.get(1)).rejects.toBe(failure)
    await expect(posts.get(2)).rejects.toThrow(/no_such_table/)
    for (let i = 0; i < 12; i++) await expect(posts.get(1)).rejects.toBe(failure)
    expect(await posts.get(5)).toMatchObject({ body: 'x' })
  })

  it('may read what it says that it may', async () => {
    const observed = observer({ undeclared: 'throw', unwatched: true })
    const posts = observed.keyspace('post', {
      load: async (id: number, { db }) =>
        (await db.query('SELECT * FROM post, (SELECT count(*) FROM author, aside) AS n WHERE id = $1', [id]))
          .rows[0],
      mayRead: ['author', 'aside'],
    })
    expect(await posts.get(5)).toMatchObject({ body: 'x' })
  })

  it('takes its loads for those of the keyspaces and tags that covers names', async () => {
    const observed = observer({
      tables: { post: () => [], author: () => [] },
      covers: { post: ['post'], author: ['table.author'] },
      undeclared: 'throw',
    })
    const load = async (id: number, { db }: { db: Querying }) =>
      (await db.query('SELECT * FROM shown WHERE id = $1', [id])).rows[0]
    const tagged = observed.keyspace('post', { load, tags: () => [author.any()] })
    expect(await tagged.get(5)).toMatchObject({ body: 'x' })
    await expect(observed.keyspace('other', { load }).get(5)).rejects.toThrow(
      /has read post, author,|has read author, post,/,
    )
  })

  it.each<[string, Record<string, unknown>, RegExp]>([
    ['a misspelt option', { samples: 1 }, /options\.samples/],
    ['a sample of nothing', { sample: 0 }, /sample to be greater than 0 and at most 1, got 0/],
    [
      'a table of which nobody knows what it invalidates',
      { tables: { post: () => [] } },
      /tables\.post\.keyspaces to be the keyspaces that the table invalidates/,
    ],
    ['no driver', { pool: undefined, pglite: undefined }, /either pool or pglite to be given, got neither/],
    [
      'a pool of one client',
      { pool: { connect() {}, options: { max: 1 } }, pglite: undefined },
      /expected the pool's max to be 2 or more, got 1/,
    ],
    ['undeclared that is neither', { undeclared: 'warn' }, /'throw', or a function/],
  ])('refuses %s', (_what, options, message) => {
    expect(() => observer(options as never)).toThrow(message)
  })
})

describe('observeLoads with a pool of pg', () => {
  let database: Awaited<ReturnType<typeof openPostgres>>
  let pool: pg.Pool
  let cache: Cache
  let events: CacheEvent[]

  beforeAll(async () => {
    database = await openPostgres()
    await database.sql(SCHEMA)
    pool = new pg.Pool({ connectionString: database.url, max: 4 })
    pool.on('error', () => {})
  })
  afterAll(async () => {
    await pool.end()
    await database.close()
  })
  beforeEach(() => {
    events = []
    cache = createCache({ logger: notingLogger(), onEvent: event => events.push(event) })
  })
  afterEach(() => cache.close())

  const tables = { post: { keys: () => [], keyspaces: ['post'] }, ...declared }
  const options = () => ({ pool, tables, sample: 1 }) as const
  const faults = () => events.flatMap(event => (event.type === 'fault' ? [String(event.error)] : []))

  it.each<[string, (id: number, context: { db: pg.Pool }) => Promise<unknown>]>([
    ['one statement', (_, { db }) => db.query('SELECT FROM shown')],
    [
      'a named statement',
      (id, { db }) => db.query({ name: 'by-id', text: 'SELECT FROM shown WHERE id = $1', values: [id] }),
    ],
    [
      'several at once',
      (_, { db }) => Promise.all([db.query('SELECT FROM post'), db.query('SELECT FROM author')]),
    ],
    [
      'a callback',
      (_, { db }) =>
        new Promise(resolve => db.query('SELECT FROM shown', (_error, result) => resolve(result))),
    ],
    [
      'a query that is submitted',
      (_, { db }) =>
        new Promise(
          resolve => void db.query(new pg.Query('SELECT FROM shown')).once('end', resolve as () => void),
        ),
    ],
    [
      'a transaction of its own',
      async (_, { db }) => {
        const client = await db.connect()
        await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ')
        const { rows } = await client.query('SELECT current_setting($1) AS level, count(*) FROM shown', [
          'transaction_isolation',
        ])
        expect(rows[0].level).toBe('repeatable read')
        await client.query('COMMIT')
        client.release()
        return rows
      },
    ],
    [
      'a transaction that it rolls back, and a savepoint',
      async (_, { db }) => {
        const client = await db.connect()
        await client.query('begin; ')
        await client.query('SAVEPOINT a')
        await client.query('SELECT FROM author')
        await client.query('ROLLBACK TO SAVEPOINT a')
        await client.query('rollback')
        await client.query('SELECT FROM post')
        client.release()
      },
    ],
    [
      'a transaction whose statements have comments before them',
      async (_, { db }) => {
        const client = await db.connect()
        await client.query('/* trace */ -- and more\n begin')
        await client.query('SELECT FROM author')
        await client.query('/* trace */ commit')
      },
    ],
    [
      'a client that a callback gets',
      (_, { db }) =>
        new Promise((resolve, reject) =>
          db.connect((error, client, release) => {
            client?.query('SELECT FROM shown').then(resolve, reject).finally(release)
            if (error) reject(error)
          }),
        ),
    ],
  ])('sees %s', async (_what, load) => {
    const observed = observeLoads(cache, options())
    const posts = observed.keyspace('post', {
      load: async (id: number, context) => String(await load(id, context)),
    })
    for (const id of [1, 2, 3]) await posts.get(id)
    expect(faults()).toEqual([])
    expect(observed.findings).toEqual([
      { keyspace: 'post', key: 'post:1', tables: ['author'], unwatched: [], tags: [] },
    ])
    expect(pool.totalCount - pool.idleCount).toBe(0)
  })

  it('sees what Drizzle reads, alone and in a transaction', async () => {
    const authors = pgTable('author', { id: integer().primaryKey() })
    const observed = observeLoads(cache, { ...options(), use: client => drizzle(client) })
    const alone = observed.keyspace('alone', {
      load: async (_id: number, { db }) => db.select().from(authors),
    })
    const within = observed.keyspace('within', {
      load: async (_id: number, { db }) =>
        db.transaction(tx => tx.select().from(authors), { isolationLevel: 'repeatable read' }),
    })
    expect([await alone.get(1), await within.get(1)]).toEqual([[{ id: 7 }], [{ id: 7 }]])
    expect(faults()).toEqual([])
    expect(observed.findings.map(({ keyspace, tables }) => [keyspace, ...tables])).toEqual([
      ['alone', 'author'],
      ['within', 'author'],
    ])
  })

  it('sees what Kysely reads, alone and in a transaction', async () => {
    const observed = observeLoads(cache, {
      ...options(),
      use: client =>
        new Kysely<{ author: { id: number } }>({ dialect: new PostgresDialect({ pool: client }) }),
    })
    const alone = observed.keyspace('alone', {
      load: async (_id: number, { db }) => db.selectFrom('author').select('id').execute(),
    })
    const within = observed.keyspace('within', {
      load: async (_id: number, { db }) =>
        db
          .transaction()
          .setIsolationLevel('repeatable read')
          .execute(tx => tx.selectFrom('author').select('id').execute()),
    })
    expect([await alone.get(1), await within.get(1)]).toEqual([[{ id: 7 }], [{ id: 7 }]])
    expect(faults()).toEqual([])
    expect(observed.findings.map(({ keyspace, tables }) => [keyspace, ...tables])).toEqual([
      ['alone', 'author'],
      ['within', 'author'],
    ])
  })

  it('sees locks that PostgreSQL took by its fast path', async () => {
    let fast: unknown
    const observed = observeLoads(cache, options())
    const posts = observed.keyspace('post', {
      load: async (_id: number, { db }) => {
        await db.query('SELECT FROM author')
        const { rows } = await db.query(
          `SELECT fastpath FROM pg_locks WHERE pid = pg_backend_pid() AND relation = 'author'::regclass`,
        )
        fast = rows
        return 1
      },
    })
    await posts.get(1)
    expect(fast).toEqual([{ fastpath: true }])
    expect(observed.findings).toHaveLength(1)
  })

  it('sees through a pooler in transaction mode', async () => {
    const pooled = await openPooledPostgres()
    try {
      await pooled.sql(SCHEMA)
      const observed = observeLoads(cache, { ...options(), pool: pooled.pool })
      const posts = observed.keyspace('post', {
        load: async (_id: number, { db }) => (await db.query('SELECT * FROM shown')).rows,
      })
      for (const id of [1, 2, 3, 4]) await posts.get(id)
      expect(faults()).toEqual([])
      expect(cache.stats().keyspaces.post!.undeclared).toBe(4)
    } finally {
      await pooled.close()
    }
  })

  it('says that it knows nothing of a load that has not used the db, has passed over an error, or sent several statements as one text', async () => {
    const load = async (id: number, { db }: { db: pg.Pool }) => {
      if (id === 1) return (await pool.query('SELECT 1 AS n FROM author')).rows
      if (id === 2) await db.query('SELECT FROM no_such_table').catch(() => {})
      if (id === 3) await db.query('BEGIN; SELECT FROM author; COMMIT')
      return id
    }
    const observed = observeLoads(cache, options())
    const posts = observed.keyspace('post', { load })
    expect(await posts.get(1)).toEqual([{ n: 1 }])
    expect(await posts.get(2)).toBe(2)
    expect(await posts.get(3)).toBe(3)
    expect(faults()).toEqual([
      'Error: the loader has not used the db that it was given',
      'error: relation "no_such_table" does not exist',
      'Error: the transaction was ended by a text of several statements',
    ])
    const strict = observeLoads(cache, { ...options(), undeclared: 'throw' }).keyspace('strict', { load })
    await expect(strict.get(1)).rejects.toThrow('the loader has not used the db that it was given')
  })

  it('survives the end of a session, and gives its load the error of it', async () => {
    const observed = observeLoads(cache, options())
    const posts = observed.keyspace('post', {
      load: async (id: number, { db }) => {
        const { rows } = await db.query('SELECT pg_backend_pid() AS pid, body FROM post WHERE id = $1', [id])
        if (id === 5) await pool.query('SELECT pg_terminate_backend($1)', [rows[0].pid])
        await db.query('SELECT 1')
        return rows[0].body as string
      },
    })
    await expect(posts.get(5)).rejects.toThrow(/terminat|connection/i)
    expect(await posts.get(6)).toBe('y')
    expect(pool.totalCount - pool.idleCount).toBe(0)
  })

  it.each<[string, (db: pg.Pool) => Promise<unknown>, string[]]>([
    [
      'that begins a transaction of its own after a statement',
      async db => {
        await db.query('SELECT FROM author')
        const client = await db.connect()
        await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY')
        await client.query('SELECT FROM word')
        await client.query('COMMIT')
        client.release()
      },
      ['author', 'word'],
    ],
    [
      'that has two clients at once, and asks the pool beside them',
      async db => {
        const pids = new Set<number>()
        const [one, other] = [await db.connect(), await db.connect()]
        await one.query('BEGIN ISOLATION LEVEL REPEATABLE READ')
        await other.query('BEGIN ISOLATION LEVEL SERIALIZABLE')
        for (const [client, table] of [
          [one, 'author'],
          [other, 'word'],
          [db, 'log'],
        ] as const) {
          pids.add((await client.query(`SELECT pg_backend_pid() AS pid, count(*) FROM ${table}`)).rows[0].pid)
        }
        await one.query('ROLLBACK')
        one.release()
        one.release()
        await other.query('COMMIT')
        other.release(true)
        expect(pids.size).toBe(3)
      },
      ['author', 'log', 'word'],
    ],
    [
      'that gives no client back',
      async db => {
        for (const table of ['author', 'word']) await (await db.connect()).query(`SELECT FROM ${table}`)
      },
      ['author', 'word'],
    ],
  ])('works as a pool does for a load %s', async (_what, load, tables) => {
    const observed = observeLoads(cache, options())
    const posts = observed.keyspace('post', {
      load: async (id: number, { db }) => {
        await load(db)
        return id
      },
    })
    expect(await posts.get(1)).toBe(1)
    expect(faults()).toEqual([])
    expect(observed.findings.map(finding => [...finding.tables].sort())).toEqual([tables])
    expect(pool.totalCount - pool.idleCount).toBe(0)
  })

  it('lets a load go on after a query that was submitted and has failed, and tells callbacks of errors', async () => {
    const observed = observeLoads(cache, options())
    const posts = observed.keyspace('post', {
      load: async (_id: number, { db }) => {
        const failed = (text: string) =>
          new Promise(resolve => void db.query(new pg.Query(text)).once('error', resolve))
        const called = (text: string) =>
          new Promise<string>(resolve => db.query(text, e => resolve(String(e))))
        await failed('SELECT FROM no_such_table')
        const { rows } = await db.query<{ n: number }>('SELECT count(*)::int AS n FROM post')
        return [rows[0]!.n, await called('SELECT FROM nor_this'), await called('SELECT FROM post')]
      },
    })
    expect(await posts.get(1)).toEqual([2, expect.stringContaining('nor_this'), 'null'])
    expect(faults()).toHaveLength(1)
  })

  it('lets a load end its statement by destroying the client', async () => {
    const observed = observeLoads(cache, options())
    const posts = observed.keyspace('post', {
      load: async (_id: number, { db }) => {
        const client = await db.connect()
        await client.query('SELECT 1')
        const slow = client.query('SELECT pg_sleep(60)').catch(String)
        client.release(true)
        return slow
      },
    })
    expect(await posts.get(1)).toMatch(/terminated|closed/)
    expect(faults()).toEqual(['Error: its client was destroyed while a statement was under way'])
  })

  it('lets no statement that comes after its load into a session that others have by then', async () => {
    const observed = observeLoads(cache, options())
    let end = () => {}
    const over = new Promise<void>(resolve => {
      end = resolve
    })
    const late: Promise<unknown>[] = []
    const posts = observed.keyspace('post', {
      load: async (_id: number, { db }) => {
        const client = await db.connect()
        late.push(
          over.then(() => db.query('SELECT 1 AS n')).then(({ rows }) => rows),
          over.then(() => client.query('SELECT 1')).catch(String),
        )
        await db.query('SELECT FROM no_such_table')
      },
    })
    await expect(posts.get(1)).rejects.toThrow('no_such_table')
    end()
    const answers = await Promise.all(late)
    await pool.query('INSERT INTO aside VALUES (1)')
    expect(await database.sql('SELECT FROM aside'), 'that were committed').toHaveLength(1)
    expect(answers).toEqual([[{ n: 1 }], 'Error: the load has given this client back'])
    expect(pool.totalCount - pool.idleCount).toBe(0)
  })

  it('uses half of the clients at most, so that loads inside loads find one', async () => {
    const observed = observeLoads(cache, options())
    const inner = observed.keyspace('inner', {
      load: async (_id: number, { db }) =>
        (await db.query('SELECT count(*)::int AS n FROM post')).rows[0].n as number,
    })
    const posts = observed.keyspace('post', {
      load: async (id: number, { db, signal }) => {
        await db.query('SELECT FROM post')
        return inner.get(id, { signal })
      },
    })
    expect(await Promise.all([1, 2, 3, 4, 5, 6, 7, 8].map(id => posts.get(id)))).toEqual(Array(8).fill(2))
    const seen = events.filter(({ type }) => type === 'undeclared').length
    expect(seen, 'of the inner ones, which touch a table that does not invalidate them').toBeLessThan(8)
    expect(faults()).toEqual([])
  })
})
