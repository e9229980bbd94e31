/**
 * `npm run bench`: the library as it is published, against what there is without it. `npm run bench -- local`,
 * `-- memory`, `-- values`, `-- redis`, `-- database`, `-- feed`, `-- writers` and `-- http` run one part. With `--write` what was measured is kept in
 * `docs/performance`: as Markdown, JSON and a picture.
 */
import { readFileSync } from 'node:fs'
import { refuse } from '../../test/usage.ts'
import { feedRows } from './feed.ts'
import { httpRows } from './http.ts'
import { localCases } from './local.ts'
import { measuredRows } from './measure.ts'
import { MEASURED, memoryRows } from './memory.ts'
import { redisCases } from './redis.ts'
import { databaseRows } from './redis-postgres.ts'
import { keepPart, type Part, partOf, tableOf } from './report.ts'
import { valueCases } from './values.ts'
import { writerRows } from './writers.ts'

/** Read as a file: not every package exports it. */
const versionOf = (name: string): string =>
  JSON.parse(readFileSync(new URL(`../../node_modules/${name}/package.json`, import.meta.url), 'utf8'))
    .version

/** What each part measures. */
const PARTS: Readonly<Record<string, () => Promise<Part>>> = {
  local: async () =>
    partOf('In one process', await measuredRows(await localCases(), 12), {
      'lru-cache': versionOf('lru-cache'),
    }),
  memory: async () =>
    partOf(`Memory for an entry, ${MEASURED}`, await memoryRows(), { 'lru-cache': versionOf('lru-cache') }),
  values: async () => partOf('Values as text', await measuredRows(valueCases(), 40)),
  redis: async () => {
    const { cases, redis, close } = await redisCases()
    const rows = await measuredRows(cases, 75)
    await close()
    return partOf('On Redis', rows, {
      Redis: redis,
      ioredis: versionOf('ioredis'),
      'node-redis': versionOf('redis'),
    })
  },
  database: async () => {
    const { rows, versions } = await databaseRows(25)
    return partOf('Redis and PostgreSQL', rows, versions)
  },
  feed: async () => {
    const { rows, postgres } = await feedRows(9)
    return partOf('The change feed', rows, { PostgreSQL: postgres })
  },
  writers: async () => partOf('A thousand writers of one key at once', await writerRows()),
  http: async () =>
    partOf('A hit over HTTP, CPU time of the server', await httpRows(), { fastify: versionOf('fastify') }),
}

const keeps = process.argv.includes('--write')
const asked = process.argv.slice(2).filter(word => word !== '--write')
const unknown = asked.find(part => !Object.hasOwn(PARTS, part))
if (unknown !== undefined) refuse('bench', `${unknown} is none of ${Object.keys(PARTS).join(', ')}`)
for (const [name, run] of Object.entries(PARTS)) {
  // It needs a program that sends requests.
  if (asked.length === 0 ? name === 'http' : !asked.includes(name)) continue
  const part = await run()
  console.log(tableOf(part))
  if (keeps) await keepPart(name, part)
}
process.exit(0)
