import type { WriteEvent } from './base/events.ts'
import { heardMs, sinceMs } from './base/heard-time.ts'
import { type Identified, idOf } from './base/trace-id.ts'
import type { WriteTrace } from './base/tracing.ts'
import type { CacheParts } from './space.ts'

/** One write, as it is counted and reported to listeners. */
export class ReportedWrite implements Identified {
  traceId = 0
  /** The message of the call, if somebody follows it. */
  message: WriteTrace | undefined
  readonly #parts: CacheParts
  readonly #beganMs: number | undefined
  #guardMs = 0
  #committingMs: number | undefined
  #commitMs = 0

  constructor(parts: CacheParts) {
    this.#parts = parts
    this.#beganMs = heardMs(parts, 'write')
  }

  /** Its guards stand or were not confirmed, and its function is about to be called. */
  guarded(): void {
    this.#guardMs = sinceMs(this.#parts, this.#beganMs)
    this.#committingMs = heardMs(this.#parts, 'write')
  }

  /** Its function has ended, if it was called. */
  returned(): void {
    if (this.#committingMs === undefined) this.#guardMs = sinceMs(this.#parts, this.#beganMs)
    else this.#commitMs = sinceMs(this.#parts, this.#committingMs)
  }

  /** @param about - What is known of a write that was committed, or the error of another one. */
  ended(
    outcome: WriteEvent['outcome'],
    keys: Iterable<string>,
    about: Pick<WriteEvent, 'fenced' | 'invalidation' | 'error'>,
  ): void {
    const parts = this.#parts
    if (!parts.isHeard('write')) {
      parts.stats.write(outcome)
      return
    }
    const event: WriteEvent = {
      type: 'write',
      id: idOf(this),
      keys: [...keys],
      outcome,
      durationMs: sinceMs(parts, this.#beganMs),
      guardMs: this.#guardMs,
      commitMs: this.#commitMs,
      ...about,
    }
    if (this.message !== undefined) this.message.event = event
    parts.emit(event)
  }
}
