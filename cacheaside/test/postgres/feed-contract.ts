import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { FeedWarningCode } from '../../src/base/events.ts'
import type { Change, FeedSession } from '../../src/feed/change-feed.ts'
import {
  type FeedMigrationOptions,
  installFeed,
  type PostgresFeedOptions,
  postgresFeed,
  removeFeed,
} from '../../src/postgres/index.ts'
import { SimulatedClock } from '../../src/testing/index.ts'
import type { TestDatabase } from './databases.ts'

/** A change without what differs from run to run: its table, and the rows it is about. */
export const essence = ({ table, rows }: Change): unknown[] => [table, ...(rows ?? ['all'])]

/** What each test of a feed has in its hands. */
export class FeedScene {
  readonly database: TestDatabase
  readonly clock = new SimulatedClock()
  readonly warnings: string[] = []
  /** The codes of the warnings. */
  readonly warned: (FeedWarningCode | undefined)[] = []
  /** The warnings that were said to hold no longer. */
  readonly mended: string[] = []
  readonly losses: unknown[] = []
  readonly #sessions: FeedSession[] = []

  constructor(database: TestDatabase) {
    this.database = database
  }

  /** Installs the feed, and forgets that the tables were not watched before. */
  async install(options: FeedMigrationOptions): Promise<void> {
    await installFeed(this.database.sql, options)
    await this.database.sql('DELETE FROM cacheaside.outbox')
  }

  /** Opens a session for these tables, on which nothing depends. */
  async open(
    tables: readonly string[],
    { isPrivate = false, ...options }: Partial<PostgresFeedOptions> & { isPrivate?: boolean } = {},
  ): Promise<FeedSession> {
    const feed = postgresFeed({
      ...this.database.driver,
      tables: Object.fromEntries(tables.map(table => [table, () => []])),
      ...options,
    })
    const session = await feed.open({
      clock: this.clock,
      guardMs: 10_000,
      isPrivate,
      lost: error => this.losses.push(error),
      warn: (message, code) => {
        this.warnings.push(message)
        this.warned.push(code)
      },
      mended: message => void this.mended.push(message),
    })
    this.#sessions.push(session)
    return session
  }

  /** Runs a script as a stranger, and tells what a relay is then handed, until there is nothing more. */
  async changesOf(script: string, tables: readonly string[] = ['spell']): Promise<unknown[]> {
    await this.database.sql(script)
    const session = await this.open(tables)
    const changes = await this.all(session)
    await session.close()
    return changes.map(essence)
  }

  /** Takes and settles until there is nothing more. */
  async all(session: FeedSession): Promise<Change[]> {
    const changes: Change[] = []
    for (;;) {
      const batch = await session.take(undefined)
      if (batch.changes.length === 0) return changes
      changes.push(...batch.changes)
      await session.settle(batch.changes)
    }
  }

  /** How many rows the outbox holds. */
  async waiting(): Promise<number> {
    const [row] = await this.database.sql('SELECT count(*)::int AS count FROM cacheaside.outbox')
    return Number(row?.count)
  }

