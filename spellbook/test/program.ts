import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, vi } from 'vitest'
import { PATIENCE } from '../../test/patience.ts'
import { argumentsFor, LIFTOFF } from '../../test/programs.ts'
import type { LogLine } from './harness.ts'

export const REPOSITORY = fileURLToPath(new URL('../..', import.meta.url))
const MAIN = fileURLToPath(new URL('../src/main.ts', import.meta.url))
const READY = 'Spellbook is ready at '

/** How a program ended. */
export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** Spellbook as a program of its own. */
export interface Program {
  /** What it has logged so far. */
  readonly log: readonly LogLine[]
  /** What it has said otherwise, in both streams. */
  readonly said: () => string
  /** The process that was started: `node`, or `npm`. */
  readonly process: ChildProcess
  readonly exit: Promise<Exit>
  /** Waits until it serves, and answers with its address and the id of its own process, which is not `npm`'s. */
  ready(): Promise<{ url: string; pid: number }>
  /** Waits until it has logged a message. */
  logged(message: string): Promise<LogLine>
}

/** How to start it. */
export interface Start {
  readonly env?: Record<string, string>
  readonly cwd?: string
  /** Started as the README says. */
  readonly npm?: boolean
  /** How many file descriptors it may have. Left out: as many as this process. */
  readonly descriptors?: number
  /** A file beside this one that is run first, in the same process, to put something in its way. */
  readonly after?: string
}

const started = new Set<ChildProcess>()

/** Of its sources: what is run first and the program have modules in common. */
const startAfter = (path: string): string[] => {
  const first = ['--import', import.meta.resolve('tsx'), '--import', new URL(path, import.meta.url).href]
  return [LIFTOFF, '--conditions=source', ...first, MAIN]
}

/** Starts Spellbook with these variables and none of the machine's own. */
export function startProgram({
  env = {},
  cwd = REPOSITORY,
  npm = false,
  after,
  descriptors,
}: Start): Program {
  const own = Object.entries(process.env).filter(([name]) => /^(PATH|HOME|TMPDIR|LANG)$/.test(name))
  const [program, options]: [string, string[]] = npm
    ? ['npm', ['start']]
    : [process.execPath, after === undefined ? argumentsFor('spellbook/src/main.ts') : startAfter(after)]
  const limited = ['-c', `ulimit -n ${descriptors}; exec "$0" "$@"`, program, ...options]
  const [command, args] = descriptors === undefined ? [program, options] : ['sh', limited]
  const child = spawn(command, args, {
    cwd,
    env: { ...Object.fromEntries(own), PORT: '0', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    // A process group of its own, which a terminal's Ctrl-C is sent to as a whole.
    detached: true,
  })
  started.add(child)
  const log: LogLine[] = []
  let said = ''
  let rest = ''
  const hear = (text: string) => {
    const lines = (rest + text).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) {
      if (line.startsWith('{')) log.push(JSON.parse(line))
      else said += `${line}\n`
    }
  }
  child.stdout.setEncoding('utf8').on('data', hear)
  child.stderr.setEncoding('utf8').on('data', text => {
    said += text
  })
  const exit = new Promise<Exit>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => {
      started.delete(child)
      resolve({ code, signal })
    })
  })
  const logged = (message: string) =>
    vi.waitFor(() => {
      const line = log.find(line => line.msg.startsWith(message))
      if (line !== undefined) return line
      throw new Error(`it has not logged "${message}", but said: ${said}${JSON.stringify(log)}`)
    }, PATIENCE)
  return {
    log,
    said: () => said,
    process: child,
    exit,
    logged,
    async ready() {
      const line = await Promise.race([
        logged(READY),
        exit.then(({ code, signal }) => {
          throw new Error(`it ended with ${code ?? signal} and said: ${said}`)
        }),
      ])
      return { url: line.msg.slice(READY.length), pid: Number(line.pid) }
    },
  }
}

/** Ends whatever a test has left running. */
export async function endPrograms(): Promise<void> {
  const ends = [...started].map(child => new Promise(resolve => child.on('close', resolve)))
  for (const child of started) {
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
  }
  await Promise.all(ends)
}

/** Tells a program to end, and expects that it does so in order: with 0, and with a last line that says so. */
export async function endsInOrder(program: Program, tell: () => void): Promise<void> {
  tell()
  expect(await program.exit).toEqual({ code: 0, signal: null })
  const log = program.log.map(({ msg }) => msg)
  expect(log.filter(msg => /^SIG\w+: closing$/.test(msg))).toHaveLength(1)
  expect(log.filter(msg => msg === 'closed')).toHaveLength(1)
  expect(log.at(-1)).toBe('closed')
}
