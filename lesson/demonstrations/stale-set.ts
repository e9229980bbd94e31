import { gate } from 'cacheaside/testing'
import type { Spell } from '../../spellbook/src/api.ts'
import { ours, plain, wentWell, wentWrong } from '../both-ways.ts'
import { type Demonstration, EARTHQUAKE, type SpellDatabase } from '../demonstration.ts'

/** A reader stores what it has loaded before a write. */
export const staleSet: Demonstration = {
  name: 'stale-set',
  title: 'a slow reader stores the row as it was before the write',
  async run(room) {
    const redis = await room.redis()
    const database = await room.database()
    const change = (damage: number) => () => database.update(String(EARTHQUAKE), { damage })

    room.say('plain')
    room.say('  A misses and loads 40. B commits 41 and deletes the key. A stores 40.')
    const slow = slowLoad(database)
    const a = await plain(room, redis.port, slow.load)
    const b = await plain(room, redis.port, id => database.find(String(id)))
    const reading = a.get(EARTHQUAKE)
    await slow.loaded
    await b.write(EARTHQUAKE, change(41))
    slow.goOn()
    await reading
    await wentWrong(room, database, (await b.get(EARTHQUAKE)).value)

    room.say('cacheaside')
    room.say('  A misses, takes a lease and loads 41. B commits 42 and ends the lease. A may not store 41.')
    await redis.command('FLUSHALL')
    const slower = slowLoad(database)
    const ourA = await ours(room, redis.port, slower.load)
    const ourB = await ours(room, redis.port, id => database.find(String(id)))
    const loading = ourA.spells.get(EARTHQUAKE)
    await slower.loaded
    await ourB.spells.write(EARTHQUAKE, change(42))
    slower.goOn()
    await loading
    await wentWell(room, database, await ourB.spells.get(EARTHQUAKE))
  },
}

/** A loader whose first call is held after its SELECT. */
function slowLoad(database: SpellDatabase) {
  const held = gate()
  return {
    loaded: held.reached,
    goOn: () => held.open(),
    async load(id: string | number): Promise<Spell | undefined> {
      const spell = await database.find(String(id))
      await held.wait()
      return spell
    },
  }
}
