import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readdir, readlink, realpath, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { connect, createServer, type Server } from 'node:net'
import { dirname, join, relative } from 'node:path'

/**
 * The folder of the embedded database, opened by one process at a time: two of them on one folder would overwrite
 * each other's pages and lose rows that had been acknowledged.
 *
 * **Who holds the folder** is known by a Unix socket that the holder listens on. The kernel closes it when the process
 * ends, however it ends, so there is no stale lock after a `kill -9`, no process id that another process may have been
 * given since, and no clock; and a holder that is merely suspended still counts, because the kernel answers for it.
 * (A lock file with a process id has all three troubles, one with a heartbeat the last; Node has no `flock`.)
 *
 * **Taking over from a dead holder** is where such locks usually let two in: both find the old one dead, one removes it
 * and takes its place, and the other removes *that*. So places are numbered, `lock-1`, `lock-2` and so on, each a
 * symbolic link to its holder's socket, and the highest is never removed:
 *
 * 1. Listen on a socket of one's own.
 * 2. If the socket behind the highest link answers, the folder is held.
 * 3. Otherwise create the link with the next number. That is exclusive: if it exists by now, begin again at 2.
 * 4. Look again. If there is a higher link, ours was a number long gone by, freed by a later holder's tidying:
 *    withdraw it and begin again at 2. Otherwise the folder is ours, and lower links can go.
 *
 * Two cannot both pass 4. Let theirs be n and a higher m, both still alive. When n looked again, m was not there yet;
 * so m was created later, by one that had seen n or something above n as the highest, and found it dead. But n answers.
 *
 * It holds among all processes of one kernel, containers sharing a volume included; not among machines sharing a
 * network file system. `data-folder.test.ts` has many processes fight over the folders of killed ones, and
 * `data-folder-race.test.ts` replays what the second look is for.
 */

/** A folder that is ours until it is released. */
export interface DataFolder {
  /** The folder's real path. */
  readonly path: string
  /** Whether it holds no database yet, or only what an interrupted first start left, which has been removed. */
  readonly isNew: boolean
  /** To be called when a new database is complete: from now on an interruption leaves something worth keeping. */
  complete(): Promise<void>
  /** Lets others in. Idempotent. */
  release(): void
}

/** The folder cannot be used; the message is one line for people. */
export class DataFolderError extends Error {
  override readonly name = 'DataFolderError'
}

const OWN = '.spellbook'
/** There from before the database is created until it is complete. */
const UNFINISHED = 'unfinished'
/** What a folder may hold besides a database. A volume's root often has the second. */
const HARMLESS = new Set([OWN, 'lost+found'])

/** Longest path of a socket, in bytes, on every system. Some cut off a longer one without a word. */
const MAX_SOCKET_PATH_BYTES = 103

/**
 * Creates the folder if need be, and takes it.
 *
 * @throws DataFolderError if another process has it, if it holds something else than a database, or if it cannot be used, as
 *   one that may not be written.
 */
export async function openDataFolder(folder: string): Promise<DataFolder> {
  const path = await makeFolder(folder)
  try {
    return await takeFolder(path)
  } catch (error) {
    if (error instanceof DataFolderError) throw error
    const { message } = error as Error
    throw new DataFolderError(`the data folder ${path} cannot be used: ${message}`, { cause: error })
  }
}

async function takeFolder(path: string): Promise<DataFolder> {
  await refuseForeign(path)
  await mkdir(join(path, OWN), { recursive: true })
  const server = await takeLock(join(path, OWN))
  const unfinished = join(path, OWN, UNFINISHED)
  try {
    if (existsSync(unfinished)) await removeAll(path)
    const isNew = !existsSync(join(path, 'PG_VERSION'))
    if (isNew) await writeFile(unfinished, '')
    return {
      path,
      isNew,
      complete: () => rm(unfinished, { force: true }),
      release: () => void server.close(),
    }
  } catch (error) {
    server.close()
    throw error
  }
}

