import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { eventually, type RedisServer, startRedis } from '../../../test/redis-servers.ts'
import { createCache } from '../../src/index.ts'
import { CLIENT_LIBRARIES, type ClientLibrary } from './clients.ts'
import { openStore } from './harness.ts'
import { startReplyRelay } from './reply-relay.ts'

let server: RedisServer
beforeAll(async () => {
  server = await startRedis()
})
afterAll(() => server.stop())

const ROUNDS = 40
const ROWS = 8
/** Comes in several pieces, as half a gigabyte would. */
const LONG = 'x'.repeat(200_000)

/** Replies of every type and of none: what a broken proxy may add. Each has all its bytes. */
const STRAYS: readonly string[] = [
  '$-1\r\n',
  '*-1\r\n',
  '_\r\n',
  ':7\r\n',
  '+OK\r\n',
  '$5\r\nhello\r\n',
  '$0\r\n\r\n',
  '-ERR what\r\n',
  '-MOVED 1 127.0.0.1:1\r\n',
  '*0\r\n',
  '*1\r\n$-1\r\n',
  '*2\r\n*1\r\n*0\r\n-ERR what\r\n',
  `${'*1\r\n'.repeat(15)}:1\r\n`,
  `${'*1\r\n'.repeat(20_000)}:1\r\n`,
  '*3\r\n$7\r\nmessage\r\n$-1\r\n$-1\r\n',
  '*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n',
  '*4\r\n$8\r\npmessage\r\n$-1\r\n$-1\r\n$-1\r\n',
  '*3\r\n$9\r\nsubscribe\r\n$-1\r\n:1\r\n',
  '*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n',
  '*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n',
  '>0\r\n',
  '>1\r\n_\r\n',
  '>2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n',
  '>3\r\n$7\r\nmessage\r\n_\r\n_\r\n',
  '>3\r\n$9\r\nsubscribe\r\n_\r\n:1\r\n',
  '>3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n',
  '>3\r\n$11\r\nunsubscribe\r\n_\r\n:0\r\n',
  '%1\r\n$1\r\na\r\n_\r\n',
  '%0\r\n',
  '~1\r\n_\r\n',
  ',1.5\r\n',
  ',-inf\r\n',
  '#t\r\n',
  '(123456789012345678901234567890\r\n',
  '!8\r\nERR what\r\n',
  '=5\r\ntxt:a\r\n',
  '|1\r\n+a\r\n+b\r\n',
  '$-5\r\n',
  '*-5\r\n',
  '*9999999999\r\n',
  '$x\r\n',
  ',x\r\n',
  '+a\rb\r\n',
  '\r\n',
  '\0\r\n',
  'HTTP/1.1 400 Bad Request\r\n\r\n',
]

/** Whole numbers below a limit, the same for a seed. */
function drawing(seed: number): (below: number) => number {
  let state = seed
  return below => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31
    return Math.floor((state / 2 ** 31) * below)
  }
}

const PLACES: readonly ((reply: Buffer, stray: Buffer) => Buffer[])[] = [
  (reply, stray) => [stray, reply],
  (reply, stray) => [stray, stray, reply],
  (reply, stray) => [reply, stray],
  (reply, stray) => [reply, stray, stray, stray],
  (_reply, stray) => [stray],
  (reply, stray) => [reply, reply, stray],
]

