import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { eventually, type RedisServer, startRedis } from '../../../test/redis-servers.ts'
import { type CacheEvent, createCache } from '../../src/index.ts'
import { CLIENT_LIBRARIES, type ClientLibrary } from './clients.ts'
import { openStore } from './harness.ts'
import { startHoldingWay } from './holding-way.ts'
import { FAULTS, isValue, startReplyRelay } from './reply-relay.ts'

let server: RedisServer
let raw: Redis
beforeAll(async () => {
  server = await startRedis()
  raw = new Redis(server.port)
})
afterAll(async () => {
  raw.disconnect()
  await server.stop()
})

const ROWS = 120
let prefixes = 0

interface Row {
  readonly of: string
}
const load = (keyspace: string) => async (id: number) => ({ of: `${keyspace} ${id}` })

/** A cache behind a relay, and a Redis in which all rows of two keyspaces are stored already. */
async function behindRelay(library: ClientLibrary) {
  const prefix = `wrong${++prefixes}:`
  const relay = await startReplyRelay(server.port)
  const beside = openStore({ client: library.single(server.port), prefix })
  await beside.ready()
  const filler = createCache({ shared: beside })
  const ids = Array.from({ length: ROWS }, (_, i) => i)
  const fillers = ['spell', 'hero'].map(name => filler.keyspace(name, { load: load(name) }))
  await eventually(async () => {
    for (const rows of fillers) await rows.getMany(ids)
    return (await raw.keys(`${prefix}[sh]*`)).length === 2 * ROWS
  }, 'the fills')
  await filler.close()

  const events: CacheEvent[] = []
  const shared = openStore({ client: library.single(relay.port), prefix })
  await shared.ready()
  const cache = createCache({
    shared,
    local: { maxBytes: 1_000_000 },
    onEvent: event => events.push(event),
  })
  onTestFinished(async () => {
    await cache.close()
    await shared.close()
    await relay.close()
  })
  const [spells, heroes] = ['spell', 'hero'].map(name => cache.keyspace(name, { load: load(name) }))
  return { relay, cache, shared, events, prefix, spells: spells!, heroes: heroes! }
}
type World = Awaited<ReturnType<typeof behindRelay>>

/** Reads some rows in some way, and says which answers were not those of the row asked for. */
type Reads = (world: World, from: number) => Promise<string[]>

const wrong = (name: string, id: number, row: Row | undefined): string[] =>
  row?.of === `${name} ${id}` ? [] : [`${name} ${id} was answered with ${row?.of}`]

const READS: Record<string, Reads> = {
  'single reads': async ({ spells }, from) => {
    const ids = Array.from({ length: 20 }, (_, i) => (from + i) % ROWS)
    const rows = await Promise.all(ids.map(id => spells.get(id)))
    return ids.flatMap((id, i) => wrong('spell', id, rows[i]))
  },
  'strong reads': async ({ spells }, from) => {
    const ids = Array.from({ length: 20 }, (_, i) => (from + i) % ROWS)
    const rows = await Promise.all(ids.map(id => spells.get(id, { consistency: 'strong' })))
    return ids.flatMap((id, i) => wrong('spell', id, rows[i]))
  },
  batches: async ({ spells }, from) => {
    const batches = Array.from({ length: 5 }, (_, b) =>
      Array.from({ length: 8 }, (_, i) => (from + b * 8 + i) % ROWS),
    )
    const rows = await Promise.all(batches.map(ids => spells.getMany(ids)))
    return batches.flatMap((ids, b) => ids.flatMap(id => wrong('spell', id, rows[b]!.get(id))))
  },
  'reads of two keyspaces': async ({ spells, heroes }, from) => {
    const ids = Array.from({ length: 10 }, (_, i) => (from + i) % ROWS)
    const pairs = await Promise.all(ids.map(id => Promise.all([spells.get(id), heroes.get(id)])))
    return ids.flatMap((id, i) => [...wrong('spell', id, pairs[i]![0]), ...wrong('hero', id, pairs[i]![1])])
  },
}

/** The reply to a GET, to an MGET, or of the script that takes leases, with a value or a lease in it. */
const ANY_VALUE = (reply: string): boolean =>
  isValue(reply) || /^(\*2\r\n\$\d+\r\ncreate \S+\r\n)?\*\d+\r\n(\$-1\r\n|_\r\n)*\$\d+\r\n[VL]/.test(reply)

