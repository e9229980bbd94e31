import type { RedisServer } from '../../test/redis-servers.ts'
import { eventually } from '../../test/redis-servers.ts'
import { ours } from '../both-ways.ts'
import { type Demonstration, shown } from '../demonstration.ts'
import { plainCacheAside } from '../plain-cache-aside.ts'

const COUNT = 200
const SHORT_MS = 100
const TTL_MS = 600_000

/** The seconds between the first and the last of these keys to expire. */
async function spreadS(redis: RedisServer, keys: readonly string[]): Promise<number> {
  const left = await Promise.all(keys.map(async key => Number(await redis.command('PEXPIRETIME', key))))
  return Math.round((Math.max(...left) - Math.min(...left)) / 1000)
}

/** Entries that end by time. */
export const expiration: Demonstration = {
  name: 'expiration',
  title: 'a value expires; many that were stored together expire together, unless each lives a little less',
  async run(room) {
    const redis = await room.redis()
    const client = await room.client(redis.port)
    const load = async (id: string | number) => ({ id })
    const options = { redis: client, load, fill: 'blocking' } as const
    const short = plainCacheAside({ ...options, name: 'short', ttlMs: SHORT_MS })
    await short.get(1)
    const isMiss = async () => (await short.get(1)).from === 'database'
    await eventually(isMiss, 'the value to expire')
    room.say(`after ${SHORT_MS} ms the value has expired, and the next read is a miss`)

    const ids = Array.from({ length: COUNT }, (_, i) => i + 1)
    const long = plainCacheAside({ ...options, name: 'long', ttlMs: TTL_MS })
    await Promise.all(ids.map(id => long.get(id)))
    const together = await spreadS(
      redis,
      ids.map(id => `long:${id}`),
    )
    const one = await ours(room, redis.port, async () => undefined)
    const kept = one.cache.keyspace('kept', { load: async (id: number) => ({ id }), ttlMs: TTL_MS })
    await Promise.all(ids.map(id => kept.get(id)))
    await eventually(
      async () => (await redis.command('EXISTS', ...ids.map(id => `kept:${id}`))) === COUNT,
      'all to be stored',
    )
    const apart = await spreadS(
      redis,
      ids.map(id => `kept:${id}`),
    )
    room.say(`${COUNT} values for ten minutes: plain ones expire within ${together} s of each other`)
    room.say(`${' '.repeat(28)}ours expire within ${apart} s, each up to a tenth sooner`)
    shown(apart > 30 && together < apart, 'they expired otherwise')
  },
}
