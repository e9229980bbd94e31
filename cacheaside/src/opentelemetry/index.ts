export { LOAD_DURATION_BUCKETS } from '../telemetry/metrics.ts'
export {
  type OpenTelemetryMetrics,
  type OpenTelemetryOptions,
  openTelemetryMetrics,
} from './open-telemetry-metrics.ts'
export {
  type OpenTelemetryTraces,
  type OpenTelemetryTracesOptions,
  openTelemetryTraces,
} from './open-telemetry-traces.ts'