/** The reply of a script that takes stamps, renews one, or invalidates. */
const ABOUT_TAGS = (reply: string): boolean => /^\*\d\r\n\$\d+\r\n(create|renewStamp|invalidate) /.test(reply)

/** Waits until values are found in the shared store again. */
const served = ({ spells }: World) =>
  eventually(async () => {
    const { from, value } = await spells.read(7, { consistency: 'strong' })
    expect(value).toEqual({ of: 'spell 7' })
    return from === 'shared'
  }, 'values to be found again')

describe.each(CLIENT_LIBRARIES)('redisShared by $name', library => {
  describe.each(FAULTS)('where a reply is %s', fault => {
    it.each(Object.entries(READS))('answers %s with no value of another row', async (_name, reads) => {
      const world = await behindRelay(library)
      const { relay, spells, heroes } = world
      const faults: string[] = []
      for (let round = 0; round < 12; round++) {
        if (round % 4 === 1) relay.tamper(fault, ANY_VALUE)
        faults.push(...(await reads(world, round * 7)))
      }
      await served(world)
      expect(relay.tampered).toBeGreaterThan(0)
      // Nor has L1 kept any.
      for (let id = 0; id < ROWS; id++)
        faults.push(...wrong('spell', id, await spells.get(id)), ...wrong('hero', id, await heroes.get(id)))
      expect(faults).toEqual([])
    })

    it('calls no write fenced whose guard or release was answered by another reply', async () => {
      const { relay, spells, shared } = await behindRelay(library)
      for (const id of [1, 2, 3, 4]) {
        await eventually(
          () =>
            shared.heartbeat('', []).then(
              () => true,
              () => false,
            ),
          'the store to work',
        )
        relay.tamper(fault, reply => /^\*2\r\n\$\d+\r\nguard/.test(reply))
        const [one, other] = await Promise.all([
          spells.write(id, async () => 1),
          spells.write(id + 50, async () => 1),
        ])
        expect([one!.fenced, other!.fenced]).toContain(false)
      }
    })
  })

  describe.each(FAULTS)('where a reply about a tag is %s', fault => {
    it('answers reads under tags with no other row, and with nothing of before an invalidation', async () => {
      const { relay, cache, spells } = await behindRelay(library)
      const authors = 5
      const versions = new Array<number>(authors).fill(0)
      const author = cache.tags<number>('author')
      const pages = cache.keyspace('page', {
        load: async (id: number) => ({ of: `page ${id}`, version: versions[id % authors]! }),
        tags: id => [author.key(id % authors), author.key((id + 1) % authors)],
      })
      const wrongOnes: string[] = []
      for (let round = 0; round < 30; round++) {
        const changed = round % authors
        const ids = [0, 1, 2, 3].map(i => changed + i * authors)
        if (round % 3 === 1) relay.tamper(fault, round % 2 === 0 ? ANY_VALUE : ABOUT_TAGS)
        // What is stored now must not be found any more after the change.
        const others = Promise.all([spells.get(round), ...ids.map(id => pages.get(id))])
        if (round % 2 === 0) await others
        versions[changed]!++
        await author.invalidate(changed)
        const rows = await Promise.all(ids.map(id => pages.get(id, { consistency: 'strong' })))
        for (const [i, id] of ids.entries())
          if (rows[i]?.of !== `page ${id}` || rows[i]?.version !== versions[changed])
            wrongOnes.push(`page ${id} was ${JSON.stringify(rows[i])}, not of version ${versions[changed]}`)
        await others
      }
      expect(wrongOnes).toEqual([])
      expect(relay.tampered).toBeGreaterThan(0)
    })
  })

  it('ends the connection at a value of another row, empties L1, and counts', async () => {
    const world = await behindRelay(library)
    const { relay, spells, events, cache } = world
    const ids = [11, 12, 13, 14]
    // What was found before, and is not in L1 any more, is asked for by native commands.
    for (const id of ids) await spells.get(id)
    relay.cut()
    await served(world)
    await eventually(async () => {
      await spells.get(5)
      return spells.peek(5) !== undefined
    }, 'a value in L1')
    const before = relay.accepted
    relay.tamper('doubled', isValue)
    // All are on their way before any reply is read: a value too many then comes as the reply to the next.
    const reads = ids.map(async (id, ticks) => {
      for (let tick = 0; tick < ticks; tick++) await new Promise<void>(resolve => process.nextTick(resolve))
      return spells.get(id)
    })
    const rows = await Promise.all(reads)
    expect(rows).toEqual(ids.map(id => ({ of: `spell ${id}` })))
    expect(events.filter(({ type }) => type === 'mismatch').length).toBeGreaterThan(0)
    expect(cache.stats().keyspaces.spell!.mismatches).toBeGreaterThan(0)
    expect(spells.peek(5)).toBeUndefined()
    await served(world)
    expect(relay.accepted).toBeGreaterThan(before)
  })

  it('takes a nothing too many for no lease that is still on its way', async () => {
    const prefix = `wrong${++prefixes}:`
    const way = await startHoldingWay(server.port)
    onTestFinished(() => way.close())
    let version = 1
    const [reader, writer] = await Promise.all(
      [way.port, server.port].map(async port => {
        const shared = openStore({ client: library.single(port), prefix })
        await shared.ready()
        const events: CacheEvent[] = []
        const onEvent = (event: CacheEvent) => events.push(event)
        const cache = createCache({ shared, sharedTimeoutMs: 1500, onEvent })
        onTestFinished(() => cache.close())
        await eventually(() => events.some(({ type }) => type === 'stream'), 'the stream to be proven')
        return cache.keyspace('spell', { load: async (_id: number) => version })
      }),
    )
    for (const spells of [reader!, writer!])
      await eventually(async () => (await spells.read(7)).from === 'shared', 'values to be kept')
    way.hold(`\r\n${prefix}spell:4\r\n`)
    const reading = reader!.get(4)
    await eventually(() => way.held !== '', 'the question to leave')
    way.say('$-1\r\n')
    expect(await reading).toBe(1)
    const { fenced } = await writer!.write(4, async () => (version = 2))
    expect(fenced).toBe(true)
    way.letGo()
    await eventually(async () => {
      const { from, value } = await reader!.read(4, { consistency: 'strong' })
      expect(value).toBe(2)
      return from === 'shared'
    }, 'the value to be kept')
  })

  it.each([
    ['nothing', '$-1\r\n'],
    ['a text', '$5\r\nhello\r\n'],
    ['a number', ':1\r\n'],
    ['an error', '-ERR what\r\n'],
    ['a list', '*2\r\n$1\r\na\r\n$-1\r\n'],
  ])('outlives %s that nobody has asked for, and goes on over another connection', async (_name, reply) => {
    const world = await behindRelay(library)
    await served(world)
    const before = world.relay.accepted
    world.relay.say(reply)
    await eventually(() => world.relay.accepted > before, 'another connection')
    await served(world)
  })

  it('replaces a register that was put under another key, and ends the connection once at most', async () => {
    const world = await behindRelay(library)
    const { relay, spells, prefix } = world
    await served(world)
    await raw.rename(`${prefix}spell:1`, `${prefix}spell:2`)
    const before = relay.accepted
    await eventually(async () => {
      const { from, value } = await spells.read(2, { consistency: 'strong' })
      expect(value).toEqual({ of: 'spell 2' })
      return from === 'shared'
    }, 'the register to be its own')
    expect(relay.accepted - before).toBeLessThanOrEqual(2) // for commands and for listening
  })

  it('runs no script by the name of another one', async () => {
    const world = await behindRelay(library)
    const { relay, shared, spells } = world
    await raw.script('FLUSH')
    // The name of the first script that is loaded is lost: each is given the name of the next.
    relay.tamper('lost', reply => /^\$40\r\n[\da-f]{40}\r\n$/.test(reply))
    relay.say('$-1\r\n')
    await eventually(() => relay.tampered === 1, 'a name to be lost')
    await served(world)
    const { fenced } = await spells.write(3, async () => 1)
    expect([fenced, (await spells.read(3)).value]).toEqual([true, { of: 'spell 3' }])
    await shared.invalidate('spell:3')
  })
})
