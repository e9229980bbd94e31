/**
 * Finds a Chromium for the tests of the page, or gets one from the system's package manager. Nothing is started or left
 * running.
 */
import { spawnSync } from 'node:child_process'
import { here, privileges, type Surroundings } from './ensure-redis-server.ts'

/** How it is called, by who has packed it. */
const NAMES = ['chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome']

/** The package managers that install it, and what they are told. */
const INSTALLERS: Readonly<Record<string, readonly (readonly string[])[]>> = {
  'apt-get': [
    ['update', '-qq'],
    ['install', '-y', '-qq', '--no-install-recommends', 'chromium', 'fonts-dejavu-core'],
  ],
  apk: [['add', '--no-cache', 'chromium', 'font-dejavu']],
  dnf: [['install', '-y', 'chromium', 'dejavu-sans-fonts']],
  pacman: [['-Sy', '--noconfirm', 'chromium', 'ttf-dejavu']],
}

const MANUAL = 'install Chromium, or set CHROMIUM to its program'

/**
 * The path of a Chromium that runs: the one that `CHROMIUM` names, or on the PATH, or else, if it may, freshly installed.
 * `--no-install` and `CACHEASIDE_NO_INSTALL` forbid that.
 *
 * @throws Error of one line that says what is missing, and what to do.
 */
export function ensureChromium(surroundings: Surroundings = here()): string {
  const { env } = surroundings
  if (env.CHROMIUM !== undefined && env.CHROMIUM !== '') return checked(env.CHROMIUM)
  return checked(found(surroundings) ?? install(surroundings))
}

const found = ({ which }: Surroundings): string | undefined =>
  NAMES.map(which).find(path => path !== undefined)

function install(surroundings: Surroundings): string {
  const { env, which, run, say, noInstall } = surroundings
  if (noInstall || (env.CACHEASIDE_NO_INSTALL ?? '') !== '')
    throw new Error(`there is no Chromium, and it may not be installed; ${MANUAL}`)
  const manager = Object.keys(INSTALLERS).find(name => which(name) !== undefined)
  if (manager === undefined) throw new Error(`there is no Chromium, nor a known package manager; ${MANUAL}`)
  const prefix = privileges(surroundings, manager)
  if (prefix === undefined) throw new Error(`there is no Chromium, nor the right to install it; ${MANUAL}`)
  for (const step of INSTALLERS[manager]!) {
    const [command = '', ...args] = [...prefix, manager, ...step]
    say(`No Chromium here: ${[command, ...args].join(' ')}`)
    run(command, args, { DEBIAN_FRONTEND: 'noninteractive' })
  }
  const program = found(surroundings)
  if (program === undefined) throw new Error(`${manager} has brought no Chromium; ${MANUAL}`)
  return program
}

function checked(path: string): string {
  const { stdout, error } = spawnSync(path, ['--version'], { encoding: 'utf8' })
  if (error !== undefined) throw new Error(`${path} cannot be run: ${error.message}`)
  if (!/\b(Chromium|Chrome)\b.* \d+\./.test(stdout))
    throw new Error(`${path} is no Chromium: it calls itself ${stdout.trim() || 'nothing'}`)
  return path
}
