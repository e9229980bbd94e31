import { postgresFeed } from 'cacheaside/postgres'
import { auditedKeyspace, type VerifyConfig } from 'cacheaside/verify'
import { pino } from 'pino'
import { ConfigError, loadEnvFile, readConfig } from './src/config.ts'
import { openPostgres } from './src/postgres.ts'
import { openSharedStore } from './src/shared-store.ts'
import { spellTable } from './src/spell-table.ts'
import { feedTables, keyspaceOptions, type PageId, VERSION } from './src/spells.ts'

/**
 * For `npm run verify --workspace spellbook`: audits a Spellbook on Redis and PostgreSQL, while it runs or while it does
 * not, by the same variables that it runs with. An embedded cache or database is in its process, and nobody else's to see.
 */
export default async function config(): Promise<VerifyConfig> {
  loadEnvFile()
  const { database: at, cache } = readConfig(process.env)
  if (at.kind !== 'postgres' || cache?.shared.kind !== 'redis')
    throw new ConfigError('an audit needs the DATABASE_URL and the REDIS_URL that Spellbook runs with')
  const database = openPostgres(at, () => {})
  // The server keeps its policy: an audit sets nothing.
  const shared = await openSharedStore({ ...cache.shared, policy: undefined }, pino({ level: 'silent' }))
  const options = keyspaceOptions(spellTable(database), cache.ttlMs)

  const spells = auditedKeyspace('spell', {
    ...options.spells,
    // Anything else the database would refuse, and with it all that is asked of it in the same breath.
    idFromKey: ([id]) => (/^\d{1,18}$/.test(id!) ? id : undefined),
    versionOf: row => row.updated_at,
  })
  // Any version is as good as another: it is drawn, not read.
  const list = auditedKeyspace('spell-list', {
    ...options.list,
    idFromKey: (): typeof VERSION => VERSION,
    equal: () => true,
  })
  const pages = auditedKeyspace('spell-page', {
    ...options.pages,
    idFromKey: ([version, after, limit]): PageId => [version!, after!, Number(limit)],
    isReachable: async ([version], lookup) => version === (await lookup('spell-list', VERSION)),
  })
  const feed = postgresFeed({ ...database.feedSource, tables: feedTables(() => ({ spells, list })) })
  return {
    shared,
    keyspaces: [spells, list, pages],
    ...(cache.feed ? { feed } : {}),
    close: () => database.close(),
  }
}
