/**
 * The change feed on PostgreSQL and PGlite: an outbox that triggers fill, and the migrations that install it.
 *
 * @packageDocumentation
 */
export type { AnyColumnValue, ColumnType, ColumnValues } from './column-types.ts'
export type { PGliteDatabase, PgPool, PgPoolClient } from './connection.ts'
export type {
  FeedFinding,
  FeedFindingCode,
  FeedStatusOptions,
  PostgresFeedStatus,
  WatchedTableStatus,
  WatchedTagsStatus,
} from './feed-status.ts'
export {
  DEFAULT_SCHEMA,
  type FeedMigrationOptions,
  feedMigrationSql,
  installFeed,
  removeFeed,
  type ScriptRunner,
  type WatchedTable,
} from './migration.ts'
export {
  type LoadObserver,
  type ObservedContext,
  type ObservedKeyspaceOptions,
  type ObservedPGlite,
  type ObserveLoadsOptions,
  observeLoads,
  type UndeclaredDependency,
} from './observe-loads.ts'
export {
  feedTables,
  type PostgresFeed,
  type PostgresFeedMap,
  type PostgresFeedOptions,
  type PostgresFeedTable,
  type PostgresFeedTables,
  postgresFeed,
} from './postgres-feed.ts'
export {
  type TableGroup,
  type TableTags,
  type TableTagsOf,
  type TableTagsOptions,
  type TagsCache,
  tableTags,
} from './table-tags.ts'
export type { TagGroup } from './tag-groups.ts'
