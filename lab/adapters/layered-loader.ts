/**
 * layered-loader with its memory, Redis, and notifications. It asks for ioredis 6, which is why it is installed apart.
 *
 * @see https://github.com/kibertoad/layered-loader
 */
import { createNotificationPair, Loader, Redis, RedisCache } from 'with-ioredis-6'
import type { About, Adapter, Setting, Spell } from '../adapter.ts'

export const about: About = {
  name: 'layered-loader, L1 + L2 + notifications',
  docs: 'https://github.com/kibertoad/layered-loader#redis-pubsub',
  packages: ['layered-loader', 'with-ioredis-6/ioredis'],
  setUp:
    'inMemoryCache, RedisCache (json), createNotificationPair; get, getMany, invalidateCacheFor. For refreshes ttlLeftBeforeRefreshInMsecs on both levels.',
  refreshes: true,
}

export async function open({ redisPort, find, findMany, ttlMs, refresh }: Setting): Promise<Adapter> {
  const connect = () => {
    const redis = new Redis({ host: '127.0.0.1', port: redisPort })
    redis.on('error', () => {})
    return redis
  }
  const { publisher, consumer } = createNotificationPair<Spell>({
    channel: 'spell-changes',
    consumerRedis: connect(),
    publisherRedis: connect(),
  })
  const life = {
    ttlInMsecs: ttlMs,
    ...(refresh === undefined ? {} : { ttlLeftBeforeRefreshInMsecs: refresh.leftMs }),
  }
  const loader = new Loader<Spell>({
    inMemoryCache: { ...life, maxItems: 10_000 },
    asyncCache: new RedisCache<Spell>(connect(), { ...life, json: true }),
    notificationPublisher: publisher,
    notificationConsumer: consumer,
    dataSourceGetOneFn: key => find(Number(key)),
    dataSourceGetManyFn: keys => findMany(keys.map(Number)),
    cacheKeyFromValueResolver: spell => String(spell.id),
  })
  await loader.init()
  return {
    // That there is no such row comes back from Redis as an empty text.
    get: async id => (await loader.get(String(id))) || null,
    async getMany(ids) {
      const found = new Map((await loader.getMany(ids.map(String))).map(spell => [spell.id, spell]))
      return ids.map(id => found.get(id) ?? null)
    },
    async write(id, change) {
      await change()
      await loader.invalidateCacheFor(String(id))
      return undefined
    },
  }
}
