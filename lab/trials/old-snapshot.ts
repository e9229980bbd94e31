import { clientsOf, passes, REST_MS, reconnected, warm } from '../stage.ts'
import { inRounds, type Trial } from '../trial.ts'

/** Redis forgets what it has acknowledged. */
export const oldSnapshot: Trial = {
  id: 'old-snapshot',
  heading: 'old snapshot',
  text: 'Two processes have the rows cached; Redis saves a snapshot; one process changes the rows and invalidates. Then Redis is killed and started again with the snapshot. The rest begins when all clients are connected again. Counted: rows that either process answers with the old version.',
  async run(stage, rows) {
    const processes = await stage.start(2)
    const { redis } = stage
    return inRounds(rows, async count => {
      const ids = stage.ids(count)
      await stage.plant(ids)
      const cached = stage.caches ? await warm(processes, ids) : ids
      const clients = await clientsOf(redis)
      await redis.command('SAVE')
      await Promise.all(cached.map(id => processes[0]!.write(id)))
      await redis.kill()
      await redis.restart()
      await reconnected(redis, clients)
      await passes(REST_MS)
      const stale = await stage.staleAmong(processes, cached)
      return { bad: stale.size, unforced: count - cached.length }
    })
  },
}
