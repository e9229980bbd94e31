/** Fills L1 with as many entries as its argument says, and prints bytes per entry, ns per hit and ns per fill. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { createCache } from 'cacheaside'
import { spellOf } from './measure.ts'

const TOGETHER = 1_000
const HITS = 200_000

setFlagsFromString('--expose-gc')
const collect: () => void = runInNewContext('gc')
const size = Number(process.argv[2])
const cache = createCache({ local: { maxBytes: 2 ** 40 } })
const spells = cache.keyspace('spell', {
  load: async (id: number) => spellOf(id),
  loadMany: async (ids: readonly number[]) => new Map(ids.map(id => [id, spellOf(id)])),
})
collect()
const before = process.memoryUsage().heapUsed
const filledMs = performance.now()
for (let first = 0; first < size; first += TOGETHER)
  await spells.getMany(Array.from({ length: Math.min(TOGETHER, size - first) }, (_, i) => first + i))
const fillNs = ((performance.now() - filledMs) * 1e6) / size
collect()
const bytes = (process.memoryUsage().heapUsed - before) / size
let state = 1
const random = () => {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
  return Math.floor((state / 2 ** 32) * size)
}
const beganMs = performance.now()
for (let i = 0; i < HITS; i++) await spells.get(random())
const hitNs = ((performance.now() - beganMs) * 1e6) / HITS
console.log(JSON.stringify([bytes, hitNs, fillNs]))
process.exit(0)
