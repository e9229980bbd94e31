import type { Transaction as PGliteTransaction } from '@electric-sql/pglite'
import type { PGliteConfig } from '../config.ts'
import { type DataFolder, DataFolderError, openDataFolder } from './data-folder.ts'
import { type Database, fromDriver, NOT_COMMITTED, type Queryable, type Transaction } from './database.ts'
import { DiskRoom, type FreeBytes } from './disk-room.ts'
import { create, EmbeddedEngine } from './embedded-engine.ts'

/**
 * PostgreSQL in this process, compiled to WebAssembly: for trying things out, and for tests. It has one session, and a
 * statement blocks the event loop for as long as it runs.
 *
 * @param signal - Gives up waiting when it aborts: creating a database takes seconds, on a busy machine many. The work cannot
 * be cancelled, so the folder stays ours until this process ends, which should be soon. The next process that opens the
 * folder makes an incomplete database again.
 * @param freeBytes - Left out: asks the system.
 * @param onBroken - Told when the database could not go on. The next caller opens it again.
 * @throws DataFolderError if another process has the folder, if it holds something else or what cannot be opened, if it
 * cannot be written, or if its disk is full.
 * @see https://pglite.dev
 */
export async function openPGlite(
  config: PGliteConfig,
  signal?: AbortSignal,
  freeBytes?: FreeBytes,
  onBroken?: (error: unknown) => void,
): Promise<Database> {
  if (config.folder === undefined)
    return databaseOver(
      new EmbeddedEngine(await unlessAborted(signal, () => create(undefined))),
      'PGlite in memory',
    )
  const folder = await openDataFolder(config.folder)
  try {
    const room = new DiskRoom(folder.path, freeBytes)
    await room.checkForDatabase(folder.isNew)
    const open = () => create(folder.path)
    const db = await unlessAborted(signal, () => open().catch(error => refuse(folder, error)))
    if (folder.isNew) await folder.complete()
    const engine = new EmbeddedEngine(db, open, onBroken)
    return databaseOver(engine, `PGlite in ${folder.path}`, { folder, room })
  } catch (error) {
    if (signal?.aborted !== true) folder.release()
    throw error
  }
}

/** PGlite's own message about files that it cannot use is only "Aborted()". */
function refuse({ path, isNew }: DataFolder, error: unknown): never {
  const said = (error instanceof Error ? error.message : String(error)).split('\n', 1)[0]
  const message = isNew
    ? `no database can be made in the data folder ${path} (${said})`
    : `the database in the data folder ${path} cannot be opened, and may be damaged (${said}): restore a copy of the folder, or remove it to start with an empty one`
  throw new DataFolderError(message, { cause: error })
}

async function unlessAborted<T>(signal: AbortSignal | undefined, begin: () => Promise<T>): Promise<T> {
  if (signal === undefined) return begin()
  signal.throwIfAborted()
  let giveUp = () => {}
  const aborted = new Promise<never>((_, reject) => {
    giveUp = () => reject(signal.reason)
    signal.addEventListener('abort', giveUp)
  })
  return Promise.race([begin(), aborted]).finally(() => signal.removeEventListener('abort', giveUp))
}

/** The part that a PGlite and a transaction of it have in common. */
interface Session {
  query<Row>(text: string, values?: unknown[]): Promise<{ rows: Row[] }>
}

function queryOf(session: Session): Queryable['query'] {
  return async (text, values = []) => {
    try {
      return (await session.query<never>(text, [...values])).rows
    } catch (error) {
      throw fromDriver(error)
    }
  }
}

/** The place of a database that is not in memory. */
interface Place {
  readonly folder: DataFolder
  readonly room: DiskRoom
}

const READS = /^\s*select\b/i

function databaseOver(engine: EmbeddedEngine, name: string, place?: Place): Database {
  let closed: Promise<void> | undefined
  return {
    name,
    feedSource: { pglite: { exec: script => engine.run(db => db.exec(script)) } },
    async query(text, values, signal) {
      if (!READS.test(text)) await place?.room.checkForWrite()
      return engine.run(db => queryOf(db)(text, values), signal)
    },
    async transaction(work) {
      await place?.room.checkForWrite()
      return engine.run(db => db.transaction(session => inTransaction(session, work)))
    },
    close() {
      closed ??= engine.close().finally(() => place?.folder.release())
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
