/**
 * `npm run bench`: the library as it is published, against what there is without it. `npm run bench -- local`,
 * `-- values`, `-- redis` and `-- writers` run one part.
 */
import { refuse } from '../../test/usage.ts'
import { localCases } from './local.ts'
import { printTable } from './measure.ts'
import { redisCases } from './redis.ts'
import { valueCases } from './values.ts'
import { printWriters } from './writers.ts'

const PARTS = ['local', 'values', 'redis', 'writers']
const parts = process.argv.slice(2)
const unknown = parts.find(part => !PARTS.includes(part))
if (unknown !== undefined) refuse('bench', `${unknown} is neither local, values, redis nor writers`)
const wants = (part: string) => parts.length === 0 || parts.includes(part)
if (wants('local')) await printTable('In one process', await localCases(), 12)
if (wants('values')) await printTable('Values as text', valueCases(), 40)
if (wants('redis')) {
  const { cases, close } = await redisCases()
  await printTable('On Redis', cases, 25)
  await close()
}
if (wants('writers')) await printWriters()
process.exit(0)
