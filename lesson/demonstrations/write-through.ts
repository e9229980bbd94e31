import { gate } from 'cacheaside/testing'
import { ours, plain, wentWell, wentWrong } from '../both-ways.ts'
import { type Demonstration, EARTHQUAKE, type SpellDatabase, shown } from '../demonstration.ts'

/** A write that stores what it has committed. */
export const writeThrough: Demonstration = {
  name: 'write-through',
  title: 'a write stores the new row; two at once may store the older one',
  async run(room) {
    const redis = await room.redis()
    const database = await room.database()
    const load = (id: string | number) => database.find(String(id))
    const change = (damage: number) => () => database.update(String(EARTHQUAKE), { damage })

    room.say('plain')
    const one = await plain(room, redis.port, load)
    await one.get(EARTHQUAKE)
    await one.writeThrough(EARTHQUAKE, change(41))
    const { value, from } = await one.get(EARTHQUAKE)
    room.say(`  one writer: the next read is a hit in the ${from}, damage ${value?.damage}`)
    shown(from === 'cache' && value?.damage === 41, 'the next read was no hit')
    const late = lateCommit(database, 42)
    const first = one.writeThrough(EARTHQUAKE, late.commit)
    await late.committed
    await one.writeThrough(EARTHQUAKE, change(43))
    late.goOn()
    await first
    room.say('  two writers: A commits 42, B commits 43 and stores it, A stores 42')
    await wentWrong(room, database, (await one.get(EARTHQUAKE)).value)

    room.say('cacheaside')
    await redis.command('FLUSHALL')
    const [a, b] = [await ours(room, redis.port, load), await ours(room, redis.port, load)]
    const through = { writeThrough: true } as const
    await a.spells.write(EARTHQUAKE, change(51), through)
    const read = await a.spells.read(EARTHQUAKE)
    room.say(`  one writer: the next read is a hit in the ${read.from} store, damage ${read.value?.damage}`)
    shown(read.from === 'shared', 'the next read was no hit')
    const later = lateCommit(database, 52)
    const writing = a.spells.write(EARTHQUAKE, later.commit, through)
    await later.committed
    await b.spells.write(EARTHQUAKE, change(53), through)
    later.goOn()
    await writing
    room.say('  two writers: A finds that it was not alone, and stores nothing')
    await wentWell(room, database, await b.spells.get(EARTHQUAKE))
  },
}

/** A commit that is done, and reported only when it is let go on. */
function lateCommit(database: SpellDatabase, damage: number) {
  const held = gate()
  return {
    committed: held.reached,
    goOn: () => held.open(),
    async commit() {
      const spell = await database.update(String(EARTHQUAKE), { damage })
      await held.wait()
      return spell
    },
  }
}
