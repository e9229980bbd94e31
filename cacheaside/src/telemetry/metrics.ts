import type { From, Why } from '../base/events.ts'

import type { KeyspaceStats, Occupancy, Stats } from '../stats.ts'

/** What a cache has done so far, and what it holds and is doing, at the moment of a scrape. */
export type Snapshot = Stats & { readonly now: Occupancy; readonly hasFeed: boolean }

/** The labels of a metric, besides the one for the cache. */
export type Labels = Readonly<Record<string, string>>

/** One number of a metric. */
export type Sample = readonly [labels: Labels, value: number]

/** A metric that is read from the statistics of a cache. */
export interface Metric {
  /** Words with dots between them, without a unit. */
  readonly name: string
  /** `counter`: it only grows. `amount`: how much there is, which adds up over processes. `gauge`: anything else. */
  readonly kind: 'counter' | 'amount' | 'gauge'
  /** `s`, `By`, or what is counted, in braces; empty for a state that is 1 or 0. By UCUM, as OpenTelemetry writes it. */
  readonly unit: string
  readonly labels: readonly string[]
  readonly help: string
  readonly samples: (snapshot: Snapshot) => Iterable<Sample>
}

/** A counter of each keyspace, by one label. */
function byKeyspace(
  name: string,
  unit: string,
  help: string,
  counts: (keyspace: KeyspaceStats) => Readonly<Record<string, number>>,
): Metric {
  return {
    name,
    kind: 'counter',
    unit,
    labels: ['keyspace', 'outcome'],
    help,
    *samples({ keyspaces }) {
      for (const [keyspace, stats] of Object.entries(keyspaces))
        for (const [outcome, count] of Object.entries(counts(stats))) yield [{ keyspace, outcome }, count]
    },
  }
}

/** A number of each keyspace. */
function ofKeyspace(
  name: string,
  kind: Metric['kind'],
  unit: string,
  help: string,
  value: (keyspace: KeyspaceStats) => number,
): Metric {
  return {
    name,
    kind,
    unit,
    labels: ['keyspace'],
    help,
    *samples({ keyspaces }) {
      for (const [keyspace, stats] of Object.entries(keyspaces)) yield [{ keyspace }, value(stats)]
    },
  }
}

/** A number of the whole cache. */
function ofCache(
  name: string,
  kind: Metric['kind'],
  unit: string,
  help: string,
  value: (snapshot: Snapshot) => number,
): Metric {
  return { name, kind, unit, labels: [], help, samples: snapshot => [[{}, value(snapshot)]] }
}

/** The same, for a cache with a feed. A cache without one has no number, which differs from 0. */
function ofFeed(
  name: string,
  kind: Metric['kind'],
  unit: string,
  help: string,
  value: (feed: Stats['feed']) => number,
): Metric {
  const samples = ({ feed, hasFeed }: Snapshot): Sample[] => (hasFeed ? [[{}, value(feed)]] : [])
  return { name, kind, unit, labels: [], help, samples }
}

/** The reasons for which answers come from the shared store. A `fresh` one may come from L1. */
const FROM_SHARED: ReadonlySet<string> = new Set<Why>(['fresh', 'stale', 'stale-error'])

/** Every possible pair of {@link From} and {@link Why}. The statistics count both apart; the pairs follow from the two. */
function* readsByWhy({ reads, why }: KeyspaceStats): Generator<[from: From, why: string, count: number]> {
  yield ['local', 'fresh', reads.local]
  for (const [reason, count] of Object.entries(why)) {
    if (reason === 'fresh') yield ['shared', reason, count - reads.local]
    else yield [FROM_SHARED.has(reason) ? 'shared' : 'origin', reason, count]
  }
}

const READS: Metric = {
  name: 'reads',
  kind: 'counter',
  unit: '{read}',
  labels: 'keyspace from why'.split(' '),
  help: 'Answered reads, one per caller and key, by where the answer came from and why.',
  *samples({ keyspaces }) {
    for (const [keyspace, stats] of Object.entries(keyspaces))
      for (const [from, why, count] of readsByWhy(stats)) yield [{ keyspace, from, why }, count]
  },
}

