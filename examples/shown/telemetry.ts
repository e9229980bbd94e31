/** What docs/telemetry.md shows, with what it takes for granted. It is compiled and not run. */
import { createCache } from 'cacheaside'
import { openTelemetryMetrics, openTelemetryTraces } from 'cacheaside/opentelemetry' // needs @opentelemetry/api
import { prometheusMetrics } from 'cacheaside/prometheus' // needs prom-client

const cache = createCache()

prometheusMetrics(cache) // on the default registry, or on { registry }; { name } if there are several caches
openTelemetryMetrics(cache) // by the global meter provider, or by { meter }
openTelemetryTraces(cache) // by the global tracer provider, or by { tracer }
