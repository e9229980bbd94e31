import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { PATIENCE } from '../../test/patience.ts'
import { type PgBouncer, startPgBouncer } from '../../test/pgbouncer.ts'
import { startRedis } from '../../test/redis-servers.ts'
import { createDatabase, sharedPostgresUrl } from '../../test/services.ts'
import { type Database, DatabaseAwayError } from '../src/database/database.ts'
import { openPostgres } from '../src/database/postgres.ts'
import { installChangeFeed, migrate } from '../src/migrations.ts'
import { apiSuite } from './api-suite.ts'
import { databaseSuite } from './database-suite.ts'
import { endPrograms, endsInOrder, type Program, startProgram } from './program.ts'

/** In transaction mode, with three connections to the server, which take turns. */
let pooler: PgBouncer
beforeAll(async () => {
  pooler = await startPgBouncer(sharedPostgresUrl())
})
afterAll(() => pooler.stop())

const open = (url: string, options: { timeoutMs?: number; poolMax?: number } = {}, onPooler = () => {}) =>
  openPostgres({ kind: 'postgres', url, poolMax: 4, timeoutMs: 5_000, ...options }, () => {}, onPooler)

const openNew = async (): Promise<Database> => open(pooler.through(await createDatabase(sharedPostgresUrl())))

databaseSuite('PostgreSQL behind PgBouncer', openNew)
apiSuite('the API on PostgreSQL behind PgBouncer', openNew)

async function psql<T = void>(url: string, use: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url })
  client.on('error', () => {})
  await client.connect()
  try {
    return await use(client)
  } finally {
    await client.end()
  }
}

const away = (promise: Promise<unknown>): Promise<DatabaseAwayError> =>
  promise.then(
    () => expect.fail('it was to reject'),
    error => {
      expect(error).toBeInstanceOf(DatabaseAwayError)
      return error as DatabaseAwayError
    },
  )

const LIMITS = ['idle_in_transaction_session_timeout', 'statement_timeout', 'transaction_timeout']
const SETTINGS = `select name, setting from pg_settings where name in (${LIMITS.map(name => `'${name}'`)}) order by name`

