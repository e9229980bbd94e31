import { gate } from 'cacheaside/testing'
import { ours, plain, warm, wentWell, wentWrong } from '../both-ways.ts'
import { type Demonstration, EARTHQUAKE } from '../demonstration.ts'

/** The cache answers between a commit and the delete behind it. */
export const overlap: Demonstration = {
  name: 'overlap',
  title: 'the cache shows the old row to a reader who has seen the new one',
  async run(room) {
    const redis = await room.redis()
    const database = await room.database()
    const load = (id: string | number) => database.find(String(id))
    const held = () => {
      const passage = gate()
      const commit = async (damage: number) => {
        await database.update(String(EARTHQUAKE), { damage })
        await passage.wait()
      }
      return { passage, commit }
    }

    room.say('plain')
    room.say('  The writer has committed 41, and has not deleted the key yet.')
    const reader = await plain(room, redis.port, load)
    const writer = await plain(room, redis.port, load)
    await warm(reader)
    const first = held()
    const writing = writer.write(EARTHQUAKE, () => first.commit(41))
    await first.passage.reached
    await wentWrong(room, database, (await reader.get(EARTHQUAKE)).value)
    first.passage.open()
    await writing

    room.say('cacheaside')
    room.say('  The writer has put a guard on the key, and has committed 42. The reader asks PostgreSQL.')
    await redis.command('FLUSHALL')
    const [ourReader, ourWriter] = [await ours(room, redis.port, load), await ours(room, redis.port, load)]
    await warm(ourReader)
    const second = held()
    const guarded = ourWriter.spells.write(EARTHQUAKE, () => second.commit(42))
    await second.passage.reached
    await wentWell(room, database, await ourReader.spells.get(EARTHQUAKE))
    second.passage.open()
    await guarded
  },
}
