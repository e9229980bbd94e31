import { eventually } from '../../test/redis-servers.ts'
import { plain } from '../both-ways.ts'
import { type Demonstration, damageOf, EARTHQUAKE, shown } from '../demonstration.ts'

/** Whether the answer waits until it is stored. */
export const fill: Demonstration = {
  name: 'fill',
  title: 'a blocking fill delays the answer, a background fill does not',
  async run(room) {
    const redis = await room.redis()
    const database = await room.database()
    const isStored = async () => (await redis.command('EXISTS', `spell:${EARTHQUAKE}`)) === 1
    const load = (id: string | number) => database.find(String(id))

    const blocking = await plain(room, redis.port, load, 'blocking')
    const { value } = await blocking.get(EARTHQUAKE)
    const before = await isStored()
    room.say(`blocking:   answered ${damageOf(value)}; stored by then: ${before}`)

    await redis.command('DEL', `spell:${EARTHQUAKE}`)
    const background = await plain(room, redis.port, load, 'background')
    // Reads are answered, writes have to wait.
    await redis.command('CLIENT', 'PAUSE', 60_000, 'WRITE')
    const answer = await background.get(EARTHQUAKE)
    const early = await isStored()
    room.say(`background: answered ${damageOf(answer.value)}; stored by then: ${early}`)
    await redis.command('CLIENT', 'UNPAUSE')
    await eventually(isStored, 'the fill to be done')
    room.say('            and stored a little later')
    shown(before && !early, 'the fills did not differ')
  },
}
