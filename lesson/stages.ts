/**
 * `npm run stages`: Spellbook from no cache to this library, with PostgreSQL and Redis far away. Prints a table, and writes
 * `docs/stages.md` and its picture. With `--rounds`, `--postgres-ms` or `--redis-ms` it only prints.
 */
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { ensureRedisServer } from '../test/ensure-redis-server.ts'
import { startRedis } from '../test/redis-servers.ts'
import { startPostgres } from '../test/services.ts'
import { parsedArgs, refuse } from '../test/usage.ts'
import { chart } from './stages/chart.ts'
import { measureStages } from './stages/measure.ts'
import { page, table } from './stages/page.ts'

const ROUNDS = 5
const DISTANCES = { postgresMs: 100, redisMs: 50 }

const docs = (name: string): string => fileURLToPath(new URL(`../docs/${name}`, import.meta.url))

function numberOf(name: string, text: string | undefined, usual: number, least: number): number {
  const number = Number(text ?? usual)
  if (Number.isInteger(number) && number >= least && number <= 10_000) return number
  return refuse('stages', `--${name} must be a whole number from ${least} to 10000; it is "${text}"`)
}

const { values } = parsedArgs('stages', {
  options: { rounds: { type: 'string' }, 'postgres-ms': { type: 'string' }, 'redis-ms': { type: 'string' } },
})
const rounds = numberOf('rounds', values.rounds, ROUNDS, 1)
const distances = {
  postgresMs: numberOf('postgres-ms', values['postgres-ms'], DISTANCES.postgresMs, 0),
  redisMs: numberOf('redis-ms', values['redis-ms'], DISTANCES.redisMs, 0),
}

const redis = await startRedis({}, ensureRedisServer())
const postgres = await startPostgres()
try {
  const measured = await measureStages({ postgresUrl: postgres.url, redis }, distances, rounds, round => {
    if (process.stderr.isTTY)
      process.stderr.write(`\rround ${round} of ${rounds}${round === rounds ? '\n' : ''}`)
  })
  const isAsPublished = values['postgres-ms'] === undefined && values['redis-ms'] === undefined
  console.log(table(measured, isAsPublished))
  if (Object.keys(values).length === 0) {
    writeFileSync(docs('stages.md'), page(measured, distances, rounds))
    writeFileSync(docs('stages.svg'), chart(measured))
    console.log('\nWritten: docs/stages.md, docs/stages.svg')
  }
} catch (error) {
  console.error(`stages: ${(error as Error).message}`)
  process.exitCode = 1
} finally {
  await postgres.stop()
  await redis.stop()
}
