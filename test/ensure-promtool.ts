/**
 * Finds a `promtool` for the tests, or gets one from the system's package manager. Debian's package `prometheus` starts a
 * service on port 9090 when it is installed. So there it is only downloaded, and the one program is taken out of it.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync } from 'node:fs'
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

/** Where the downloaded program is kept: until `npm ci` removes the folder. */
const FOLDER = fileURLToPath(new URL('../node_modules/.cache/cacheaside/promtool', import.meta.url))

/** What each package manager is told that installs the program and starts nothing. */
const STEPS: Steps = {
  apk: [['add', '--no-cache', 'prometheus']],
  dnf: [['install', '-y', 'golang-github-prometheus']],
  pacman: [['-Sy', '--noconfirm', 'prometheus']],
  brew: [['install', 'prometheus']],
}

/**
 * The path of a `promtool` that runs: the one that `PROMTOOL` names, or on the PATH, or else, if it may, one from the package
 * manager. `--no-install` and `CACHEASIDE_NO_INSTALL` forbid that.
 *
 * @param folder - Where a downloaded program is kept.
 * @throws Error of one line that says what is missing, and what to do.
 */
export function ensurePromtool(surroundings: Surroundings = here(), folder = FOLDER): string {
  const { env, which } = surroundings
  if (env.PROMTOOL !== undefined && env.PROMTOOL !== '') return checked(env.PROMTOOL)
  const installation: Installation = {
    name: 'promtool',
    manual: 'install Prometheus, or set PROMTOOL to its promtool',
    managers: ['apt-get', ...Object.keys(STEPS)],
    commands(manager, prefix) {
      if (manager !== 'apt-get') return commandsOf(STEPS)(manager, prefix)
      mkdirSync(folder, { recursive: true })
      // Downloading takes no rights; only the list of packages may be old.
      const update = prefix === undefined ? [] : [[...prefix, 'apt-get', 'update', '-qq']]
      return [...update, ['sh', '-c', 'cd "$0" && apt-get download -qq prometheus', folder]]
    },
    found: manager => (manager === 'apt-get' ? unpacked(folder) : which('promtool')),
  }
  return checked(which('promtool') ?? unpacked(folder) ?? install(installation, surroundings))
}

/** The program out of the package in a folder, if there is one. */
function unpacked(folder: string): string | undefined {
  const program = join(folder, 'usr/bin/promtool')
  if (existsSync(program)) return program
  const archive = existsSync(folder) ? readdirSync(folder).find(name => name.endsWith('.deb')) : undefined
  if (archive === undefined) return undefined
  const take = 'cd "$0" && dpkg-deb --fsys-tarfile "$1" | tar -x ./usr/bin/promtool'
  const { status } = spawnSync('sh', ['-c', take, folder, archive])
  return status === 0 && existsSync(program) ? program : undefined
}

function checked(path: string): string {
  const { stdout, stderr, error } = spawnSync(path, ['--version'], { encoding: 'utf8' })
  if (error !== undefined) throw new Error(`${path} cannot be run: ${error.message}`)
  if (!/promtool, version \d/.test(stdout + stderr))
    throw new Error(`${path} is no promtool: it calls itself ${stdout.trim() || 'nothing'}`)
  return path
}
