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

/**
 * What a relay does every ten seconds, until the last look has mended nothing more: each ends after 600 ms, and leaves the rest
 * to the next.
 *
 * @returns what the looks have said.
 */
export async function mended(
  sql: (script: string) => Promise<readonly Record<string, unknown>[]>,
): Promise<readonly string[]> {
  const said = new Set<string>()
  let [left, before] = [Number.POSITIVE_INFINITY, Number.NaN]
  while (left > 0 && left !== before) {
    const [look] = await sql('SELECT cacheaside.cover() AS problems')
    for (const problem of look!.problems as string[]) said.add(problem)
    const [gaps] = await sql('SELECT count(*)::int AS left FROM cacheaside.trigger_gaps()')
    before = left
    left = gaps!.left as number
  }
  return [...said]
}
