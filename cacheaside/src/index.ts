import { anObject } from './base/invalid-option.ts'
import { Cache } from './cache.ts'
import { embeddedShared } from './memory/embedded-shared.ts'
import type { CacheOptions } from './options.ts'
import { clockOf } from './resolve-options.ts'

/**
 * Makes a cache. Without options it is an embedded one: everything in this process, nothing to install.
 *
 * @throws CacheError `INVALID_OPTIONS`, naming the option, what it should be and what it is.
 */
export function createCache(options: CacheOptions = {}): Cache {
  anObject('options', options)
  // Not `??`: `null` is refused, because the caller meant to give a store.
  const shared = options.shared === undefined ? embeddedShared({ clock: clockOf(options) }) : options.shared
  return new Cache(Object.assign({}, options, { shared }), options.shared === undefined)
}

export { integerKey, uuidKey } from './base/canonical-ids.ts'
export type { Clock, Timer } from './base/clock.ts'
export { systemClock } from './base/clock.ts'
export { CacheError, type CacheErrorCode } from './base/errors.ts'
export type * from './base/events.ts'
export type { IdPart, IdParts, Key, Tag, WholeKeyspace } from './base/key.ts'
export type {
  AskTrace,
  FillTrace,
  InvalidateTrace,
  LoadTrace,
  ReadTrace,
  RefreshTrace,
  RelayTrace,
  TraceEnd,
  TraceMessages,
  WriteStepTrace,
  WriteTrace,
} from './base/tracing.ts'
export { type Logger, WARNINGS, type WarningCode, type WarningLevel } from './base/warnings.ts'
export type { Cache } from './cache.ts'
export type { KeyspaceWriteOptions, ReadOptions, SnapshotManyOptions } from './call-options.ts'
export { commitInDoubt, rolledBack, rollsBack } from './commit-in-doubt.ts'
export type { CommittedEntry } from './committed-entry.ts'
export type * from './feed/change-feed.ts'
export type { Keyspace } from './keyspace.ts'
export { EVICTION_POLICIES, type EvictionPolicyName } from './local/local-store.ts'
export { type EmbeddedShared, type EmbeddedSharedOptions, embeddedShared } from './memory/embedded-shared.ts'
export type { CacheOptions, KeyspaceOptions, Load, LoadContext, LoadMany, LocalOptions } from './options.ts'
export { DEFAULT_CACHE_OPTIONS, DEFAULT_KEYSPACE_OPTIONS } from './options.ts'
export type { ReadResult } from './read-result.ts'
export type { Codec, SchemaResult, StandardSchema } from './shared/codec.ts'
export type { Kept } from './shared/kept.ts'
export type { SharedStore } from './shared/shared-store.ts'
export { valueCodec } from './shared/value-codec.ts'
export type { AnyPart, SnapshotLoaded, SnapshotOf, SnapshotOptions, SnapshotPart } from './snapshot.ts'
export type { FeedStats, KeyspaceStats, Occupancy, Stats } from './stats.ts'
export type { Tags } from './tags.ts'
export type { WriteContext, WriteOptions, WriteResult } from './write.ts'
