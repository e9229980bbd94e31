import { PGlite, type Transaction as PGliteTransaction, types } from '@electric-sql/pglite'
import type { PGliteConfig } from './config.ts'
import { type DataFolder, openDataFolder } from './data-folder.ts'
import {
  type Database,
  fromDriver,
  NOT_COMMITTED,
  parseInt8,
  type Queryable,
  type Transaction,
} from './database.ts'

/**
 * PostgreSQL in this process, compiled to WebAssembly: for trying things out, and for tests. It has one session, and a
 * statement blocks the event loop for as long as it runs.
 *
 * @throws DataFolderError if another process has the folder, or if it holds something else.
 * @see https://pglite.dev
 */
export async function openPGlite(config: PGliteConfig): Promise<Database> {
  if (config.folder === undefined) return databaseOver(await create(undefined), 'PGlite in memory', undefined)
  const folder = await openDataFolder(config.folder)
  try {
    const db = await create(folder.path)
    if (folder.isNew) await folder.complete()
    return databaseOver(db, `PGlite in ${folder.path}`, folder)
  } catch (error) {
    folder.release()
    throw error
  }
}

const create = (dataDir: string | undefined) =>
  PGlite.create({ ...(dataDir === undefined ? {} : { dataDir }), parsers: { [types.INT8]: parseInt8 } })

/** The part that a PGlite and a transaction of it have in common. */
interface Session {
  query<Row>(text: string, values?: unknown[]): Promise<{ rows: Row[] }>
}

function queryOf(session: Session): Queryable['query'] {
  return async (text, values = [], signal) => {
    signal?.throwIfAborted()
    try {
      return (await session.query<never>(text, [...values])).rows
    } catch (error) {
      throw fromDriver(error)
    }
  }
}

function databaseOver(db: PGlite, name: string, folder: DataFolder | undefined): Database {
  let closed: Promise<void> | undefined
  return {
    name,
    feedSource: { pglite: db },
    query: queryOf(db),
    transaction: work => db.transaction(session => inTransaction(session, work)),
    close() {
      closed ??= db.close().finally(() => folder?.release())
      return closed
    },
  }
}

async function inTransaction<T>(
  session: PGliteTransaction,
  work: (transaction: Transaction) => Promise<T>,
): Promise<T> {
  // To a transaction in which a statement failed, COMMIT answers ROLLBACK and no error.
  let failed = false
  const watched = async <Result>(result: Promise<Result>): Promise<Result> => {
    try {
      return await result
    } catch (error) {
      failed = true
      throw fromDriver(error)
    }
  }
  const query = queryOf(session)
  const value = await work({
    query: (text, values) => watched(query(text, values)),
    script: async text => void (await watched(session.exec(text))),
  })
  if (failed) throw new Error(NOT_COMMITTED)
  return value
}
