/** What is counted in simulated histories: a counter that lies is worse than none. */
import { expect, test } from 'vitest'
import { playHistory } from '../../simulation/history.ts'
import type { Cache, CacheEvent } from '../../src/index.ts'
import { METRICS, prometheusName } from '../../src/telemetry/metrics.ts'
import { type Library, shipped } from '../protections/library.ts'
import { countsOf, growing, moved } from './event-counts.ts'
import { exportBothWays, openTelemetryNumbers, prometheusNumbers } from './exported.ts'

const SEEDS = 24

/** One process of a history. */
interface Watched {
  readonly cache: Cache
  readonly events: readonly CacheEvent[]
  readonly exported: ReturnType<typeof exportBothWays>
  /** Writes that resolved, and whether they were fenced. */
  readonly writes: boolean[]
  /** Whether its store is in this process: then its stream needs no proof. */
  readonly isEmbedded: boolean
}

/** The library, whose caches are watched. */
function watching(library: Library, watched: Watched[]): Library {
  return {
    ...library,
    createCache: options => {
      const events: CacheEvent[] = []
      const onEvent = (event: CacheEvent) => {
        events.push(event)
        options?.onEvent?.(event)
      }
      const cache = library.createCache({ ...options, onEvent })
      const writes: boolean[] = []
      const write = cache.write.bind(cache)
      cache.write = (...given) => {
        const writing = write(...given)
        writing.then(
          ({ fenced }) => writes.push(fenced),
          () => {},
        )
        return writing
      }
      const isEmbedded = options?.shared?.synchronous === true
      watched.push({ cache, events, writes, isEmbedded, exported: exportBothWays(cache) })
      return cache
    },
  }
}

/** What a gauge must say, from the events and the cache's own word. */
function expectGauges({ cache, events, isEmbedded }: Watched, numbers: ReadonlyMap<string, number>): void {
  const { now } = cache.stats()
  const last = <Type extends CacheEvent['type']>(type: Type) =>
    events.findLast(event => event.type === type) as (CacheEvent & { type: Type }) | undefined
  expect(numbers.get('cacheaside_shared_available{}')).toBe(
    Number((last('shared')?.state ?? 'available') === 'available'),
  )
  if (numbers.has('cacheaside_feed_open{}'))
    expect(numbers.get('cacheaside_feed_open{}')).toBe(Number(last('feed')?.state === 'open'))
  // That it is lost is found out, and told of, when somebody reads.
  if (isEmbedded) expect(numbers.get('cacheaside_stream_proven{}')).toBe(1)
  else if (numbers.get('cacheaside_stream_proven{}') === 1) expect(last('stream')?.state).toBe('proven')
  const batches = events.filter(event => event.type === 'feed-batch' && event.applied > 0) as {
    lagMs: number
  }[]
  expect(numbers.get('cacheaside_feed_lag_seconds{}') ?? 0).toBe((batches.at(-1)?.lagMs ?? 0) / 1_000)
  expect(numbers.get('cacheaside_feed_lag_max_seconds{}') ?? 0).toBe(
    Math.max(0, ...batches.map(({ lagMs }) => lagMs)) / 1_000,
  )
  expect(numbers.get('cacheaside_local_entries{}')).toBe(now.localEntries)
  expect(numbers.get('cacheaside_invalidations_queued{}')).toBe(now.queuedInvalidations - now.commitsInDoubt)
  expect(numbers.get('cacheaside_commits_in_doubt{}')).toBe(now.commitsInDoubt)
}

test('metrics count what the events of simulated histories add up to', async () => {
  const library = await shipped()
  const seen = new Set<string>()
  for (let seed = 1; seed <= SEEDS; seed++) {
    const watched: Watched[] = []
    const { violations } = await playHistory({ seed, library: watching(library, watched) })
    expect(violations).toEqual([])
    for (const process of watched) {
      const { events, exported, writes } = process
      const numbers = await prometheusNumbers(exported.registry)
      const counts = moved(countsOf(events))
      expect(moved(growing(numbers)), `seed ${seed}`).toEqual(counts)
      expectGauges(process, numbers)
      const told = openTelemetryNumbers(await exported.telemetry.collect())
      for (const { name, kind, unit } of METRICS) {
        const [ours, theirs] = [`cacheaside.${name}{`, `${prometheusName({ name, kind, unit })}{`]
        const pick = (all: ReadonlyMap<string, number>, prefix: string) =>
          [...all].filter(([series]) => series.startsWith(prefix)).map(([, value]) => value)
        expect(pick(told, ours), name).toEqual(pick(numbers, theirs))
      }
      const unfenced = [...numbers].filter(([series]) =>
        series.startsWith('cacheaside_unfenced_writes_total'),
      )
      const keys = unfenced.reduce((sum, [, value]) => sum + value, 0)
      const lost = writes.filter(fenced => !fenced).length
      expect(keys).toBeGreaterThanOrEqual(lost)
      expect(lost > 0).toBe(keys > 0)
      for (const series of Object.keys(counts)) seen.add(series.replace(/keyspace="\w+",?/, ''))
      await exported.close()
    }
  }
  // What never happens proves nothing.
  expect([...seen].sort()).toEqual(
    expect.arrayContaining([
      'cacheaside_feed_changes_total{outcome="applied"}',
      'cacheaside_feed_changes_total{outcome="retained"}',
      'cacheaside_fills_total{outcome="refused"}',
      'cacheaside_guards_total{outcome="unconfirmed"}',
      'cacheaside_invalidations_total{outcome="in-doubt"}',
      'cacheaside_invalidations_total{outcome="late"}',
      'cacheaside_keyspace_invalidations_total{outcome="queued"}',
      'cacheaside_reads_joined_total{}',
      'cacheaside_reads_total{from="local",why="fresh"}',
      'cacheaside_reads_total{from="origin",why="guarded"}',
      'cacheaside_reads_total{from="shared",why="fresh"}',
      'cacheaside_reads_total{from="shared",why="stale"}',
      'cacheaside_reads_total{from="shared",why="stale-error"}',
      'cacheaside_shared_outages_total{}',
      'cacheaside_stream_losses_total{}',
      'cacheaside_unfenced_writes_total{}',
      'cacheaside_written_through_total{}',
    ]),
  )
})
