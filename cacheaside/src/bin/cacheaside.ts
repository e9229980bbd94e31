#!/usr/bin/env node
import { createInterface } from 'node:readline/promises'
import { systemClock } from '../base/clock.ts'
import { lineOf } from '../base/masked.ts'
import type { ExitCode } from '../command/command.ts'
import { runCommand } from '../command/run-command.ts'
import { CLEAR_LINE, wantsColor } from '../command/terminal.ts'

/**
 * The program `cacheaside`.
 *
 * The library's timers and connections do not keep a process alive. This process must not end before it has a result, so an
 * open port keeps it alive.
 */
const { port1: awake } = new MessageChannel()
awake.on('message', () => {})

const clear = process.stderr.isTTY === true ? CLEAR_LINE : ''
let hasFailed = false
let decided: ExitCode | undefined

/** Says in one line why the command failed, and ends. Only the first reason counts. */
function fail(error: unknown): void {
  if (hasFailed) return
  hasFailed = true
  process.stderr.write(`${clear}cacheaside: ${lineOf(error)}\n`, () => process.exit(2))
}

// The file may end the process, with any code: a 0 would mean that nothing is wrong.
process.on('exit', () => {
  process.exitCode = hasFailed ? 2 : (decided ?? 2)
  if (!hasFailed && decided === undefined)
    process.stderr.write(`${clear}cacheaside: something has ended the process before the command was done\n`)
})

// Node would exit with 1, which means that something is stale. Unhandled rejections come here, too.
process.on('uncaughtException', fail)

/** The first Ctrl-C ends what is under way, and what was opened is closed. Another one ends the program at once. */
const stop = new AbortController()
process.once('SIGINT', () => stop.abort(new Error('interrupted')))

/**
 * The reader of a pipe may close it: then the command ends quietly. If a report could not be written for any other reason,
 * the command has failed.
 */
function written(error?: Error | null): void {
  if (error === undefined || error === null) return
  if ((error as NodeJS.ErrnoException).code === 'EPIPE') stop.abort(error)
  else fail(new Error(`the report cannot be written: ${lineOf(error)}`))
}
// A pipe emits the error; a file tells only the callback of the write.
process.stdout.on('error', written)
// Nobody can be told of it.
process.stderr.on('error', () => {})

async function ask(question: string): Promise<string> {
  const lines = createInterface({ input: process.stdin, output: process.stderr })
  // A question does not end by itself at the end of the input, or at Ctrl-C while it reads.
  const noAnswer = new Promise<string>(resolve => void lines.once('close', () => resolve('')))
  lines.once('SIGINT', () => lines.close())
  try {
    return await Promise.race([lines.question(question), noAnswer])
  } finally {
    lines.close()
  }
}

await runCommand(process.argv.slice(2), {
  out: text => void process.stdout.write(text, written),
  err: text => void process.stderr.write(text),
  isTerminal: process.stderr.isTTY === true,
  columns: () => process.stderr.columns,
  hasColor: wantsColor(process.stdout.isTTY === true, process.env),
  ...(process.stdin.isTTY === true && process.stderr.isTTY === true ? { ask } : {}),
  signal: stop.signal,
  decided: code => {
    decided = code
  },
  clock: systemClock,
})
awake.close()
// Things that the user's file has left open must not keep the program running once everything is written.
process.stdout.write('', () => process.stderr.write('', () => process.exit()))
