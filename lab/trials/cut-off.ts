import { CALL_DEADLINE_MS } from '../lab-process.ts'
import { clientsOf, passes, REST_MS, reconnected, type Stage, warm } from '../stage.ts'
import { inRounds, ROUND, type Trial } from '../trial.ts'
import type { Ended } from '../worker.ts'

/** What the writes were answered with, and after how long, the most frequent first: the program has nothing else to go by. */
function answersOf(ends: readonly (Ended | undefined)[]): string {
  const seconds = new Map<string, number[]>()
  for (const ended of ends) {
    const answer = answerOf(ended)
    seconds.set(answer, [...(seconds.get(answer) ?? []), (ended?.tookMs ?? 0) / 1000])
  }
  return [...seconds]
    .sort((a, b) => b[1].length - a[1].length)
    .map(([answer, all]) => {
      const [least, most] = [Math.min(...all), Math.max(...all)].map(Math.round)
      const span = least === most ? `${most}` : `${least} to ${most}`
      const share = seconds.size > 1 ? `${all.length} ` : ''
      return answer === NEVER ? `${share}${answer}` : `${share}${answer} after ${span} s`
    })
    .join('; ')
}

const NEVER = `no answer in ${CALL_DEADLINE_MS / 1000} s`

function answerOf(ended: Ended | undefined): string {
  if (ended === undefined) return NEVER
  if (ended.error !== undefined) return `threw ${ended.error.split(':')[0]}`
  return ended.value === undefined || ended.value === null ? 'resolved' : `resolved (${String(ended.value)})`
}

async function cutOff(stage: Stage, count: number, cutMs: number, ends: (Ended | undefined)[]) {
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
  ends.push(...(await Promise.all(writing)))
  await reconnected(stage.redis, clients)
  await passes(REST_MS)
  const stale = await stage.staleAmong([reader!, writer!], cached)
  await Promise.all([reader!.kill(), writer!.kill()])
  return { bad: stale.size, unforced: count - cached.length }
}

function trial(id: string, heading: string, cutMs: number, more: Partial<Trial>): Trial {
  return {
    id,
    heading,
    text: `A process is cut off from Redis: its connections are reset and new ones refused, for ${cutMs / 1000} s. Meanwhile it changes rows that it and another process have cached. The rest begins when Redis is back, every write has been answered (or ${CALL_DEADLINE_MS / 1000} s are over) and all clients are connected again. Counted: rows that either process answers with the old version. Noted: what the writes said.`,
    async run(stage, rows) {
      const ends: (Ended | undefined)[] = []
      const outcome = await inRounds(rows, count => cutOff(stage, count, cutMs, ends))
      return { ...outcome, note: answersOf(ends) }
    },
    ...more,
  }
}

/** The writer cannot reach Redis for three seconds. */
export const cutOff3 = trial('cut-off-3', 'cut off 3 s', 3_000, {})

/** And for thirty. */
export const cutOff30 = trial('cut-off-30', 'cut off 30 s', 30_000, {
  text: 'The same for 30 s.',
  rows: asked => Math.min(asked, ROUND),
})
