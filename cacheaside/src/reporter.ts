/**
 * What one cache reports. Each event is counted, warned of if an operator has to know of it, and told to those who listen.
 * Tracers follow operations by {@link Reporter.tracing}.
 */
import type { Clock } from './base/clock.ts'
import type { CacheEvent } from './base/events.ts'
import { Listeners } from './base/listeners.ts'
import { messageOf } from './base/thrown.ts'
import { type Operation, type Tracer, Tracing } from './base/tracing.ts'
import { type Logger, Warnings } from './base/warnings.ts'
import { StatsFold } from './stats-fold.ts'
import { warnOf, warnOfReason } from './warn-of.ts'

/** The way of each event of one cache: to the statistics, the warnings and the listeners. */
export class Reporter {
  readonly stats = new StatsFold()
  readonly warnings: Warnings
  readonly tracing = new Tracing()
  readonly #listeners = new Listeners<CacheEvent>(error => this.#listenerThrew(error))
  /** Listeners to all events but reads and writes: for them alone a hit makes no event. */
  readonly #workListeners = new Listeners<CacheEvent>(error => this.#listenerThrew(error))
  readonly #isQueueEmpty: () => boolean

  /** @param isQueueEmpty - Whether every invalidation has been applied. */
  constructor(clock: Clock, logger: Logger | undefined, isQueueEmpty: () => boolean) {
    this.warnings = new Warnings(clock, logger)
    this.#isQueueEmpty = isQueueEmpty
  }

  readonly emit = (event: CacheEvent): void => {
    try {
      this.stats.fold(event)
      warnOf(this.warnings, event, this.#isQueueEmpty)
      this.#listeners.tell(event)
      if (event.type !== 'read' && event.type !== 'write') this.#workListeners.tell(event)
    } catch (error) {
      // Telling of the work must not end it: a write would leave its guards, and a reader would wait for ever.
      this.#tellingFailed(error)
    }
  }

  /** Warns of why the shared store is unavailable, where that was not known at first. */
  readonly onReason = (error: unknown): void => warnOfReason(this.warnings, error)

  /** Whether anybody listens to events, or follows this operation: if not, a read is counted without making an event. */
  readonly isHeard = (operation: Operation): boolean =>
    this.#listeners.size > 0 || this.tracing.hears(operation)

  /** Whether anybody is told of reads that L1 has answered. */
  readonly hearsHits = (): boolean => this.#listeners.size > 0 || this.tracing.hearsHits

  /** Has a listener told of every event, until the returned function is called. */
  listen(listener: (event: CacheEvent) => void): () => void {
    return this.#listeners.add(listener)
  }

  /** As {@link Reporter.listen}, for all events but reads and writes. */
  listenToWork(listener: (event: CacheEvent) => void): () => void {
    return this.#workListeners.add(listener)
  }

  /** Has a tracer follow the operations, until the returned function is called. */
  trace(tracer: Tracer): () => void {
    return this.tracing.add(tracer)
  }

  #listenerThrew(error: unknown): void {
    const message = `a listener of the cache's events threw; the error is ignored: ${messageOf(error)}`
    this.warnings.once('LISTENER_THREW', '', { message, error })
  }

  #tellingFailed(error: unknown): void {
    try {
      const message = `an event could not be told of: ${messageOf(error)}`
      this.warnings.once('FAULT', 'events', { message, error })
    } catch {
      // The clock throws, or the logger: nobody is left to tell.
    }
  }
}