describe('openPostgres behind PgBouncer', () => {
  test('says once that there is a pooler, and nothing of the kind where there is none', async () => {
    const url = sharedPostgresUrl()
    const told = { pooled: 0, direct: 0 }
    const pooled = open(pooler.through(url), {}, () => void told.pooled++)
    const direct = open(url, {}, () => void told.direct++)
    for (const database of [pooled, direct]) {
      await Promise.all(Array.from({ length: 4 }, () => database.query('select pg_sleep(0.01)')))
      await database.close()
    }
    expect(told).toEqual({ pooled: 1, direct: 0 })
  })

  test('lets the server end a statement, a transaction, and one that sits idle', async () => {
    const database = open(pooler.through(sharedPostgresUrl()), { timeoutMs: 4_321 })
    const limited = [
      { name: LIMITS[0], setting: '4321' },
      { name: LIMITS[1], setting: '4321' },
      { name: LIMITS[2], setting: '4754' },
    ]
    expect(await database.query(SETTINGS)).toEqual(limited)
    expect(await database.transaction(transaction => transaction.query(SETTINGS))).toEqual(limited)
    await database.close()
  })

  test('query rejects as away when a statement was cut off by the server, and the next one is served', async () => {
    const database = open(pooler.through(sharedPostgresUrl()), { timeoutMs: 1_000, poolMax: 1 })
    expect((await away(database.query('select pg_sleep(10)'))).code).toBe('57014')
    expect(await database.query('select 1 as one')).toEqual([{ one: 1 }])
    await database.close()
  })

  test('transaction that sits idle is ended by the server', async () => {
    const database = open(pooler.through(await createDatabase(sharedPostgresUrl())), { timeoutMs: 400 })
    await database.query('create table note (text text)')
    const error = await away(
      database.transaction(async transaction => {
        await transaction.query("insert into note values ('half')")
        const [{ pid }] = (await transaction.query('select pg_backend_pid() as pid')) as [{ pid: number }]
        await vi.waitFor(
          () =>
            psql(sharedPostgresUrl(), async client => {
              const { rowCount } = await client.query('select from pg_stat_activity where pid = $1', [pid])
              expect(rowCount).toBe(0)
            }),
          PATIENCE,
        )
        await transaction.query("insert into note values ('other half')")
      }),
    )
    expect(error.sent).toBe(true)
    expect(await database.query('select * from note')).toEqual([])
    await database.close()
  })

  test("leaves nothing of its own in the server's sessions, which are other clients' next", async () => {
    const url = await createDatabase(sharedPostgresUrl())
    const before = await psql(url, async client => (await client.query(SETTINGS)).rows)
    const database = open(pooler.through(url))
    await migrate(database)
    await installChangeFeed(database)
    // At once, so that the pooler opens all of its connections.
    await Promise.all(
      Array.from({ length: 6 }, (_, i) => database.query('select $1::int, pg_sleep(0.05)', [i])),
    )
    await database.transaction(transaction => transaction.query('select 1'))
    await database.query('select $1::int / 0', [1]).catch(() => {})
    const seen = await psql(pooler.through(url), async client => {
      const pids = new Set<number>()
      for (let i = 0; i < 9; i++) {
        const [settings, pid, prepared, locks] = (await client.query(
          `${SETTINGS}; select pg_backend_pid() as pid; select name from pg_prepared_statements;
           select objid from pg_locks where locktype = 'advisory'
             and database = (select oid from pg_database where datname = current_database())`,
        )) as unknown as pg.QueryResult[]
        pids.add(pid!.rows[0].pid)
        expect(settings!.rows).toEqual(before)
        expect(prepared!.rows).toEqual([])
        expect(locks!.rows).toEqual([])
      }
      return pids.size
    })
    expect(seen).toBe(3)
    await database.close()
  })

  test('query serves many at once over few connections to the server, each statement on any of them', async () => {
    const database = open(pooler.through(sharedPostgresUrl()), { poolMax: 8 })
    const pids = new Set<number>()
    const answers = await Promise.all(
      Array.from({ length: 200 }, async (_, i) => {
        const [row] = (await database.query('select $1::int as i, pg_backend_pid() as pid', [i])) as [
          { i: number; pid: number },
        ]
        pids.add(row.pid)
        return row.i
      }),
    )
    expect(answers).toEqual(Array.from({ length: 200 }, (_, i) => i))
    expect(pids.size).toBe(3)
    await database.close()
  })

  test('query rejects as away, and in doubt, when the pooler has lost the server', async () => {
    const database = open(pooler.through(sharedPostgresUrl()), { poolMax: 1 })
    const lost = away(database.query("select pg_terminate_backend(pg_backend_pid()), 'and gone'"))
    const { code, sent } = await lost
    expect([sent, code === undefined || code === '57P01' || code.startsWith('08')]).toEqual([true, true])
    expect(await database.query('select 1 as one')).toEqual([{ one: 1 }])
    await database.close()
  })

  test('migrate, several at once, by as many processes as the pooler has room for and more', async () => {
    const url = pooler.through(await createDatabase(sharedPostgresUrl()))
    const databases = Array.from({ length: 6 }, () => open(url))
    const ran = await Promise.all(databases.map(database => migrate(database)))
    expect(ran.filter(names => names.length > 0)).toHaveLength(1)
    await Promise.all(databases.map(installChangeFeed))
    expect(await databases[0]!.query('select count(*) as n from spell')).toEqual([{ n: 8 }])
    await Promise.all(databases.map(database => database.close()))
  })
})

