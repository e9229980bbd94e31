import {
  AggregationTemporality,
  DataPointType,
  MeterProvider,
  type MetricData,
  MetricReader,
} from '@opentelemetry/sdk-metrics'
import { Registry } from 'prom-client'
import type { Cache } from '../../src/index.ts'
import { openTelemetryMetrics } from '../../src/opentelemetry/index.ts'
import { prometheusMetrics } from '../../src/prometheus/index.ts'

/** Numbers by `name{label="text",…}`, the labels in the order of their names. */
export type Numbers = ReadonlyMap<string, number>

/** What one number is called. */
export function seriesOf(name: string, labels: Readonly<Record<string, unknown>>): string {
  const sorted = Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1))
  return `${name}{${sorted.map(([label, text]) => `${label}="${text}"`).join(',')}}`
}

/** All numbers of a registry; those of a cache without the label that names it. */
export async function prometheusNumbers(registry: Registry): Promise<Map<string, number>> {
  const numbers = new Map<string, number>()
  for (const { name, values } of await registry.getMetricsAsJSON()) {
    for (const one of values as readonly MetricValue[]) {
      const { cache: _, ...labels } = one.labels
      numbers.set(seriesOf(one.metricName ?? name, labels), one.value)
    }
  }
  return numbers
}

interface MetricValue {
  readonly metricName?: string
  readonly labels: Readonly<Record<string, string | number>>
  readonly value: number
}

/** Reads when it is asked. */
class Reader extends MetricReader {
  protected override async onForceFlush(): Promise<void> {}
  protected override async onShutdown(): Promise<void> {}
}

/** A provider of meters, and what it exports. */
export function openTelemetry() {
  const reader = new Reader({ aggregationTemporalitySelector: () => AggregationTemporality.CUMULATIVE })
  const provider = new MeterProvider({ readers: [reader] })
  return {
    meter: provider.getMeter('test'),
    async collect(): Promise<MetricData[]> {
      const { resourceMetrics, errors } = await reader.collect()
      if (errors.length > 0) throw errors[0]
      return resourceMetrics.scopeMetrics.flatMap(({ metrics }) => metrics)
    },
    close: () => provider.shutdown(),
  }
}

/** All numbers of these metrics, but for histograms, by the attributes without their prefix and without the cache. */
export function openTelemetryNumbers(metrics: readonly MetricData[]): Map<string, number> {
  const numbers = new Map<string, number>()
  for (const { descriptor, dataPointType, dataPoints } of metrics) {
    if (dataPointType === DataPointType.HISTOGRAM || dataPointType === DataPointType.EXPONENTIAL_HISTOGRAM)
      continue
    for (const { attributes, value } of dataPoints) {
      const { 'cacheaside.cache': _, ...labels } = attributes
      const short = Object.entries(labels).map(([name, text]) => [name.replace(/^cacheaside\./, ''), text])
      numbers.set(seriesOf(descriptor.name, Object.fromEntries(short)), value as number)
    }
  }
  return numbers
}

/** A cache whose metrics are exported both ways. */
export function exportBothWays(cache: Cache) {
  const registry = new Registry()
  const telemetry = openTelemetry()
  const ends = [
    prometheusMetrics(cache, { registry }),
    openTelemetryMetrics(cache, { meter: telemetry.meter }),
  ]
  return {
    registry,
    telemetry,
    async close() {
      for (const end of ends) end.close()
      await telemetry.close()
    },
  }
}
