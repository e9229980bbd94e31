#!/usr/bin/env node
import { systemClock } from '../base/clock.ts'
import { runCommand } from '../verify/command.ts'

/**
 * The program `cacheaside`. Its only command is `verify`.
 *
 * The library's timers and connections do not keep a process alive. This one must not end before it has a result, so an
 * open port keeps it alive. If it still ends early, nothing was verified: hence the exit code from the start.
 */
process.exitCode = 2
const { port1: awake } = new MessageChannel()
awake.on('message', () => {})

const code = await runCommand(process.argv.slice(2), {
  out: text => void process.stdout.write(text),
  err: text => void process.stderr.write(text),
  isTerminal: process.stderr.isTTY === true,
  clock: systemClock,
})
process.exitCode = code
awake.close()
// What the user's file has left open must not keep it from ending, once everything is written.
process.stdout.write('', () => process.stderr.write('', () => process.exit()))
