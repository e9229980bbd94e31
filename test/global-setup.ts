import type { ProvidedContext } from 'vitest'
import type { TestProject } from 'vitest/node'
import { offerBrowser } from './browser.ts'
import { ensureChromium } from './ensure-chromium.ts'
import { ensurePgBouncer } from './ensure-pgbouncer.ts'
import { ensureRedisServer } from './ensure-redis-server.ts'
import { offerPGlite } from './pglite.ts'
import { buildPrograms } from './programs.ts'
import { startPostgres } from './services.ts'

/**
 * Starts the PostgreSQL server that all tests of a run share, finds the programs of the Redis servers and the PgBouncer
 * that tests start for themselves; makes the programs that tests start; offers the browser, and the PGlite that they copy;
 * returns what ends it all. What cannot be had fails only the tests that ask for it.
 */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const ends: (() => Promise<void> | void)[] = []
  const offer = async <Name extends keyof ProvidedContext>(
    name: Name,
    make: () => Promise<ProvidedContext[Name]>,
  ) => project.provide(name, await make().catch(error => ({ problem: (error as Error).message })))
  // Processes of their own come first: what follows has this one at work.
  await Promise.all([
    offer('postgres', async () => {
      const server = await startPostgres()
      ends.push(server.stop)
      return { url: server.url }
    }),
    offer('programs', async () => {
      const { files, again, end } = await buildPrograms()
      ends.push(end)
      project.onTestsRerun(again)
      return files
    }),
    offer('redis', async () => ({ path: ensureRedisServer() })),
    offer('pgbouncer', async () => ({ path: ensurePgBouncer() })),
    offer('browser', async () => {
      const { shared, end } = await offerBrowser(ensureChromium())
      ends.push(end)
      return shared
    }),
    offer('pglite', async () => {
      const { shared, end } = await offerPGlite()
      ends.push(end)
      return shared
    }),
  ])
  return async () => {
    await Promise.all(ends.map(end => end()))
  }
}
