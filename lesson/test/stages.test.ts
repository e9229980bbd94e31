import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type RedisServer, startRedis } from '../../test/redis-servers.ts'
import { createDatabase, sharedPostgresUrl } from '../../test/services.ts'
import { chart } from '../stages/chart.ts'
import { type Measured, measureStages, REQUESTS, type Request } from '../stages/measure.ts'
import { page, table } from '../stages/page.ts'

const ROOT = join(import.meta.dirname, '../..')
const POSTGRES_MS = 20
const REDIS_MS = 10

let redis: RedisServer
let measured: readonly Measured[]
beforeAll(async () => {
  redis = await startRedis()
  const postgresUrl = await createDatabase(sharedPostgresUrl())
  measured = await measureStages({ postgresUrl, redis }, { postgresMs: POSTGRES_MS, redisMs: REDIS_MS }, 1)
})
afterAll(() => redis.stop())

const times = (first: number, hit: number, second: number, write: number, after: number) =>
  Object.fromEntries(
    REQUESTS.map((request, i) => [request, [first, hit, second, write, after][i]!]),
  ) as Record<Request, number>

/** How often a request waits for each server. It cannot be faster than that; how much slower it is depends on the machine. */
test.each([
  ['no cache', times(20, 20, 20, 20, 20)],
  ['blocking fill', times(40, 10, 40, 30, 40)],
  ['background fill', times(30, 10, 30, 30, 30)],
  ['cacheaside', times(30, 10, 30, 40, 30)],
  ['cacheaside, with L1', times(30, 0, 30, 40, 30)],
])('at the stage "%s" a request takes at least its way to the servers and back', (name, least) => {
  const { bestMs } = measured.find(({ stage }) => stage === name)!
  for (const request of REQUESTS) expect(bestMs[request], request).toBeGreaterThan(least[request])
})

test('the stages are those of the lesson, and then ours', () => {
  expect(measured.map(({ stage }) => stage)).toEqual([
    'no cache',
    'blocking fill',
    'background fill',
    'cacheaside',
    'cacheaside, with L1',
  ])
})

test('the table compares with the published lesson only at its distances', () => {
  expect(table(measured, true).split('\n')).toHaveLength(1 + 5 + 3)
  expect(table(measured, false).split('\n')).toHaveLength(1 + 5)
  expect(table(measured, true)).toMatch(/the lesson +250 +50 +250/)
})

test('the picture has a bar for every request at every stage, and stands alone', () => {
  const svg = chart(measured)
  expect(svg).toMatch(/^<svg [^>]*xmlns="http:\/\/www\.w3\.org\/2000\/svg"/)
  const [background, ...bars] = svg.match(/<rect /g)!
  expect(background).toBeDefined()
  expect(bars).toHaveLength(measured.length * REQUESTS.length)
  expect(svg).not.toMatch(/href=|url\(|@import/)
})

test('docs/stages.md is what the command writes', () => {
  const written = readFileSync(join(ROOT, 'docs/stages.md'), 'utf8')
  const text = page(measured, { postgresMs: 100, redisMs: 50 }, 5)
  const withoutNumbers = (one: string) => one.replace(/\| \d+(?= \|)/g, '| n')
  // Twice: neighbouring cells share a bar.
  expect(withoutNumbers(withoutNumbers(text))).toBe(withoutNumbers(withoutNumbers(written)))
})

test('the published hit, miss and read without a cache are in the document', () => {
  const rows = readFileSync(join(ROOT, 'docs/stages.md'), 'utf8').match(/^\| \*the lesson\* .*$/gm)
  expect(rows).toHaveLength(3)
})
