/**
 * Finds a `promtool` for the tests, or gets one from the system's package manager. Debian's package `prometheus` starts a
 * service on port 9090 when it is installed. So there it is only downloaded, and the one program is taken out of it.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { here, privileges, type Surroundings } from './ensure-redis-server.ts'

/** Where the downloaded program is kept: until `npm ci` removes the folder. */
const FOLDER = fileURLToPath(new URL('../node_modules/.cache/cacheaside/promtool', import.meta.url))

/** The package managers that install the program and start nothing. */
const INSTALLERS: Readonly<Record<string, readonly string[]>> = {
  apk: ['add', '--no-cache', 'prometheus'],
  dnf: ['install', '-y', 'golang-github-prometheus'],
  pacman: ['-Sy', '--noconfirm', 'prometheus'],
  brew: ['install', 'prometheus'],
}

const MANUAL = 'install Prometheus, or set PROMTOOL to its promtool'

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
  return checked(which('promtool') ?? unpacked(folder) ?? install(surroundings, folder))
}

function install(surroundings: Surroundings, folder: string): string {
  const { env, which, run, say, noInstall } = surroundings
  if (noInstall || (env.CACHEASIDE_NO_INSTALL ?? '') !== '')
    throw new Error(`there is no promtool, and it may not be installed; ${MANUAL}`)
  const manager = ['apt-get', ...Object.keys(INSTALLERS)].find(name => which(name) !== undefined)
  if (manager === undefined) throw new Error(`there is no promtool, nor a known package manager; ${MANUAL}`)
  const isDebian = manager === 'apt-get'
  const prefix = privileges(surroundings, manager)
  // Downloading takes no rights; only the list of packages may be old.
  if (prefix === undefined && !isDebian)
    throw new Error(`there is no promtool, nor the right to install it; ${MANUAL}`)
  if (isDebian) mkdirSync(folder, { recursive: true })
  const steps = isDebian
    ? [
        ...(prefix === undefined ? [] : [[...prefix, 'apt-get', 'update', '-qq']]),
        ['sh', '-c', 'cd "$0" && apt-get download -qq prometheus', folder],
      ]
    : [[...prefix!, manager, ...INSTALLERS[manager]!]]
  for (const [command = '', ...args] of steps) {
    say(`No promtool here: ${[command, ...args].join(' ')}`)
    run(command, args, { DEBIAN_FRONTEND: 'noninteractive' })
  }
  const program = isDebian ? unpacked(folder) : which('promtool')
  if (program === undefined) throw new Error(`${manager} has brought no promtool; ${MANUAL}`)
  return program
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
