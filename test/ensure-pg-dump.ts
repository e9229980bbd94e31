/**
 * Finds `pg_dump` and `pg_restore` for the tests, or gets them from the system's package manager. The packages of the
 * servers for the tests hold no programs for clients. No package that is named here starts a service.
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import {
  commandsOf,
  here,
  type Installation,
  install,
  type Steps,
  type Surroundings,
} from './install-program.ts'

/** Both programs, and their version. */
export interface PgDump {
  readonly pgDump: string
  readonly pgRestore: string
  /** It dumps servers of this major version and of earlier ones, and refuses later ones. */
  readonly major: number
}

/** What each package manager is told. */
const STEPS: Steps = {
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

/**
 * The `pg_dump` that `PG_DUMP` names, or the one on the PATH, or else, if it may, a freshly installed one; and the
 * `pg_restore` beside it. `--no-install` and `CACHEASIDE_NO_INSTALL` forbid that.
 *
 * @throws Error of one line that says what is missing, and what to do.
 */
export function ensurePgDump(surroundings: Surroundings = here()): PgDump {
  const { env } = surroundings
  if (env.PG_DUMP !== undefined && env.PG_DUMP !== '') return checked(env.PG_DUMP)
  const installation: Installation = {
    name: 'pg_dump',
    manual: 'install the client programs of PostgreSQL, or set PG_DUMP to its pg_dump',
    managers: Object.keys(STEPS),
    commands: commandsOf(STEPS),
    found: () => found(surroundings),
  }
  return checked(found(surroundings) ?? install(installation, surroundings))
}

const found = ({ which }: Surroundings): string | undefined =>
  which('pg_dump') ?? (which('brew') === undefined ? undefined : UNLINKED.find(path => existsSync(path)))

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
