/**
 * Finds a `redis-server` for the tests, or gets one from the system's package manager. Nothing is started or left
 * running: Debian's package `redis-server` starts a service on port 6379 when it is installed, so `redis-tools` is
 * taken there, whose `redis-check-rdb` is the very same program and acts as the name it is called by.
 */
import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'

/** What is looked at before a program is installed; all of it the process's own unless a test says otherwise. */
export interface Surroundings {
  readonly env: NodeJS.ProcessEnv
  /** Whether `--no-install` was given. */
  readonly noInstall: boolean
  /** Where a program of that name lies. */
  which(name: string): string | undefined
  /** Runs a program to its end, showing its output; whether it succeeded. */
  run(command: string, args: readonly string[], env?: NodeJS.ProcessEnv): boolean
  readonly isRoot: boolean
  /** Tells the person in front of the screen. */
  say(line: string): void
}

/** How a package manager is asked, and how the server is called that it brings. */
interface PackageManager {
  readonly name: string
  readonly steps: readonly (readonly string[])[]
  readonly server: string
}

const PACKAGE_MANAGERS: readonly PackageManager[] = [
  {
    name: 'apt-get',
    steps: [
      ['update', '-qq'],
      ['install', '-y', '-qq', '--no-install-recommends', 'redis-tools'],
    ],
    server: 'redis-check-rdb',
  },
  { name: 'apk', steps: [['add', '--no-cache', 'redis']], server: 'redis-server' },
  { name: 'dnf', steps: [['install', '-y', 'redis']], server: 'redis-server' },
  { name: 'pacman', steps: [['-Sy', '--noconfirm', 'valkey']], server: 'valkey-server' },
  { name: 'brew', steps: [['install', 'redis']], server: 'redis-server' },
]

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
  const found = which('redis-server') ?? which('valkey-server') ?? linked(which('redis-check-rdb'))
  return checked(found ?? install(surroundings))
}

function install(surroundings: Surroundings): string {
  const { env, which, run, say, noInstall } = surroundings
  const manual = 'install Redis 7.0 or later, or set REDIS_SERVER to its redis-server'
  if (noInstall || (env.CACHEASIDE_NO_INSTALL ?? '') !== '')
    throw new Error(`there is no redis-server, and it may not be installed; ${manual}`)
  const manager = PACKAGE_MANAGERS.find(({ name }) => which(name) !== undefined)
  if (manager === undefined)
    throw new Error(`there is no redis-server, nor a known package manager; ${manual}`)
  const prefix = privileges(surroundings, manager.name)
  if (prefix === undefined)
    throw new Error(`there is no redis-server, nor the right to install it; ${manual}`)
  for (const step of manager.steps) {
    const [command = '', ...args] = [...prefix, manager.name, ...step]
    say(`No redis-server here: ${[command, ...args].join(' ')}`)
    // An update that fails for one of many sources need not keep the installation from working.
    run(command, args, { DEBIAN_FRONTEND: 'noninteractive' })
  }
  const server = which(manager.server)
  const usable = manager.server === 'redis-check-rdb' ? linked(server) : server
  if (usable === undefined) throw new Error(`${manager.name} has brought no redis-server; ${manual}`)
  return usable
}

/** What has to come before a package manager's name; `undefined` without the right to install. */
export function privileges({ isRoot, which, run }: Surroundings, name: string): string[] | undefined {
  if (isRoot || name === 'brew') return []
  if (which('sudo') !== undefined && run('sudo', ['-n', 'true'])) return ['sudo', '-n']
  return undefined
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

/** This machine, and the process's own environment and arguments. */
export function here(): Surroundings {
  return {
    env: process.env,
    // npm keeps the flag for itself, and tells of it as its config `install` being false.
    noInstall: process.argv.includes('--no-install') || process.env.npm_config_install === '',
    // Servers lie in folders that the PATH of an ordinary user may lack.
    which: name => whichIn([process.env.PATH ?? '', '/usr/sbin', '/usr/local/sbin'].join(delimiter), name),
    run: (command, args, env) =>
      spawnSync(command, args, {
        stdio: ['ignore', 'ignore', 'inherit'],
        env: { ...process.env, ...env },
      }).status === 0,
    isRoot: process.getuid?.() === 0,
    say: line => console.log(line),
  }
}

/** Where a program of that name lies in these folders. */
export function whichIn(path: string, name: string): string | undefined {
  for (const folder of path.split(delimiter)) {
    const candidate = join(folder, name)
    if (folder === '' || !existsSync(candidate)) continue
    try {
      accessSync(candidate, constants.X_OK)
      return candidate
    } catch {}
  }
  return undefined
}
