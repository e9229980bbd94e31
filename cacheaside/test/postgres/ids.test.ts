import fc from 'fast-check'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Cache, createCache, integerKey, type KeyspaceOptions, uuidKey } from '../../src/index.ts'
import { feedTables, installFeed, type PostgresFeedTables, postgresFeed } from '../../src/postgres/index.ts'
import { notingLogger, quiet } from '../heard-warnings.ts'
import { until } from './conditions.ts'
import { openPostgres, type ServerDatabase } from './databases.ts'
import { FeedScene } from './feed-contract.ts'

let database: ServerDatabase
beforeAll(async () => {
  database = await openPostgres()
})
afterAll(() => database.close())
beforeEach(() => database.reset())

interface Item {
  readonly id: string
  readonly v: number
}

describe('a row whose id has several texts', () => {
  let cache: Cache | undefined
  afterEach(() => cache?.close())

  /** Types, an id as PostgreSQL writes it, and other texts that it takes for the same. */
  const TYPES: [type: string, id: string, others: string[]][] = [
    ['uuid', '9c2cf775-f764-4643-aecf-0b22cdbb453b', ['9C2CF775-F764-4643-AECF-0B22CDBB453B']],
    ['numeric(9, 2)', '1.50', ['1.5', '01.5', '15e-1']],
    ['char(6)', 'frost', ['frost ']],
    ['timestamptz', '2026-11-23 00:00:00+00', ['2026-11-23T01:00:00+01:00', '2026-11-23']],
    ['float8', '1e+20', ['100000000000000000000', '1e20']],
    ['bytea', '\\x0aff', ['\\x0AFF', '\\x0a FF']],
    ['cidr', '10.0.0.0/8', ['10/8']],
    ['jsonb', '{"a": 1}', ['{"a":1}', '{"a":2,"a":1}']],
    ['bigint', '4', ['04', '+4', ' 4']],
  ]

  async function open(type: string, id: string, options: Partial<KeyspaceOptions<string, Item>>) {
    await database.sql(`CREATE TABLE item (id ${type} PRIMARY KEY, v int NOT NULL);
      INSERT INTO item VALUES (${pg.escapeLiteral(id)}, 1)`)
    await installFeed(database.pool, { tables: ['item'] })
    const events: string[] = []
    cache = createCache({
      logger: quiet,
      onEvent: event => {
        if (event.type === 'feed' && event.state === 'open') events.push('open')
        if (event.type === 'invalidation') events.push(event.key)
      },
      feed: postgresFeed({ pool: database.pool, tables: { item: row => [items.key(row.id!)] } }),
    })
    const load = async (asked: string) => {
      const { rows } = await database.pool.query(
        "SELECT id::text, v FROM item WHERE id = $1 AND set_config('TimeZone', 'UTC', false) <> ''",
        [asked],
      )
      return rows[0] as Item | undefined
    }
    const items = cache.keyspace<string, Item>('item', { load, ...options })
    await until('the feed to be open', () => events.includes('open'))
    const changed = async (to: number) => {
      events.length = 0
      await database.sql(`UPDATE item SET v = ${to}`)
      await until('the change to be applied', () => events.some(key => key.startsWith('item:')))
    }
    return { items, changed }
  }

  it.each(TYPES)(
    'of the type %s shows the change of %s under every text, by idOf',
    async (type, id, others) => {
      const { items, changed } = await open(type, id, { idOf: row => row.id })
      const texts = [id, ...others]
      for (const text of texts) expect((await items.get(text))?.v).toBe(1)
      await changed(2)
      for (const text of texts) expect([text, (await items.get(text))?.v]).toEqual([text, 2])
      expect((await items.read(id)).from).toBe('shared')
    },
  )

  it.each<[string, string, string[], (id: string) => string]>([
    [...TYPES[0]!, uuidKey],
    [...TYPES.at(-1)!, integerKey],
  ])('of the type %s is loaded once for all texts of %s, by key', async (type, id, others, key) => {
    const { items, changed } = await open(type, id, { key })
    for (const text of [...others, id]) expect((await items.get(text))?.v).toBe(1)
    expect((await items.read(others[0]!)).from).toBe('shared')
    await changed(2)
    for (const text of [...others, id]) expect((await items.get(text))?.v).toBe(2)
  })

  it('and without either stays as it was under the others', async () => {
    const [type, id, [other]] = TYPES[0]!
    const { items, changed } = await open(type, id, {})
    await items.get(other!)
    await changed(2)
    expect((await items.get(other!))?.v).toBe(1)
  })
})

