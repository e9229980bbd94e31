import type { TestProject } from 'vitest/node'
import { startPostgres } from './services.ts'

/**
 * Starts the server that all tests of a run share, and returns what stops it. If it does not start, only the tests
 * that ask for it fail: the others need no PostgreSQL.
 */
export async function setup(project: TestProject): Promise<(() => Promise<void>) | undefined> {
  try {
    const server = await startPostgres()
    project.provide('postgres', { url: server.url })
    return server.stop
  } catch (error) {
    project.provide('postgres', { problem: (error as Error).message })
    return undefined
  }
}
