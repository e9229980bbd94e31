import { systemClock } from '../../src/base/clock.ts'

/**
 * Waits for a condition between real programs, asking every few milliseconds.
 *
 * @throws Error that says what was waited for, after `deadlineMs`.
 */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  deadlineMs = 60_000,
): Promise<void> {
  const endMs = systemClock.nowMs() + deadlineMs
  while (!(await condition())) {
    if (systemClock.nowMs() > endMs) throw new Error(`waited in vain for ${what}`)
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}
