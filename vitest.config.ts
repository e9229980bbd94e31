import { defineConfig } from 'vitest/config'

export default defineConfig({
  ssr: { resolve: { conditions: ['source'], externalConditions: ['source'] } },
  test: {
    include: ['{cacheaside,spellbook,examples}/**/*.test.ts'],
    exclude: ['**/node_modules/**', '**/dist/**', '**/.mutants/**'],
    testTimeout: 60_000,
    hookTimeout: 120_000,
    maxWorkers: 2,
  },
})
