import { feedMigrationSql } from 'cacheaside/postgres'
import pg from 'pg'
import { startPostgres } from '../../test/services.ts'
import { middleOf, type Row, rowOf } from './report.ts'

const ROWS = 100_000
const SINGLE = 200
const GOAL = 2

/** What a change feed costs writers: statements of many rows and of one, on a table with a feed and on one without. */
export async function feedRows(rounds: number): Promise<{ rows: Row[]; postgres: string }> {
  const server = await startPostgres()
  const client = new pg.Client(server.url)
  await client.connect()
  for (const table of ['plain', 'watched']) {
    await client.query(`CREATE TABLE ${table} (id bigint PRIMARY KEY, name text NOT NULL, damage int NOT NULL);
      INSERT INTO ${table} SELECT i, 'Spell ' || i, i % 50 FROM generate_series(1, ${ROWS}) AS i; ANALYZE ${table}`)
  }
  await client.query(feedMigrationSql({ tables: ['watched'], maxRows: 2 * ROWS }))
  await client.query('SET synchronous_commit = off')
  const taken = new Map<string, number[]>()
  const run = async (what: string, table: string) => {
    const us = await STATEMENTS[what]!(client, table)
    const name = `${what} ${table}`
    taken.set(name, [...(taken.get(name) ?? []), us])
  }
  for (let round = 0; round < rounds; round++) {
    const order = round % 2 === 0 ? ['plain', 'watched'] : ['watched', 'plain']
    for (const what of Object.keys(STATEMENTS)) for (const table of order) await run(what, table)
    for (const table of [...order, 'cacheaside.outbox']) await client.query(`VACUUM ${table}`)
  }
  const { rows } = await client.query('SHOW server_version')
  await client.end()
  await server.stop()
  return {
    rows: Object.keys(STATEMENTS).map(what => compared(what, taken)),
    postgres: rows[0].server_version,
  }
}

function compared(what: string, taken: ReadonlyMap<string, number[]>): Row {
  const [without, watched] = [taken.get(`${what} plain`)!, taken.get(`${what} watched`)!]
  return rowOf({
    name: `${what}, with the feed`,
    value: { amount: middleOf(watched), unit: 'µs' },
    against: 'the same without',
    goal: what.startsWith('UPDATE of 100,000') ? GOAL : undefined,
    ratios: watched.map((us, i) => us / without[i]!),
  })
}

/** Each returns how many microseconds it took. What it has changed is taken back, or removed from the outbox. */
const STATEMENTS: Readonly<Record<string, (client: pg.Client, table: string) => Promise<number>>> = {
  'UPDATE of 100,000 rows': (client, table) => rolledBack(client, `UPDATE ${table} SET damage = damage + 1`),
  'INSERT of 100,000 rows': (client, table) =>
    rolledBack(
      client,
      `INSERT INTO ${table} SELECT i, 'x', 1 FROM generate_series(${ROWS + 1}, ${2 * ROWS}) AS i`,
    ),
  'DELETE of 100,000 rows': (client, table) => rolledBack(client, `DELETE FROM ${table}`),
  'UPDATE of one row': async (client, table) => {
    const text = `UPDATE ${table} SET damage = damage + 1 WHERE id = $1`
    const beganMs = performance.now()
    for (let i = 0; i < SINGLE; i++)
      await client.query({ name: table, text, values: [1 + ((i * 7919) % ROWS)] })
    const us = ((performance.now() - beganMs) * 1_000) / SINGLE
    await client.query('DELETE FROM cacheaside.outbox')
    return us
  },
}

async function rolledBack(client: pg.Client, statement: string): Promise<number> {
  await client.query('BEGIN')
  const beganMs = performance.now()
  await client.query(statement)
  const us = (performance.now() - beganMs) * 1_000
  await client.query('ROLLBACK')
  return us
}
