import { drizzle as drizzleOnPg } from 'drizzle-orm/node-postgres'
import { integer, pgTable, text as textColumn } from 'drizzle-orm/pg-core'
import { drizzle as drizzleOnPostgresJs } from 'drizzle-orm/postgres-js'
import knex from 'knex'
import { CompiledQuery, Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import postgres from 'postgres'
import { DataSource, EntitySchema } from 'typeorm'

/** What a transaction's function can do, each in its driver's or ORM's own way. */
export interface Transaction {
  /** Inserts a row by what the ORM has for it. */
  insert(id: number, does?: string): Promise<unknown>
  /** Sends a statement as it is. */
  run(statement: string): Promise<unknown>
  /** The ORM's own way to roll back, if that is a throw of its own. */
  rollback?(): unknown
}

/** A driver or ORM, opened on a database. */
export interface Opened {
  /** Begins, calls the function, and commits or rolls back, as the manual of the driver or ORM shows it. */
  transaction<T>(work: (transaction: Transaction) => Promise<T>): Promise<T>
  close(): Promise<unknown>
}

/** Opens a driver or ORM on the database of an address, for rows of one table. */
export type Open = (url: string, table: string) => Promise<Opened>

/** One that survives the end of a session that it has: `pg` emits `error` on a client that nobody listens to otherwise. */
function openPool(url: string): pg.Pool {
  const pool = new pg.Pool({ connectionString: url, max: 2 })
  pool.on('error', () => {})
  pool.on('connect', client => void client.on('error', () => {}))
  return pool
}

const openPg: Open = async (url, table) => {
  const pool = openPool(url)
  return {
    async transaction(work) {
      const client = await pool.connect()
      try {
        await client.query('BEGIN')
        const result = await work({
          insert: (id, does) => client.query(`INSERT INTO ${table} VALUES ($1, $2)`, [id, does]),
          run: statement => client.query(statement),
        })
        await client.query('COMMIT')
        return result
      } catch (error) {
        await client.query('ROLLBACK')
        throw error
      } finally {
        client.release()
      }
    },
    close: () => pool.end(),
  }
}

const openPostgresJs: Open = async (url, table) => {
  const sql = postgres(url, { max: 2, onnotice: () => {} })
  return {
    transaction: work =>
      sql.begin(transaction =>
        work({
          insert: async (id, does = null as never) =>
            transaction`INSERT INTO ${transaction(table)} VALUES (${id}, ${does})`,
          run: async statement => transaction.unsafe(statement),
        }),
      ) as Promise<never>,
    close: () => sql.end({ timeout: 0 }),
  }
}

const rowsOf = (table: string) => pgTable(table, { id: integer().primaryKey(), does: textColumn() })

const openDrizzleOnPg: Open = async (url, table) => {
  const pool = openPool(url)
  const db = drizzleOnPg(pool)
  const rows = rowsOf(table)
  return {
    transaction: work =>
      db.transaction(tx =>
        work({
          insert: (id, does) => tx.insert(rows).values({ id, does }),
          run: statement => tx.execute(statement),
          rollback: () => tx.rollback(),
        }),
      ),
    close: () => pool.end(),
  }
}

const openDrizzleOnPostgresJs: Open = async (url, table) => {
  const client = postgres(url, { max: 2, onnotice: () => {} })
  const db = drizzleOnPostgresJs(client)
  const rows = rowsOf(table)
  return {
    transaction: work =>
      db.transaction(tx =>
        work({
          insert: (id, does) => tx.insert(rows).values({ id, does }),
          run: statement => tx.execute(statement),
          rollback: () => tx.rollback(),
        }),
      ),
    close: () => client.end({ timeout: 0 }),
  }
}

const openKysely: Open = async (url, table) => {
  const db = new Kysely<Record<string, { id: number; does: string | undefined }>>({
    dialect: new PostgresDialect({ pool: openPool(url) }),
  })
  return {
    transaction: work =>
      db.transaction().execute(tx =>
        work({
          insert: (id, does) => tx.insertInto(table).values({ id, does }).execute(),
          run: statement => tx.executeQuery(CompiledQuery.raw(statement)),
        }),
      ),
    close: () => db.destroy(),
  }
}

const openKnex: Open = async (url, table) => {
  const db = knex({ client: 'pg', connection: url, pool: { min: 0, max: 2 }, log: { warn() {} } })
  return {
    transaction: work =>
      db.transaction(tx =>
        work({
          insert: async (id, does) => tx(table).insert({ id, does }),
          run: async statement => tx.raw(statement),
        }),
      ),
    close: () => db.destroy(),
  }
}

const openTypeorm: Open = async (url, table) => {
  const Row = new EntitySchema<{ id: number; does: string | null }>({
    name: table,
    columns: { id: { type: 'integer', primary: true }, does: { type: 'text', nullable: true } },
  })
  const source = new DataSource({ type: 'postgres', url, entities: [Row], poolSize: 2, logging: false })
  await source.initialize()
  return {
    transaction: work =>
      source.transaction(manager =>
        work({
          insert: (id, does = null as never) => manager.insert(Row, { id, does }),
          run: statement => manager.query(statement),
        }),
      ),
    close: () => source.destroy(),
  }
}

/** Those that are popular, by their names. Prisma generates its client with engines that these tests do not have. */
export const ORMS: Readonly<Record<string, Open>> = {
  pg: openPg,
  'postgres.js': openPostgresJs,
  'Drizzle on pg': openDrizzleOnPg,
  'Drizzle on postgres.js': openDrizzleOnPostgresJs,
  Kysely: openKysely,
  Knex: openKnex,
  TypeORM: openTypeorm,
}