const FEED_CHANGES: Metric = {
  name: 'feed.changes',
  kind: 'counter',
  unit: '{change}',
  labels: ['outcome'],
  help: 'Changes that the relay took from the feed: applied, or retained once per attempt that failed.',
  samples: ({ feed, hasFeed }) =>
    hasFeed
      ? [
          [{ outcome: 'applied' }, feed.applied],
          [{ outcome: 'retained' }, feed.retained],
        ]
      : [],
}

const DISCARDS: Metric = {
  name: 'local.discards',
  kind: 'counter',
  unit: '{entry}',
  labels: ['reason'],
  help: 'Entries that L1 let go to make room, or because they had expired.',
  samples: ({ local }) => [
    [{ reason: 'evicted' }, local.evicted],
    [{ reason: 'expired' }, local.expired],
  ],
}

const WRITES: Metric = {
  name: 'writes',
  kind: 'counter',
  unit: '{write}',
  labels: ['outcome'],
  help: 'Writes, however many keys each of them has guarded.',
  *samples({ writes }) {
    for (const [outcome, count] of Object.entries(writes)) yield [{ outcome }, count]
  },
}

const verdicts = ({ verified: { maxStaleMs: _, ...outcomes } }: KeyspaceStats) => outcomes
const seconds = (ms: number): number => ms / 1_000

/** Upper bounds, in seconds, of the buckets in which `load.duration` counts calls of the loader. */
export const LOAD_DURATION_BUCKETS: readonly number[] = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
]

/** How long calls of the loader take. The only metric that is made of events: the statistics have no buckets. */
export const LOAD_DURATION = {
  name: 'load.duration',
  unit: 's',
  labels: ['keyspace', 'outcome'],
  help: 'Durations of calls of the loader, without their wait for the load limit.',
} as const

