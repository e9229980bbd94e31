import { parseArgs } from 'node:util'
import type { Clock } from '../base/clock.ts'
import { loadConfig, type VerifyConfig } from './config.ts'
import { reportText, type VerifyReport } from './report.ts'
import { type Progress, verify } from './verify.ts'

/** Where a command writes. */
export interface CommandOutput {
  /** The report. */
  out(text: string): void
  /** Everything else. */
  err(text: string): void
  /** Whether `err` is a terminal, on which a line can be drawn again and again. */
  readonly isTerminal: boolean
  readonly clock: Clock
}

/** Nothing stale; something stale; not verified. */
export type ExitCode = 0 | 1 | 2

const USAGE = `usage: cacheaside verify --config FILE [options]

Compares what the shared store holds with the origin, and counts what is stale.
It writes nothing. FILE exports by default { shared, keyspaces, … }: see docs/verify.md.

  --config FILE     a module of JavaScript or TypeScript
  --keyspace NAME   only this keyspace; may be given several times
  --sample N        only N keys, picked at random
  --rate N          at most N values read from the origin per second (500)
  --grace MS        how long a value that differs is left alone before it is accused (2000)
  --json            the report as JSON
  --help            this text

Exit code: 0 nothing is stale, 1 something is, 2 it could not be verified.`

const OPTIONS = {
  config: { type: 'string' },
  keyspace: { type: 'string', multiple: true },
  sample: { type: 'string' },
  rate: { type: 'string' },
  grace: { type: 'string' },
  json: { type: 'boolean' },
  help: { type: 'boolean' },
} as const

/** The command line cannot be understood; the message is one line that says why. */
class UsageError extends Error {}

/**
 * Runs `cacheaside` with the arguments that come after its name. Never rejects: what goes wrong is one line of `err`.
 *
 * @returns the exit code.
 */
export async function runCommand(args: readonly string[], output: CommandOutput): Promise<ExitCode> {
  try {
    const given = parse(args)
    if (given === undefined) {
      output.out(`${USAGE}\n`)
      return 0
    }
    const report = await verifyBy(given, output)
    output.out(given.json ? `${JSON.stringify(report, undefined, 2)}\n` : `${reportText(report)}\n`)
    return exitCodeOf(report)
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    const hint = error instanceof UsageError ? ' (--help tells more)' : ''
    output.err(`cacheaside: ${message.split('\n', 1)[0]}${hint}\n`)
    return 2
  }
}

interface Given {
  readonly config: string
  readonly only: readonly string[] | undefined
  readonly sample: number | undefined
  readonly rate: number | undefined
  readonly graceMs: number | undefined
  readonly json: boolean
}

/** `undefined`: help is wanted. */
function parse(args: readonly string[]): Given | undefined {
  const { values, positionals } = parsed(args)
  if (values.help === true) return undefined
  const [command, ...rest] = positionals
  if (command !== 'verify') throw new UsageError(`expected the command verify, got ${command ?? 'nothing'}`)
  if (rest.length > 0) throw new UsageError(`expected nothing after verify but options, got ${rest[0]}`)
  if (values.config === undefined) throw new UsageError('expected --config FILE')
  return {
    config: values.config,
    only: values.keyspace,
    sample: whole('--sample', values.sample),
    rate: whole('--rate', values.rate),
    graceMs: whole('--grace', values.grace),
    json: values.json ?? false,
  }
}

function parsed(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true, strict: true })
  } catch (error) {
    throw new UsageError((error as Error).message.split('. ', 1)[0])
  }
}

function whole(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (!/^\d{1,9}$/.test(text)) throw new UsageError(`expected ${name} to be a whole number, got ${text}`)
  return Number(text)
}

async function verifyBy(given: Given, output: CommandOutput): Promise<VerifyReport> {
  const config = await loadConfig(given.config)
  try {
    const { close: _, ...options } = config
    return await verify({
      ...options,
      ...(given.only && { only: given.only }),
      ...(given.sample !== undefined && { sample: given.sample }),
      ...(given.rate !== undefined && { rate: given.rate }),
      ...(given.graceMs !== undefined && { graceMs: given.graceMs }),
      ...(output.isTerminal && { onProgress: progressBar(output) }),
      clock: output.clock,
    })
  } finally {
    if (output.isTerminal) output.err(CLEAR_LINE)
    await closeAll(config)
  }
}

/** A report that is there is not taken back because something could not be closed. */
async function closeAll({ shared, close }: VerifyConfig): Promise<void> {
  await Promise.resolve(close?.()).catch(() => {})
  await shared?.close?.().catch(() => {})
}

const CLEAR_LINE = '\r\u001b[K'
const BAR_LENGTH = 30
const REDRAW_MS = 100

function progressBar({ err, clock }: CommandOutput): (progress: Progress) => void {
  let drawnMs = Number.NEGATIVE_INFINITY
  return ({ done, of, stale }) => {
    if (clock.nowMs() - drawnMs < REDRAW_MS && done < of) return
    drawnMs = clock.nowMs()
    const filled = Math.round((BAR_LENGTH * done) / Math.max(1, of))
    err(
      `${CLEAR_LINE}[${'#'.repeat(filled)}${'-'.repeat(BAR_LENGTH - filled)}] ${done}/${of}, ${stale} stale`,
    )
  }
}

function exitCodeOf({ total }: VerifyReport): ExitCode {
  if (total.stale > 0) return 1
  return total.skipped.failed > 0 ? 2 : 0
}
