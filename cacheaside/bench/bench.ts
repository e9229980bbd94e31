/**
 * `npm run bench`: the library as it is published, against what there is without it. `npm run bench -- local`,
 * `-- memory`, `-- values`, `-- redis`, `-- writers` and `-- http` run one part.
 */
import { refuse } from '../../test/usage.ts'
import { printHttp } from './http.ts'
import { localCases } from './local.ts'
import { printTable } from './measure.ts'
import { printMemory } from './memory.ts'
import { redisCases } from './redis.ts'
import { valueCases } from './values.ts'
import { printWriters } from './writers.ts'

const PARTS = ['local', 'memory', 'values', 'redis', 'writers', 'http']
const parts = process.argv.slice(2)
const unknown = parts.find(part => !PARTS.includes(part))
if (unknown !== undefined) refuse('bench', `${unknown} is none of ${PARTS.join(', ')}`)
const wants = (part: string) => parts.length === 0 || parts.includes(part)
if (wants('local')) await printTable('In one process', await localCases(), 12)
if (wants('memory')) await printMemory()
if (wants('values')) await printTable('Values as text', valueCases(), 40)
if (wants('redis')) {
  const { cases, close } = await redisCases()
  await printTable('On Redis', cases, 25)
  await close()
}
if (wants('writers')) await printWriters()
// Only if it is asked for: it needs a program that sends requests.
if (parts.includes('http')) await printHttp()
process.exit(0)
