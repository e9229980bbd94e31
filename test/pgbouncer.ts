/**
 * A PgBouncer for the tests: a real one, on a free loopback port, with a temporary folder of its own. It does not
 * outlive the process that started it, however that process ends.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import getPort from 'get-port'
import pg from 'pg'
import { inject } from 'vitest'
import { eventually, exited, type Settings, startCleaner } from './redis-servers.ts'
import { give, type ServerUser, serverEnvironment, serverFolder, serverUser } from './services.ts'

/** A pooler of a test's own. */
export interface PgBouncer {
  readonly port: number
  /** Of its only process. */
  readonly pid: number
  /** The address of a database of its server, by way of the pooler. */
  through(url: string): string
  /** Ends it and removes its folder. Idempotent. */
  stop(): Promise<void>
}

/** What the global setup hands to the tests: where the program is, or why there is none. */
export type PgBouncerProgram = { readonly path: string } | { readonly problem: string }

declare module 'vitest' {
  interface ProvidedContext {
    pgbouncer: PgBouncerProgram
  }
}

const START_DEADLINE_MS = 30_000
const PORT_ATTEMPTS = 5

/**
 * Transaction mode, as managed PostgreSQL has it, and each transaction on another connection to the server than the
 * last one, where there are several: what a session leaves behind is not found there.
 */
const DEFAULTS: Settings = {
  pool_mode: 'transaction',
  default_pool_size: '3',
  server_round_robin: '1',
  max_client_conn: '200',
}

/**
 * Starts a PgBouncer in front of a PostgreSQL server, which takes about a tenth of a second. It lets in the user of the
 * address, by the same password.
 *
 * @param url - Of any database of the server, by a password.
 * @param settings - What its section `[pgbouncer]` holds besides or instead.
 */
export async function startPgBouncer(url: string, settings: Settings = {}): Promise<PgBouncer> {
  const found = inject('pgbouncer')
  if ('problem' in found) throw new Error(found.problem)
  const user = serverUser()
  const folder = await serverFolder(user, 'cacheaside-pgbouncer-')
  const cleaner = await startCleaner(folder)
  const children: ChildProcess[] = []
  const stop = async () => {
    cleaner.stdin?.end()
    await exited(cleaner)
    await Promise.all(children.map(exited))
  }
  try {
    for (let attempt = 1; ; attempt++) {
      const port = await getPort({ host: '127.0.0.1' })
      const own = join(folder, `server-${attempt}`)
      await configure(own, new URL(url), { ...DEFAULTS, ...settings, listen_port: String(port) }, user)
      const { child, problem } = launch(found.path, own, user)
      children.push(child)
      const ready = async () => problem() !== undefined || (await answers(withPort(url, port)))
      await eventually(ready, 'PgBouncer to answer', START_DEADLINE_MS)
      const ended = problem()
      // Between our look at the port and its own, another process may have taken it.
      if (ended !== undefined && attempt < PORT_ATTEMPTS && /address already in use/i.test(ended)) continue
      if (ended !== undefined) throw new Error(ended)
      return { port, pid: child.pid as number, through: other => withPort(other, port), stop }
    }
  } catch (error) {
    await stop()
    throw new Error(`PgBouncer for the tests did not start: ${(error as Error).message}`, { cause: error })
  }
}

/** Writes the folder of one server: its configuration, and whom it lets in. */
async function configure(folder: string, server: URL, settings: Settings, user: ServerUser): Promise<void> {
  const users = join(folder, 'users.txt')
  const password = decodeURIComponent(server.password)
  const config = join(folder, 'pgbouncer.ini')
  const all: Settings = {
    listen_addr: '127.0.0.1',
    unix_socket_dir: '',
    auth_type: 'scram-sha-256',
    auth_file: users,
    ...settings,
  }
  await mkdir(folder, { mode: 0o700 })
  await writeFile(users, `"${server.username}" "${password}"\n`, { mode: 0o600 })
  await writeFile(
    config,
    [
      '[databases]',
      `* = host=${server.hostname} port=${server.port}`,
      '[pgbouncer]',
      ...Object.entries(all).map(([name, value]) => `${name} = ${value}`),
      '',
    ].join('\n'),
    { mode: 0o600 },
  )
  for (const path of [folder, users, config]) await give(path, user)
}

/** Starts the program in a folder, by a shell that leaves its process id there first. */
function launch(program: string, folder: string, user: ServerUser) {
  const child = spawn('sh', ['-c', 'echo $$ >pid && exec "$0" pgbouncer.ini', program], {
    ...user,
    cwd: folder,
    env: serverEnvironment(),
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let log = ''
  let ended: string | undefined
  child.stderr.setEncoding('utf8').on('data', text => {
    log = (log + text).slice(-4000)
  })
  child.once('error', error => {
    ended = error.message
  })
  child.once('close', code => {
    ended = `it ended with ${code}: ${log.trim()}`
  })
  return { child, problem: () => ended }
}

/** Whether a client is let in, and the server answers it. */
async function answers(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url })
  client.on('error', () => {})
  await client.connect()
  await client.query('SELECT')
  await client.end()
  return true
}

function withPort(url: string, port: number): string {
  const changed = new URL(url)
  changed.hostname = '127.0.0.1'
  changed.port = String(port)
  return changed.href
}