  end(): void {
    for (const session of this.#sessions) session.abandon()
  }
}

const SPELL = 'CREATE TABLE spell (id bigint PRIMARY KEY, name text, damage int)'

/** With it, every row of a statement is recorded by itself; where the feed is installed, from the next look on. */
const HEIR = 'CREATE TABLE heir () INHERITS (spell);'

/** What the feed must do on any database of the PostgreSQL kind. */
export function feedContract(open: () => Promise<TestDatabase>): void {
  let database: TestDatabase
  let scene: FeedScene

  beforeAll(async () => {
    database = await open()
  })
  afterAll(() => database.close())
  beforeEach(async () => {
    await database.reset()
    scene = new FeedScene(database)
    await database.sql(SPELL)
  })
  afterEach(() => scene.end())

  describe('records', () => {
    beforeEach(() => scene.install({ tables: ['spell'] }))

    it('every INSERT, UPDATE and DELETE, by anyone', async () => {
      expect(
        await scene.changesOf(`
          INSERT INTO spell VALUES (1, 'Fireball', 30), (2, 'Ice Shard', 25);
          UPDATE spell SET damage = 31 WHERE id = 1;
          DELETE FROM spell WHERE id = 2;`),
      ).toEqual([
        ['spell', { id: '1' }],
        ['spell', { id: '2' }],
        ['spell', { id: '1' }],
        ['spell', { id: '2' }],
      ])
    })

    it('what an upsert and a MERGE have done', async () => {
      expect(
        await scene.changesOf(`
          INSERT INTO spell VALUES (1, 'Fireball', 30) ON CONFLICT (id) DO UPDATE SET damage = 0;
          INSERT INTO spell VALUES (1, 'Fireball', 30) ON CONFLICT (id) DO UPDATE SET damage = 0;
          INSERT INTO spell VALUES (1, 'Fireball', 30) ON CONFLICT DO NOTHING;
          MERGE INTO spell USING (VALUES (1::bigint)) AS given (id) ON spell.id = given.id WHEN MATCHED THEN DELETE;`),
      ).toEqual([
        ['spell', { id: '1' }],
        ['spell', { id: '1' }],
        ['spell', { id: '1' }],
      ])
    })

    it('both keys of an UPDATE that changes the key', async () => {
      await scene.changesOf(`INSERT INTO spell VALUES (1, 'Fireball', 30)`)
      expect(await scene.changesOf('UPDATE spell SET id = 7')).toEqual([['spell', { id: '1' }, { id: '7' }]])
    })

    it('TRUNCATE as a change of the whole table', async () => {
      expect(await scene.changesOf('TRUNCATE spell')).toEqual([['spell', 'all']])
    })

    it('the whole table, if its triggers were disabled for a while, as a restored dump may do', async () => {
      expect(
        await scene.changesOf(`ALTER TABLE spell DISABLE TRIGGER USER; INSERT INTO spell VALUES (1, 'Fireball', 30);
          ALTER TABLE spell ENABLE TRIGGER USER`),
      ).toContainEqual(['spell', 'all'])
      expect(await scene.changesOf('UPDATE spell SET damage = 2 WHERE id = 1')).toEqual([
        ['spell', { id: '1' }],
      ])
    })

    it('what a session in the role of a replica writes', async () => {
      expect(
        await scene.changesOf(`SET session_replication_role = replica;
          INSERT INTO spell VALUES (1, 'Fireball', 30);
          TRUNCATE spell;
          RESET session_replication_role;`),
      ).toEqual([
        ['spell', { id: '1' }],
        ['spell', 'all'],
      ])
    })

    it('nothing that such a session writes into its own tables, as after a publication of all tables', async () => {
      const script = `INSERT INTO spell VALUES (1); SET session_replication_role = replica;
        INSERT INTO cacheaside.outbox (id, source) OVERRIDING SYSTEM VALUE SELECT id, 'spell' FROM cacheaside.outbox;
        DELETE FROM cacheaside.outbox;
        UPDATE cacheaside.watched SET source = 'other';
        INSERT INTO cacheaside.keyspace VALUES ('spell', 'another server');
        DELETE FROM cacheaside.feed;
        RESET session_replication_role`
      expect(await scene.changesOf(script)).toEqual([['spell', { id: '1' }]])
      expect(await database.sql('SELECT FROM cacheaside.keyspace')).toEqual([])
    })

    it('nothing of a transaction that was rolled back, nor of a savepoint', async () => {
      expect(
        await scene.changesOf(`BEGIN;
          INSERT INTO spell VALUES (1, 'Fireball', 30);
          ROLLBACK;
          BEGIN;
          INSERT INTO spell VALUES (2, 'Ice Shard', 25);
          SAVEPOINT before;
          INSERT INTO spell VALUES (3, 'Thunderbolt', 35);
          ROLLBACK TO before;
          COMMIT;`),
      ).toEqual([['spell', { id: '2' }]])
    })

    it('no more than before once unwatch was called for the table', async () => {
      await database.sql(`INSERT INTO spell VALUES (1, 'Fireball', 30)`)
      expect(
        await scene.changesOf(
          `SELECT cacheaside.unwatch('spell'); INSERT INTO spell VALUES (2, 'Ice Shard', 25);`,
        ),
      ).toEqual([])
    })

    it('the whole table, and fails no writer, when a recorded column was renamed', async () => {
      expect(
        await scene.changesOf(`ALTER TABLE spell RENAME COLUMN id TO number;
          INSERT INTO spell VALUES (1, 'Fireball', 30);`),
        // The second is the relay's, which has noticed the change of the columns.
      ).toEqual([
        ['spell', 'all'],
        ['spell', 'all'],
      ])
      expect(scene.warned).toContain('COLUMN_GONE')
      expect(await scene.changesOf(`INSERT INTO spell VALUES (2, 'Ice Shard', 25)`)).toEqual([
        ['spell', 'all'],
      ])
    })

    it('the whole table, once, when its values were changed by DDL alone', async () => {
      await database.sql(`INSERT INTO spell VALUES (1, 'Fireball', 30)`)
      expect(
        await scene.changesOf(
          'DELETE FROM cacheaside.outbox; ALTER TABLE spell ALTER name TYPE text USING upper(name)',
        ),
      ).toEqual([['spell', 'all']])
      expect(await scene.changesOf('VACUUM FULL spell')).toEqual([])
      const behindDomains = `CREATE TYPE mood AS ENUM ('sad'); CREATE DOMAIN moods AS mood[]; CREATE DOMAIN some_moods AS moods;
        ALTER TABLE spell ADD COLUMN effect some_moods`
      expect(await scene.changesOf(behindDomains)).toEqual([['spell', 'all']])
      expect(await scene.changesOf(`ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'`)).toEqual([
        ['spell', 'all'],
      ])
    })
  })

  describe('a statement', () => {
    const MANY = 'INSERT INTO spell SELECT generate_series(1, 1000)'
    const stateOf = async (table = 'spell') =>
      (
        await database.sql(
          `SELECT regexp_replace(tgname, '^cacheaside_|_[0-9a-f]{8}$', '', 'g') || ' ' || tgenabled::text AS state
        FROM pg_trigger WHERE tgrelid = '${table}'::regclass AND NOT tgisinternal ORDER BY tgname`,
        )
      ).map(({ state }) => state)
    const PLAIN = ['delete O', 'insert O', 'part O', 'row R', 'truncate A', 'update O']
    const BY_ROW = ['row A', 'truncate A']

    /** Makes of this feed one that the version before batches has installed. */
    const EARLIER = `
      DROP FUNCTION cacheaside.statement_spell() CASCADE;
      DO $$ BEGIN
        EXECUTE (SELECT format('DROP TRIGGER %I ON spell', tgname) FROM pg_trigger
          WHERE tgrelid = 'spell'::regclass AND tgqual IS NOT NULL);
        EXECUTE (SELECT format('ALTER TABLE spell ENABLE ALWAYS TRIGGER %I', tgname) FROM pg_trigger
          WHERE tgrelid = 'spell'::regclass AND tgenabled = 'R');
      END $$;
      ALTER TABLE cacheaside.outbox DROP COLUMN rows, DROP COLUMN changes;
      UPDATE cacheaside.watched SET statements = NULL;
      DELETE FROM cacheaside.outbox`

    beforeEach(() => scene.install({ tables: ['spell'] }))

    it('of many rows is recorded in a few batches of a bounded length, without a row twice', async () => {
      await database.sql(MANY)
      await database.sql('DELETE FROM cacheaside.outbox; UPDATE spell SET damage = 1')
      const batches = await database.sql(
        'SELECT length(rows::text) AS length, changes FROM cacheaside.outbox',
      )
      expect(batches.length).toBeLessThan(10)
      for (const { length } of batches) expect(length).toBeLessThan(4_600)
      expect(batches.reduce((sum, { changes }) => sum + Number(changes), 0)).toBe(1_000)
      const changes = await scene.all(await scene.open(['spell']))
      expect(new Set(changes.flatMap(({ rows }) => rows!.map(({ id }) => id))).size).toBe(1_000)
    })

    it('of many rows of which some are long is recorded in batches of a bounded length, too', async () => {
      await database.sql('CREATE TABLE odd (id text PRIMARY KEY, note int)')
      await scene.install({ tables: ['odd'] })
      await database.sql(`DELETE FROM cacheaside.outbox;
        INSERT INTO odd SELECT repeat('x', CASE WHEN n % 100 < 10 THEN 1000 ELSE 1 END) || n FROM generate_series(1, 1000) AS n`)
      const batches = await database.sql(
        'SELECT length(rows::text) AS length, changes FROM cacheaside.outbox',
      )
      for (const { length } of batches) expect(length).toBeLessThan(4_096 + 1_100)
      expect(batches.length).toBeLessThan(60)
      expect(batches.reduce((sum, { changes }) => sum + Number(changes), 0)).toBe(1_000)
    })

    it('of many rows is recorded with the values that single rows have, whatever the types and the names', async () => {
      const columns = ['id', '100 %s', 'quo"te\\', 'text']
      const named = columns.map(name => `"${name.replaceAll('"', '""')}"`)
      await database.sql(
        `CREATE TABLE odd (${named[0]} int PRIMARY KEY, ${named[1]} bigint, ${named[2]} uuid, ${named[3]} text)`,
      )
      const uuid = '5b30857f-0bfa-48b5-ac0b-5c64e28078d1'
      const rows = Array.from({ length: 20 }, (_, i) => [
        i,
        i % 3 === 0 ? null : `${2 ** 40 + i}`,
        i % 5 === 0 ? null : uuid,
        i % 2 === 0 ? null : `"\\ %s \u2728 ${i}`,
      ])
      const literal = (value: unknown) => (value === null ? 'NULL' : `'${value}'`)
      for (const recorded of [columns, columns.slice(0, 3)]) {
        await scene.install({ tables: { odd: { columns: recorded } } })
        await database.sql(`DELETE FROM odd; DELETE FROM cacheaside.outbox;
          INSERT INTO odd VALUES ${rows.map(row => `(${row.map(literal)})`)}`)
        const [batch] = await database.sql('SELECT rows FROM cacheaside.outbox')
        expect(batch!.rows).toEqual(
          rows.map(row =>
            Object.fromEntries(recorded.map((name, at) => [name, row[at] === null ? null : String(row[at])])),
          ),
        )
      }
    })

    it('of many rows that changes keys is recorded by those before and those after', async () => {
      await database.sql(MANY)
      await database.sql('DELETE FROM cacheaside.outbox; UPDATE spell SET id = -id WHERE id <= 20')
      const changes = await scene.all(await scene.open(['spell']))
      const ids = changes.flatMap(({ rows }) => rows!.map(({ id }) => Number(id)))
      expect(ids.sort((a, b) => a - b)).toEqual(
        Array.from({ length: 41 }, (_, i) => i - 20).filter(id => id !== 0),
      )
    })

    /** Statements on a table with the key `id` that change 1, 3, 20, 20, 3, 1, 1, 3 and 16 rows. */
    const SOME = ['1, 1', '2, 4', '5, 24']
      .map(rows => `INSERT INTO odd SELECT generate_series(${rows})`)
      .concat(
        ['BETWEEN 5 AND 24', 'IN (2, 3, 4)', '= 1'].map(ids => `UPDATE odd SET note = 'x' WHERE id ${ids}`),
        ['= 1', 'IN (2, 3, 4)', 'BETWEEN 5 AND 20'].map(ids => `DELETE FROM odd WHERE id ${ids}`),
      )
    const changesOfEach = async () => {
      const found: number[] = []
      for (const script of SOME) {
        await database.sql('DELETE FROM cacheaside.outbox')
        await database.sql(script)
        const [seen] = await database.sql(`SELECT sum(changes)::int AS changes FROM cacheaside.outbox
          WHERE old IS NOT NULL OR new IS NOT NULL OR rows IS NOT NULL`)
        found.push(Number(seen?.changes))
      }
      return found
    }
    const EACH = [1, 3, 20, 20, 3, 1, 1, 3, 16]

    it.each([
      ['', 'ordinary'],
      ['CREATE TABLE odd_heir () INHERITS (odd)', 'with a child table'],
    ])('is recorded by its rows whatever the columns are called %s(%s)', async heir => {
      const names =
        'before after befores afters texts others size most number source member root kind below value o n a b place was now few tg_op tg_relid old new rows cacheaside_old cacheaside_new'
      const columns = names.split(' ').map(name => `"${name}" text`)
      await database.sql(`CREATE TABLE odd (id int PRIMARY KEY, note text, ${columns.join(', ')}); ${heir}`)
      await scene.install({ tables: { odd: { columns: ['id', ...names.split(' ')] } } })
      expect(await changesOfEach()).toEqual(EACH)
    })

    it('is recorded by its rows where the session has PL/pgSQL complain of what it can', async () => {
      await database.sql('CREATE TABLE odd (id int PRIMARY KEY, note text)')
      const settings = ['extra_errors', 'extra_warnings'].map(name => `plpgsql.${name}`)
      await database.sql(settings.map(name => `SET ${name} = 'all'`).join(';'))
      try {
        await scene.install({ tables: ['odd'] })
        expect(await changesOfEach()).toEqual(EACH)
        expect(await database.sql('SELECT cacheaside.cover()')).toEqual([{ cover: [] }])
      } finally {
        await database.sql(settings.map(name => `RESET ${name}`).join(';'))
      }
    })

    it.each([
      ['', 'ordinary'],
      [HEIR, 'with a child table'],
    ])('is a change of the whole table if a row of it is too wide for relays %s(%s)', async heir => {
      await database.sql(heir)
      await scene.install({ tables: { spell: { columns: ['id', 'name'] } } })
      await database.sql(
        `INSERT INTO spell SELECT generate_series(1, 20); UPDATE spell SET name = repeat('x', 300000) WHERE id = 7`,
      )
      for (const condition of ['id = 7', 'id IN (7, 8)', 'id > 0']) {
        await database.sql(`DELETE FROM cacheaside.outbox; UPDATE spell SET damage = 1 WHERE ${condition}`)
        expect(await scene.changesOf('')).toContainEqual(['spell', 'all'])
      }
      expect(
        await scene.changesOf(`UPDATE spell SET name = repeat('x', 200000) WHERE id = 7`),
      ).toContainEqual(['spell', 'all'])
      const changes = await scene.changesOf('UPDATE spell SET damage = 2')
      expect(changes.flat()).not.toContain('all')
    })

    it('that changes no row is not recorded', async () => {
      expect(await scene.changesOf('UPDATE spell SET damage = 1; DELETE FROM spell')).toEqual([])
    })

    it('is recorded with the rows that a foreign key deletes for it', async () => {
      await database.sql(`CREATE TABLE school (id int PRIMARY KEY); INSERT INTO school VALUES (1), (2);
        ALTER TABLE spell ADD FOREIGN KEY (damage) REFERENCES school ON DELETE CASCADE;
        INSERT INTO spell SELECT n, 'x', 1 + n % 2 FROM generate_series(1, 40) AS n; DELETE FROM cacheaside.outbox;
        DELETE FROM school WHERE id = 1; SELECT cacheaside.cover()`)
      const changes = await scene.all(await scene.open(['spell']))
      const ids = new Set(changes.flatMap(({ rows }) => (rows ?? []).map(({ id }) => Number(id))))
      expect(ids).toEqual(new Set(Array.from({ length: 20 }, (_, i) => 2 * i + 2)))
    })

    it('of many rows fails no writer when a recorded column was renamed', async () => {
      await database.sql('ALTER TABLE spell RENAME COLUMN id TO number')
      await database.sql(
        `DELETE FROM cacheaside.outbox; ${MANY}; UPDATE spell SET damage = 1; DELETE FROM spell`,
      )
      expect(
        (await database.sql('SELECT source, old, new, rows FROM cacheaside.outbox')).map(row =>
          Object.values(row),
        ),
      ).toEqual(Array(3).fill(['spell', null, null, null]))
    })

    it('through a table that it has just become a partition of is recorded at once, and by rows from the next look on', async () => {
      expect(await stateOf()).toEqual(PLAIN)
      await database.sql(`CREATE TABLE book (LIKE spell INCLUDING ALL) PARTITION BY RANGE (id);
        ALTER TABLE book ATTACH PARTITION spell FOR VALUES FROM (0) TO (10); INSERT INTO book VALUES (1)`)
      const changes = await scene.changesOf('')
      expect(changes).toContainEqual(['spell', { id: '1' }])
      expect(await stateOf()).toEqual(BY_ROW)
      expect(await scene.changesOf('INSERT INTO book VALUES (2); INSERT INTO spell VALUES (3)')).toEqual([
        ['spell', { id: '2' }],
        ['spell', { id: '3' }],
      ])
      await scene.changesOf('ALTER TABLE book DETACH PARTITION spell')
      expect(await stateOf()).toEqual(PLAIN)
    })

    it('through a table that it has become a child table of is recorded from the next look on', async () => {
      await database.sql('CREATE TABLE book (id bigint NOT NULL, name text); ALTER TABLE spell INHERIT book')
      expect(await scene.changesOf('INSERT INTO spell VALUES (1)')).toContainEqual(['spell', 'all'])
      expect(await stateOf()).toEqual(BY_ROW)
      expect(await scene.changesOf(`UPDATE book SET name = 'x'`)).toEqual([['spell', { id: '1' }]])
    })

    it('of many rows is a change of the whole table to relays of the version before', async () => {
      await database.sql(MANY)
      const [seen] = await database.sql(
        'SELECT count(*) FILTER (WHERE old IS NULL AND new IS NULL) = count(*) AS whole FROM cacheaside.outbox',
      )
      expect(seen).toEqual({ whole: true })
    })

    it('is recorded by rows by a feed of the version before, until it was brought up to date without counting as a change', async () => {
      await database.sql(EARLIER)
      expect(await stateOf()).toEqual(BY_ROW)
      // What its triggers have left behind.
      await database.sql('INSERT INTO spell VALUES (1), (2)')
      await installFeed(database.sql, { tables: ['spell'] })
      expect(await stateOf(), 'no lock on the table was taken').toEqual(BY_ROW)
      const session = await scene.open(['spell'])
      expect(await stateOf()).toEqual(PLAIN)
      await database.sql('INSERT INTO spell VALUES (3)')
      expect((await scene.all(session)).map(essence)).toEqual([1, 2, 3].map(id => ['spell', { id: `${id}` }]))
    })

    it('is read by a relay of this version from a feed of the version before, and from one that is brought up to date meanwhile', async () => {
      await database.sql(EARLIER)
      const session = await scene.open(['spell'])
      expect(scene.warned).toContain('OUTDATED')
      await database.sql('INSERT INTO spell VALUES (1), (2)')
      expect((await scene.all(session)).map(essence)).toEqual([1, 2].map(id => ['spell', { id: `${id}` }]))
      await installFeed(database.sql, { tables: ['spell'] })
      await database.sql(`SELECT cacheaside.cover(); ${MANY.replace('1, 1000', '11, 40')}`)
      expect((await scene.all(session)).map(essence)).toEqual([['spell', 'all']])
      await scene.clock.advance(10_000)
      await database.sql(MANY.replace('1, 1000', '51, 80'))
      const [change] = await scene.all(session)
      expect(change!.rows).toHaveLength(30)
    })

    it('is recorded once again as it should be after a feed of the version before was installed over this one', async () => {
      await database.sql(`DO $$ BEGIN EXECUTE (SELECT format('ALTER TABLE spell ENABLE ALWAYS TRIGGER %I', tgname)
        FROM pg_trigger WHERE tgrelid = 'spell'::regclass AND tgenabled = 'R'); END $$`)
      expect(await scene.changesOf('INSERT INTO spell VALUES (1)'), 'twice does no harm').toEqual(
        Array(2).fill(['spell', { id: '1' }]),
      )
      expect(await stateOf()).toEqual(PLAIN)
      expect(await scene.changesOf('INSERT INTO spell VALUES (2)')).toEqual([['spell', { id: '2' }]])
    })
  })

  describe('keys', () => {
    it('of type bigint are exact', async () => {
      await scene.install({ tables: ['spell'] })
      expect(
        await scene.changesOf('INSERT INTO spell VALUES (9223372036854775807), (-9007199254740993)'),
      ).toEqual([
        ['spell', { id: '9223372036854775807' }],
        ['spell', { id: '-9007199254740993' }],
      ])
    })

    it('of type uuid and text arrive as they are', async () => {
      await database.sql('CREATE TABLE page (id uuid PRIMARY KEY); CREATE TABLE word (word text PRIMARY KEY)')
      await scene.install({ tables: ['page', 'word'] })
      const words = [
        '',
        "it's",
        '"quoted"',
        'back\\slash',
        'Zauber\u00e4pfel \u{1f9d9}',
        'two\nlines',
        '$$',
        '%1$L',
      ]
      const values = words.map(word => `(E'${word.replaceAll('\\', '\\\\').replaceAll("'", "''")}')`)
      expect(
        await scene.changesOf(
          `INSERT INTO page VALUES ('A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'); INSERT INTO word VALUES ${values}`,
          ['page', 'word'],
        ),
      ).toEqual([
        ['page', { id: 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11' }],
        ...words.map(word => ['word', { word }]),
      ])
    })

    it('of several columns arrive together, in tables and columns of any name', async () => {
      await database.sql(`CREATE TABLE "Spell's %s.book" (wizard int, "Page ""no""" text, note text,
        PRIMARY KEY ("Page ""no""", wizard))`)
      const name = `"Spell's %s.book"`
      await scene.install({ tables: [name] })
      expect(await scene.changesOf(`INSERT INTO ${name} VALUES (4, 'iv', 'x')`, [name])).toEqual([
        [name, { wizard: '4', 'Page "no"': 'iv' }],
      ])
    })

    it('of more columns than a function takes arguments arrive together, from rows and from statements', async () => {
      const columns = Array.from({ length: 120 }, (_, i) => `column_${i}`)
      const make = `(${columns.map((name, i) => `${name} int DEFAULT ${i}`)})`
      await database.sql(
        `CREATE TABLE broad ${make}; CREATE TABLE parent ${make}; CREATE TABLE child () INHERITS (parent)`,
      )
      await scene.install({ tables: { broad: { columns }, parent: { columns } } })
      const row = Object.fromEntries(columns.map((name, i) => [name, String(i)]))
      const changes = (await scene.changesOf(
        `INSERT INTO broad DEFAULT VALUES; INSERT INTO parent DEFAULT VALUES;
            INSERT INTO broad SELECT 0 FROM generate_series(1, 20)`,
        ['broad', 'parent'],
      )) as [string, ...unknown[]][]
      expect(changes.flatMap(([table, ...rows]) => rows.map(one => [table, one]))).toEqual([
        ['broad', row],
        ['parent', row],
        ...Array.from({ length: 20 }, () => ['broad', row]),
      ])
    })

    it('are the columns that the map names, if it names any, null included', async () => {
      await scene.install({ tables: { spell: { columns: ['id', 'name'] } } })
      await scene.changesOf(`INSERT INTO spell VALUES (1, NULL, 30)`)
      expect(
        await scene.changesOf(`UPDATE spell SET damage = 31; UPDATE spell SET name = 'Fireball'`),
      ).toEqual([
        ['spell', { id: '1', name: null }],
        ['spell', { id: '1', name: null }, { id: '1', name: 'Fireball' }],
      ])
    })

    it('of dates, numbers and bytes have one form, however the writer’s session shows them', async () => {
      await database.sql(
        'CREATE TABLE event (at timestamptz, day date, heat float8, raw bytea, took interval, kind regclass)',
      )
      await scene.install({ tables: { event: { columns: ['at', 'day', 'heat', 'raw', 'took', 'kind'] } } })
      expect(
        await scene.changesOf(
          `SET DateStyle = 'SQL, DMY'; SET TimeZone = 'Asia/Tokyo'; SET extra_float_digits = -10;
          SET bytea_output = escape; SET IntervalStyle = iso_8601; SET quote_all_identifiers = on;
          INSERT INTO event VALUES
            ('2030-01-02T03:04:05Z', '2030-02-01', 0.1234567890123456, '\\xdeadbeef', '1 day', 'pg_class');
          RESET ALL;`,
          ['event'],
        ),
      ).toEqual([
        [
          'event',
          {
            at: '2030-01-02 03:04:05+00',
            day: '2030-02-01',
            heat: '0.1234567890123456',
            raw: '\\xdeadbeef',
            took: '1 day',
            kind: 'pg_class',
          },
        ],
      ])
    })
  })

  describe('partitions', () => {
    beforeEach(async () => {
      await database.sql(`CREATE TABLE log (day int, number int, PRIMARY KEY (day, number)) PARTITION BY RANGE (day);
        CREATE TABLE log_1 PARTITION OF log FOR VALUES FROM (1) TO (2)`)
      await scene.install({ tables: ['log'] })
    })

    it('are recorded as their table: rows, moves from one to another, and TRUNCATE of one', async () => {
      expect(
        await scene.changesOf(
          `CREATE TABLE log_2 PARTITION OF log FOR VALUES FROM (2) TO (3);
          INSERT INTO log_1 VALUES (1, 1);
          UPDATE log SET day = 2;
          TRUNCATE log_1;`,
          ['log'],
        ),
      ).toEqual(
        expect.arrayContaining([
          ['log', { day: '1', number: '1' }],
          ['log', { day: '2', number: '1' }],
          ['log', 'all'],
        ]),
      )
    })

    it('that come later are recorded, and are given what they lack by the relay', async () => {
      await database.sql(`CREATE TABLE log_2 PARTITION OF log FOR VALUES FROM (2) TO (3);
        CREATE TABLE log_3 (LIKE log INCLUDING ALL); ALTER TABLE log ATTACH PARTITION log_3 FOR VALUES FROM (3) TO (4)`)
      expect(await scene.changesOf('INSERT INTO log VALUES (2, 1), (3, 1)', ['log'])).toEqual([
        ['log', { day: '2', number: '1' }],
        ['log', { day: '3', number: '1' }],
        // The relay found two partitions that were not there before, and could have been truncated unseen.
        ['log', 'all'],
        ['log', 'all'],
        ['log', 'all'],
      ])
      expect(await scene.changesOf('TRUNCATE log_2; TRUNCATE log_3', ['log'])).toEqual([
        ['log', 'all'],
        ['log', 'all'],
      ])
      expect(scene.warnings.filter(text => text.includes('log'))).toEqual([])
    })

    it('are given what they lack in the middle of a session as well', async () => {
      const session = await scene.open(['log'])
      await database.sql('CREATE TABLE log_2 PARTITION OF log FOR VALUES FROM (2) TO (3)')
      await scene.all(session)
      await scene.clock.advance(10_000)
      await scene.all(session)
      await database.sql('TRUNCATE log_2')
      expect((await scene.all(session)).map(essence)).toEqual([['log', 'all']])
    })

    it('of the old kind, by inheritance, are recorded too', async () => {
      await database.sql(`CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child () INHERITS (parent)`)
      await scene.install({ tables: ['parent'] })
      expect(
        await scene.changesOf('INSERT INTO child VALUES (1); UPDATE parent SET id = 2', ['parent']),
      ).toEqual([
        ['parent', { id: '1' }],
        ['parent', { id: '1' }, { id: '2' }],
      ])
    })
  })

  describe('in a database that was restored from a dump', () => {
    /** What a dump and its restoration make of the recorders: the numbers in them are those of other tables. */
    const RESTORED = `DO $$ DECLARE recorder record; BEGIN
      FOR recorder IN
        SELECT pg_get_functiondef(oid) AS text FROM pg_proc
        WHERE pronamespace = 'cacheaside'::regnamespace AND proname ~ '^(record|statement)_(spell|log|heir)$'
      LOOP
        EXECUTE regexp_replace(recorder.text, '''[0-9]+''::(oid|regclass)', '''4000000000''::\\1', 'g');
      END LOOP; END $$`
    const numbers = async () =>
      database.sql(`SELECT DISTINCT (regexp_matches(prosrc, '''([0-9]+)''::', 'g'))[1]::bigint = relation::oid::bigint AS own
        FROM cacheaside.watched JOIN pg_proc ON pg_proc.oid IN (to_regprocedure(recorder || '()'), to_regprocedure(statements || '()'))`)
    const recorded = async () =>
      (await database.sql('SELECT source, old, new, rows FROM cacheaside.outbox ORDER BY id')).map(
        ({ source, old, new: now, rows }) => [
          source,
          ...((rows as unknown[] | null) ?? [now ?? old ?? 'all']),
        ],
      )

    beforeEach(async () => {
      await database.sql(`CREATE TABLE log (id int PRIMARY KEY) PARTITION BY RANGE (id);
        CREATE TABLE log_1 PARTITION OF log FOR VALUES FROM (0) TO (100);
        CREATE TABLE heir (id int PRIMARY KEY); CREATE TABLE child () INHERITS (heir)`)
      await scene.install({ tables: ['spell', 'log', 'heir'] })
      await database.sql(RESTORED)
      expect(await numbers()).toEqual([{ own: false }])
    })

    it('the first change is recorded by its rows, before any relay or installation', async () => {
      await database.sql(
        `INSERT INTO spell VALUES (1); INSERT INTO log VALUES (2); INSERT INTO child VALUES (3)`,
      )
      for (const script of ['BEGIN ISOLATION LEVEL REPEATABLE READ', 'DELETE FROM spell', 'COMMIT'])
        await database.sql(script)
      await database.sql('INSERT INTO spell SELECT generate_series(11, 40); TRUNCATE spell')
      expect(await recorded()).toEqual([
        ['spell', { id: '1' }],
        ['log', { id: '2' }],
        ['heir', { id: '3' }],
        ['spell', { id: '1' }],
        ['spell', ...Array.from({ length: 30 }, (_, i) => ({ id: `${i + 11}` }))],
        ['spell', 'all'],
      ])
    })

    it('a relay replaces the recorders, and each table counts as changed once', async () => {
      const session = await scene.open(['spell', 'log', 'heir'])
      expect((await scene.all(session)).map(essence).sort()).toEqual([
        ['heir', 'all'],
        ['log', 'all'],
        ['spell', 'all'],
      ])
      expect(await numbers()).toEqual([{ own: true }])
      expect(scene.warned.filter(code => code !== 'SETTING')).toEqual([])
      await scene.clock.advance(10_000)
      expect(await scene.all(session)).toEqual([])
    })

    it('a recorder does not take another table for its own', async () => {
      await database.sql(`CREATE TABLE other (id int); DO $$ BEGIN EXECUTE (SELECT format('CREATE TRIGGER one AFTER INSERT ON other '
        'FOR EACH ROW EXECUTE FUNCTION %s()', recorder) FROM cacheaside.watched WHERE source = 'spell'); END $$;
        INSERT INTO other VALUES (1)`)
      expect(await recorded()).toEqual([])
    })

    it('a change is recorded if the dump has brought no data of the feed, and a relay says what to do', async () => {
      await database.sql(
        'DELETE FROM cacheaside.watched; DELETE FROM cacheaside.feed; INSERT INTO spell VALUES (1)',
      )
      expect(await recorded()).toEqual([['spell', { id: '1' }]])
      await expect(scene.open(['spell'])).rejects.toThrow('has lost its settings: run installFeed')
    })

    it('a feed of an earlier version records nothing, which it says, and installFeed mends', async () => {
      await database.sql(`DO $$ BEGIN EXECUTE (SELECT regexp_replace(replace(pg_get_functiondef(oid), 'recorder, version 3', 'recorder, version 2'),
          'AND NOT cacheaside.records[(][^)]*[)]', '') FROM pg_proc WHERE proname = 'record_spell'); END $$;
        CREATE OR REPLACE FUNCTION cacheaside.cover() RETURNS text[] LANGUAGE sql AS $$ SELECT '{}'::text[] $$`)
      const message =
        'nothing is recorded of the table spell: an earlier version made its recorder for another database: run installFeed'
      const feed = postgresFeed({ ...database.driver, tables: { spell: () => [] } })
      const found = async () =>
        (await feed.status()).findings
          .filter(({ code }) => code === 'NOT_WATCHED')
          .map(({ message }) => message)
      expect(await found()).toEqual([expect.stringContaining(message)])
      await scene.open(['spell'])
      expect(scene.warned).toContain('NOT_WATCHED')
      expect(scene.warnings).toContainEqual(expect.stringContaining(message))
      await scene.install({ tables: ['spell', 'log', 'heir'] })
      expect(await found()).toEqual([])
      expect(await scene.changesOf('INSERT INTO spell VALUES (1)')).toEqual([['spell', { id: '1' }]])
    })
  })

  describe('installFeed', () => {
    it('may be run again: nothing is recorded twice, and nothing counts as changed', async () => {
      await scene.install({ tables: ['spell'] })
      await installFeed(database.sql, { tables: ['spell'] })
      expect(await scene.changesOf(`INSERT INTO spell VALUES (1)`)).toEqual([['spell', { id: '1' }]])
    })

    it('counts a table as changed from which nothing was recorded before', async () => {
      await scene.install({ tables: ['spell'] })
      await database.sql('CREATE TABLE word (word text PRIMARY KEY)')
      await installFeed(database.sql, { tables: ['spell', 'word'] })
      expect(new Set((await scene.changesOf('', ['word'])).map(String))).toEqual(new Set(['word,all']))
    })

    it('watches a table again that was dropped and made again', async () => {
      await scene.install({ tables: ['spell'] })
      await database.sql('DROP TABLE spell')
      expect(await scene.changesOf('')).toEqual([['spell', 'all']])
      expect(scene.warnings).toContain('spell is watched, but was dropped')
      expect(await scene.changesOf('')).toEqual([])
      await database.sql(SPELL)
      await scene.install({ tables: ['spell'] })
      expect(await scene.changesOf(`INSERT INTO spell VALUES (1)`)).toEqual([['spell', { id: '1' }]])
    })

    it('is not needed where another table has taken the name of one that is watched: the relay watches that', async () => {
      await scene.install({ tables: ['spell'] })
      await database.sql(`DROP TABLE spell; ${SPELL}`)
      expect(new Set((await scene.changesOf('INSERT INTO spell VALUES (1)')).map(String))).toEqual(
        new Set(['spell,all']),
      )
      expect(scene.warned).toContain('TABLE_REPLACED')
      expect(await scene.changesOf(`INSERT INTO spell VALUES (2)`)).toEqual([['spell', { id: '2' }]])
    })

    it('watches a table that was renamed under both of its names, for programs of two versions', async () => {
      await scene.install({ tables: ['spell'] })
      await database.sql('ALTER TABLE spell RENAME TO spells')
      await scene.install({ tables: ['spells'] })
      const changes = await scene.changesOf('INSERT INTO spells VALUES (1)', ['spell', 'spells'])
      expect(changes).toHaveLength(3)
      expect(changes).toContainEqual(['spell', { id: '1' }])
      expect(changes).toContainEqual(['spells', { id: '1' }])
      // Something else may answer to the old name.
      expect(changes).toContainEqual(['spell', 'all'])
      expect(scene.warned).toContain('TABLE_RENAMED')
      expect(
        await scene.changesOf(`SELECT cacheaside.unwatch('spell'); DELETE FROM spells`, ['spell', 'spells']),
      ).toEqual([['spells', { id: '1' }]])
    })

    it('takes the tables of postgresFeed', async () => {
      await scene.install({ tables: { spell: (row: { id: string }) => [row.id] } })
      expect(await scene.changesOf(`INSERT INTO spell VALUES (1)`)).toEqual([['spell', { id: '1' }]])
    })

    it('lies in the schema it is told, beside another feed', async () => {
      await scene.install({ tables: ['spell'] })
      await installFeed(database.sql, { tables: ['spell'], schema: 'other' })
      await database.sql(`DELETE FROM other.outbox; INSERT INTO spell VALUES (1)`)
      const session = await scene.open(['spell'], { schema: 'other' })
      expect((await scene.all(session)).map(essence)).toEqual([['spell', { id: '1' }]])
      expect(await scene.waiting()).toBe(1)
    })

    it.each(['cacheaside_billing', 'my_cacheaside_feed', 'cacheaside_cacheaside_', 'not_cacheaside'])(
      'lies in a schema whose name contains its own: %s',
      async schema => {
        await scene.install({ tables: ['spell'] })
        await installFeed(database.sql, { tables: ['spell'], schema })
        await database.sql(`DELETE FROM ${schema}.outbox; INSERT INTO spell SELECT generate_series(1, 20)`)
        const session = await scene.open(['spell'], { schema })
        expect((await scene.all(session)).map(({ count }) => count)).toEqual([20])
        expect(await scene.waiting()).toBe(1)
        await removeFeed(database.sql, { schema })
      },
    )

    it.each([
      ['a table that does not exist', ['wizard'], /relation "wizard" does not exist/],
      ['a view', ['seen'], /seen is not a table/],
      ['a table without a key', ['keyless'], /keyless has no primary key/],
      [
        'a column that does not exist',
        { spell: { columns: ['id', 'mana'] } },
        /spell has no stored column mana/,
      ],
    ])('refuses %s, and then has done nothing', async (_what, tables, message) => {
      await database.sql('CREATE VIEW seen AS SELECT 1 AS one; CREATE TABLE keyless (id int)')
      await expect(installFeed(database.sql, { tables })).rejects.toThrow(message)
      expect(await database.sql(`SELECT to_regnamespace('cacheaside') AS found`)).toEqual([{ found: null }])
    })

    it('refuses a temporary table, which hides the one that is meant', async () => {
      const hidden = (script: string) =>
        database.sql(`CREATE TEMPORARY TABLE spell (id int PRIMARY KEY); ${script}`)
      await expect(installFeed(hidden, { tables: ['spell'] })).rejects.toThrow(/spell is temporary/)
    })

    it('and removeFeed leave a schema alone that is not a feed’s', async () => {
      await database.sql('CREATE SCHEMA other; CREATE TABLE other.treasure (id int)')
      await expect(installFeed(database.sql, { tables: [], schema: 'other' })).rejects.toThrow(
        /schema other is not/,
      )
      await expect(removeFeed(database.sql, { schema: 'other' })).rejects.toThrow(/schema other is not/)
      expect(await database.sql('SELECT * FROM other.treasure')).toEqual([])
    })
  })

  describe('removeFeed', () => {
    it('leaves nothing behind, and may be run again', async () => {
      await scene.install({ tables: ['spell'] })
      await removeFeed(database.sql)
      await removeFeed(database.sql)
      await database.sql(`INSERT INTO spell VALUES (1)`)
      expect(
        await database.sql(
          `SELECT tgname::text AS name FROM pg_trigger WHERE NOT tgisinternal
          UNION ALL SELECT nspname::text FROM pg_namespace WHERE nspname LIKE 'cache%'`,
        ),
      ).toEqual([])
    })

    it('makes sessions fail, and those that would begin', async () => {
      await scene.install({ tables: ['spell'] })
      const session = await scene.open(['spell'])
      await removeFeed(database.sql)
      await expect(session.take(undefined)).rejects.toThrow(/does not exist/)
      await expect(scene.open(['spell'])).rejects.toThrow(
        'there is no change feed in the schema cacheaside: run installFeed, cacheaside feed install, or the script of feedMigrationSql',
      )
    })
  })

  describe('a session that shares the outbox', () => {
    beforeEach(() => scene.install({ tables: ['spell'] }))

    it('hands out again what was not settled, and what was is gone', async () => {
      await database.sql('INSERT INTO spell VALUES (1), (2), (3)')
      const first = await scene.open(['spell'])
      const { changes } = await first.take(undefined)
      expect(changes.map(essence)).toEqual([1, 2, 3].map(id => ['spell', { id: `${id}` }]))
      await first.settle(changes.slice(1, 2))
      const again = await first.take(undefined)
      expect(again.changes.map(essence)).toEqual([1, 3].map(id => ['spell', { id: `${id}` }]))
      await first.settle(again.changes)
      expect(await first.take(undefined)).toEqual({ changes: [], more: false, drained: true })
    })

    it('hands out what comes after an id', async () => {
      await database.sql('INSERT INTO spell VALUES (1), (2)')
      const session = await scene.open(['spell'])
      const { changes } = await session.take(undefined)
      await session.settle([])
      const rest = await session.take(changes[0]!.id)
      expect(rest.changes.map(essence)).toEqual([['spell', { id: '2' }]])
      await session.settle([])
    })

    it('gives up to 500 rows of the outbox at a time', async () => {
      await database.sql(`${HEIR} SELECT cacheaside.cover(); DELETE FROM cacheaside.outbox;
        INSERT INTO spell SELECT generate_series(1, 1001)`)
      const session = await scene.open(['spell'])
      const sizes: [number, boolean][] = []
      for (let i = 0; i < 3; i++) {
        const { changes, more } = await session.take(undefined)
        sizes.push([changes.length, more])
        await session.settle(changes)
      }
      expect(sizes).toEqual([
        [500, true],
        [500, true],
        [1, false],
      ])
    })

    it('gives batches of about 2,000 changes at a time', async () => {
      await database.sql('INSERT INTO spell SELECT generate_series(1, 5000)')
      const session = await scene.open(['spell'])
      const counts: number[] = []
      const told = new Set<string>()
      for (let more = true; more; ) {
        const batch = await session.take(undefined)
        counts.push(batch.changes.reduce((sum, { count }) => sum + count!, 0))
        for (const { rows } of batch.changes) for (const row of rows!) told.add(row.id)
        await session.settle(batch.changes)
        more = batch.more
      }
      expect(told.size).toBe(5_000)
      expect(counts).toHaveLength(3)
      expect(Math.max(...counts)).toBeLessThan(2_500)
      expect(await scene.waiting()).toBe(0)
    })

    it('tells how old a change is, by the clock of the database', async () => {
      await database.sql(
        `INSERT INTO spell VALUES (1); UPDATE cacheaside.outbox SET at = at - interval '1 hour'`,
      )
      const [change] = await scene.all(await scene.open(['spell']))
      expect(change!.ageMs).toBeGreaterThanOrEqual(3_600_000)
      expect(change!.ageMs).toBeLessThan(3_660_000)
    })

    it('leaves changes of a table that it does not know to those that do, for ten seconds', async () => {
      await database.sql('CREATE TABLE word (word text PRIMARY KEY)')
      await scene.install({ tables: ['spell', 'word'] })
      expect(await scene.changesOf(`INSERT INTO word VALUES ('a')`, ['spell'])).toEqual([])
      expect(
        await scene.changesOf(`UPDATE cacheaside.outbox SET at = at - interval '11 s'`, ['spell']),
      ).toEqual([['word', { word: 'a' }]])
      const setBack = `INSERT INTO word VALUES ('b'); UPDATE cacheaside.outbox SET at = at + interval '1 h'`
      expect(await scene.changesOf(setBack, ['spell'])).toEqual([['word', { word: 'b' }]])
    })

    it('leaves what it holds to be seen by pending, which takes nothing and needs no session', async () => {
      await database.sql(`INSERT INTO spell VALUES (1, 'Fireball', 30), (2, 'Ice Shard', 25)`)
      const feed = postgresFeed({ ...database.driver, tables: { spell: () => [] } })
      const before = await feed.pending!()
      const session = await scene.open(['spell'])
      const { changes } = await session.take(undefined)
      // A relay has locked them, and may yet give them back.
      expect((await feed.pending!()).map(essence)).toEqual(changes.map(essence))
      expect(before.map(({ id }) => id)).toEqual(changes.map(({ id }) => id))
      expect(before.every(({ ageMs }) => ageMs >= 0 && ageMs < 60_000)).toBe(true)
      await session.settle(changes)
      expect(await feed.pending!()).toEqual([])
      await database.sql('DROP SCHEMA cacheaside CASCADE')
      await expect(feed.pending!()).rejects.toThrow('cacheaside.outbox')
    })

    it('remembers for all sessions', async () => {
      const session = await scene.open(['spell'])
      expect(await session.remembered()).toEqual(new Map())
      await session.remember(['spell', 'it’s'], "store's \\ 1")
      await session.remember(['spell'], 'store 2')
      const other = await scene.open(['spell'])
      expect(await other.remembered()).toEqual(
        new Map([
          ['spell', 'store 2'],
          ['it’s', "store's \\ 1"],
        ]),
      )
    })

    it('is with the same origin as the session before it', async () => {
      const first = await scene.open(['spell'])
      const second = await scene.open(['spell'])
      expect(second.origin).toBe(first.origin)
      expect(first.origin).toMatch(/^\d{15,} \d+ \d+ [\d.]+ [0-9a-f-]{36}$/)
    })

    it('ends when the server has recovered from a crash, and the next one is with another origin', async () => {
      const session = await scene.open(['spell'])
      // What recovery does to unlogged tables.
      await database.sql('DELETE FROM cacheaside.life')
      await expect(session.take(undefined)).rejects.toThrow('the server was restarted, or is another one')
      expect((await scene.open(['spell'])).origin).not.toBe(session.origin)
    })

    it('works on a feed that an earlier version has installed, and says that it should be installed again', async () => {
      await database.sql(`CREATE OR REPLACE FUNCTION cacheaside.record_spell() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO cacheaside.outbox (source, new) VALUES ('spell', jsonb_build_object('id', NEW.id::text)); RETURN NULL; END $$;
        CREATE OR REPLACE FUNCTION cacheaside.cover() RETURNS text[] LANGUAGE sql AS $$ SELECT ARRAY['log cannot be mended'] $$;
        ALTER TABLE cacheaside.watched DROP COLUMN named, DROP COLUMN shape`)
      expect(await scene.changesOf('INSERT INTO spell VALUES (1)')).toEqual([['spell', { id: '1' }]])
      expect(scene.warned.filter(code => code !== 'SETTING')).toEqual(['NOT_WATCHED', 'OUTDATED'])
      expect(scene.warnings.at(-1)).toContain('spell comes from an earlier version')
      await scene.install({ tables: ['spell'] })
      scene.warned.length = 0
      expect(await scene.changesOf('INSERT INTO spell VALUES (2)')).toEqual([['spell', { id: '2' }]])
      expect(scene.warned.filter(code => code !== 'SETTING')).toEqual([])
    })

    it('warns of a table that is not watched', async () => {
      await scene.open(['spell', 'wizard'])
      expect(scene.warnings.filter(text => text.includes('watched'))).toEqual([
        'the table wizard is not watched: run installFeed, cacheaside feed install, or the script of feedMigrationSql, again',
      ])
    })

    it('says within ten seconds what is no longer to be mended, and says it again if it comes back', async () => {
      const dropped = 'spell is watched, but was dropped'
      await scene.install({ tables: ['spell'] })
      const session = await scene.open(['spell'])
      const upkeep = async (script: string) => {
        await database.sql(script)
        await scene.clock.advance(10_000)
        await scene.all(session)
      }
      await upkeep('DROP TABLE spell')
      await upkeep('')
      expect([scene.warnings.filter(text => text === dropped), scene.mended]).toEqual([[dropped], []])
      await upkeep(SPELL)
      expect(scene.mended).toEqual([dropped])
      await upkeep('DROP TABLE spell')
      expect(scene.warnings.filter(text => text === dropped)).toEqual([dropped, dropped])
      expect(scene.mended).toEqual([dropped])
    })

    it('is refused while observers use the outbox, and later finds nothing remembered', async () => {
      const earlier = await scene.open(['spell'])
      await earlier.remember(['spell'], 'store 1')
      await earlier.close()
      await expect(scene.open(['spell'], { isPrivate: true })).rejects.toThrow('is read by relays')
      await database.sql(`UPDATE cacheaside.feed SET reader_at = reader_at - interval '31 s'`)
      await scene.open(['spell'], { isPrivate: true })
      await expect(scene.open(['spell'])).rejects.toThrow('is read by observers')
      await database.sql(`UPDATE cacheaside.feed SET reader_at = reader_at - interval '31 s'`)
      expect(await (await scene.open(['spell'])).remembered()).toEqual(new Map())
    })

    it('is refused by observers no longer when the clock of the database was set back since they looked', async () => {
      const observer = await scene.open(['spell'], { isPrivate: true })
      await observer.close()
      await database.sql(`UPDATE cacheaside.feed SET reader_at = reader_at + interval '5 h'`)
      const { findings } = await postgresFeed({ ...database.driver, tables: { spell: () => [] } }).status()
      expect(findings).toContainEqual({
        code: 'NOT_READ',
        message: expect.stringContaining('since the clock of the database was set back'),
      })
      expect((await scene.open(['spell'])).origin).toBe(observer.origin)
    })

    it('ends when observers have taken the outbox over', async () => {
      const session = await scene.open(['spell'])
      await database.sql(`UPDATE cacheaside.feed SET reader_at = reader_at - interval '31 s'`)
      await scene.open(['spell'], { isPrivate: true })
      await scene.clock.advance(10_000)
      await expect(session.take(undefined)).rejects.toThrow('is read by observers')
    })
  })

  describe('an observing session', () => {
    const observe = (tables = ['spell']) => scene.open(tables, { isPrivate: true })

    beforeEach(() => scene.install({ tables: ['spell'] }))

    it('is handed every change since it began, beside others of its kind', async () => {
      await database.sql('INSERT INTO spell VALUES (1)')
      const sessions = [await observe(), await observe()]
      await database.sql('INSERT INTO spell VALUES (2)')
      for (const session of sessions) {
        expect((await scene.all(session)).map(essence)).toEqual([['spell', { id: '2' }]])
        expect(await session.take(undefined)).toEqual({ changes: [], more: false, drained: true })
      }
      await database.sql('DELETE FROM spell WHERE id = 1')
      for (const session of sessions)
        expect((await scene.all(session)).map(essence)).toEqual([['spell', { id: '1' }]])
    })

    it('is handed again what was not settled', async () => {
      const session = await observe()
      await database.sql('INSERT INTO spell VALUES (1)')
      const { changes } = await session.take(undefined)
      await session.settle([])
      expect((await session.take(undefined)).changes.map(essence)).toEqual(changes.map(essence))
    })

    it('is handed once what a dump of another server has brought, and removes it', async () => {
      await database.sql(`INSERT INTO spell VALUES (1); UPDATE cacheaside.outbox SET xid = '9000000000000'`)
      const session = await observe()
      expect((await scene.all(session)).map(essence)).toEqual([['spell', { id: '1' }]])
      for (let seconds = 0; seconds < 20; seconds++) {
        expect((await session.take(undefined)).changes).toEqual([])
        await scene.clock.advance(1_000)
      }
      expect(await scene.waiting()).toBe(0)
    })

    it('is not handed changes of tables on which nothing of this process depends', async () => {
      await database.sql('CREATE TABLE word (word text PRIMARY KEY)')
      await scene.install({ tables: ['spell', 'word'] })
      const session = await observe()
      await database.sql(`INSERT INTO word VALUES ('a'); INSERT INTO spell VALUES (1)`)
      expect((await scene.all(session)).map(essence)).toEqual([['spell', { id: '1' }]])
    })

    it('takes more than 5,000 changes at once for changes of whole tables', async () => {
      const session = await observe()
      await database.sql('INSERT INTO spell SELECT generate_series(1, 5001)')
      expect((await scene.all(session)).map(essence)).toEqual([['spell', 'all']])
      expect(await scene.all(session)).toEqual([])
    })

    it('removes what everybody could see ten seconds ago, and not what came later', async () => {
      const session = await observe()
      await database.sql('INSERT INTO spell VALUES (1)')
      for (let seconds = 0; seconds < 20; seconds++) {
        await scene.all(session)
        await scene.clock.advance(1_000)
      }
      await database.sql('INSERT INTO spell VALUES (2)')
      await scene.all(session)
      expect(
        (await database.sql(`SELECT new->>'id' AS id FROM cacheaside.outbox`)).map(({ id }) => id),
      ).toEqual(['2'])
    })

    it('ends when it has not looked for so long that something may have been removed unseen', async () => {
      const session = await observe()
      await scene.clock.advance(8_000)
      await scene.all(session)
      await scene.clock.advance(8_001)
      await expect(session.take(undefined)).rejects.toThrow('the outbox was not looked at for 8001 ms')
    })
  })

  describe('an outbox that somebody has changed by hand', () => {
    const EMPTIED = 'the outbox was emptied or rewritten by hand'
    const SET_BACK = 'the ids of the outbox have started again'
    /** More changes than ids were drawn before, so that these are overtaken before the next look. */
    const OVERTAKEN = 'INSERT INTO spell SELECT 100 + n FROM generate_series(1, 20) AS n'

    beforeEach(async () => {
      await database.sql(HEIR)
      await scene.install({ tables: ['spell'] })
    })

    /** A session that looks for no row with an id as small as those that come next. */
    async function openAfterSome(isPrivate: boolean): Promise<FeedSession> {
      const session = await scene.open(['spell'], { isPrivate })
      await database.sql('INSERT INTO spell VALUES (1), (2), (3)')
      for (let looks = 0; looks < 3; looks++) {
        await scene.all(session)
        await scene.clock.advance(5_000)
      }
      await scene.all(session)
      return session
    }

    it.each([false, true])(
      'by TRUNCATE ends the session, and the origin is another one (private: %s)',
      async isPrivate => {
        for (const restart of ['', 'RESTART IDENTITY']) {
          const session = await openAfterSome(isPrivate)
          await database.sql(`DELETE FROM spell; TRUNCATE cacheaside.outbox ${restart}; ${OVERTAKEN}`)
          await expect(session.take(undefined)).rejects.toThrow(EMPTIED)
          const next = await scene.open(['spell'], { isPrivate })
          expect(next.origin).not.toBe(session.origin)
          expect(await scene.all(next)).toHaveLength(isPrivate ? 0 : 20)
          await database.sql('DELETE FROM spell')
        }
      },
    )

    it.each([
      ['ALTER SEQUENCE cacheaside.outbox_id_seq RESTART', 20],
      [`SELECT setval('cacheaside.outbox_id_seq', 1)`, 1],
    ])('by %s ends the session, and the next one is handed what came after it', async (script, count) => {
      for (const isPrivate of [true, false]) {
        const session = await openAfterSome(isPrivate)
        await database.sql(`DELETE FROM spell; DELETE FROM cacheaside.outbox; ${script};
          INSERT INTO spell SELECT n FROM generate_series(1, ${count}) AS n`)
        await expect(session.take(undefined)).rejects.toThrow(SET_BACK)
        if (isPrivate)
          await database.sql(
            'DELETE FROM spell; DELETE FROM cacheaside.outbox; UPDATE cacheaside.feed SET reader = NULL',
          )
      }
      expect(await scene.all(await scene.open(['spell']))).toHaveLength(count)
    })

    it('by setval fails no writer once a relay has looked, though rows with larger ids are there', async () => {
      const session = await scene.open(['spell'], { isPrivate: true })
      await database.sql('INSERT INTO spell VALUES (1), (2), (3)')
      await scene.all(session)
      await database.sql(
        `SELECT setval('cacheaside.outbox_id_seq', (SELECT min(id) - 1 FROM cacheaside.outbox))`,
      )
      await expect(session.take(undefined)).rejects.toThrow(SET_BACK)
      const next = await scene.open(['spell'], { isPrivate: true })
      await database.sql('INSERT INTO spell VALUES (4)')
      expect((await scene.all(next)).map(essence)).toEqual([['spell', { id: '4' }]])
    })

    it('by TRUNCATE while no relay ran, or only those of earlier versions, makes the origin another one', async () => {
      const before = await scene.open(['spell'])
      await database.sql('INSERT INTO spell VALUES (1); TRUNCATE cacheaside.outbox')
      const after = await scene.open(['spell'])
      expect(after.origin).not.toBe(before.origin)
      // What relays of every version call, and what they look at.
      await database.sql('TRUNCATE cacheaside.outbox; SELECT cacheaside.cover()')
      await expect(after.take(undefined)).rejects.toThrow()
      expect(after.origin).not.toContain((await database.sql('SELECT token FROM cacheaside.life'))[0]!.token)
    })

    it('is the same after VACUUM, and after the feed was installed again', async () => {
      const session = await openAfterSome(false)
      await database.sql('VACUUM cacheaside.outbox')
      await installFeed(database.sql, { tables: ['spell'] })
      expect(await scene.all(session)).toEqual([])
      expect((await scene.open(['spell'])).origin).toBe(session.origin)
    })

    it('is found so by a relay of this version on a feed that an earlier one has installed', async () => {
      await database.sql(`DROP FUNCTION cacheaside.compare_outbox(); DROP TABLE cacheaside.outbox_file;
        CREATE OR REPLACE FUNCTION cacheaside.cover() RETURNS text[] LANGUAGE sql AS $$ SELECT '{}'::text[] $$`)
      const session = await openAfterSome(false)
      await database.sql(`TRUNCATE cacheaside.outbox RESTART IDENTITY; ${OVERTAKEN}`)
      await expect(session.take(undefined)).rejects.toThrow(EMPTIED)
      expect(await scene.all(await scene.open(['spell']))).toHaveLength(20)
    })
  })

  describe('the outbox', () => {
    it('past its limit collapses into whole tables, also when nobody reads it, and in one transaction', async () => {
      await database.sql(`CREATE TABLE word (word text PRIMARY KEY); ${HEIR}`)
      await scene.install({ tables: ['spell', 'word'], maxRows: 2_000 })
      await database.sql(`INSERT INTO word VALUES ('a'); INSERT INTO spell SELECT generate_series(1, 20000)`)
      expect(await scene.waiting()).toBeLessThanOrEqual(2_000 + 1_024)
      const changes = await scene.changesOf('', ['spell', 'word'])
      expect(changes).toContainEqual(['spell', 'all'])
      expect(changes).toContainEqual(['word', 'all'])
      expect(changes).toContainEqual(['spell', { id: '20000' }])
    })

    it('collapses transaction by transaction as well', async () => {
      await scene.install({ tables: ['spell'], maxRows: 100 })
      for (let i = 0; i < 12; i++)
        await database.sql(`INSERT INTO spell SELECT generate_series(${i * 400}, ${i * 400 + 399})`)
      expect(await scene.waiting()).toBeLessThanOrEqual(100 + 1_024)
      expect(await scene.changesOf('')).toContainEqual(['spell', 'all'])
    })

    it('keeps within its limit in a transaction that sees an old snapshot', async () => {
      await scene.install({ tables: ['spell'], maxRows: 2_000 })
      await database.sql(`BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1;
        INSERT INTO spell SELECT generate_series(1, 20000); COMMIT`)
      expect(await scene.waiting()).toBeLessThanOrEqual(2_000 + 1_024)
    })

    it('keeps within its limit however many transactions see an old snapshot, while nobody reads it', async () => {
      await scene.install({ tables: ['spell'], maxRows: 500 })
      for (let i = 0; i < 30; i++)
        await database.sql(`BEGIN ISOLATION LEVEL REPEATABLE READ;
          INSERT INTO spell SELECT generate_series(${i * 300}, ${i * 300 + 299}); COMMIT`)
      expect(await scene.waiting()).toBeLessThanOrEqual(500 + 1_024)
    })

    it('is brought within its limit by a relay where its writers, all serializable, leave that to others', async () => {
      await database.sql(HEIR)
      await scene.install({ tables: ['spell'], maxRows: 500 })
      await database.sql(`BEGIN ISOLATION LEVEL SERIALIZABLE;
        INSERT INTO spell SELECT generate_series(1, 20000); COMMIT`)
      expect(await scene.waiting()).toBe(20_000)
      const session = await scene.open(['spell'])
      expect(await scene.waiting()).toBeLessThanOrEqual(500)
      expect((await scene.all(session)).map(essence)).toContainEqual(['spell', 'all'])
    })

    it('below its limit keeps every row', async () => {
      await database.sql(HEIR)
      await scene.install({ tables: ['spell'], maxRows: 5_000 })
      await database.sql('INSERT INTO spell SELECT generate_series(1, 4096)')
      expect(await scene.waiting()).toBe(4_096)
    })

    it('past its limit collapses batches as well, by the number of their changes', async () => {
      await scene.install({ tables: ['spell'], maxRows: 2_000 })
      for (let i = 0; i < 4; i++)
        await database.sql(`INSERT INTO spell SELECT generate_series(${i * 1000}, ${i * 1000 + 999})`)
      const [held] = await database.sql('SELECT sum(changes)::int AS changes FROM cacheaside.outbox')
      expect(held!.changes).toBeLessThanOrEqual(2_000)
      expect(await scene.changesOf('')).toContainEqual(['spell', 'all'])
    })

    it('holds more rows of one statement than it may hold changes as one change of the whole table', async () => {
      await scene.install({ tables: ['spell'], maxRows: 2_000 })
      expect(await scene.changesOf('INSERT INTO spell SELECT generate_series(1, 2001)')).toEqual([
        ['spell', 'all'],
      ])
    })
  })
}
