import type { TestProject } from 'vitest/node'
import { offerBrowser } from './browser.ts'
import { ensureChromium } from './ensure-chromium.ts'
import { ensurePgBouncer } from './ensure-pgbouncer.ts'
import { ensureRedisServer } from './ensure-redis-server.ts'
import { buildPrograms } from './programs.ts'
import { startPostgres } from './services.ts'

/**
 * Starts the PostgreSQL server that all tests of a run share, finds the programs of the Redis servers and the PgBouncer
 * that tests start for themselves, and the browser; makes the programs that tests start; returns what ends it all. What cannot be had fails only the tests that
 * ask for it.
 */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  try {
    project.provide('redis', { path: ensureRedisServer() })
  } catch (error) {
    project.provide('redis', { problem: (error as Error).message })
  }
  try {
    project.provide('pgbouncer', { path: ensurePgBouncer() })
  } catch (error) {
    project.provide('pgbouncer', { problem: (error as Error).message })
  }
  const ends: (() => Promise<void>)[] = []
  try {
    const { shared, end } = await offerBrowser(ensureChromium())
    ends.push(end)
    project.provide('browser', shared)
  } catch (error) {
    project.provide('browser', { problem: (error as Error).message })
  }
  try {
    const { files, again, end } = await buildPrograms()
    ends.push(async () => end())
    project.provide('programs', files)
    project.onTestsRerun(again)
  } catch (error) {
    project.provide('programs', { problem: (error as Error).message })
  }
  try {
    const server = await startPostgres()
    ends.push(server.stop)
    project.provide('postgres', { url: server.url })
  } catch (error) {
    project.provide('postgres', { problem: (error as Error).message })
  }
  return async () => {
    await Promise.all(ends.map(end => end()))
  }
}
