import { eventually } from '../../test/redis-servers.ts'
import { ours, warm } from '../both-ways.ts'
import { type Demonstration, EARTHQUAKE, shown } from '../demonstration.ts'

/** A cache that is emptied when a process starts. */
export const flush: Demonstration = {
  name: 'flush',
  title: 'FLUSHALL at the start takes what belongs to others; a new generation does not',
  async run(room) {
    const redis = await room.redis()
    const database = await room.database()
    const load = (id: string | number) => database.find(String(id))
    const hasSession = async () => (await redis.command('EXISTS', 'session:7')) === 1

    await redis.command('SET', 'session:7', 'of another program')
    await redis.command('FLUSHALL')
    const lost = !(await hasSession())
    room.say(`FLUSHALL:        session:7 of another program is ${lost ? 'gone' : 'still there'}`)

    await redis.command('SET', 'session:7', 'of another program')
    const one = await ours(room, redis.port, load)
    await warm(one)
    await one.spells.invalidateAll()
    const { from } = await one.spells.read(EARTHQUAKE)
    const kept = await hasSession()
    room.say(`invalidateAll(): session:7 of another program is ${kept ? 'still there' : 'gone'}`)
    room.say(`                 and spell 4 is read from the ${from === 'origin' ? 'database' : 'cache'}`)
    await eventually(async () => (await one.spells.read(EARTHQUAKE)).from === 'shared', 'the next hit')
    shown(lost && kept && from === 'origin', 'the flushes did not differ')
  },
}