/** All other metrics. */
export const METRICS: readonly Metric[] = [
  READS,
  ofKeyspace(
    'reads.joined',
    'counter',
    '{read}',
    "Answered reads that waited for another caller's flight.",
    ({ joined }) => joined,
  ),
  ofKeyspace(
    'reads.absent',
    'counter',
    '{read}',
    'Answered reads of rows that do not exist.',
    ({ absent }) => absent,
  ),
  byKeyspace(
    'reads.failed',
    '{read}',
    'Reads that were not answered, one per caller and key.',
    ({ failedReads }) => failedReads,
  ),
  byKeyspace('loads', '{load}', 'Calls of the loader, a batch being one.', ({ loads }) => loads),
  byKeyspace('fills', '{value}', 'Values offered to the shared store.', ({ fills }) => fills),
  byKeyspace('refreshes', '{refresh}', 'Refreshes in the background.', ({ refreshes }) => refreshes),
  WRITES,
  byKeyspace('guards', '{guard}', 'Guards of writes.', ({ guards }) => guards),
  byKeyspace(
    'invalidations',
    '{invalidation}',
    'Releases and invalidations of single keys.',
    ({ invalidations }) => invalidations,
  ),
  byKeyspace(
    'keyspace.invalidations',
    '{invalidation}',
    'Invalidations of the whole keyspace.',
    ({ keyspaceInvalidations }) => keyspaceInvalidations,
  ),
  ofKeyspace(
    'written.through',
    'counter',
    '{value}',
    'Committed values stored by their write.',
    ({ writtenThrough }) => writtenThrough,
  ),
  ofKeyspace(
    'unfenced.writes',
    'counter',
    '{key}',
    'Keys of committed writes that were not fenced.',
    ({ unfenced }) => unfenced,
  ),
  ofKeyspace(
    'unreadable.values',
    'counter',
    '{value}',
    'Stored bytes that could not be read.',
    ({ unreadable }) => unreadable,
  ),
  ofKeyspace(
    'mismatches',
    'counter',
    '{reply}',
    "Replies that held another key's register.",
    ({ mismatches }) => mismatches,
  ),
  ofKeyspace(
    'unread.values',
    'counter',
    '{value}',
    'Values that a process stored, and that left its L1 because of a tag before it had read them.',
    ({ unread }) => unread,
  ),
  byKeyspace('verifications', '{value}', 'Stored values that a sampler compared with the origin.', verdicts),
  ofKeyspace(
    'verified.stale.max',
    'gauge',
    's',
    'The longest time for which a value that a sampler found stale had been stale at least.',
    ({ verified }) => seconds(verified.maxStaleMs),
  ),
  DISCARDS,
  ofCache('local.entries', 'amount', '{entry}', 'Entries of L1.', ({ now }) => now.localEntries),
  ofCache(
    'local.size',
    'amount',
    'By',
    'What the entries of L1 take, by its own estimate.',
    ({ now }) => now.localBytes,
  ),
  ofCache('local.tags', 'amount', '{tag}', 'Tags that entries of L1 depend on.', ({ now }) => now.localTags),
  ofCache('flights', 'amount', '{flight}', 'Keys that are being read past L1.', ({ now }) => now.flights),
  ofCache('loads.running', 'amount', '{load}', 'Loads under the load limit.', ({ now }) => now.loads),
  ofCache(
    'loads.queued',
    'amount',
    '{load}',
    'Loads that wait for the load limit.',
    ({ now }) => now.queuedLoads,
  ),
  ofCache(
    'invalidations.queued',
    'amount',
    '{key}',
    'Keys and keyspaces whose invalidation could not be applied yet.',
    ({ now }) => now.queuedInvalidations - now.commitsInDoubt,
  ),
  ofCache(
    'commits.in.doubt',
    'amount',
    '{key}',
    'Keys with a commit in doubt.',
    ({ now }) => now.commitsInDoubt,
  ),
  ofCache(
    'shared.available',
    'gauge',
    '',
    'Whether the shared store is asked: 0 while it is suspect and reads skip it.',
    ({ shared }) => Number(shared.available),
  ),
  ofCache(
    'shared.outages',
    'counter',
    '{outage}',
    'How often the shared store was found not to answer in time.',
    ({ shared }) => shared.outages,
  ),
  ofCache(
    'stream.proven',
    'gauge',
    '',
    'Whether the broadcast stream is proven, so that L1 may answer.',
    ({ now }) => Number(now.streamProven),
  ),
  ofCache(
    'stream.losses',
    'counter',
    '{loss}',
    "How often the broadcast stream's proof was lost.",
    ({ streamLosses }) => streamLosses,
  ),
  ofFeed('feed.open', 'gauge', '', 'Whether the feed has a session with the origin.', ({ open }) =>
    Number(open),
  ),
  ofFeed('feed.losses', 'counter', '{loss}', 'Lost or failed sessions of the feed.', ({ losses }) => losses),
  FEED_CHANGES,
  ofFeed(
    'feed.lag',
    'gauge',
    's',
    'From commit to acknowledgement, in the last batch of which anything was applied.',
    ({ lagMs }) => seconds(lagMs),
  ),
  ofFeed('feed.lag.max', 'gauge', 's', 'The longest of these so far.', ({ maxLagMs }) => seconds(maxLagMs)),
  ofFeed(
    'feed.distrusted',
    'counter',
    '{keyspace}',
    'New generations because the store or the origin may be another one.',
    ({ distrusted }) => distrusted,
  ),
  ofFeed(
    'feed.warnings',
    'counter',
    '{warning}',
    "What the feed has warned of: the origin's settings or tables are not as the guarantees need them.",
    ({ warnings }) => warnings,
  ),
  ofCache('faults', 'counter', '{fault}', 'Errors in work that nobody waits for.', ({ faults }) => faults),
]

/** The metric's name in Prometheus: with its base unit, and `_total` if it is a counter. */
export function prometheusName({
  name,
  kind,
  unit,
}: Pick<Metric, 'name' | 'unit'> & { kind?: Metric['kind'] }): string {
  const base = { s: '_seconds', By: '_bytes' }[unit] ?? ''
  return `cacheaside_${name.replaceAll('.', '_')}${base}${kind === 'counter' ? '_total' : ''}`
}
