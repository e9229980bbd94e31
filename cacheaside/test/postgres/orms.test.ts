/**
 * What the popular drivers and ORMs throw, and what becomes of the guard: with the packages themselves, on a real server.
 * Prisma is not among them, because its client is generated and brings engines; its errors are in `commit-in-doubt.test.ts`.
 */
import type pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { startProxy, type Proxy as TestProxy } from '../../../test/proxy.ts'
import { createDatabase, sharedPostgresUrl } from '../../../test/services.ts'
import { commitInDoubt, rollsBack } from '../../src/index.ts'
import { openWorld } from '../world.ts'
import { until } from './conditions.ts'
import { connected } from './databases.ts'
import { type Opened, ORMS, type Transaction } from './orms.ts'

let server: pg.Client
let proxy: TestProxy
let url: string

/** Of the advisory lock that a COMMIT can be made to wait for. */
const GATE = 16
const WAITING = `SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = ${GATE} AND NOT granted
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`

beforeAll(async () => {
  url = await createDatabase(sharedPostgresUrl())
  server = await connected(url)
  await server.query(`
    CREATE FUNCTION at_commit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      CASE NEW.does
        WHEN 'refuse' THEN RAISE unique_violation;
        WHEN 'die' THEN PERFORM pg_terminate_backend(pg_backend_pid());
        WHEN 'wait' THEN PERFORM pg_advisory_xact_lock_shared(${GATE});
        ELSE NULL;
      END CASE;
      RETURN NULL;
    END $$`)
  proxy = await startProxy(Number(new URL(url).port))
})
afterAll(async () => {
  await proxy.close()
  await server.end()
})

/**
 * A session that ends inside `sql.begin` makes postgres.js 3.4.9 write its ROLLBACK to a socket that is gone, outside every
 * promise (its issues 1154 and 1208). The promise itself rejects in order, which is what is tested.
 */
function withoutThrowsIntoTheBlue(): void {
  const EVENT = 'uncaughtException'
  let others: NodeJS.UncaughtExceptionListener[]
  const listener: NodeJS.UncaughtExceptionListener = (error, origin) => {
    if (error.stack?.includes('nextWrite') && error.message.includes("reading 'write'")) return
    for (const other of others) other(error, origin)
  }
  beforeEach(() => {
    others = process.listeners(EVENT)
    process.removeAllListeners(EVENT)
    process.on(EVENT, listener)
  })
  afterEach(() => {
    process.off(EVENT, listener)
    for (const other of others) process.on(EVENT, other)
  })
}

