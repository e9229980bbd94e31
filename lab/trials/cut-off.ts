import { clientsOf, passes, REST_MS, reconnected, type Stage, warm } from '../stage.ts'
import { inRounds, ROUND, type Trial } from '../trial.ts'
import type { Ended } from '../worker.ts'

/** What the writes of a round were answered with, the most frequent first: the program has nothing else to go by. */
function answersOf(ends: readonly (Ended | undefined)[]): string {
  const counts = new Map<string, number>()
  for (const ended of ends) {
    const seconds = ended === undefined ? '' : ` after ${Math.round(ended.tookMs / 1000)} s`
    const told = ended?.value === undefined || ended.value === null ? '' : ` (${String(ended.value)})`
    const answer =
      ended === undefined
        ? 'no answer'
        : ended.error === undefined
          ? `resolved${told}${seconds}`
          : `threw ${ended.error.split(':')[0]}${seconds}`
    counts.set(answer, (counts.get(answer) ?? 0) + 1)
  }
  return [...counts].sort((a, b) => b[1] - a[1])[0]?.[0] ?? 'nothing tried'
}

async function cutOff(stage: Stage, count: number, cutMs: number) {
  const network = await stage.network()
  const [reader] = await stage.start(1)
  const [writer] = await stage.start(1, { redisPort: network.port })
  const ids = stage.ids(count)
  await stage.plant(ids)
  const cached = stage.caches ? await warm([reader!, writer!], ids) : ids
  const clients = await clientsOf(stage.redis)
  await network.refuse()
  const writing = cached.map(id => writer!.attempt('write', id))
  await passes(cutMs)
  await network.restore()
  const ends = await Promise.all(writing)
  await reconnected(stage.redis, clients)
  await passes(REST_MS)
  const stale = await stage.staleAmong([reader!, writer!], cached)
  await Promise.all([reader!.kill(), writer!.kill()])
  return { bad: stale.size, unforced: count - cached.length, note: answersOf(ends) }
}

function trial(id: string, heading: string, cutMs: number, more: Partial<Trial>): Trial {
  return {
    id,
    heading,
    text: `A process is cut off from Redis: its connections are reset and new ones refused, for ${cutMs / 1000} s. Meanwhile it changes rows that it and another process have cached. When Redis is back, every write has been answered (or ${120} s are over) and all clients are connected again, comes the rest. Counted: rows that either process answers with the old version. Noted: what the writes said.`,
    run: (stage, rows) => inRounds(rows, count => cutOff(stage, count, cutMs)),
    ...more,
  }
}

/** The writer cannot reach Redis for three seconds. */
export const cutOff3 = trial('cut-off-3', 'cut off 3 s', 3_000, {})

/** And for thirty. */
export const cutOff30 = trial('cut-off-30', 'cut off 30 s', 30_000, { rows: asked => Math.min(asked, ROUND) })
