import {
  type Attributes,
  type BatchObservableCallback,
  type Meter,
  metrics,
  type Observable,
} from '@opentelemetry/api'
import { invalidOption } from '../base/invalid-option.ts'
import type { Cache } from '../cache.ts'
import {
  type Labels,
  LOAD_DURATION,
  LOAD_DURATION_BUCKETS,
  METRICS,
  type Metric,
} from '../telemetry/metrics.ts'
import { checkSource, DEFAULT_NAME, onLoad, snapshotOf } from '../telemetry/source.ts'

/** How the metrics of a cache are recorded. */
export interface OpenTelemetryOptions {
  /** Makes the instruments. Left out: the meter `cacheaside` of the global provider, as it is set at the call. */
  readonly meter?: Meter
  /**
   * The attribute `cacheaside.cache` of every number, which tells several caches of one process apart: 1 to 64
   * characters. Left out: `default`.
   */
  readonly name?: string
}

/** A recording, and its end. */
export interface OpenTelemetryMetrics {
  /** Ends it. Idempotent. Instruments cannot be taken off a meter: they stay, and have no numbers. */
  close(): void
}

/**
 * Records the metrics of a cache by the metrics API of OpenTelemetry. docs/telemetry.md lists them: the same as those of
 * `cacheaside/prometheus`. No key, tag or text of an error is ever an attribute.
 *
 * Counters are read from `cache.stats()` when they are collected, all at one moment. So they count from the creation of the
 * cache, and a read costs nothing more. Only the histogram of load durations begins with this call.
 *
 * @throws CacheError `INVALID_OPTIONS`.
 */
export function openTelemetryMetrics(cache: Cache, options: OpenTelemetryOptions = {}): OpenTelemetryMetrics {
  checkSource(cache, options, ['meter', 'name'])
  const { meter = metrics.getMeter('cacheaside'), name = DEFAULT_NAME } = options
  if (typeof meter?.addBatchObservableCallback !== 'function')
    throw invalidOption('meter', 'a Meter of @opentelemetry/api', meter)
  const instruments = METRICS.map(metric => [metric, instrumentOf(meter, metric)] as const)
  const observables = instruments.map(([, instrument]) => instrument)
  const collect: BatchObservableCallback = result => {
    const snapshot = snapshotOf(cache)
    for (const [metric, instrument] of instruments)
      for (const [labels, value] of metric.samples(snapshot))
        result.observe(instrument, value, attributesOf(name, labels))
  }
  meter.addBatchObservableCallback(collect, observables)
  const stop = recordLoads(cache, meter, name)
  return {
    close: () => {
      stop()
      meter.removeBatchObservableCallback(collect, observables)
    },
  }
}

function recordLoads(cache: Cache, meter: Meter, name: string): () => void {
  const durations = meter.createHistogram(`cacheaside.${LOAD_DURATION.name}`, {
    description: LOAD_DURATION.help,
    unit: LOAD_DURATION.unit,
    advice: { explicitBucketBoundaries: [...LOAD_DURATION_BUCKETS] },
  })
  return onLoad(cache, (keyspace, outcome, tookS) => {
    const attributes = attributesOf(name, { keyspace, outcome })
    // https://opentelemetry.io/docs/specs/semconv/registry/attributes/error/
    durations.record(tookS, outcome === 'loaded' ? attributes : { ...attributes, 'error.type': outcome })
  })
}

function instrumentOf(meter: Meter, { name, kind, unit, help }: Metric): Observable {
  const options = { description: help, unit }
  switch (kind) {
    case 'counter':
      return meter.createObservableCounter(`cacheaside.${name}`, options)
    case 'amount':
      return meter.createObservableUpDownCounter(`cacheaside.${name}`, options)
    case 'gauge':
      return meter.createObservableGauge(`cacheaside.${name}`, options)
  }
}

/** Our own attributes: there are no semantic conventions for caches. */
function attributesOf(cache: string, labels: Labels): Attributes {
  const attributes: Attributes = { 'cacheaside.cache': cache }
  for (const [label, text] of Object.entries(labels)) attributes[`cacheaside.${label}`] = text
  return attributes
}