const names = Object.keys(ORMS)
describe.each(names)('write around a transaction of %s', name => {
  const table = `spell_${names.indexOf(name)}`
  let opened: Opened

  beforeAll(async () => {
    await server.query(`
      CREATE TABLE ${table} (id int PRIMARY KEY, does text);
      CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON ${table}
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION at_commit();
      INSERT INTO ${table} VALUES (1)`)
  })
  if (name.includes('postgres.js')) withoutThrowsIntoTheBlue()
  // Each test has its own: a connection of postgres.js whose session was ended is of no use to the next one.
  beforeEach(async () => {
    const through = new URL(url)
    through.port = `${proxy.port}`
    opened = await ORMS[name]!(through.href, table)
  })
  afterEach(async () => {
    await opened.close()
    await new Promise(resolve => setImmediate(resolve))
  })

  const rowOf = async (id: number) =>
    (await server.query(`SELECT FROM ${table} WHERE id = ${id}`)).rowCount === 1

  /** What becomes of a write around a transaction with this function. */
  async function becomes(work: (transaction: Transaction) => Promise<unknown>) {
    const { clock, inspect, process } = openWorld()
    const { cache } = process()
    const spells = cache.keyspace('spell', { load: async (id: number) => ({ id }) })
    let error: unknown
    const written = spells.write(4, async () => {
      await opened.transaction(work).catch(thrown => {
        error = thrown
        throw thrown
      })
    })
    const rejection = await written.then(
      () => undefined,
      thrown => thrown,
    )
    expect(rejection).toBe(error)
    const isGuarded = inspect('spell:4')?.startsWith('W') ?? false
    if (error !== undefined) expect(commitInDoubt(error)).toBe(isGuarded)
    const { why } = await spells.read(4)
    const { invalidations } = cache.stats().keyspaces.spell!
    await clock.advance(30_000)
    expect(inspect('spell:4') ?? '').not.toMatch(/^W/)
    return { error, isGuarded, why, invalidations }
  }

  const DECIDED = { isGuarded: false, why: 'missing', invalidations: { applied: 1, 'in-doubt': 0 } }
  const IN_DOUBT = { isGuarded: true, why: 'in-doubt', invalidations: { applied: 0, 'in-doubt': 1 } }

  test('leaves no guard after a unique violation', async () => {
    expect(await becomes(tx => tx.insert(1))).toMatchObject(DECIDED)
  })

  test('leaves no guard after a COMMIT that the server has refused', async () => {
    expect(await becomes(tx => tx.insert(2, 'refuse'))).toMatchObject(DECIDED)
    expect(await rowOf(2)).toBe(false)
  })

  test('leaves no guard after a refusal that the function has kept to itself', async () => {
    // Some resolve, though nothing is committed. Where they reject it is known that nothing was.
    const work = async (tx: Transaction) => void (await tx.insert(1).catch(() => {}))
    expect(await becomes(work)).toMatchObject(DECIDED)
  })

  if (name.startsWith('Drizzle'))
    test('leaves no guard after its own rollback()', async () => {
      const work = async ({ insert, rollback }: Transaction) => {
        await insert(2)
        rollback?.()
      }
      expect(await becomes(work)).toMatchObject({ ...DECIDED, error: { message: 'Rollback' } })
      expect(await rowOf(2)).toBe(false)
    })

  test('leaves no guard after a rule of the application inside rollsBack', async () => {
    const rule = new Error('no mana')
    const work = async (tx: Transaction) => {
      await tx.insert(2)
      throw rule
    }
    expect(await becomes(rollsBack(work))).toMatchObject({ ...DECIDED, error: rule })
    expect(await rowOf(2)).toBe(false)
  })

  test('leaves a guard after a rule of the application that nothing marks', async () => {
    const rule = new Error('no mana')
    expect(
      await becomes(async tx => {
        await tx.insert(2)
        throw rule
      }),
    ).toMatchObject({ ...IN_DOUBT, error: rule })
  })

  test('leaves a guard after a session that was ended during a statement', async () => {
    const ended = await becomes(tx => tx.run('SELECT pg_terminate_backend(pg_backend_pid())'))
    expect(ended).toMatchObject(IN_DOUBT)
  })

  test('leaves a guard after a session that was ended during COMMIT', async () => {
    expect(await becomes(tx => tx.insert(2, 'die'))).toMatchObject(IN_DOUBT)
    expect(await rowOf(2)).toBe(false)
  })

  test('leaves a guard after a session that was ended during COMMIT, also inside rollsBack', async () => {
    expect(await becomes(rollsBack((tx: Transaction) => tx.insert(2, 'die')))).toMatchObject(IN_DOUBT)
  })

  test('leaves a guard after a COMMIT whose answer was lost, though it was done', async () => {
    const holder = await connected(url)
    await holder.query(`SELECT pg_advisory_lock(${GATE})`)
    const ended = becomes(rollsBack((tx: Transaction) => tx.insert(3, 'wait')))
    try {
      await until('the COMMIT', async () => (await server.query(WAITING)).rowCount === 1)
      proxy.swallow('toClient')
      await holder.query(`SELECT pg_advisory_unlock(${GATE})`)
      await until('the row', () => rowOf(3))
    } finally {
      proxy.cut()
      await proxy.restore()
      await holder.end()
    }
    expect(await ended).toMatchObject(IN_DOUBT)
  })
})
