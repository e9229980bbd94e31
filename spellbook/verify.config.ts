import { createCache } from 'cacheaside'
import { postgresFeed } from 'cacheaside/postgres'
import { auditedKeyspace, type VerifyConfig } from 'cacheaside/verify'
import { pino } from 'pino'
import { ConfigError, loadEnvFile, readConfig } from './src/config.ts'
import { openPostgres } from './src/postgres.ts'
import { openSharedStore } from './src/shared-store.ts'
import { endsOf, feedTables, keyspaceOptions, type PageId, tagsIn } from './src/spells.ts'

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
  // It makes the tags that the feed's map names, and is asked for nothing else.
  const tagging = createCache({})
  const tags = tagsIn(tagging)
  const options = keyspaceOptions(database, tags, cache.ttlMs)

  // Anything else the database would refuse, and with it all that is asked of it in the same breath.
  const idFromKey = ([id]: readonly string[]) => (/^\d{1,18}$/.test(id!) ? id : undefined)
  const pageFromKey = ([after, limit]: readonly string[]): PageId => [after!, Number(limit)]
  const spells = auditedKeyspace('spell', {
    ...options.spells,
    idFromKey,
    versionOf: row => row.updated_at,
  })
  const wizards = auditedKeyspace('wizard', { ...options.wizards, idFromKey })
  const keyspaces = [
    spells,
    wizards,
    auditedKeyspace('spell-page', { ...options.spellPages, idFromKey: pageFromKey }),
    auditedKeyspace('wizard-page', { ...options.wizardPages, idFromKey: pageFromKey }),
  ]
  const ends = endsOf({ spells, wizards }, tags)
  const feed = postgresFeed({ ...database.feedSource, tables: feedTables(() => ends) })
  return {
    shared,
    keyspaces,
    ...(cache.feed ? { feed } : {}),
    close: async () => {
      await tagging.close()
      await database.close()
    },
  }
}
