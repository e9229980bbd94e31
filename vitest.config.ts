import { defineConfig } from 'vitest/config'
import { ClosingLine } from './test/closing-line.ts'
import { LongestFirst } from './test/longest-first.ts'
import { LIFTOFF } from './test/programs.ts'
import { SHARING } from './test/sharing.ts'

const ssr = { resolve: { conditions: ['source'], externalConditions: ['source'] } }
const test = {
  execArgv: [LIFTOFF],
  testTimeout: 120_000,
  hookTimeout: 240_000,
  // On two cores: the tests with real servers wait more than they work.
  maxWorkers: 4,
}

export default defineConfig({
  test: {
    globalSetup: 'test/global-setup.ts',
    reporters: ['default', new ClosingLine()],
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        ssr,
        test: {
          ...test,
          name: 'apart',
          include: ['{cacheaside,spellbook,examples,lesson,test,trials}/**/*.test.ts'],
          exclude: ['**/node_modules/**', '**/dist/**', ...SHARING],
        },
      },
      { ssr, test: { ...test, name: 'sharing', include: [...SHARING], isolate: false } },
    ],
  },
})
