/**
 * Run before Spellbook in its process: at SIGUSR2 it takes every file descriptor that there is, and at the next one gives
 * them back.
 */
import { closeSync, openSync } from 'node:fs'

const taken: number[] = []
process.on('SIGUSR2', () => {
  if (taken.length > 0) {
    for (const descriptor of taken.splice(0)) closeSync(descriptor)
    return
  }
  try {
    for (;;) taken.push(openSync('/dev/null', 'r'))
  } catch {
    // That was the last.
  }
})