describe('canonical ids are what PostgreSQL makes of the same texts:', () => {
  const said = async (type: string, text: string): Promise<string | undefined> => {
    try {
      const { rows } = await database.pool.query(`SELECT $1::text::${type}::text AS id`, [text])
      return rows[0].id
    } catch (error) {
      expect((error as { code?: string }).code).toMatch(/^22/)
      return undefined
    }
  }
  const ours = (make: () => string): string | undefined => {
    try {
      return make()
    } catch {
      return undefined
    }
  }
  const hex = fc.string({ unit: fc.constantFrom(...'0123456789abcdefABCDEF'), minLength: 4, maxLength: 4 })
  const hyphen = fc.constantFrom('', '-', '-', '--')
  const uuidLike = fc
    .tuple(fc.array(fc.tuple(hex, fc.constantFrom('', '-')), { minLength: 8, maxLength: 8 }), hyphen)
    .map(
      ([parts, end]) =>
        parts
          .map(part => part.join(''))
          .join('')
          .replace(/-$/, '') + (end === '--' ? '-' : ''),
    )
  const uuids = fc.oneof(
    uuidLike,
    uuidLike.map(text => `{${text}}`),
    fc.uuid().map(text => text.toUpperCase()),
    fc.constantFrom('{', '}', '', ' 9c2cf775f7644643aecf0b22cdbb453b'),
  )
  const integers = fc.string({ unit: fc.constantFrom(...'0123456789+-_ xobaf\t\n.e'), maxLength: 8 })

  it('uuidKey', async () => {
    await fc.assert(
      fc.asyncProperty(uuids, async text => {
        expect(ours(() => uuidKey(text))).toBe(await said('uuid', text))
      }),
      { numRuns: 150 },
    )
  })

  it('integerKey', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(integers, fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String)),
        async text => {
          expect(ours(() => integerKey(text))).toBe(await said('int8', text))
        },
      ),
      {
        numRuns: 150,
        examples: [['0x1F'], ['0o17'], ['0b_1'], ['1_0'], ['0x'], ['_1'], ['1_'], ['0x__1'], ['+-1']],
      },
    )
  })
})

describe('the feed warns of key columns whose type has several texts for one value,', () => {
  const TABLES = `
    CREATE TYPE mood AS ENUM ('calm');
    CREATE DOMAIN loud AS numeric CHECK (VALUE > 0);
    CREATE DOMAIN quiet AS bigint;
    CREATE DOMAIN quieter AS quiet;
    CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
    CREATE TABLE exact (a int, b bigint, c text, d varchar(9), e mood, f bool, g quieter, h name, PRIMARY KEY (a, b, c, d, e, f, g, h));
    CREATE TABLE item (id uuid PRIMARY KEY);
    CREATE TABLE price (id loud, code char(3), at timestamptz, title text COLLATE nocase, note uuid, PRIMARY KEY (id, code, at, title))`
  const EXPECTED = [
    'the column id of the table item is of the type uuid',
    'the column id of the table price is of the type loud',
    'the column code of the table price is of the type character(3)',
    'the column at of the table price is of the type timestamp with time zone',
    'the column title of the table price is of the type text',
  ]
  const tables = { exact: () => [], item: () => [], price: () => [] }
  const starts = (messages: readonly string[]) =>
    messages.map(text => text.split(',')[0]!.replace('public.', ''))

  it('when it is installed, with a code', async () => {
    await database.sql(TABLES)
    const client = new pg.Client({ connectionString: database.url })
    const notices: Partial<Record<'code' | 'message' | 'severity' | 'hint', string | undefined>>[] = []
    client.on('notice', notice => notices.push(notice))
    await client.connect()
    await installFeed(client, { tables })
    await client.end()
    const warnings = notices.filter(({ code }) => code === '01KEY')
    expect(starts(warnings.map(({ message }) => message!))).toEqual(EXPECTED)
    expect(warnings[0]).toMatchObject({ severity: 'WARNING', hint: expect.stringContaining('docs/ids.md') })
  })

  it('and when it opens, until it is told that this is seen to', async () => {
    await database.sql(TABLES)
    const scene = new FeedScene(database)
    await scene.install({ tables })
    const open = async (own: PostgresFeedTables) => {
      const found: [string, string | undefined][] = []
      const opening = {
        clock: scene.clock,
        guardMs: 10_000,
        isPrivate: false,
        lost: () => {},
        warn: (message: string, code?: string) => void found.push([message, code]),
        mended: () => {},
      }
      const session = await postgresFeed({ pool: database.pool, tables: own, writersEndMs: 1 }).open(opening)
      await session.close()
      return found
    }
    const found = await open(tables)
    expect(starts(found.map(([message]) => message))).toEqual(EXPECTED)
    expect(new Set(found.map(([, code]) => code))).toEqual(new Set(['KEY_TYPE']))
    const seenTo = feedTables({ item: { keys: () => [], canonicalIds: true }, exact: () => [] })
    expect(await open(seenTo as PostgresFeedTables)).toEqual([])
  })

  it('and is heard of without a listener', async () => {
    await database.sql('CREATE TABLE item (id uuid PRIMARY KEY)')
    await installFeed(database.pool, { tables: ['item'] })
    const logger = notingLogger()
    const feed = postgresFeed({ pool: database.pool, tables: { item: () => [] } })
    const cache = createCache({ logger, feed })
    cache.keyspace('item', { load: () => undefined })
    await until('the warning', () => logger.heard.some(([, code]) => code === 'FEED_KEY_TYPE'))
    await cache.close()
  })
})
