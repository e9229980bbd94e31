import { passes, REST_MS, warm } from '../stage.ts'
import { inRounds, type Trial } from '../trial.ts'

/** Longer than a guard of ours outlives its writer. */
const LATER_MS = 12_000

/** A writer dies when its change is committed and nothing is invalidated yet. */
export const killedWriter: Trial = {
  id: 'killed-writer',
  heading: 'writer killed',
  text: `Two processes have the rows cached. A third changes them, up to 25 at once, and is killed (SIGKILL) when they are committed and before any is invalidated. Counted: rows that either process answers with the old version after the rest, or ${LATER_MS / 1000} s after the last kill.`,
  async run(stage, rows) {
    const readers = await stage.start(2)
    const tried: number[] = []
    const stale = new Set<number>()
    const outcome = await inRounds(rows, async count => {
      const ids = stage.ids(count)
      await stage.plant(ids)
      const cached = stage.caches ? await warm(readers, ids) : ids
      tried.push(...cached)
      const [writer] = await stage.start(1)
      // All at once: a connection is given back before the change counts as committed here.
      const held = cached.map(id => writer!.hold('committed', id))
      for (const id of cached) void writer!.attempt('write', id)
      await Promise.all(held.map(one => one.reached))
      await writer!.kill()
      await passes(REST_MS)
      for (const id of await stage.staleAmong(readers, cached)) stale.add(id)
      return { bad: 0, unforced: count - cached.length }
    })
    await passes(LATER_MS)
    for (const id of await stage.staleAmong(readers, tried)) stale.add(id)
    return { ...outcome, bad: stale.size }
  },
}
