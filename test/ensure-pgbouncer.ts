/**
 * Finds a `pgbouncer` for the tests, or gets one from the system's package manager. Debian's package starts a service
 * on port 6432 when it is installed. So there the package is only downloaded, once, and unpacked for each run.
 */
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  commandsOf,
  here,
  type Installation,
  install,
  type Steps,
  type Surroundings,
} from './install-program.ts'

/** Where the downloaded packages are kept: until `npm ci` removes the folder. */
const PACKAGES = fileURLToPath(new URL('../node_modules/.cache/cacheaside/pgbouncer', import.meta.url))

/** What each package manager is told. Debian's only downloads, the others start nothing. */
const stepsFor = (packages: string): Steps => ({
  'apt-get': download(packages),
  apk: [['add', '--no-cache', 'pgbouncer']],
  dnf: [['install', '-y', 'pgbouncer']],
  pacman: [['-Sy', '--noconfirm', 'pgbouncer']],
  brew: [['install', 'pgbouncer']],
})

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
  const steps = stepsFor(packages)
  const installation: Installation = {
    name: 'pgbouncer',
    manual: 'install PgBouncer, or set PGBOUNCER to its program',
    managers: Object.keys(steps),
    commands(manager, prefix) {
      if (manager === 'apt-get' && prefix !== undefined)
        mkdirSync(join(packages, 'partial'), { recursive: true })
      return commandsOf(steps)(manager, prefix)
    },
    found: manager => (manager === 'apt-get' ? unpacked(packages) : which('pgbouncer')),
  }
  return checked(which('pgbouncer') ?? unpacked(packages) ?? install(installation, surroundings))
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
