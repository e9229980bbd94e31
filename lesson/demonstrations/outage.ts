import { startProxy } from '../../test/proxy.ts'
import { eventually } from '../../test/redis-servers.ts'
import { ours, plain, TTL_MS, warm, wentWell, wentWrong } from '../both-ways.ts'
import { type Demonstration, EARTHQUAKE, shown } from '../demonstration.ts'
import { plainCacheAside } from '../plain-cache-aside.ts'

/** Redis is away when the writer wants to delete the key. */
export const outage: Demonstration = {
  name: 'outage',
  title: 'Redis cannot be reached when the key is to be deleted',
  async run(room) {
    const redis = await room.redis()
    const database = await room.database()
    const load = (id: string | number) => database.find(String(id))
    const change = (damage: number) => () => database.update(String(EARTHQUAKE), { damage })
    const network = await startProxy(redis.port)
    room.atEnd(() => network.close())

    room.say('plain')
    room.say('  The writer is cut off from Redis. It commits 41. Its DEL fails.')
    const reader = await plain(room, redis.port, load)
    const client = await room.client(network.port)
    // It gives up at once. By default it would try for eleven seconds, and then give up too.
    client.options.maxRetriesPerRequest = 0
    const writer = plainCacheAside({ redis: client, name: 'spell', load, ttlMs: TTL_MS, fill: 'blocking' })
    await warm(reader)
    await network.refuse()
    const failed = await writer.write(EARTHQUAKE, change(41)).then(
      () => false,
      () => true,
    )
    await network.restore()
    shown(failed, 'the DEL did not fail')
    await wentWrong(room, database, (await reader.get(EARTHQUAKE)).value)

    room.say('cacheaside')
    await redis.command('FLUSHALL')
    const ourReader = await ours(room, redis.port, load)
    const ourWriter = await ours(room, network.port, load)
    await warm(ourReader)
    await network.refuse()
    const { invalidation } = await ourWriter.spells.write(EARTHQUAKE, change(42))
    room.say(
      `  The writer is cut off from Redis. It commits 42, and says that the invalidation is ${invalidation}.`,
    )
    await network.restore()
    await eventually(() => ourWriter.cache.stats().now.queuedInvalidations === 0, 'the queue to be empty')
    room.say('  Redis is back, and the queue is applied.')
    await wentWell(room, database, await ourReader.spells.get(EARTHQUAKE))
    shown(invalidation === 'queued', 'the invalidation was not queued')
  },
}
