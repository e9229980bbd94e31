import { inspect, isDeepStrictEqual } from 'node:util'
import type pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  createDatabase,
  type PostgresServer,
  type PostgresVersion,
  postgresVersions,
  startPostgres,
} from '../../../test/services.ts'
import { installFeed } from '../../src/postgres/index.ts'
import { mended } from './conditions.ts'
import { connected, openPGlite } from './databases.ts'
import { DDL_CASES, type DdlCase, defaultTable, defaultWrites, type Recorded } from './ddl-cases.ts'

type Rows = Record<string, unknown>[]
type Session = (script: string) => Promise<Rows>

/** A table for each case, all of them watched; and the sessions that write into them. */
interface World {
  /** Does to a table what is to be done, and looks at the outbox. */
  readonly other: Session
  /** What writes: sessions that have done so before, or not. */
  readonly writers: Readonly<Record<string, Session>>
  close(): Promise<void>
}

const sessionOf =
  (client: pg.Client): Session =>
  async script =>
    [await client.query(script)].flat().at(-1)!.rows

async function onServer(version: PostgresVersion): Promise<World> {
  const server: PostgresServer = await startPostgres(version)
  const url = await createDatabase(server.url)
  const [other, old, young] = await Promise.all([connected(url), connected(url), connected(url)])
  const { rows } = await other.query('SHOW server_version')
  expect(rows[0].server_version).toMatch(new RegExp(`^${version}\\.`))
  return {
    other: sessionOf(other),
    writers: { 'a session that has written before': sessionOf(old), 'a new one': sessionOf(young) },
    async close() {
      await Promise.all([other, old, young].map(client => client.end()))
      await server.stop()
    },
  }
}

async function onPGlite(): Promise<World> {
  const database = await openPGlite()
  return { other: database.sql, writers: { 'the only session': database.sql }, close: database.close }
}

const worlds: [name: string, version: number, open: () => Promise<World>][] = [
  ...postgresVersions.map(
    version =>
      [`PostgreSQL ${version}`, version, () => onServer(version)] as [string, number, () => Promise<World>],
  ),
  ['PGlite', 17, onPGlite],
]

/** What became of a case: what was written, and what of it was recorded, before and after the relay looked. */
interface Outcome {
  readonly wrong: string[]
  relayRecorded: Recorded[]
  codes: string[]
  recordedAgain: Recorded[]
}

/** All cases of a world, side by side: a look of the relay costs as much for one table as for all. */
class Play {
  readonly #world: World
  readonly #cases: readonly (readonly [what: string, table: string, one: DdlCase])[]
  readonly outcomes = new Map<string, Outcome>()

  constructor(world: World, cases: readonly (readonly [string, string, DdlCase])[]) {
    this.#world = world
    this.#cases = cases
    for (const [, table] of cases)
      this.outcomes.set(table, { wrong: [], relayRecorded: [], codes: [], recordedAgain: [] })
  }

  async run(): Promise<void> {
    const { other, writers } = this.#world
    for (const [, table, { make = defaultTable }] of this.#cases) await other(make(table))
    await installFeed(other, { tables: this.#cases.map(([, table]) => table) })
    const [old] = Object.values(writers)
    for (const [, table] of this.#cases) {
      await old!(`INSERT INTO ${table} (id, v) VALUES (50, 5); UPDATE ${table} SET v = 6 WHERE id = 50`)
      await old!(`INSERT INTO ${table} (id, v) VALUES (51, 5); DELETE FROM ${table} WHERE id = 51`)
    }
    await old!(`DELETE FROM cacheaside.outbox`)
    let n = 100
    for (const [, table, one] of this.#cases) {
      await this.#tried(table, async () => {
        await other(one.ddl(table))
        await this.#recorded(table)
        for (const [who, session] of Object.entries(writers))
          await this.#write(table, one, who, session, ++n, false)
      })
    }
    const problems = await mended(other)
    for (const [, table, one] of this.#cases) {
      const outcome = this.outcomes.get(table)!
      const about = problems.filter(text => new RegExp(`\\b${table}\\b`).test(text))
      outcome.codes = about.map(text => text.split(' ')[0]!)
      outcome.relayRecorded = await this.#recorded(table)
      await this.#tried(table, async () => {
        for (const [who, session] of Object.entries(writers))
          await this.#write(table, one, who, session, ++n, true)
      })
    }
    await other('SELECT cacheaside.cover()')
    for (const [, table] of this.#cases) this.outcomes.get(table)!.recordedAgain = await this.#recorded(table)
  }

