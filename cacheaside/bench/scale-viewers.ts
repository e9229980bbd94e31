import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Series } from './scale-report.ts'

const PROGRAM = fileURLToPath(new URL('../../spellbook/bench/viewers.ts', import.meta.url))

/** What a program of `npm run bench:viewers -- N --json` prints: each with viewers, divided by the same without. */
interface Ratios {
  readonly perSecond: number
  readonly p99Ms: number
  readonly cpuUs: number
}

/** What viewers of the live page cost those who read. */
export async function viewers(): Promise<Series> {
  const points = []
  for (const size of [1, 10, 100, 1_000]) {
    const given = ['--conditions=source', '--import', 'tsx', PROGRAM, String(size), '--json']
    const { stdout } = await promisify(execFile)(process.execPath, given)
    const { perSecond, p99Ms, cpuUs } = JSON.parse(stdout) as Ratios
    points.push({ size, amounts: [perSecond, p99Ms, cpuUs] })
  }
  return {
    title: 'Viewers of the live page',
    grows: 'viewers',
    isLogarithmic: true,
    measures: [
      'reads per second, by those without',
      '99 of 100 reads, by that without',
      'CPU of a read, by that without',
    ],
    points,
  }
}
