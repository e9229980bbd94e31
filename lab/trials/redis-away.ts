import type { LabProcess } from '../lab-process.ts'
import { type Stage, warm } from '../stage.ts'
import type { Outcome, Trial } from '../trial.ts'

const DEADLINE_MS = 15_000

async function answer(one: LabProcess, id: number): Promise<string> {
  const ended = await one.attempt('get', id, DEADLINE_MS)
  if (ended === undefined) return 'hangs'
  const took =
    ended.tookMs < 1000 ? `${Math.round(ended.tookMs)} ms` : `${(ended.tookMs / 1000).toFixed(1)} s`
  return ended.error === undefined ? took : `error after ${took}`
}

async function readAway(stage: Stage, goAway: () => unknown): Promise<Outcome> {
  const [one] = await stage.start(1)
  const ids = stage.ids(4)
  await stage.plant(ids)
  const [warmId, coldId, warmLater, coldLater] = ids as [number, number, number, number]
  if (stage.caches) await warm([one!], [warmId, warmLater])
  await goAway()
  const [first, second] = await Promise.all([answer(one!, warmId), answer(one!, coldId)])
  const [third, fourth] = await Promise.all([answer(one!, warmLater), answer(one!, coldLater)])
  return { kind: 'fact', text: `cached: ${first}, not cached: ${second}; then ${third}, ${fourth}` }
}

const SAYS = `A process reads a row that it has cached and one that it has not, and then another such pair. Given: how long the answers took; "hangs" is no answer within ${DEADLINE_MS / 1000} s.`

/** Redis accepts what is sent and answers nothing. */
export const redisHangs: Trial = {
  id: 'redis-hangs',
  heading: 'Redis hangs',
  text: `Redis is suspended (SIGSTOP): connections stay open, and nothing is answered. ${SAYS}`,
  isInformation: true,
  rows: () => 4,
  run: stage => readAway(stage, () => stage.redis.suspend()),
}

/** Redis is not there. */
export const redisStopped: Trial = {
  id: 'redis-stopped',
  heading: 'Redis stopped',
  text: 'The same, but Redis is killed.',
  isInformation: true,
  rows: () => 4,
  run: stage => readAway(stage, () => stage.redis.kill()),
}
