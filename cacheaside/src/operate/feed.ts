/** The status of the change feed, and how it is installed and removed. */
import { CacheError } from '../base/errors.ts'
import { DEFAULT_CACHE_OPTIONS } from '../options.ts'
import { LOCK_WAIT_MS } from '../postgres/feed-locks.ts'
import type { PostgresFeedStatus } from '../postgres/feed-status.ts'
import {
  DEFAULT_SCHEMA,
  feedMigrationSql,
  installFeed,
  removeFeed,
  runScript,
} from '../postgres/migration.ts'
import type { PostgresFeed } from '../postgres/postgres-feed.ts'
import { limited } from '../verify/pace.ts'
import type { FeedMigration } from './config.ts'
import { asked, clockOf, type Operated, timeoutOf } from './target.ts'

/**
 * Reads the status of the change feed. Changes nothing.
 *
 * @throws CacheError `INVALID_OPTIONS` without a feed that can tell; an error that says why the database cannot be asked.
 */
export async function feedStatus(operated: Operated): Promise<PostgresFeedStatus> {
  const feed = operated.feed as Partial<PostgresFeed> | undefined
  if (feed === undefined)
    throw new CacheError('INVALID_OPTIONS', 'there is no change feed here: feed is left out')
  if (typeof feed.status !== 'function')
    throw new CacheError(
      'INVALID_OPTIONS',
      'expected feed to be made by postgresFeed: nothing else has a status',
    )
  const { guardMs = DEFAULT_CACHE_OPTIONS.guardMs } = operated.cache ?? {}
  return asked(operated, 'the database', feed.status({ guardMs }))
}

/**
 * How the feed is installed.
 *
 * @throws CacheError `INVALID_OPTIONS` if the file does not say.
 */
export function migrationOf({ migration }: Operated): FeedMigration {
  if (migration !== undefined) return migration
  throw new CacheError(
    'INVALID_OPTIONS',
    'expected migration to be what installFeed is given, { sql, tables, … }: it is left out',
  )
}

/** The schema that a migration is about. */
export const schemaOf = ({ schema = DEFAULT_SCHEMA }: FeedMigration): string => schema

/** The names of the tables that a migration watches. */
export const tablesOf = ({ tables }: FeedMigration): readonly string[] =>
  Array.isArray(tables) ? tables : Object.keys(tables)

/**
 * The script that {@link installChangeFeed} runs.
 *
 * @throws CacheError `INVALID_OPTIONS`
 */
export function feedScript(operated: Operated): string {
  const { sql: _, ...options } = migrationOf(operated)
  return feedMigrationSql(options)
}

/** A migration waits for other ones, and for a moment in which nobody writes. */
const MIGRATION_MS = 2 * LOCK_WAIT_MS

/** Runs a migration, if the database answers at all, and for no longer than a migration may take. */
async function migrated(operated: Operated, migrate: () => Promise<void>): Promise<void> {
  await asked(operated, 'the database', runScript(migrationOf(operated).sql, 'SELECT 1'))
  const ms = MIGRATION_MS + timeoutOf(operated)
  const late = () =>
    new Error(
      `the database did not answer within ${ms} ms: it may have been done or not, and may be repeated`,
    )
  await limited(clockOf(operated), ms, migrate(), late, operated.signal)
}

/**
 * Installs the change feed, or brings it up to date.
 *
 * @throws CacheError `INVALID_OPTIONS`; the database's error, and then nothing was changed; an error that says that the
 * database did not answer in time, or the signal's reason: then it may have been done or not, and may be repeated.
 */
export async function installChangeFeed(operated: Operated): Promise<void> {
  const { sql, ...options } = migrationOf(operated)
  await migrated(operated, () => installFeed(sql, options))
}

/**
 * Removes the change feed: its triggers, its schema and all changes in it.
 *
 * @throws as {@link installChangeFeed}.
 */
export async function removeChangeFeed(operated: Operated): Promise<void> {
  const { sql, schema } = migrationOf(operated)
  await migrated(operated, () => removeFeed(sql, schema === undefined ? {} : { schema }))
}
