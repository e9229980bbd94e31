import type { CacheEvent } from '../../src/index.ts'
import { type Numbers, seriesOf } from './exported.ts'

/** The series that an event adds to, and how much: told once more, from the documents and not from the library. */
function* added(event: CacheEvent): Generator<[name: string, labels: Record<string, string>, by: number]> {
  switch (event.type) {
    case 'read': {
      const { keyspace, outcome } = event
      if (outcome !== 'answered') {
        yield ['reads_failed_total', { keyspace, outcome }, 1]
        return
      }
      const { from, why } = event
      yield ['reads_total', { keyspace, from, why }, 1]
      if (event.joined) yield ['reads_joined_total', { keyspace }, 1]
      if (event.absent) yield ['reads_absent_total', { keyspace }, 1]
      return
    }
    case 'load': {
      const { keyspace, outcome, costMs } = event
      yield ['loads_total', { keyspace, outcome }, 1]
      if (outcome === 'overloaded') return
      yield ['load_duration_seconds_count', { keyspace, outcome }, 1]
      yield ['load_duration_seconds_sum', { keyspace, outcome }, costMs / 1_000]
      for (const le of [
        '0.001',
        '0.0025',
        '0.005',
        '0.01',
        '0.025',
        '0.05',
        '0.1',
        '0.25',
        '0.5',
        '1',
        '2.5',
        '5',
        '10',
      ])
        if (costMs / 1_000 <= Number(le)) yield ['load_duration_seconds_bucket', { keyspace, outcome, le }, 1]
      yield ['load_duration_seconds_bucket', { keyspace, outcome, le: '+Inf' }, 1]
      return
    }
    case 'invalidation': {
      const { keyspace, outcome } = event
      yield ['invalidations_total', { keyspace, outcome }, 1]
      if (event.stored) yield ['written_through_total', { keyspace }, 1]
      if (event.unfenced) yield ['unfenced_writes_total', { keyspace }, 1]
      return
    }
    case 'fill':
      yield ['fills_total', { keyspace: event.keyspace, outcome: event.outcome }, 1]
      return
    case 'refresh':
      yield ['refreshes_total', { keyspace: event.keyspace, outcome: event.outcome }, 1]
      return
    case 'write':
      yield ['writes_total', { outcome: event.outcome }, 1]
      return
    case 'guard':
      yield ['guards_total', { keyspace: event.keyspace, outcome: event.outcome }, 1]
      return
    case 'keyspace-invalidation':
      yield ['keyspace_invalidations_total', { keyspace: event.keyspace, outcome: event.outcome }, 1]
      return
    case 'unreadable':
      yield ['unreadable_values_total', { keyspace: event.keyspace }, 1]
      return
    case 'unread':
      yield ['unread_values_total', { keyspace: event.keyspace }, 1]
      return
    case 'mismatch':
      yield ['mismatches_total', { keyspace: event.keyspace }, 1]
      return
    case 'verified':
      yield ['verifications_total', { keyspace: event.keyspace, outcome: event.outcome }, 1]
      return
    case 'discard':
      yield ['local_discards_total', { reason: event.reason }, 1]
      return
    case 'shared':
      if (event.state === 'unavailable') yield ['shared_outages_total', {}, 1]
      return
    case 'stream':
      if (event.state === 'unproven') yield ['stream_losses_total', {}, 1]
      return
    case 'feed':
      if (event.state === 'lost') yield ['feed_losses_total', {}, 1]
      return
    case 'feed-batch':
      if (event.outcome === 'failed') return
      yield ['feed_changes_total', { outcome: 'applied' }, event.applied]
      yield ['feed_changes_total', { outcome: 'retained' }, event.changes - event.applied]
      return
    case 'feed-distrust':
      yield ['feed_distrusted_total', {}, event.keyspaces.length]
      return
    case 'feed-warning':
      yield ['feed_warnings_total', {}, 1]
      return
    case 'fault':
      yield ['faults_total', {}, 1]
      return
    case 'mended':
  }
}

/** What each event adds to, summed up. */
export function countsOf(events: readonly CacheEvent[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const event of events) {
    for (const [name, labels, by] of added(event)) {
      const series = seriesOf(`cacheaside_${name}`, labels)
      counts.set(series, (counts.get(series) ?? 0) + by)
    }
  }
  return counts
}

/** Those that are not 0, rounded to microseconds: sums of fractions depend on their order. */
export const moved = (numbers: Numbers): Record<string, number> =>
  Object.fromEntries(
    [...numbers]
      .map(([series, value]) => [series, Math.round(value * 1e6) / 1e6] as const)
      .filter(([, value]) => value !== 0)
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  )

/** Those of counters and of the histogram. */
export const growing = (numbers: Numbers): Numbers =>
  new Map([...numbers].filter(([series]) => /^\w+(_total|_seconds_(count|sum|bucket))\{/.test(series)))
