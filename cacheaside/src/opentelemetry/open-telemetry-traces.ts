import {
  type Attributes,
  type Context,
  context,
  type Span,
  type SpanContext,
  SpanStatusCode,
  type Tracer,
  trace,
} from '@opentelemetry/api'
import { invalidOption } from '../base/invalid-option.ts'
import type {
  Tracer as Follower,
  Operation,
  ReadTrace,
  TracedOperation,
  TraceMessages,
} from '../base/tracing.ts'
import type { Cache } from '../cache.ts'
import { checkSource, DEFAULT_NAME } from '../telemetry/source.ts'
import { attributesAtEnd, attributesAtStart, errorOf, errorTypeOf, spanName } from './span-attributes.ts'

/** How the operations of a cache are traced. */
export interface OpenTelemetryTracesOptions {
  /** Starts the spans. Left out: the tracer `cacheaside` of the global provider, as it is set when a span starts. */
  readonly tracer?: Tracer
  /** The attribute `cacheaside.cache` of every span: 1 to 64 characters. Left out: `default`. */
  readonly name?: string
  /**
   * Whether a read that L1 answers has a span. Making one takes much longer than the answer, and there may be a thousand in
   * one request. @defaultValue false
   */
  readonly hits?: boolean
  /** Whether spans have the keys. Ids may be personal, and traces often go to other companies. @defaultValue false */
  readonly keys?: boolean
}

/** A tracing, and its end. */
export interface OpenTelemetryTraces {
  /** Starts no more spans. Spans that have been started still end by themselves. Idempotent. */
  close(): void
}

/**
 * Traces the operations of a cache by the tracing API of OpenTelemetry. docs/telemetry.md lists the spans and their
 * attributes. A read or a write is a child of the active span, its steps are its children, and the spans of a loader or a
 * writer are below the step. A refresh outlives the read that begins it: it is a root, with a link to that read. A read that
 * has joined another's flight has a link to it.
 *
 * Nothing is recorded for a span that its sampler has left out.
 *
 * @throws CacheError `INVALID_OPTIONS`.
 */
export function openTelemetryTraces(
  cache: Cache,
  options: OpenTelemetryTracesOptions = {},
): OpenTelemetryTraces {
  checkSource(cache, options, ['tracer', 'name', 'hits', 'keys'])
  const { tracer = trace.getTracer('cacheaside'), name = DEFAULT_NAME, hits = false, keys = false } = options
  if (typeof tracer?.startSpan !== 'function')
    throw invalidOption('tracer', 'a Tracer of @opentelemetry/api', tracer)
  for (const [option, given] of Object.entries({ hits, keys }))
    if (typeof given !== 'boolean') throw invalidOption(option, 'true or false', given)
  const stop = cache.measurable.trace(new SpanStarter(tracer, name, hits, keys))
  return { close: stop }
}

/** Most flights that are remembered, for the reads that join them. */
const MOST_FLIGHTS = 1_000

class SpanStarter implements Follower {
  readonly hearsHits: boolean
  readonly #tracer: Tracer
  readonly #cache: string
  readonly #tellsKeys: boolean
  /** The spans of reads and refreshes that lead a flight, by its number; the last ones. */
  readonly #leaders = new Map<number, SpanContext>()

  constructor(tracer: Tracer, cache: string, hearsHits: boolean, tellsKeys: boolean) {
    this.#tracer = tracer
    this.#cache = cache
    this.hearsHits = hearsHits
    this.#tellsKeys = tellsKeys
  }

  begins<Of extends Operation>(operation: Of, message: TraceMessages[Of]): TracedOperation {
    const parent = context.active()
    if ('flights' in message) this.#note(message.flights, parent)
    const attributes: Attributes = { 'cacheaside.cache': this.#cache }
    attributesAtStart(attributes, message, this.#tellsKeys)
    const name = spanName(operation, message)
    const span = this.#tracer.startSpan(name, { attributes, ...placeOf(operation, parent) }, parent)
    const inside = trace.setSpan(parent, span)
    return {
      within: work => context.with(inside, work),
      ended: () => {
        if (span.isRecording()) this.#complete(span, message)
        span.end()
      },
    }
  }

  /** The active span leads these flights. */
  #note(flights: readonly number[], active: Context): void {
    const leader = trace.getSpanContext(active)
    if (leader === undefined) return
    for (const flight of flights) if (!this.#leaders.has(flight)) this.#leaders.set(flight, leader)
    for (const oldest of this.#leaders.keys()) {
      if (this.#leaders.size <= MOST_FLIGHTS) return
      this.#leaders.delete(oldest)
    }
  }

  #complete(span: Span, message: TraceMessages[Operation]): void {
    span.setAttributes(attributesAtEnd(message))
    if ('call' in message) this.#linkJoined(span, message)
    const error = errorOf(message)
    if (error === undefined) return
    span.setAttribute('error.type', errorTypeOf(message, error))
    span.recordException(error)
    span.setStatus({ code: SpanStatusCode.ERROR, message: error.message })
  }

  #linkJoined(span: Span, { events }: ReadTrace): void {
    for (const { joined, flight } of events) {
      const leader = joined && flight !== undefined ? this.#leaders.get(flight) : undefined
      if (leader !== undefined && leader.spanId !== span.spanContext().spanId)
        span.addLink({ context: leader })
    }
  }
}

/** The parent and the links of a span. A refresh has no parent: its read may have ended long before. */
function placeOf(operation: Operation, parent: Context) {
  const active = trace.getSpanContext(parent)
  if (operation !== 'refresh') return {}
  return { root: true, links: active === undefined ? [] : [{ context: active }] }
}