describe('Spellbook behind PgBouncer', () => {
  const ends: (() => Promise<void>)[] = []
  afterEach(async () => {
    await endPrograms()
    for (const end of ends.splice(0).reverse()) await end()
  })

  async function openService(program: Program) {
    const { url } = await program.ready()
    const ask = async (method: string, path: string, body?: object) => {
      const response = await fetch(new URL(path, url), {
        method,
        ...(body === undefined
          ? {}
          : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
      })
      return {
        status: response.status,
        cache: response.headers.get('cache-status'),
        body: await response.json(),
      }
    }
    return {
      program,
      ask,
      damage: async (id: number) => ((await ask('GET', `/spells/${id}`)).body as { damage: number }).damage,
      list: async () =>
        ((await ask('GET', '/spells')).body as { name: string; damage: number }[]).map(
          ({ name, damage }) => `${name} ${damage}`,
        ),
    }
  }

  test('starts twice at once, shows every write in both processes, and psql soon', async () => {
    const redis = await startRedis({ maxmemory: '64mb', 'maxmemory-policy': 'allkeys-lru' })
    ends.push(() => redis.stop())
    const url = await createDatabase(sharedPostgresUrl())
    const env = { DATABASE_URL: pooler.through(url), REDIS_URL: redis.url }
    const [first, second] = await Promise.all([startProgram({ env }), startProgram({ env })].map(openService))
    for (const one of [first!, second!]) {
      await one.program.logged('a pooler stands before the database: time limits are set in each transaction')
      await one.program.logged('the change feed is open')
      expect(await one.list()).toHaveLength(8)
      expect(await one.damage(4)).toBe(40)
    }
    expect((await first!.ask('PUT', '/spells/4', { damage: 41 })).status).toBe(200)
    expect((await second!.ask('POST', '/spells', { name: 'Frost Nova', damage: 22 })).status).toBe(201)
    expect((await first!.ask('GET', '/spells/9')).body).toMatchObject({ name: 'Frost Nova' })
    for (const one of [first!, second!]) {
      expect(await one.damage(4)).toBe(41)
      expect(await one.list()).toEqual(expect.arrayContaining(['Earthquake 41', 'Frost Nova 22']))
    }
    await psql(url, client => client.query('update spell set damage = 42 where id = 4').then(() => {}))
    await vi.waitFor(async () => {
      for (const one of [first!, second!]) {
        expect(await one.damage(4)).toBe(42)
        expect(await one.list()).toContain('Earthquake 42')
      }
    }, PATIENCE)
    for (const one of [first!, second!]) {
      expect(one.program.log.filter(({ level }) => level >= 40)).toEqual([])
      await endsInOrder(one.program, () => void one.program.process.kill('SIGTERM'))
    }
  })

  test('that is killed leaves a statement that the server ends, and the COMMIT behind it commits nothing', async () => {
    const url = await createDatabase(sharedPostgresUrl())
    const env = { DATABASE_URL: pooler.through(url), DATABASE_TIMEOUT_MS: '1500', CACHE: 'off' }
    const one = await openService(startProgram({ env }))
    const waiting = `select from pg_stat_activity where wait_event_type = 'Lock' and query like '%update spell set%'`
    // Not by who holds the lock: in a transaction the activity of others is seen as it was at the first look.
    const waits = (count: number) =>
      vi.waitFor(
        () => psql(url, async client => expect((await client.query(waiting)).rowCount).toBe(count)),
        PATIENCE,
      )
    await psql(url, async holder => {
      await holder.query('begin; select from spell where id = 4 for update')
      const put = one.ask('PUT', '/spells/4', { damage: 41 }).catch(error => error)
      await waits(1)
      process.kill(one.program.process.pid!, 'SIGKILL')
      expect(await put).toBeInstanceOf(Error)
      await waits(0)
      await holder.query('rollback')
    })
    const { rows } = await psql(url, client => client.query('select damage from spell where id = 4'))
    expect(rows).toEqual([{ damage: 40 }])
  })

  test('in statement mode ends its start with a line that says what is missing', async () => {
    const strict = await startPgBouncer(sharedPostgresUrl(), { pool_mode: 'statement' })
    ends.push(() => strict.stop())
    const DATABASE_URL = strict.through(await createDatabase(sharedPostgresUrl()))
    const program = startProgram({ env: { DATABASE_URL } })
    expect(await program.exit).toEqual({ code: 1, signal: null })
    expect(program.said()).toMatch(
      /^spellbook: the database does not answer: transaction blocks not allowed in statement pooling mode\n$/,
    )
  })

  test('in session mode is the same as in transaction mode', async () => {
    const kind = await startPgBouncer(sharedPostgresUrl(), { pool_mode: 'session', default_pool_size: '20' })
    ends.push(() => kind.stop())
    const DATABASE_URL = kind.through(await createDatabase(sharedPostgresUrl()))
    const one = await openService(startProgram({ env: { DATABASE_URL } }))
    await one.program.logged('the change feed is open')
    expect((await one.ask('PUT', '/spells/4', { damage: 41 })).status).toBe(200)
    expect(await one.damage(4)).toBe(41)
    expect(await one.list()).toContain('Earthquake 41')
    expect(one.program.log.filter(({ level }) => level >= 40)).toEqual([])
    await endsInOrder(one.program, () => void one.program.process.kill('SIGTERM'))
  })
})
