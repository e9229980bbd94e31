import { passes, REST_MS, warm } from '../stage.ts'
import { inRounds, type Trial } from '../trial.ts'

/** Another program changes rows. */
export const foreignChange: Trial = {
  id: 'foreign-change',
  heading: 'change by psql',
  text: 'Two processes have the rows cached. Another program, which knows of no cache, changes them by UPDATE. Counted: rows that either process answers with the old version after the rest.',
  async run(stage, rows) {
    const processes = await stage.start(2)
    return inRounds(rows, async count => {
      const ids = stage.ids(count)
      await stage.plant(ids)
      const cached = stage.caches ? await warm(processes, ids) : ids
      await stage.sql('UPDATE spell SET version = version + 1 WHERE id = ANY($1::bigint[])', [cached])
      await passes(REST_MS)
      const stale = await stage.staleAmong(processes, cached)
      return { bad: stale.size, unforced: count - cached.length }
    })
  },
}
