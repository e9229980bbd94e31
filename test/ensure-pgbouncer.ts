/**
 * Finds a `pgbouncer` for the tests, or gets one from the system's package manager. Debian's package starts a service
 * on port 6432 when it is installed. So there the package is only downloaded, once, and unpacked for each run.
 */
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { here, privileges, type Surroundings } from './ensure-redis-server.ts'

/** Where the downloaded packages are kept: until `npm ci` removes the folder. */
const PACKAGES = fileURLToPath(new URL('../node_modules/.cache/cacheaside/pgbouncer', import.meta.url))

/** The package managers that install the program and start nothing. */
const INSTALLERS: Readonly<Record<string, readonly string[]>> = {
  apk: ['add', '--no-cache', 'pgbouncer'],
  dnf: ['install', '-y', 'pgbouncer'],
  pacman: ['-Sy', '--noconfirm', 'pgbouncer'],
  brew: ['install', 'pgbouncer'],
}

const MANUAL = 'install PgBouncer, or set PGBOUNCER to its program'

/**
 * The path of a `pgbouncer` that runs: the one that `PGBOUNCER` names, or on the PATH, or else, if it may, one from the
 * package manager. `--no-install` and `CACHEASIDE_NO_INSTALL` forbid that.
 *
 * @param packages - The folder that downloaded packages are kept in.
 * @throws Error of one line that says what is missing, and what to do.
 */
export function ensurePgBouncer(surroundings: Surroundings = here(), packages = PACKAGES): string {
  const { env, which } = surroundings
  if (env.PGBOUNCER !== undefined && env.PGBOUNCER !== '') return checked(env.PGBOUNCER)
  return checked(which('pgbouncer') ?? unpacked(packages) ?? install(surroundings, packages))
}

function install(surroundings: Surroundings, packages: string): string {
  const { env, which, noInstall } = surroundings
  if (noInstall || (env.CACHEASIDE_NO_INSTALL ?? '') !== '')
    throw new Error(`there is no pgbouncer, and it may not be installed; ${MANUAL}`)
  const manager = ['apt-get', ...Object.keys(INSTALLERS)].find(name => which(name) !== undefined)
  if (manager === undefined) throw new Error(`there is no pgbouncer, nor a known package manager; ${MANUAL}`)
  const prefix = privileges(surroundings, manager)
  if (prefix === undefined) throw new Error(`there is no pgbouncer, nor the right to install it; ${MANUAL}`)
  const isDebian = manager === 'apt-get'
  if (isDebian) mkdirSync(join(packages, 'partial'), { recursive: true })
  for (const step of isDebian ? download(packages) : [INSTALLERS[manager]!]) {
    const [command = '', ...args] = [...prefix, manager, ...step]
    surroundings.say(`No pgbouncer here: ${[command, ...args].join(' ')}`)
    surroundings.run(command, args, { DEBIAN_FRONTEND: 'noninteractive' })
  }
  const program = isDebian ? unpacked(packages) : which('pgbouncer')
  if (program === undefined) throw new Error(`${manager} has brought no pgbouncer; ${MANUAL}`)
  return program
}

/** Brings the package, and those that it needs and that this machine does not have. */
const download = (folder: string): string[][] => [
  ['update', '-qq'],
  [
    'install',
    '-y',
    '-qq',
    '--no-install-recommends',
    '--download-only',
    '-o',
    `Dir::Cache::archives=${folder}`,
    'pgbouncer',
  ],
]

/** A program that runs what the packages of a folder hold; `undefined` if it is not among them. */
function unpacked(packages: string): string | undefined {
  const files = listed(packages).filter(name => name.endsWith('.deb'))
  if (!files.some(name => name.startsWith('pgbouncer_'))) return undefined
  // In a place where another user than root can reach it, too.
  const folder = mkdtempSync(join(tmpdir(), 'cacheaside-pgbouncer-program-'))
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  chmodSync(folder, 0o755)
  for (const file of files) spawnSync('dpkg-deb', ['-x', join(packages, file), folder])
  const libraries = listed(join(folder, 'usr/lib')).map(name => join(folder, 'usr/lib', name))
  const program = join(folder, 'pgbouncer')
  writeFileSync(
    program,
    `#!/bin/sh\nLD_LIBRARY_PATH='${libraries.join(':')}' exec '${folder}/usr/sbin/pgbouncer' "$@"\n`,
  )
  chmodSync(program, 0o755)
  return program
}

function listed(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

function checked(path: string): string {
  const { stdout, stderr, error } = spawnSync(path, ['--version'], { encoding: 'utf8' })
  if (error !== undefined) throw new Error(`${path} cannot be run: ${error.message}`)
  if (/^pgbouncer /i.test(stdout)) return path
  throw new Error(`${path} is no pgbouncer: it says ${(stdout + stderr).trim() || 'nothing'}`)
}
