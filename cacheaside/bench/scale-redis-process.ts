/** One process of `npm run scale -- processes`, `-- cluster` or `-- tags`: hits for a second, when it is told to begin. */
import { once } from 'node:events'
import { createCache } from 'cacheaside'
import { type RedisClient, redisShared } from 'cacheaside/redis'
import { Cluster, Redis } from 'ioredis'
import { spellOf } from './measure.ts'
import { middleOf } from './report.ts'
import type { HitsAsked, HitsTold } from './scale-redis.ts'

const KEYS = 1_000
const SLICES = 20
const SLICE_MS = 150

const { ports, onCluster, tags: count, width } = JSON.parse(process.argv[2]!) as HitsAsked
const nodes = ports.map(port => ({ host: '127.0.0.1', port }))
const client = onCluster
  ? new Cluster(nodes, { lazyConnect: true })
  : new Redis({ port: ports[0]!, lazyConnect: true })
const shared = redisShared({ client: client as unknown as RedisClient, prefix: `t${count}:`, onWarning() {} })
await shared.ready()
const cache = createCache({ shared, sharedTimeoutMs: 1_500 })
const group = cache.tags<string>('group')
const tags = (id: number) => Array.from({ length: count }, (_, i) => group.key(`${i}-${id % 10}`))
const spells = cache.keyspace('spell', {
  load: async (id: number) => spellOf(id),
  ...(count > 0 ? { tags } : {}),
})
for (let round = 0; round < 2; round++) for (let id = 0; id < KEYS; id++) await spells.get(id)
process.send!('ready')
await once(process, 'message')

/** Hits for a slice of time. */
async function slice(): Promise<HitsTold> {
  const tookUs: number[] = []
  const beganMs = performance.now()
  let next = 0
  const lane = async () => {
    while (performance.now() - beganMs < SLICE_MS) {
      const sentMs = performance.now()
      await spells.get(next++ % KEYS)
      tookUs.push((performance.now() - sentMs) * 1_000)
    }
  }
  await Promise.all(Array.from({ length: width }, lane))
  return {
    perSecond: (tookUs.length * 1_000) / (performance.now() - beganMs),
    medianUs: middleOf(tookUs),
  }
}

const slices: HitsTold[] = []
for (let i = 0; i < SLICES; i++) slices.push(await slice())
// A neighbour makes a hit slower, never faster.
const told: HitsTold = {
  perSecond: middleOf(slices.map(({ perSecond }) => perSecond)),
  medianUs: Math.min(...slices.map(({ medianUs }) => medianUs)),
}
process.send!(told, undefined, undefined, () => process.exit(0))
