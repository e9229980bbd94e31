import type { Clock } from './clock.ts'
import type { Operation } from './tracing.ts'

/** Tells whether anybody hears how long things take. */
export interface Heard {
  readonly clock: Clock
  readonly isHeard: (operation: Operation) => boolean
}

/** The time by the clock's `nowMs`, if somebody hears how long the operation takes that begins now; otherwise `undefined`. */
export const heardMs = ({ clock, isHeard }: Heard, operation: Operation): number | undefined =>
  isHeard(operation) ? clock.nowMs() : undefined

/** The milliseconds since then; 0 if nobody hears of it. */
export const sinceMs = ({ clock }: Heard, beganMs: number | undefined): number =>
  beganMs === undefined ? 0 : clock.nowMs() - beganMs
