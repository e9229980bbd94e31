import type { Reporter, TestModule, TestSuite, Vitest } from 'vitest/node'

/** What counts as failed although no test says so. */
type ErrorOwner = Pick<TestModule | TestSuite, 'errors'>

/**
 * Ends a run's output with `N passed, N failed`, alone on a line. Everything that did not do its duty is a failure:
 * besides a failed test, a skipped one, a file or a hook that threw, an error nobody handled, and a run without a
 * single test. Tests left out by a name filter were not asked for, and do not count.
 */
export class ClosingLine implements Reporter {
  #vitest: Vitest | undefined

  onInit(vitest: Vitest): void {
    this.#vitest = vitest
  }

  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    const filtered = this.#vitest?.getGlobalTestNamePattern() !== undefined
    let passed = 0
    let failed = unhandledErrors.length
    const addErrors = (owner: ErrorOwner) => {
      failed += owner.errors().length
    }
    for (const module of modules) {
      addErrors(module)
      for (const suite of module.children.allSuites()) addErrors(suite)
      for (const test of module.children.allTests()) {
        const { state } = test.result()
        if (state === 'passed') passed++
        else if (!filtered || state !== 'skipped') failed++
      }
    }
    if (passed + failed === 0) failed = 1
    if (failed > 0) process.exitCode = 1
    process.stdout.write(`${passed} passed, ${failed} failed\n`)
  }
}
