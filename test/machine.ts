import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { type Surroundings, whichIn } from './install-program.ts'

/** What a program is to a test: it prints this, whatever it is asked. */
export async function putProgram(path: string, prints: string): Promise<void> {
  await writeFile(path, `#!/bin/sh\necho '${prints}'\n`)
  await chmod(path, 0o755)
}

/** What a test machine is like. Left out: its user is not root, and may not become it. */
export interface MachineOptions extends Partial<Omit<Surroundings, 'run' | 'say'>> {
  /** The programs that are there once something was installed. */
  readonly brings?: Readonly<Record<string, string>>
  /** Whether the user may become root without a password. */
  readonly sudo?: boolean
}

/**
 * A machine for the tests of what finds and installs programs: only these programs exist on it, and nothing is run. It is
 * removed with the test.
 *
 * @param programs - By their names: what each of them prints.
 */
export async function machine(
  programs: Readonly<Record<string, string>>,
  { brings = {}, sudo = false, ...options }: MachineOptions = {},
) {
  const folder = await mkdtemp(join(tmpdir(), 'cacheaside-machine-'))
  /** For what is downloaded, and kept. */
  const kept = await mkdtemp(join(tmpdir(), 'cacheaside-kept-'))
  for (const path of [folder, kept]) onTestFinished(() => rm(path, { recursive: true }))
  for (const [name, prints] of Object.entries({ ...brings, ...programs }))
    await putProgram(join(folder, name), prints)
  const ran: string[] = []
  const said: string[] = []
  const isInstalled = () => ran.some(line => /\b(install|add)\b/.test(line))
  const surroundings: Surroundings = {
    env: {},
    noInstall: false,
    isRoot: false,
    which: name => (name in programs || isInstalled() ? whichIn(folder, name) : undefined),
    run: (command, args) => {
      ran.push([command, ...args].join(' '))
      return command !== 'sudo' || sudo
    },
    say: line => void said.push(line),
    ...options,
  }
  return { surroundings, folder, kept, ran, said }
}
