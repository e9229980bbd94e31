/**
 * Run before Spellbook in its process: what is written in the background is written late, as when the threads that do
 * it are busy.
 */
import fs from 'node:fs'

const LATE_MS = 200
const write = fs.write as (...args: unknown[]) => void

Object.assign(fs, { write: (...args: unknown[]) => void setTimeout(write, LATE_MS, ...args) })
