import type { Clock } from '../base/clock.ts'
import type { OperationConfig } from '../operate/config.ts'
import { checkNames, type Operated } from '../operate/target.ts'

/** Where a command writes, and how it can ask a person. */
export interface CommandOutput {
  /** The report. */
  out(text: string): void
  /** Everything else. */
  err(text: string): void
  /** Whether `err` is a terminal, on which a line can be drawn again and again. */
  readonly isTerminal: boolean
  /** How many characters a line of that terminal has now. Left out, or 0: it is not known. */
  readonly columns?: () => number | undefined
  /** Whether `out` is a terminal that shows colours. Left out: it is not. */
  readonly hasColor?: boolean
  /** Asks the person at the terminal. Left out: nobody can be asked. */
  readonly ask?: (question: string) => Promise<string>
  /** Aborts when the person wants it to end. Left out: never. */
  readonly signal?: AbortSignal
  /** Told the exit code before what the file has opened is closed, which may end the process. Left out: nobody is told. */
  readonly decided?: (code: ExitCode) => void
  readonly clock: Clock
}

/**
 * How a command ended.
 *
 * | code | |
 * |---|---|
 * | 0 | it is done, and nothing is wrong |
 * | 1 | something is wrong, as the report says |
 * | 2 | it was not done: one line of stderr says why |
 */
export type ExitCode = 0 | 1 | 2

/** The operands and options after the name of the command. */
export interface Given {
  readonly operands: readonly string[]
  readonly json: boolean
  readonly yes: boolean
  readonly only: readonly string[] | undefined
  readonly sample: number | undefined
  readonly rate: number | undefined
  readonly graceMs: number | undefined
  readonly limit: number | undefined
  readonly seconds: number | undefined
  readonly origin: boolean
  readonly value: boolean
  readonly print: boolean
}

/** The arguments of a command's run. */
export interface CommandRun {
  readonly given: Given
  readonly config: OperationConfig
  readonly output: CommandOutput
}

/**
 * What a command works on: the file's object, with the time and the signal of the program.
 *
 * @throws CacheError `INVALID_OPTIONS` for an option of the file that does not exist.
 */
export function operatedBy({ config, output }: CommandRun): Operated {
  checkNames(config)
  const { close: _, ...options } = config
  return {
    ...options,
    clock: output.clock,
    ...(output.signal === undefined ? {} : { signal: output.signal }),
  }
}

/** One command of the program. */
export interface Command {
  /** What stands after its name: `KEYSPACE ID...`. */
  readonly operands: string
  /** How many operands there are, at least and at most. */
  readonly count: readonly [least: number, most: number]
  readonly summary: string
  /** The options that it knows, besides `--config`, `--json` and `--help`. */
  readonly options: readonly OptionName[]
  run(run: CommandRun): Promise<ExitCode>
}

/** Options that only some commands know. */
export type OptionName =
  | 'keyspace'
  | 'sample'
  | 'rate'
  | 'grace'
  | 'limit'
  | 'seconds'
  | 'origin'
  | 'value'
  | 'print'
  | 'yes'

/** The command line cannot be understood; the message is one line that says why. */
export class UsageError extends Error {}

/** The command refuses to do its work; the message is one line that says why. */
export class RefusedError extends Error {}
