import type { OperationConfig } from 'cacheaside/operate'
import { pino } from 'pino'
import { operatedCache } from './src/admin/operated.ts'
import { ConfigError, loadEnvFile, readConfig } from './src/config.ts'
import { openPostgres } from './src/database/postgres.ts'
import { openSharedStore } from './src/shared-store.ts'

/**
 * For `npm run verify --workspace spellbook`, and every other command of `cacheaside`: a Spellbook on Redis and PostgreSQL, while
 * it runs or while it does not, by the same variables that it runs with. An embedded cache or database is in its process, and
 * nobody else's to see.
 */
export default async function config(): Promise<OperationConfig> {
  loadEnvFile()
  const { database: at, cache } = readConfig(process.env)
  if (at.kind !== 'postgres' || cache?.shared.kind !== 'redis')
    throw new ConfigError(
      'expected the DATABASE_URL and the REDIS_URL that Spellbook runs with: what is embedded is seen at /admin of its process',
    )
  const database = openPostgres(at, () => {})
  // The server keeps its policy: to look at it sets nothing.
  const shared = await openSharedStore({ ...cache.shared, policy: undefined }, pino({ level: 'silent' }))
  const { close, ...operated } = operatedCache(database, shared, cache)
  return {
    ...operated,
    close: async () => {
      await close()
      await database.close()
    },
  }
}
