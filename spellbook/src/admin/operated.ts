import { createCache, type SharedStore } from 'cacheaside'
import type { Operated } from 'cacheaside/operate'
import { postgresFeed } from 'cacheaside/postgres'
import { auditedKeyspace } from 'cacheaside/verify'
import { isId, listQuery } from '../api.ts'
import type { CacheConfig } from '../config.ts'
import type { Database } from '../database/database.ts'
import { endsOf, feedTables, keyspaceOptions, type PageId, tagsIn } from '../spells.ts'

/** The cache as operators see it: from `verify.config.ts`, and over HTTP (`admin-routes.ts`). */
export function operatedCache(
  database: Database,
  shared: SharedStore,
  config: CacheConfig,
): Omit<Operated, 'clock' | 'signal'> & { close(): Promise<void> } {
  // Used only to make the tags that the feed's map names.
  const tagging = createCache({})
  const tags = tagsIn(tagging)
  const options = keyspaceOptions(database, tags, config.ttlMs)
  // Those that readers can ask for. The database would refuse some other texts, and with them the whole statement.
  const idFromKey = ([id = '']: readonly string[]) => (isId(id) ? id : undefined)
  const pageFromKey = ([after, limit]: readonly string[]): PageId | undefined => {
    const { data } = listQuery.safeParse({ after, limit })
    return data && [data.after, data.limit]
  }
  const spells = auditedKeyspace('spell', {
    ...options.spells,
    idFromKey,
    versionOf: row => row.updated_at,
  })
  const wizards = auditedKeyspace('wizard', { ...options.wizards, idFromKey })
  const ends = endsOf({ spells, wizards }, tags)
  const tables = feedTables(() => ends)
  return {
    shared,
    tags: Object.values(tags),
    keyspaces: [
      spells,
      wizards,
      auditedKeyspace('spell-page', { ...options.spellPages, idFromKey: pageFromKey }),
      auditedKeyspace('wizard-page', { ...options.wizardPages, idFromKey: pageFromKey }),
    ],
    ...(config.feed ? { feed: postgresFeed({ ...database.feedSource, tables }) } : {}),
    migration: {
      sql: script => database.transaction(transaction => transaction.script(script)),
      tables,
    },
    cache: { fill: config.fill },
    ...(database.poolMax === undefined ? {} : { pool: { options: { max: database.poolMax } } }),
    close: () => tagging.close(),
  }
}