async function behindRelay(library: ClientLibrary, name: string) {
  const relay = await startReplyRelay(server.port)
  const shared = openStore({ client: library.single(relay.port), prefix: `${library.name}-${name}:` })
  await shared.ready()
  const cache = createCache({ shared })
  onTestFinished(async () => {
    await cache.close()
    await shared.close()
    await relay.close()
  })
  const spells = cache.keyspace('spell', { load: async (id: number) => ({ id }) })
  /** Reads one key in each way, and the others cold. */
  const read = async () => {
    const ids = Array.from({ length: ROWS }, (_, id) => id)
    const [rows, many] = await Promise.all([
      Promise.all(ids.map(id => spells.get(id))),
      spells.getMany(ids),
      shared.heartbeat('', []).catch(() => {}),
      shared.invalidate(`spell:${ROWS}`).catch(() => {}),
    ])
    expect(rows).toEqual(ids.map(id => ({ id })))
    expect([...many]).toEqual(ids.map(id => [id, { id }]))
  }
  let tries = 0
  /** Waits until values are kept and found. A key whose lease was lost with its reply is soon left for another. */
  const served = () =>
    eventually(async () => {
      const id = 1000 + Math.floor(tries++ / 5)
      return (await spells.read(id)).from === 'shared'
    }, 'values to be found again')
  return { relay, shared, spells, read, served }
}

describe.each(CLIENT_LIBRARIES)('redisShared by $name', library => {
  it.each(['$-1\r\n', '_\r\n'])(
    'outlives %j in place of three replies, twice in one piece',
    async nothing => {
      const { relay, spells, served } = await behindRelay(library, JSON.stringify(nothing))
      await served()
      relay.change(
        () => Buffer.from(nothing.repeat(6)),
        reply => /^(\$-1|_|\$\d+)\r\n/.test(reply),
      )
      const ids = [101, 102, 103]
      expect(await Promise.all(ids.map(id => spells.get(id)))).toEqual(ids.map(id => ({ id })))
      await served()
    },
  )
})

// node-redis parses by itself: it makes strings while it does, and takes no notice of some strays until the heartbeats do.
describe.each(CLIENT_LIBRARIES.filter(({ name }) => name !== 'node-redis'))(
  'redisShared by $name',
  library => {
    it.each([1, 2])(
      'outlives strays before, between and behind replies, and answers with no other row (seed %i)',
      async seed => {
        const { relay, read, served } = await behindRelay(library, `seed ${seed}`)
        const draw = drawing(seed)
        await served()
        for (let round = 0; round < ROUNDS; round++) {
          const stray = Buffer.from(STRAYS[draw(STRAYS.length)]!)
          const put = PLACES[draw(PLACES.length)]!
          const wants = [/^/, /^/, /subscribe/, /message/][draw(4)]!
          // A connection that listens has two confirmations.
          let passed = draw(String(wants).includes('subscribe') ? 2 : 6)
          const before = relay.tampered
          relay.change(
            reply => Buffer.concat(put(reply, stray)),
            reply => wants.test(reply) && passed-- <= 0,
          )
          if (String(wants).includes('subscribe') || draw(3) === 0) relay.cut()
          await eventually(async () => {
            await read()
            return relay.tampered > before
          }, 'a reply to be tampered with')
          if (draw(3) === 0) relay.say(stray.toString())
          await served()
        }
      },
    )

    it('rejects one command, and keeps the connection, where a reply is too long to be a string', async () => {
      const { relay, shared } = await behindRelay(library, 'long')
      await eventually(() => relay.accepted === 2, 'both connections')
      const readText = Buffer.prototype.toString
      // What the server holds would have to be half a gigabyte. To the client a shorter one is as long here.
      const spy = vi.spyOn(Buffer.prototype, 'toString').mockImplementation(function (this: Buffer, ...args) {
        if (this.length === LONG.length)
          throw new Error('Cannot create a string longer than 0x1fffffe8 characters')
        return readText.apply(this, args)
      })
      onTestFinished(() => spy.mockRestore())
      await server.command('SET', `${library.name}-long:spell:7`, LONG)
      const [long, other] = await Promise.allSettled([
        shared.lease('spell:7', 'a', 1000),
        shared.lease('spell:8', 'b', 1000),
      ])
      expect(long).toMatchObject({
        status: 'rejected',
        reason: { message: expect.stringMatching(/longer than/) },
      })
      expect(other).toMatchObject({ status: 'fulfilled', value: null })
      expect(relay.accepted).toBe(2)
    })
  },
)
