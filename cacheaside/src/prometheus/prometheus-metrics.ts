import { Counter, Gauge, Histogram, type Registry, register } from 'prom-client'
import { invalidOption } from '../base/invalid-option.ts'
import type { Cache } from '../cache.ts'
import {
  LOAD_DURATION,
  LOAD_DURATION_BUCKETS,
  METRICS,
  type Metric,
  prometheusName,
  type Snapshot,
} from '../telemetry/metrics.ts'
import { checkSource, DEFAULT_NAME, onLoad, type Source, snapshotOf } from '../telemetry/source.ts'

/** How the metrics of a cache are registered. */
export interface PrometheusOptions {
  /** Where they are registered. Left out: the default registry of `prom-client`. */
  readonly registry?: Registry
  /**
   * The label `cache` of every number, which tells several caches on one registry apart: 1 to 64 characters. Left out:
   * `default`.
   */
  readonly name?: string
}

/** A registration, and its end. */
export interface PrometheusMetrics {
  /**
   * Takes the cache's numbers off the registry, and with those of the last cache the metrics too. Idempotent. Close them
   * before the registry is used for another cache of the same name; the cache itself stays as it is. The last numbers of a cache
   * that has been closed stay until then, or until another cache is registered.
   */
  close(): void
}

/** The metrics on each registry, which all caches on it share. */
const exporters = new WeakMap<Registry, Exporter>()

/**
 * Registers the metrics of a cache with `prom-client`. docs/telemetry.md lists them. No key, tag or text of an error is ever
 * a label.
 *
 * Counters are read from `cache.stats()` when the registry is read, all at one moment. So they count from the creation of the
 * cache, and a read costs nothing more. Only the histogram of load durations begins with this call.
 *
 * @throws CacheError `INVALID_OPTIONS`, also if the registry has a cache of that name already, or other metrics of the same
 *   names.
 */
export function prometheusMetrics(cache: Cache, options: PrometheusOptions = {}): PrometheusMetrics {
  checkSource(cache, options, ['registry', 'name'])
  const { registry = register, name = DEFAULT_NAME } = options
  if (typeof registry?.registerMetric !== 'function')
    throw invalidOption('registry', 'a Registry of prom-client', registry)
  let exporter = exporters.get(registry)
  // A registry that was cleared has forgotten what was registered.
  if (exporter === undefined || !exporter.isRegistered) {
    exporter = new Exporter(registry)
    exporters.set(registry, exporter)
  }
  return { close: exporter.add({ name, cache }) }
}

const NAMES = [...METRICS, LOAD_DURATION].map(prometheusName)

/** The metrics on one registry, for all caches that were added to it. */
class Exporter {
  readonly #registry: Registry
  /** By name. */
  readonly #sources = new Map<string, { readonly cache: Cache; readonly drop: () => void }>()
  readonly #loads: Histogram
  /** What is exported by this read of the registry. */
  #snapshots: readonly (readonly [cache: string, Snapshot])[] | undefined

  constructor(registry: Registry) {
    this.#registry = registry
    const taken = NAMES.find(name => registry.getSingleMetric(name) !== undefined)
    if (taken !== undefined)
      throw invalidOption('registry', `without another metric called ${taken}`, registry)
    for (const metric of METRICS) this.#register(metric)
    this.#loads = new Histogram({
      name: prometheusName(LOAD_DURATION),
      help: LOAD_DURATION.help,
      labelNames: ['cache', ...LOAD_DURATION.labels],
      buckets: [...LOAD_DURATION_BUCKETS],
      registers: [registry],
    })
  }

  get isRegistered(): boolean {
    return this.#registry.getSingleMetric(prometheusName(LOAD_DURATION)) === this.#loads
  }

  /** Adds a cache. The returned function takes it off again. */
  add(source: Source): () => void {
    const { name, cache } = source
    this.#dropClosed()
    if (this.#sources.has(name))
      throw invalidOption('name', 'one that no other cache on this registry has', name)
    const observed = new Map<string, { cache: string; keyspace: string; outcome: string }>()
    const stop = onLoad(cache, (keyspace, outcome, tookS) => {
      const labels = { cache: name, keyspace, outcome }
      observed.set(`${keyspace} ${outcome}`, labels)
      this.#loads.observe(labels, tookS)
    })
    const drop = () => {
      stop()
      this.#sources.delete(name)
      for (const labels of observed.values()) this.#loads.remove(labels)
    }
    const added = { cache, drop }
    this.#sources.set(name, added)
    return () => {
      if (this.#sources.get(name) !== added) return
      drop()
      if (this.#sources.size === 0) this.#close()
    }
  }

  #dropClosed(): void {
    for (const { cache, drop } of this.#sources.values()) if (cache.isClosed) drop()
  }

  #register(metric: Metric): void {
    const configuration = {
      name: prometheusName(metric),
      help: metric.help,
      labelNames: ['cache', ...metric.labels],
      registers: [this.#registry],
    }
    const read = (write: (labels: Record<string, string>, value: number) => void) => {
      for (const [cache, snapshot] of this.#read())
        for (const [labels, value] of metric.samples(snapshot)) write({ cache, ...labels }, value)
    }
    if (metric.kind === 'counter') {
      const counter: Counter = new Counter({
        ...configuration,
        collect: () => {
          counter.reset()
          read((labels, value) => counter.inc(labels, value))
        },
      })
      return
    }
    const gauge: Gauge = new Gauge({
      ...configuration,
      collect: () => {
        gauge.reset()
        read((labels, value) => gauge.set(labels, value))
      },
    })
  }

  /** A registry that is read asks all metrics in one turn: all their numbers are of one moment. */
  #read(): readonly (readonly [cache: string, Snapshot])[] {
    if (this.#snapshots === undefined) {
      this.#snapshots = [...this.#sources].map(([name, { cache }]) => [name, snapshotOf(cache)])
      queueMicrotask(this.#forgetSnapshots)
    }
    return this.#snapshots
  }

  readonly #forgetSnapshots = (): void => {
    this.#snapshots = undefined
  }

  #close(): void {
    if (!this.isRegistered) return
    for (const name of NAMES) this.#registry.removeSingleMetric(name)
    exporters.delete(this.#registry)
  }
}
