import { defineConfig } from 'vitest/config'
import { ClosingLine } from '../test/closing-line.ts'
import { SoakReport } from './soak-report.ts'

/** The trials with their full counts, one file after the other; writes its table into `docs/trials.md`. */
export default defineConfig({
  root: new URL('..', import.meta.url).pathname,
  ssr: { resolve: { conditions: ['source'], externalConditions: ['source'] } },
  test: {
    include: ['trials/**/*.test.ts'],
    globalSetup: 'test/global-setup.ts',
    reporters: ['default', new SoakReport(), new ClosingLine()],
    env: { CACHEASIDE_SOAK: '1' },
    testTimeout: 3_600_000,
    hookTimeout: 120_000,
    fileParallelism: false,
  },
})
