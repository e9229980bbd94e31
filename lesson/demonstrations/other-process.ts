import type { Spell } from '../../spellbook/src/api.ts'
import { eventually } from '../../test/redis-servers.ts'
import { ours, plain, warm, wentWell, wentWrong } from '../both-ways.ts'
import { type Demonstration, EARTHQUAKE } from '../demonstration.ts'
import type { PlainCacheAside } from '../plain-cache-aside.ts'

/** A map in front of a plain cache-aside, as programs have it to spare the way to Redis. */
function withMap(behind: PlainCacheAside<Spell>) {
  const map = new Map<number, Spell | undefined>()
  return {
    async get(id: number): Promise<Spell | undefined> {
      if (!map.has(id)) map.set(id, (await behind.get(id)).value)
      return map.get(id)
    },
    async write(id: number, commit: () => Promise<unknown>): Promise<void> {
      await behind.write(id, commit)
      map.delete(id)
    },
  }
}

/** Each process has copies in its own memory. */
export const otherProcess: Demonstration = {
  name: 'other-process',
  title: 'a copy in the memory of another process stays',
  async run(room) {
    const redis = await room.redis()
    const database = await room.database()
    const load = (id: string | number) => database.find(String(id))
    const change = (damage: number) => () => database.update(String(EARTHQUAKE), { damage })

    room.say('plain')
    room.say(
      '  A and B each keep a map in front of Redis. B commits 41, and deletes the key and its own copy.',
    )
    const [a, b] = [
      withMap(await plain(room, redis.port, load)),
      withMap(await plain(room, redis.port, load)),
    ]
    await a.get(EARTHQUAKE)
    await b.write(EARTHQUAKE, change(41))
    await wentWrong(room, database, await a.get(EARTHQUAKE))

    room.say('cacheaside, with L1')
    await redis.command('FLUSHALL')
    const local = { maxEntries: 1_000 }
    const [ourA, ourB] = [
      await ours(room, redis.port, load, { local }),
      await ours(room, redis.port, load, { local }),
    ]
    await warm(ourA)
    const isLocal = async () => (await ourA.spells.read(EARTHQUAKE)).from === 'local'
    await eventually(isLocal, 'a copy in the process')
    await ourB.spells.write(EARTHQUAKE, change(42))
    const isHeard = () => ourA.spells.peek(EARTHQUAKE) === undefined
    await eventually(isHeard, 'the message to arrive')
    room.say('  A has a copy in its memory. B commits 42. A hears of it, and drops the copy.')
    await wentWell(room, database, await ourA.spells.get(EARTHQUAKE))
  },
}
