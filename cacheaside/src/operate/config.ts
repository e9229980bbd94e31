import type { CacheOptions } from '../options.ts'
import type { FeedMigrationOptions, ScriptRunner } from '../postgres/migration.ts'
import type { VerifyConfig } from '../verify/config.ts'

/** How the change feed is installed and removed: what `installFeed` is given, as one object. */
export interface FeedMigration extends FeedMigrationOptions {
  /** Where the script runs: a pool, client or PGlite whose role owns the watched tables. */
  readonly sql: ScriptRunner
}

/** The part of a pool of connections that advice is given on. */
export interface PoolSize {
  readonly options?: { readonly max?: number | undefined }
}

/**
 * What a file for `npx cacheaside` exports by default: an object of this kind, or a function that makes one. Each command needs
 * only a part of it: see docs/cli.md.
 */
export interface OperationConfig extends VerifyConfig {
  /** The other options that the program's cache is made with, for `doctor` and `explain`. Left out: the defaults. */
  readonly cache?: Omit<CacheOptions, 'shared' | 'feed'>
  /**
   * The program's tags, for `invalidate` and `flush`: what `cache.tags` has returned, or names. Left out: only the tags of
   * tables in `feed` and `migration`, which are always known.
   */
  readonly tags?: readonly (string | { readonly name: string })[]
  /** For `feed install` and `feed remove`. Left out: these two only say that it is missing. */
  readonly migration?: FeedMigration
  /** The pool of the program's loaders and writers, for `doctor`. Left out: nothing is said of its size. */
  readonly pool?: PoolSize
}
