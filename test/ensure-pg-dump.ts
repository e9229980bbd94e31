/**
 * Finds `pg_dump` and `pg_restore` for the tests, or gets them from the system's package manager. The packages of the
 * servers for the tests hold no programs for clients. No package that is named here starts a service.
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { here, privileges, type Surroundings } from './ensure-redis-server.ts'

/** Both programs, and their version. */
export interface PgDump {
  readonly pgDump: string
  readonly pgRestore: string
  /** It dumps servers of this major version and of earlier ones, and refuses later ones. */
  readonly major: number
}

/** How each package manager is asked. */
const STEPS: Readonly<Record<string, readonly (readonly string[])[]>> = {
  'apt-get': [
    ['update', '-qq'],
    ['install', '-y', '-qq', '--no-install-recommends', 'postgresql-client'],
  ],
  apk: [['add', '--no-cache', 'postgresql-client']],
  dnf: [['install', '-y', 'postgresql']],
  pacman: [['-Sy', '--noconfirm', 'postgresql']],
  brew: [['install', 'libpq']],
}

/** Homebrew links no programs of `libpq`, because a server may be installed beside it. */
const UNLINKED = ['/opt/homebrew/opt/libpq/bin/pg_dump', '/usr/local/opt/libpq/bin/pg_dump']

const MANUAL = 'install the client programs of PostgreSQL, or set PG_DUMP to its pg_dump'

/**
 * The `pg_dump` that `PG_DUMP` names, or the one on the PATH, or else, if it may, a freshly installed one; and the
 * `pg_restore` beside it. `--no-install` and `CACHEASIDE_NO_INSTALL` forbid that.
 *
 * @throws Error of one line that says what is missing, and what to do.
 */
export function ensurePgDump(surroundings: Surroundings = here()): PgDump {
  const { env } = surroundings
  if (env.PG_DUMP !== undefined && env.PG_DUMP !== '') return checked(env.PG_DUMP)
  return checked(found(surroundings) ?? install(surroundings))
}

const found = ({ which }: Surroundings): string | undefined =>
  which('pg_dump') ?? (which('brew') === undefined ? undefined : UNLINKED.find(path => existsSync(path)))

function install(surroundings: Surroundings): string {
  const { env, which, run, say, noInstall } = surroundings
  if (noInstall || (env.CACHEASIDE_NO_INSTALL ?? '') !== '')
    throw new Error(`there is no pg_dump, and it may not be installed; ${MANUAL}`)
  const manager = Object.keys(STEPS).find(name => which(name) !== undefined)
  if (manager === undefined) throw new Error(`there is no pg_dump, nor a known package manager; ${MANUAL}`)
  const prefix = privileges(surroundings, manager)
  if (prefix === undefined) throw new Error(`there is no pg_dump, nor the right to install it; ${MANUAL}`)
  for (const step of STEPS[manager]!) {
    const [command = '', ...args] = [...prefix, manager, ...step]
    say(`No pg_dump here: ${[command, ...args].join(' ')}`)
    run(command, args, { DEBIAN_FRONTEND: 'noninteractive' })
  }
  const program = found(surroundings)
  if (program === undefined) throw new Error(`${manager} has brought no pg_dump; ${MANUAL}`)
  return program
}

function checked(pgDump: string): PgDump {
  const pgRestore = join(dirname(pgDump), 'pg_restore')
  const [major] = [pgDump, pgRestore].map(path => {
    const { stdout, error } = spawnSync(path, ['--version'], { encoding: 'utf8' })
    if (error !== undefined) throw new Error(`${path} cannot be run: ${error.message}`)
    const version = /^pg_(?:dump|restore) \(PostgreSQL\) (\d+)/.exec(stdout)
    if (version === null) throw new Error(`${path} is another program: it says ${stdout.trim() || 'nothing'}`)
    return Number(version[1])
  })
  return { pgDump, pgRestore, major: major! }
}
