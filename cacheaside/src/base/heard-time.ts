import type { Clock } from './clock.ts'

/** How it is known whether anybody is told how long things take. */
export interface Heard {
  readonly clock: Clock
  readonly isHeard: () => boolean
}

/** The time by the clock's `nowMs`, if somebody is told how long what begins now takes. */
export const heardMs = ({ clock, isHeard }: Heard): number | undefined =>
  isHeard() ? clock.nowMs() : undefined

/** The milliseconds since then; 0 if nobody is told. */
export const sinceMs = ({ clock }: Heard, beganMs: number | undefined): number =>
  beganMs === undefined ? 0 : clock.nowMs() - beganMs
