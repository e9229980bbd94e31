import { eventually } from '../../test/redis-servers.ts'
import { ours, plain, warm, wentWell, wentWrong } from '../both-ways.ts'
import { type Demonstration, EARTHQUAKE } from '../demonstration.ts'

/** Redis comes back with what it saved before a write. */
export const oldSnapshot: Demonstration = {
  name: 'old-snapshot',
  title: 'Redis restarts from a snapshot that is older than the write',
  async run(room) {
    const redis = await room.redis()
    const database = await room.database()
    const load = (id: string | number) => database.find(String(id))
    const change = (damage: number) => () => database.update(String(EARTHQUAKE), { damage })
    const restart = async () => {
      await redis.kill()
      await redis.restart()
    }

    room.say('plain')
    room.say(
      '  Redis saves 40. A writer commits 41 and deletes the key. Redis crashes, and starts with what it saved.',
    )
    const reader = await plain(room, redis.port, load)
    await warm(reader)
    await redis.command('SAVE')
    await reader.write(EARTHQUAKE, change(41))
    await restart()
    await wentWrong(room, database, (await reader.get(EARTHQUAKE)).value)

    room.say('cacheaside, with its change feed')
    room.say('  The same with 42. The feed notices that this Redis is another one, and drops everything.')
    await redis.command('FLUSHALL')
    const one = await ours(room, redis.port, load, { feed: database })
    await warm(one)
    await redis.command('SAVE')
    const before = one.cache.stats().feed.distrusted
    await one.spells.write(EARTHQUAKE, change(42))
    await restart()
    await eventually(() => one.cache.stats().feed.distrusted > before, 'the feed to notice')
    await wentWell(room, database, await one.spells.get(EARTHQUAKE))
  },
}
