import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const PROGRAM = fileURLToPath(new URL('../bench/viewers.ts', import.meta.url))

/** A brief look: whether it can be measured. The program counts by files of Linux. */
test.runIf(process.platform === 'linux')(
  'what viewers cost readers is measured with viewers that Spellbook lets in',
  async () => {
    const given = ['--conditions=source', '--import', 'tsx', PROGRAM, '3', '--json', '--rounds', '1']
    const { stdout } = await promisify(execFile)(process.execPath, given)
    expect(JSON.parse(stdout)).toEqual({
      perSecond: expect.any(Number),
      p99Ms: expect.any(Number),
      cpuUs: expect.any(Number),
    })
  },
)
