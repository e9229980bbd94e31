import { EVICTION_POLICIES } from 'cacheaside'
import { z } from 'zod'
import type { CacheConfig } from '../config.ts'

/** The settings that the laboratory accepts. Every bound is here: a page may send anything. */
export const settingsChange = z.strictObject({
  /** The round-trip delay to the database, before each statement outside a transaction and before each transaction. */
  databaseDelayMs: z.int().min(0).max(2_000).optional(),
  /** `cut`: commands to the cache's shared store fail at once. `hung`: they get no answer. */
  cache: z.enum(['on', 'cut', 'hung']).optional(),
  feedPaused: z.boolean().optional(),
  ttlMs: z.int().min(1_000).max(3_600_000).optional(),
  policy: z.enum(EVICTION_POLICIES).optional(),
  maxBytes: z
    .int()
    .min(65_536)
    .max(64 * 2 ** 20)
    .optional(),
})
export type SettingsChange = z.output<typeof settingsChange>

/** How the laboratory is set. */
export interface Settings {
  readonly databaseDelayMs: number
  readonly cache: 'on' | 'cut' | 'hung'
  /** `undefined`: there is no feed. */
  readonly feedPaused: boolean | undefined
  readonly ttlMs: number
  /** `undefined`: the server's own, which others use as well. */
  readonly policy: z.output<typeof settingsChange>['policy'] | undefined
  readonly maxBytes: number | undefined
}

/** The settings without any change. */
export function settingsOf(config: CacheConfig): Settings {
  const { shared, feed, ttlMs } = config
  const isEmbedded = shared.kind === 'embedded'
  return {
    databaseDelayMs: 0,
    cache: 'on',
    feedPaused: feed ? false : undefined,
    ttlMs,
    policy: isEmbedded ? shared.policy : undefined,
    maxBytes: isEmbedded ? shared.maxBytes : undefined,
  }
}

/** Which of the changes cannot be made here. */
export const impossibleIn = (settings: Settings, change: SettingsChange): readonly string[] =>
  (['feedPaused', 'policy', 'maxBytes'] as const).filter(
    name => change[name] !== undefined && settings[name] === undefined,
  )

/** The configuration of a cache that is set like this. */
export function configOf(config: CacheConfig, { ttlMs, policy, maxBytes }: Settings): CacheConfig {
  if (config.shared.kind !== 'embedded' || policy === undefined || maxBytes === undefined)
    return { ...config, ttlMs }
  return { ...config, ttlMs, shared: { ...config.shared, policy, maxBytes } }
}

/** Whether a change needs an empty cache. */
export const emptiesCache = (from: Settings, to: Settings): boolean =>
  from.ttlMs !== to.ttlMs || from.policy !== to.policy || from.maxBytes !== to.maxBytes
