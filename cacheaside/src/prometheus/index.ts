export { LOAD_DURATION_BUCKETS } from '../telemetry/metrics.ts'
export { type PrometheusMetrics, type PrometheusOptions, prometheusMetrics } from './prometheus-metrics.ts'
