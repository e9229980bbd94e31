/** The program `cacheaside`: parses the arguments, runs the command, and gives its exit code. */
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import type { Clock } from '../base/clock.ts'
import { lineOf } from '../base/masked.ts'
import type { OperationConfig } from '../operate/config.ts'
import { limited } from '../verify/pace.ts'
import { changingCommands } from './changing-commands.ts'
import {
  type Command,
  type CommandOutput,
  type ExitCode,
  type Given,
  type OptionName,
  UsageError,
} from './command.ts'
import { loadConfig } from './config-file.ts'
import { doctorCommand } from './doctor-command.ts'
import { explainCommand } from './explain-command.ts'
import { feedCommands } from './feed-commands.ts'
import { statsCommand } from './stats-command.ts'
import { topCommand } from './top-command.ts'
import { verifyCommand } from './verify-command.ts'

/** Every command, in the order in which the help lists them. */
const COMMANDS: Readonly<Record<string, Command>> = {
  explain: explainCommand,
  stats: statsCommand,
  top: topCommand,
  ...changingCommands,
  ...feedCommands,
  doctor: doctorCommand,
  verify: verifyCommand,
}

/** The time limit for what the file does before it hands out its object. */
const LOAD_MS = 60_000
/** The time limit for closing each thing that the file has opened. */
const CLOSE_MS = 5_000

const OPTIONS = {
  config: { type: 'string' },
  keyspace: { type: 'string', multiple: true },
  sample: { type: 'string' },
  rate: { type: 'string' },
  grace: { type: 'string' },
  limit: { type: 'string' },
  seconds: { type: 'string' },
  origin: { type: 'boolean' },
  value: { type: 'boolean' },
  print: { type: 'boolean' },
  yes: { type: 'boolean' },
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean' },
} as const

/** The help texts of the options. */
const HELP: Readonly<Record<OptionName | 'config' | 'json' | 'help' | 'version', string>> = {
  config: '--config FILE     a module of JavaScript or TypeScript: see docs/cli.md',
  keyspace: '--keyspace NAME   only this keyspace; may be given several times',
  sample: '--sample N        only N keys, picked at random',
  rate: '--rate N          at most N values read from the origin per second (500)',
  grace: '--grace MS        how long a value that differs is left alone before it is accused (2000)',
  limit: '--limit N         so many lines (20)',
  seconds: '--seconds N       counts for so long (5)',
  origin: '--origin          also loads the row, and says whether the value is stale',
  value: '--value           also shows the stored text',
  print: '--print           shows the script and runs nothing',
  yes: '--yes             does it without asking',
  json: '--json            the report as JSON',
  help: '--help            this text',
  version: '--version         which version of cacheaside this is',
}

/**
 * Runs `cacheaside` with the arguments that come after its name. Never rejects: an error is one line of `err`.
 *
 * @returns the exit code.
 */
export async function runCommand(args: readonly string[], output: CommandOutput): Promise<ExitCode> {
  let opened: OperationConfig | undefined
  let code: ExitCode
  try {
    const parsed = parse(args)
    if ('text' in parsed) {
      output.out(`${parsed.text}\n`)
      code = 0
    } else {
      const { command, path, given } = parsed
      const late = () => new Error(`${path} has not made its object within ${LOAD_MS / 1000} s`)
      const config = await limited(output.clock, LOAD_MS, loadConfig(path), late, output.signal)
      opened = config
      code = await command.run({ given, config, output })
    }
  } catch (error) {
    const hint = error instanceof UsageError ? ' (--help tells more)' : ''
    output.err(`cacheaside: ${lineOf(error)}${hint}\n`)
    code = 2
  }
  output.decided?.(code)
  await closed(output.clock, () => opened?.close?.())
  await closed(output.clock, () => opened?.shared?.close?.())
  return code
}

/** Closes within the time limit. An error or a time-out here does not change the result of the command. */
async function closed(clock: Clock, close: () => unknown): Promise<void> {
  const closing = (async () => void (await close()))()
  await limited(clock, CLOSE_MS, closing, () => new Error('not closed')).catch(() => {})
}

/** The parsed arguments: a text about the program, or a command with its operands and options. */
type Parsed =
  | { readonly text: string }
  | { readonly command: Command; readonly path: string; readonly given: Given }

