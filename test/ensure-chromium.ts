/**
 * Finds a Chromium for the tests of the page, or gets one from the system's package manager. Nothing is started or left
 * running.
 */
import { spawnSync } from 'node:child_process'
import {
  commandsOf,
  here,
  type Installation,
  install,
  type Steps,
  type Surroundings,
} from './install-program.ts'

/** How it is called, by who has packed it. */
const NAMES = ['chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome']

/** What each package manager is told. */
const STEPS: Steps = {
  'apt-get': [
    ['update', '-qq'],
    ['install', '-y', '-qq', '--no-install-recommends', 'chromium', 'fonts-dejavu-core'],
  ],
  apk: [['add', '--no-cache', 'chromium', 'font-dejavu']],
  dnf: [['install', '-y', 'chromium', 'dejavu-sans-fonts']],
  pacman: [['-Sy', '--noconfirm', 'chromium', 'ttf-dejavu']],
}

/**
 * The path of a Chromium that runs: the one that `CHROMIUM` names, or on the PATH, or else, if it may, freshly installed.
 * `--no-install` and `CACHEASIDE_NO_INSTALL` forbid that.
 *
 * @throws Error of one line that says what is missing, and what to do.
 */
export function ensureChromium(surroundings: Surroundings = here()): string {
  const { env } = surroundings
  if (env.CHROMIUM !== undefined && env.CHROMIUM !== '') return checked(env.CHROMIUM)
  const installation: Installation = {
    name: 'Chromium',
    manual: 'install Chromium, or set CHROMIUM to its program',
    managers: Object.keys(STEPS),
    commands: commandsOf(STEPS),
    found: () => found(surroundings),
  }
  return checked(found(surroundings) ?? install(installation, surroundings))
}

const found = ({ which }: Surroundings): string | undefined =>
  NAMES.map(which).find(path => path !== undefined)

function checked(path: string): string {
  const { stdout, error } = spawnSync(path, ['--version'], { encoding: 'utf8' })
  if (error !== undefined) throw new Error(`${path} cannot be run: ${error.message}`)
  if (!/\b(Chromium|Chrome)\b.* \d+\./.test(stdout))
    throw new Error(`${path} is no Chromium: it calls itself ${stdout.trim() || 'nothing'}`)
  return path
}