  /** What was recorded since this was asked last. */
  async #recorded(table: string): Promise<Recorded[]> {
    const rows = await this.#world.other(
      `WITH gone AS (DELETE FROM cacheaside.outbox WHERE source = '${table}' RETURNING *) SELECT * FROM gone ORDER BY id`,
    )
    return rows.map(row => (row.new ?? row.old ?? 'all') as Recorded)
  }

  async #write(table: string, one: DdlCase, who: string, session: Session, n: number, isLater: boolean) {
    const { writes = defaultWrites, later } = one
    const expectations =
      isLater && later !== undefined ? later(n) : writes(table, n).map(([, recorded]) => recorded)
    for (const [i, [script]] of writes(table, n).entries()) {
      await session(script)
      const expected = expectations[i]
      const times = expected === undefined ? 0 : 1
      const wanted = Array.from({ length: times }, () => expected)
      const got = await this.#recorded(table)
      if (!isDeepStrictEqual(got, wanted))
        this.outcomes
          .get(table)!
          .wrong.push(`${who}${isLater ? ', later' : ''}: ${script}: ${inspect(got)}, not ${inspect(wanted)}`)
    }
  }

  /** One case that fails must not take the others with it. */
  async #tried(table: string, work: () => Promise<void>): Promise<void> {
    await work().catch(error => this.outcomes.get(table)!.wrong.push(String(error)))
  }
}

describe.each(worlds)(
  'on %s a watched table keeps its feed, and fails no writer, when',
  (_name, version, open) => {
    const cases = DDL_CASES.filter(({ since = 0 }) => since <= version).map(
      (one, i) => [one.what, `t${i}`, one] as const,
    )
    let world: World | undefined
    let play: Play

    beforeAll(async () => {
      world = await open()
      play = new Play(world, cases)
      await play.run()
    })
    afterAll(() => world?.close())

    it.each(cases)('%s', (_what, table, { code, countsAsChange }) => {
      const { wrong, codes, relayRecorded, recordedAgain } = play.outcomes.get(table)!
      expect(wrong, 'every session writes, and what it writes is recorded').toEqual([])
      expect(codes, 'the relay warns of it').toEqual(code === undefined ? [] : [code])
      expect(relayRecorded.includes('all'), 'the relay counts the whole table as changed').toBe(
        countsAsChange,
      )
      const isUnseen =
        code === 'NOT_WATCHED' &&
        cases.some(([, name, one]) => name === table && one.ddl(table).includes('CREATE'))
      expect(recordedAgain, 'once; or again for as long as changes of a table stay unseen').toEqual(
        isUnseen ? ['all'] : [],
      )
    })

    it('a writer does it itself, between its writes, and takes some of it back', async () => {
      const { other, writers } = world!
      await other('CREATE TABLE own (id int PRIMARY KEY, v int)')
      await installFeed(other, { tables: ['own'] })
      const session = Object.values(writers).at(-1)!
      await session('INSERT INTO own VALUES (1, 1)')
      await other(`DELETE FROM cacheaside.outbox WHERE source = 'own'`)
      for (const script of [
        'BEGIN',
        'UPDATE own SET v = 2',
        'ALTER TABLE own ALTER id TYPE bigint',
        'UPDATE own SET v = 3',
        'SAVEPOINT before',
        'ALTER TABLE own RENAME id TO number',
        'UPDATE own SET v = 4',
        'ROLLBACK TO before',
        'UPDATE own SET v = 5',
        'COMMIT',
        'UPDATE own SET v = 6',
      ])
        await session(script)
      const rows = await other(`SELECT new FROM cacheaside.outbox WHERE source = 'own' ORDER BY id`)
      expect(rows.map(row => row.new)).toEqual(Array.from({ length: 4 }, () => ({ id: '1' })))
    })
  },
)
