import type { SharedStore } from 'cacheaside'
import { answerInquiries, invalidateKey } from 'cacheaside/operate'
import type { FastifyBaseLogger } from 'fastify'
import type { Registry } from 'prom-client'
import type { Administered } from './admin/admin-routes.ts'
import { operatedCache } from './admin/operated.ts'
import type { CacheConfig } from './config.ts'
import type { Database } from './database/database.ts'
import { LiveReads } from './live/live-reads.ts'
import { type Metrics, metricsOf } from './metrics-route.ts'
import { cachedSpells, type FeedThrough, type Spells, uncachedSpells } from './spells.ts'

/** The running service, and how it ends. */
export interface Serving {
  readonly spells: Spells
  readonly metrics: Metrics
  readonly live?: LiveReads
  readonly administered?: Administered
  /** Invalidates a spell. Left out: there is no cache. */
  cool?(id: string): Promise<void>
  /** Lets reads and writes under way finish. The database and the shared store stay open. */
  close(): Promise<void>
}

/** The parts that the service is made of. */
export interface ServingParts {
  readonly database: Database
  readonly shared: SharedStore
  readonly config: CacheConfig
  readonly log: FastifyBaseLogger
  /** Metrics of the process, which outlive a cache. */
  readonly processMetrics: Registry
  /** How many viewers there may be at once. */
  readonly maxViewers: number
  /** What stands between the cache and its feed. Left out: nothing. */
  readonly feedThrough?: FeedThrough
}

/** Serves the spells behind a cache: also what `/admin` looks after, and what lets `cacheaside top` ask this process. */
export async function openServing(parts: ServingParts): Promise<Serving> {
  const { database, shared, config, log, processMetrics, maxViewers, feedThrough } = parts
  const spells = await cachedSpells(database, shared, config, undefined, log, feedThrough)
  const cache = spells.cache!
  if (shared.answer !== undefined) answerInquiries(cache)
  const { close, ...operated } = operatedCache(database, shared, config)
  const live = new LiveReads(cache, config.localMaxBytes !== undefined, maxViewers)
  return {
    spells,
    metrics: metricsOf(cache, processMetrics),
    live,
    administered: { cache, operated },
    cool: async id => void (await invalidateKey(operated, 'spell', [id])),
    async close() {
      // Viewers come back, to the next service.
      live.close()
      await close()
      await spells.close()
    },
  }
}

/** Serves the spells straight from the tables. */
export function serveUncached(database: Database, processMetrics: Registry): Serving {
  const spells = uncachedSpells(database)
  return { spells, metrics: metricsOf(undefined, processMetrics), close: () => spells.close() }
}
