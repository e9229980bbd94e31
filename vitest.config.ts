import { defineConfig } from 'vitest/config'
import { ClosingLine } from './test/closing-line.ts'
import { LongestFirst } from './test/longest-first.ts'
import { LIFTOFF } from './test/programs.ts'

export default defineConfig({
  ssr: { resolve: { conditions: ['source'], externalConditions: ['source'] } },
  test: {
    include: ['{cacheaside,spellbook,examples,lesson,test,trials}/**/*.test.ts'],
    exclude: ['**/node_modules/**', '**/dist/**'],
    globalSetup: 'test/global-setup.ts',
    execArgv: [LIFTOFF],
    reporters: ['default', new ClosingLine()],
    testTimeout: 120_000,
    hookTimeout: 240_000,
    // On two cores: the tests with real servers wait more than they work.
    maxWorkers: 4,
    sequence: { sequencer: LongestFirst },
  },
})
