export { LOAD_DURATION_BUCKETS } from '../telemetry/metrics.ts'
export {
  type OpenTelemetryMetrics,
  type OpenTelemetryOptions,
  openTelemetryMetrics,
} from './open-telemetry-metrics.ts'
