import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const PROGRAM = fileURLToPath(new URL('../../src/bin/cacheaside.ts', import.meta.url))
const HERE = fileURLToPath(new URL('.', import.meta.url))

/** How a run of `cacheaside` ended, and what it wrote. */
export interface Ran {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

/** What reads the report: all of it, nobody, or a file that takes no text. */
export type Reader = 'all' | 'nobody' | { readonly file: number }

/** Runs `cacheaside` from its source, in this folder or another, with these variables and none of the machine's own. */
export function cacheaside(
  args: readonly string[],
  env: Record<string, string> = {},
  cwd = HERE,
  reader: Reader = 'all',
): Promise<Ran> {
  const node = ['--conditions=source', '--import', import.meta.resolve('tsx'), PROGRAM]
  const { PATH = '', HOME = '' } = process.env
  const child = spawn(process.execPath, [...node, ...args], {
    cwd,
    env: { PATH, HOME, ...env },
    stdio: ['pipe', typeof reader === 'object' ? reader.file : 'pipe', 'pipe'],
  })
  let out = ''
  let err = ''
  if (reader === 'nobody') child.stdout?.destroy()
  child.stdout?.setEncoding('utf8').on('data', text => {
    out += text
  })
  child.stderr!.setEncoding('utf8').on('data', text => {
    err += text
  })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', code => resolve({ code, out, err }))
  })
}
