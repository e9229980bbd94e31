import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { freemem } from 'node:os'
import { fileURLToPath } from 'node:url'
import type { Point, Series } from './scale-report.ts'

const SIZES = [1_000, 10_000, 100_000, 1_000_000, 10_000_000]
/** More than an entry takes, so that what does not fit is not begun. */
const MOST_BYTES = 800

/** L1 from a thousand to ten million entries, each size in a process of its own. */
export async function keys(): Promise<Series> {
  const points: Point[] = []
  for (const size of SIZES) {
    const fits = size * MOST_BYTES < freemem()
    points.push({ size, amounts: fits ? await measured(size) : [null, null, null] })
  }
  return {
    title: 'Entries in L1',
    grows: 'entries',
    isLogarithmic: true,
    measures: ['bytes per entry', 'ns per hit at random', 'ns per fill'],
    points,
  }
}

async function measured(size: number): Promise<number[]> {
  const program = fileURLToPath(new URL('scale-keys-process.ts', import.meta.url))
  const child = spawn(
    process.execPath,
    ['--max-old-space-size=16000', ...process.execArgv, program, String(size)],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  let text = ''
  child.stdout.setEncoding('utf8').on('data', chunk => {
    text += chunk
  })
  const [code] = await once(child, 'close')
  if (code !== 0) throw new Error(`${size} entries: the process ended with ${code}`)
  return JSON.parse(text) as number[]
}