async function makeFolder(folder: string): Promise<string> {
  try {
    await makeFolders(folder)
    return await realpath(folder)
  } catch (error) {
    throw new DataFolderError(`the data folder ${folder} cannot be made: ${(error as Error).message}`)
  }
}

/** Node's own way, `recursive: true`, tries for ever where a file system says that there is nothing, such as `/proc`. */
async function makeFolders(folder: string): Promise<void> {
  if (existsSync(folder) && (await stat(folder)).isDirectory()) return
  const parent = dirname(folder)
  if (parent !== folder) await makeFolders(parent)
  try {
    await mkdir(folder)
  } catch (error) {
    // Somebody else may have been faster.
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || !(await stat(folder)).isDirectory()) throw error
  }
}

async function refuseForeign(path: string): Promise<void> {
  const found = (await readdir(path)).filter(name => !HARMLESS.has(name))
  if (found.length === 0 || found.includes('PG_VERSION') || existsSync(join(path, OWN, UNFINISHED))) return
  throw new DataFolderError(
    `the data folder ${path} holds something else than a database: choose an empty one`,
  )
}

async function removeAll(path: string): Promise<void> {
  for (const name of await readdir(path)) {
    if (!HARMLESS.has(name)) await rm(join(path, name), { recursive: true, force: true })
  }
}

async function takeLock(folder: string): Promise<Server> {
  const socket = randomBytes(6).toString('hex')
  const server = await listen(shortPath(join(folder, socket)))
  try {
    for (;;) {
      const highest = await highestLock(folder)
      if (highest > 0 && (await answers(join(folder, lockName(highest))))) {
        throw new DataFolderError(`the data folder ${join(folder, '..')} is in use by another process`)
      }
      const mine = highest + 1
      if (!(await createLink(socket, join(folder, lockName(mine))))) continue
      if ((await highestLock(folder)) === mine) {
        await tidy(folder, mine)
        return server
      }
      await rm(join(folder, lockName(mine)), { force: true })
    }
  } catch (error) {
    server.close()
    throw error
  }
}

const lockName = (number: number) => `lock-${number}`

async function lockNumbers(folder: string): Promise<number[]> {
  const names = await readdir(folder)
  return names.map(name => Number(/^lock-(\d+)$/.exec(name)?.[1] ?? 0)).filter(number => number > 0)
}

const highestLock = async (folder: string) => Math.max(0, ...(await lockNumbers(folder)))

async function createLink(target: string, path: string): Promise<boolean> {
  try {
    await symlink(target, path)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

/** Removes the links below ours, and the sockets that their holders left if they were killed. */
async function tidy(folder: string, mine: number): Promise<void> {
  for (const number of await lockNumbers(folder)) {
    if (number >= mine) continue
    const link = join(folder, lockName(number))
    const socket = await readlink(link).catch(() => undefined)
    await rm(link, { force: true })
    if (socket !== undefined) await rm(join(folder, socket), { force: true })
  }
}

function listen(path: string): Promise<Server> {
  const server = createServer(visitor => visitor.destroy()).unref()
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, () => resolve(server))
  })
}

/** Whether somebody listens there. Anything but a clear "nobody" counts as somebody: then nothing can be lost. */
function answers(path: string): Promise<boolean> {
  return new Promise(resolve => {
    const visit = connect(shortPath(path))
    visit.once('connect', () => {
      visit.destroy()
      resolve(true)
    })
    visit.once('error', (error: NodeJS.ErrnoException) =>
      resolve(error.code !== 'ECONNREFUSED' && error.code !== 'ENOENT'),
    )
  })
}

function shortPath(path: string): string {
  const fromHere = relative(process.cwd(), path)
  const shorter = fromHere.length < path.length ? fromHere : path
  if (Buffer.byteLength(shorter) <= MAX_SOCKET_PATH_BYTES) return shorter
  throw new DataFolderError(`the path of the data folder is too long: ${join(path, '../..')}`)
}
