import { type Clock, clockOver } from '../base/clock.ts'

/**
 * A clock that follows fake timers: it reads the global `Date`, `performance` and `setTimeout` as they are at each moment, so
 * that `vi.advanceTimersByTimeAsync`, and what Jest and `node:test` have like it, moves a cache's time. The machine's clock,
 * which a cache uses by default, cannot be faked.
 *
 * A cache with this clock waits for timers that the test has to run, also in `close()`; and timers that were set and then taken
 * away by the end of the faking never run. So it lives no longer than one test. {@link SimulatedClock} needs no such care.
 *
 * @example
 * ```ts
 * vi.useFakeTimers()
 * const cache = createCache({ clock: fakeableClock() })
 * const spells = cache.keyspace('spell', { load, ttlMs: 600_000 })
 * await spells.get(4)
 * await vi.advanceTimersByTimeAsync(600_000)
 * await spells.get(4) // loaded again
 * ```
 */
export function fakeableClock(): Clock {
  const clock = clockOver({
    monotonicMs: () => performance.now(),
    wallMs: () => Date.now(),
    isWallReal: () => false,
  })
  return Object.assign(clock, { coarseMs: clock.nowMs })
}
