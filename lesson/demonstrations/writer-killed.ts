import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { eventually } from '../../test/redis-servers.ts'
import { ours, plain, warm, wentWell, wentWrong } from '../both-ways.ts'
import { type Demonstration, EARTHQUAKE, type SpellDatabase } from '../demonstration.ts'
import type { WriterOrder } from '../writer-process.ts'

const WRITER = fileURLToPath(new URL('../writer-process.ts', import.meta.url))
/** Short, so that the lesson need not wait. 10 s if nothing is said. */
const GUARD_MS = 1_000

/** Has a process of its own change Earthquake, and kills it when it has committed. */
async function killWriter(order: WriterOrder): Promise<void> {
  const writer = fork(WRITER, [JSON.stringify(order)], {
    execArgv: ['--conditions=source', '--import', import.meta.resolve('tsx')],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  const exited = once(writer, 'exit')
  const [said] = await Promise.race([once(writer, 'message'), exited])
  writer.kill('SIGKILL')
  await exited
  if (said !== 'committed') throw new Error(`the writer ended with ${said}`)
}

/** A writer dies between its commit and the delete. */
export const writerKilled: Demonstration = {
  name: 'writer-killed',
  title: 'the writer is killed between its commit and the delete',
  async run(room) {
    const redis = await room.redis()
    const database: SpellDatabase = await room.database()
    const load = (id: string | number) => database.find(String(id))
    const order = { postgresUrl: database.url, redisPort: redis.port, guardMs: GUARD_MS }

    room.say('plain')
    room.say('  A process commits 41 and is killed (SIGKILL). Nobody deletes the key.')
    const reader = await plain(room, redis.port, load)
    await warm(reader)
    await killWriter({ ...order, kind: 'plain', damage: 41 })
    await wentWrong(room, database, (await reader.get(EARTHQUAKE)).value)

    room.say('cacheaside')
    room.say(
      '  A process guards the key, commits 42 and is killed. While the guard stands, PostgreSQL answers.',
    )
    await redis.command('FLUSHALL')
    const ourReader = await ours(room, redis.port, load, { guardMs: GUARD_MS })
    await warm(ourReader)
    await killWriter({ ...order, kind: 'ours', damage: 42 })
    await wentWell(room, database, await ourReader.spells.get(EARTHQUAKE))
    const isCached = async () => (await ourReader.spells.read(EARTHQUAKE)).from === 'shared'
    await eventually(isCached, 'the guard to end')
    room.say(`  The guard ends by itself after ${GUARD_MS} ms, and the row is cached again.`)
    await wentWell(room, database, await ourReader.spells.get(EARTHQUAKE))
  },
}