function parse(args: readonly string[]): Parsed {
  const { values, positionals } = parsed(args)
  const [first, ...rest] = positionals
  const name = Object.keys(COMMANDS).find(known => known === first || known === `${first} ${rest[0]}`)
  if (values.help === true) return { text: name === undefined ? helpOfAll(first) : helpOf(name) }
  if (values.version === true && first === undefined) return { text: version() }
  if (name === undefined) throw new UsageError(unknown(positionals))
  const command = COMMANDS[name]!
  const operands = positionals.slice(name.split(' ').length)
  const [least, most] = command.count
  if (operands.length < least)
    throw new UsageError(`expected ${command.operands} after ${name}, got ${operands.join(' ') || 'nothing'}`)
  if (operands.length > most)
    throw new UsageError(
      `expected nothing after ${[name, command.operands].join(' ').trim()} but options, got ${operands[most]}`,
    )
  const strange = Object.keys(values).find(option => !['config', 'json', ...command.options].includes(option))
  if (strange !== undefined) throw new UsageError(`${name} has no option --${strange}`)
  if (values.config === undefined)
    throw new UsageError(`expected --config FILE${operands.includes('--config') ? ' before --' : ''}`)
  return { command, path: values.config, given: givenBy(operands, values) }
}

type Values = ReturnType<typeof parsed>['values']

const givenBy = (operands: readonly string[], values: Values): Given => ({
  operands,
  json: values.json ?? false,
  yes: values.yes ?? false,
  only: values.keyspace,
  sample: whole('--sample', values.sample),
  rate: whole('--rate', values.rate, 1),
  graceMs: whole('--grace', values.grace),
  limit: whole('--limit', values.limit, 1, 100),
  seconds: whole('--seconds', values.seconds, 1, 60),
  origin: values.origin ?? false,
  value: values.value ?? false,
  print: values.print ?? false,
})

function parsed(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true, strict: true })
  } catch (error) {
    const [said] = (error as Error).message.split('. ', 1)
    // Also of a negative number.
    const isShort = /^Unknown option '-[^-]/.test(said!)
    throw new UsageError(
      isShort ? `${said}; an id that begins with - comes after --, behind all options` : said,
    )
  }
}

function whole(name: string, text: string | undefined, least = 0, most = 999_999_999): number | undefined {
  if (text === undefined) return undefined
  if (!/^\d{1,9}$/.test(text) || Number(text) < least || Number(text) > most)
    throw new UsageError(`expected ${name} to be a whole number from ${least} to ${most}, got ${text}`)
  return Number(text)
}

/** As the package says that has this file. */
function version(): string {
  const path = new URL('../../package.json', import.meta.url)
  return `cacheaside ${JSON.parse(readFileSync(path, 'utf8')).version} on Node ${process.version}`
}

function unknown([first, second]: readonly string[]): string {
  const inFamily = Object.keys(COMMANDS).filter(name => name.startsWith(`${first} `))
  if (inFamily.length === 0)
    return `expected a command, got ${first ?? 'nothing'}; there are ${Object.keys(COMMANDS).join(', ')}`
  const words = inFamily.map(name => name.split(' ')[1])
  return `expected one of ${words.join(', ')} after ${first}, got ${second ?? 'nothing'}`
}

function helpOfAll(first: string | undefined): string {
  const names = Object.keys(COMMANDS).filter(name => first === undefined || name.startsWith(`${first} `))
  const shown = names.length === 0 ? Object.keys(COMMANDS) : names
  const left = shown.map(name => `${name} ${COMMANDS[name]!.operands}`.trim())
  const width = Math.max(...left.map(text => text.length))
  return [
    'usage: cacheaside COMMAND --config FILE [options]',
    '',
    ...shown.map((name, i) => `  ${left[i]!.padEnd(width)}  ${COMMANDS[name]!.summary}`),
    '',
    `  ${HELP.config}`,
    `  ${HELP.json}`,
    '  --help            this text; after a command, what that command knows',
    `  ${HELP.version}`,
    '',
    EXIT_CODES,
  ].join('\n')
}

function helpOf(name: string): string {
  const { operands, summary, options } = COMMANDS[name]!
  return [
    `usage: ${`cacheaside ${name} ${operands}`.trim()} --config FILE [options]`,
    '',
    `It ${summary}.`,
    '',
    ...(operands.includes('ID') ? [ABOUT_IDS, ''] : []),
    ...['config' as const, ...options, 'json' as const, 'help' as const].map(option => `  ${HELP[option]}`),
    '',
    EXIT_CODES,
  ].join('\n')
}

const ABOUT_IDS =
  'An id of several parts is given as several words. One that begins with - comes after --, behind all options.'
const EXIT_CODES = 'Exit code: 0 nothing is wrong, 1 something is, 2 it was not done; stderr says why.'
