import { eventually } from '../../test/redis-servers.ts'
import { clientsOf, passes, REST_MS, reconnected, warm } from '../stage.ts'
import { inRounds, type Trial } from '../trial.ts'

const CUT_MS = 1_000

/** What a process keeps is changed while it cannot be told. */
export const lostMessage: Trial = {
  id: 'lost-message',
  heading: 'message lost',
  text: `Two processes have the rows cached. The connections of one are reset, and refused for ${CUT_MS / 1000} s; meanwhile the other changes the rows and invalidates. The rest begins when all clients are connected again. Counted: rows that either process answers with the old version.`,
  async run(stage, rows) {
    const network = await stage.network()
    const [reader] = await stage.start(1, { redisPort: network.port })
    const [writer] = await stage.start(1)
    return inRounds(rows, async count => {
      const ids = stage.ids(count)
      await stage.plant(ids)
      const cached = stage.caches ? await warm([reader!, writer!], ids) : ids
      const clients = await clientsOf(stage.redis)
      await network.refuse()
      await eventually(() => network.connections === 0, 'the connections to be gone')
      await Promise.all(cached.map(id => writer!.write(id)))
      await passes(CUT_MS)
      await network.restore()
      await reconnected(stage.redis, clients)
      await passes(REST_MS)
      const stale = await stage.staleAmong([reader!, writer!], cached)
      return { bad: stale.size, unforced: count - cached.length }
    })
  },
}
