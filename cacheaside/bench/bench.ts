/**
 * `npm run bench`: the library as it is published, against what there is without it. `npm run bench -- local`,
 * `-- values` and `-- redis` run one part.
 */
import { refuse } from '../../test/usage.ts'
import { localCases } from './local.ts'
import { printTable } from './measure.ts'
import { redisCases } from './redis.ts'
import { valueCases } from './values.ts'

const parts = process.argv.slice(2)
const unknown = parts.find(part => !['local', 'values', 'redis'].includes(part))
if (unknown !== undefined) refuse('bench', `${unknown} is neither local, values nor redis`)
const wants = (part: string) => parts.length === 0 || parts.includes(part)
if (wants('local')) await printTable('In one process', await localCases(), 12)
if (wants('values')) await printTable('Values as text', valueCases(), 40)
if (wants('redis')) {
  const { cases, close } = await redisCases()
  await printTable('On Redis', cases, 25)
  await close()
}
process.exit(0)
