import { gate } from 'cacheaside/testing'
import type { Spell } from '../../spellbook/src/api.ts'
import { eventually } from '../../test/redis-servers.ts'
import { ours, plain } from '../both-ways.ts'
import { type Demonstration, EARTHQUAKE, shown } from '../demonstration.ts'

const READERS = 50

/** Many want the same row, and nobody has it. */
export const stampede: Demonstration = {
  name: 'stampede',
  title: 'many readers of one cold key all ask the database',
  async run(room) {
    const redis = await room.redis()
    const database = await room.database()
    /** A loader that is slow until all readers have asked, and counts. */
    const counted = () => {
      const slow = gate()
      let loads = 0
      const load = async (id: string | number): Promise<Spell | undefined> => {
        loads++
        await slow.wait()
        return database.find(String(id))
      }
      return { slow, load, count: () => loads }
    }
    const readers = Array.from({ length: READERS })

    const first = counted()
    const plainly = [await plain(room, redis.port, first.load), await plain(room, redis.port, first.load)]
    const reading = plainly.flatMap(one => readers.map(() => one.get(EARTHQUAKE)))
    await eventually(() => first.count() === reading.length, 'all readers to have missed')
    first.slow.open()
    await Promise.all(reading)
    room.say(`plain:      2 processes, ${READERS} readers each: ${first.count()} SELECTs`)

    await redis.command('FLUSHALL')
    const second = counted()
    const both = [await ours(room, redis.port, second.load), await ours(room, redis.port, second.load)]
    const waiting = both.flatMap(({ spells }) => readers.map(() => spells.get(EARTHQUAKE)))
    await second.slow.reached
    second.slow.open()
    await Promise.all(waiting)
    room.say(`cacheaside: 2 processes, ${READERS} readers each: ${second.count()} SELECT`)
    shown(first.count() === 2 * READERS && second.count() === 1, 'other numbers of SELECTs')
  },
}
