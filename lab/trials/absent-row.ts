import { passes, REST_MS, warm } from '../stage.ts'
import { inRounds, type Trial } from '../trial.ts'

/** It is remembered that a row does not exist, and then it does. */
export const absentRow: Trial = {
  id: 'absent-row',
  heading: 'absent row made',
  text: 'Two processes have asked for rows that do not exist, until that is cached. A third makes the rows and invalidates. Counted: rows of which either process still says, after the rest, that they do not exist.',
  async run(stage, rows) {
    const processes = await stage.start(3)
    const readers = processes.slice(1)
    return inRounds(rows, async count => {
      const ids = stage.ids(count)
      const cached = stage.caches ? await warm(readers, ids) : ids
      await Promise.all(cached.map(id => processes[0]!.write(id)))
      await passes(REST_MS)
      const stale = await stage.staleAmong(readers, cached)
      return { bad: stale.size, unforced: count - cached.length }
    })
  },
}
