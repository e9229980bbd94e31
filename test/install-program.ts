/** Gets a program that the tests need from the system's package manager. */
import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync } from 'node:fs'
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

/** A command with its arguments. */
type Command = readonly string[]

/** A program that package managers can bring. */
export interface Installation {
  /** How it is called in messages. */
  readonly name: string
  /** What a person can do instead. */
  readonly manual: string
  /** The package managers that have it, the first choice first. */
  readonly managers: readonly string[]
  /**
   * The commands that bring it.
   *
   * @param prefix - What has to come before the manager's name; `undefined`: there is no right to install.
   * @returns `undefined` if they need that right.
   */
  readonly commands: (manager: string, prefix: Command | undefined) => readonly Command[] | undefined
  /** The program that this manager has brought. */
  readonly found: (manager: string) => string | undefined
}

/** What each package manager is told, one command after the other. */
export type Steps = Readonly<Record<string, readonly Command[]>>

/** The commands of {@link Installation} for managers that are told this. */
export const commandsOf =
  (steps: Steps): Installation['commands'] =>
  (manager, prefix) =>
    prefix && steps[manager]!.map(step => [...prefix, manager, ...step])

/**
 * Installs a program, if it may: `--no-install` and `CACHEASIDE_NO_INSTALL` forbid it.
 *
 * @throws Error of one line that says what is missing, and what to do.
 */
export function install(
  { name, manual, managers, commands, found }: Installation,
  surroundings: Surroundings,
): string {
  const { env, which, run, say, noInstall } = surroundings
  if (noInstall || (env.CACHEASIDE_NO_INSTALL ?? '') !== '')
    throw new Error(`there is no ${name}, and it may not be installed; ${manual}`)
  const manager = managers.find(one => which(one) !== undefined)
  if (manager === undefined) throw new Error(`there is no ${name}, nor a known package manager; ${manual}`)
  const all = commands(manager, privileges(surroundings, manager))
  if (all === undefined) throw new Error(`there is no ${name}, nor the right to install it; ${manual}`)
  for (const [command = '', ...args] of all) {
    say(`No ${name} here: ${[command, ...args].join(' ')}`)
    // An update that fails for one of many sources need not keep the installation from working.
    run(command, args, { DEBIAN_FRONTEND: 'noninteractive' })
  }
  const program = found(manager)
  if (program === undefined) throw new Error(`${manager} has brought no ${name}; ${manual}`)
  return program
}

/** What has to come before a package manager's name; `undefined` without the right to install. */
function privileges({ isRoot, which, run }: Surroundings, manager: string): Command | undefined {
  if (isRoot || manager === 'brew') return []
  if (which('sudo') !== undefined && run('sudo', ['-n', 'true'])) return ['sudo', '-n']
  return undefined
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
