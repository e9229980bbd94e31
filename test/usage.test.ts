/** Commands that are given what they cannot do anything with. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const ROOT = join(import.meta.dirname, '..')

test.each<[program: string, args: string[], line: string]>([
  ['cacheaside/bench/traces.ts', [], 'traces: expected one folder with *.bin.gz files, got 0'],
  ['cacheaside/bench/traces.ts', ['.', '.'], 'traces: expected one folder with *.bin.gz files, got 2'],
  ['cacheaside/bench/traces.ts', ['nowhere'], 'traces: nowhere is no folder that can be read (ENOENT)'],
  ['cacheaside/bench/traces.ts', ['lab'], 'traces: there are no *.bin.gz files in lab'],
  [
    'cacheaside/bench/scale.ts',
    ['pages'],
    'scale: pages is none of keys, processes, cluster, tags, feed, backlog',
  ],
  [
    'cacheaside/bench/bench.ts',
    ['peers'],
    'bench: peers is none of local, memory, values, redis, database, feed, writers, http',
  ],
  ['cacheaside/model/main.ts', ['no', 'such'], 'model: no row contains "no such"'],
  ['cacheaside/model/main.ts', ['--tabel'], "model: Unknown option '--tabel'"],
  ['cacheaside/simulation/simulate.ts', ['--seed', 'x'], 'simulate: --seed: expected a whole number, got x'],
  ['lab/lab.ts', ['--trial', 'none'], 'lab: there is no none; there are stale-set'],
  ['lab/lab.ts', ['--count', '0'], 'lab: 0 is no count'],
  ['lab/lab.ts', ['--trail'], "lab: Unknown option '--trail'"],
  ['lab/speed.ts', ['--quick'], "lab:speed: Unknown option '--quick'"],
])('%s %j says what is wrong in one line, and ends with 2', (program, args, line) => {
  const command = ['--conditions=source', '--import', 'tsx', program, ...args]
  const { status, stdout, stderr } = spawnSync(process.execPath, command, { cwd: ROOT, encoding: 'utf8' })
  expect(stderr.startsWith(line) && stderr.indexOf('\n') === stderr.length - 1, stderr).toBe(true)
  expect([stdout, status]).toEqual(['', 2])
})
