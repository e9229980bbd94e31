import { eventually } from '../../test/redis-servers.ts'
import { ours, plain, warm, wentWell, wentWrong } from '../both-ways.ts'
import { type Demonstration, EARTHQUAKE } from '../demonstration.ts'

/** Somebody changes the row who knows of no cache. */
export const psql: Demonstration = {
  name: 'psql',
  title: 'psql, a migration or another program changes the row',
  async run(room) {
    const redis = await room.redis()
    const database = await room.database()
    const load = (id: string | number) => database.find(String(id))
    const byHand = async (damage: number) => {
      const statement = `update spell set damage = ${damage} where name = 'Earthquake'`
      room.say(`  by hand: ${statement}`)
      await database.database.query(statement)
    }

    room.say('plain')
    const reader = await plain(room, redis.port, load)
    await warm(reader)
    await byHand(41)
    await wentWrong(room, database, (await reader.get(EARTHQUAKE)).value)

    room.say('cacheaside, with its change feed')
    await redis.command('FLUSHALL')
    const ourReader = await ours(room, redis.port, load, { feed: database })
    await warm(ourReader)
    await byHand(42)
    const isHeard = async () => (await ourReader.spells.get(EARTHQUAKE))?.damage === 42
    await eventually(isHeard, 'the change feed to have looked')
    room.say('  The trigger has written the change down, and the feed has invalidated the key.')
    await wentWell(room, database, await ourReader.spells.get(EARTHQUAKE))
  },
}
