import { plain, TTL_MS } from '../both-ways.ts'
import { type Demonstration, damageOf, EARTHQUAKE, shown } from '../demonstration.ts'

/** The three steps of cache-aside. */
export const hitAndMiss: Demonstration = {
  name: 'hit-and-miss',
  title: 'the first read misses and fills, the second is a hit',
  async run(room) {
    const redis = await room.redis()
    const database = await room.database()
    let selects = 0
    const spells = await plain(room, redis.port, id => {
      selects++
      return database.find(String(id))
    })
    for (const what of ['miss: GET, SELECT, SET', 'hit:  GET']) {
      const { value, from } = await spells.get(EARTHQUAKE)
      room.say(`${what.padEnd(24)} ${damageOf(value)}, from the ${from}`)
    }
    const ttlMs = Number(await redis.command('PTTL', `spell:${EARTHQUAKE}`))
    room.say(`SELECTs: ${selects}. Redis keeps spell:${EARTHQUAKE} for ${Math.ceil(ttlMs / 60_000)} minutes.`)
    shown(selects === 1 && ttlMs > 0 && ttlMs <= TTL_MS, 'the second read was no hit')
  },
}
