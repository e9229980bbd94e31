import { context, type Tracer, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  type Sampler,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base'

/** The SDK of OpenTelemetry, and what it has recorded. */
export function openTracing(sampler?: Sampler) {
  const exporter = new InMemorySpanExporter()
  const provider = new BasicTracerProvider({
    spanProcessors: [new SimpleSpanProcessor(exporter)],
    ...(sampler === undefined ? {} : { sampler }),
  })
  const manager = new AsyncLocalStorageContextManager().enable()
  context.setGlobalContextManager(manager)
  const tracer = provider.getTracer('test')
  return {
    tracer,
    spans: () => exporter.getFinishedSpans(),
    /** Does it inside a span of this name. */
    inside: <R>(name: string, work: () => R): R => insideSpan(tracer, name, work),
    named: (name: string): ReadableSpan[] => exporter.getFinishedSpans().filter(span => span.name === name),
    /** The names of all spans, each below its parent, in the order in which they started. */
    tree: () => treeOf(exporter.getFinishedSpans()),
    async close() {
      await provider.shutdown()
      context.disable()
      manager.disable()
    },
  }
}

function insideSpan<R>(tracer: Tracer, name: string, work: () => R): R {
  const span = tracer.startSpan(name)
  const result = context.with(trace.setSpan(context.active(), span), work)
  Promise.resolve(result).then(
    () => span.end(),
    () => span.end(),
  )
  return result
}

function treeOf(spans: readonly ReadableSpan[]): readonly unknown[] {
  const byStart = [...spans].sort(
    (a, b) => a.startTime[0] - b.startTime[0] || a.startTime[1] - b.startTime[1],
  )
  const below = (parent: string | undefined): unknown[] =>
    byStart
      .filter(span => span.parentSpanContext?.spanId === parent)
      .map(span => {
        const children = below(span.spanContext().spanId)
        return children.length === 0 ? span.name : [span.name, ...children]
      })
  return below(undefined)
}
