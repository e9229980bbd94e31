/**
 * Finds a `redis-server` for the tests, or gets one from the system's package manager. Nothing is started or left
 * running: Debian's package `redis-server` starts a service on port 6379 when it is installed, so `redis-tools` is
 * taken there, whose `redis-check-rdb` is the very same program and acts as the name it is called by.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  commandsOf,
  here,
  type Installation,
  install,
  type Steps,
  type Surroundings,
} from './install-program.ts'

/** What each package manager is told. */
const STEPS: Steps = {
  'apt-get': [
    ['update', '-qq'],
    ['install', '-y', '-qq', '--no-install-recommends', 'redis-tools'],
  ],
  apk: [['add', '--no-cache', 'redis']],
  dnf: [['install', '-y', 'redis']],
  pacman: [['-Sy', '--noconfirm', 'valkey']],
  brew: [['install', 'redis']],
}

const LEAST_VERSION = 7

/**
 * The path of a `redis-server` that runs and is recent enough: the one that `REDIS_SERVER` names, or on the PATH, or
 * else, if it may, freshly installed. `--no-install` and `CACHEASIDE_NO_INSTALL` forbid that.
 *
 * @throws Error of one line that says what is missing, and what to do.
 */
export function ensureRedisServer(surroundings: Surroundings = here()): string {
  const { env, which } = surroundings
  if (env.REDIS_SERVER !== undefined && env.REDIS_SERVER !== '') return checked(env.REDIS_SERVER)
  const found = () => which('redis-server') ?? which('valkey-server') ?? linked(which('redis-check-rdb'))
  const installation: Installation = {
    name: 'redis-server',
    manual: 'install Redis 7.0 or later, or set REDIS_SERVER to its redis-server',
    managers: Object.keys(STEPS),
    commands: commandsOf(STEPS),
    found,
  }
  return checked(found() ?? install(installation, surroundings))
}

/** A name under which the program acts as the server, for as long as this process runs. */
function linked(program: string | undefined): string | undefined {
  if (program === undefined) return undefined
  const folder = mkdtempSync(join(tmpdir(), 'cacheaside-redis-'))
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  mkdirSync(folder, { recursive: true })
  const name = join(folder, 'redis-server')
  symlinkSync(program, name)
  return name
}

function checked(path: string): string {
  const { stdout, error } = spawnSync(path, ['--version'], { encoding: 'utf8' })
  if (error !== undefined) throw new Error(`${path} cannot be run: ${error.message}`)
  const version = /\bv=(\d+)[.\d]*/.exec(stdout)
  if (version === null)
    throw new Error(`${path} is no redis-server: it calls itself ${stdout.trim() || 'nothing'}`)
  const isValkey = /valkey/i.test(stdout)
  if (!isValkey && Number(version[1]) < LEAST_VERSION)
    throw new Error(`${path} is too old (${version[0]}): Redis ${LEAST_VERSION}.0 or later is needed`)
  return path
}
