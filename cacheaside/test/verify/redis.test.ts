import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { PATIENCE } from '../../../test/patience.ts'
import {
  type RedisClusterServers,
  type RedisServer,
  serverPrograms,
  startRedis,
  startRedisCluster,
} from '../../../test/redis-servers.ts'
import { type CacheOptions, createCache } from '../../src/index.ts'
import { type RedisClient, redisShared } from '../../src/redis/index.ts'
import { markedToken } from '../../src/shared/key-mark.ts'
import { stampText, valueText } from '../../src/shared/register.ts'
import type { Stamp } from '../../src/shared/shared-store.ts'
import {
  type AuditedKeyspace,
  auditedKeyspace,
  startSampling,
  type VerifyOptions,
  verify,
} from '../../src/verify/index.ts'
import { CLIENT_LIBRARIES, IOREDIS } from '../redis/clients.ts'
import { openStore, token } from '../redis/harness.ts'
import { found } from './audit-world.ts'

let prefixes = 0

/** Spells in a map, read through caches on real servers, each of which is one process's. */
function spellbook(client: RedisClient) {
  const damages = new Map(Array.from({ length: 40 }, (_, id) => [id, id * 100]))
  const prefix = `audit${++prefixes}*[x]:`
  const find = async (id: number) => {
    const damage = damages.get(id)
    await new Promise(resolve => setImmediate(resolve))
    return damage
  }
  const audited = auditedKeyspace('spell', {
    load: find,
    idFromKey: ([id]) => Number(id),
    versionOf: damage => damage,
  })
  return {
    client,
    prefix,
    damages,
    find,
    process(options: Partial<CacheOptions> = {}) {
      const cache = createCache({ shared: openStore({ client, prefix }), ...options })
      onTestFinished(() => cache.close())
      return { cache, spells: cache.keyspace('spell', { load: find }) }
    },
    verify: ({ shared = openStore({ client, prefix }), ...options }: Partial<VerifyOptions> = {}) =>
      verify({ shared, keyspaces: [audited], graceMs: 200, rate: 20_000, ...options }),
    audited,
  }
}

type Book = ReturnType<typeof spellbook>

/** Reads all spells until they are in the store, and leaves nothing open. */
async function fill({ client, prefix, find, verify, damages }: Book): Promise<void> {
  const shared = redisShared({ client, prefix, onWarning: () => {} })
  const cache = createCache({ shared })
  const spells = cache.keyspace('spell', { load: find })
  await vi.waitFor(async () => {
    await spells.getMany([...damages.keys()])
    expect((await verify({ shared })).total.equal).toBe(damages.size)
  }, PATIENCE)
  await cache.close()
  await shared.close()
}

/** Plants what an audit is to find, and nothing else. */
async function plant({ prefix }: Book, raw: Pick<Redis, 'get' | 'set' | 'lpush'>): Promise<string[]> {
  const at = (id: string) => `${prefix}spell:${id}`
  const first = (await raw.get(at('1')))!
  /** The value of the first spell, as it would be under another key. */
  const of = (key: string, text = first) => `V${markedToken(key, token(key))}${text.slice(17)}`
  const valid = of('spell:1')
  await raw.set(at('1'), valid.replace(/100$/, '101'))
  await raw.set(at('70'), of('spell:70'))
  await raw.set(at('2'), of('spell:2').replace(/100$/, '{'))
  await raw.set(at('3'), '\u0000\u0001 of no known form')
  await raw.set(at('04'), of('spell:04'))
  await raw.set(at('5'), of('spell:5', valid.slice(0, 46) + token('old') + valid.slice(62)))
  await raw.set(at('6'), valid)
  await raw.lpush(at('wrong-type'), 'x')
  await raw.set(`${prefix}@generation:wizard`, token('wizard'))
  await raw.set(`${prefix}wizard:1`, valid)
  await raw.set(`${prefix}session:1`, 'of another program')
  return [
    'orphaned spell:04 id',
    'orphaned spell:5 generation',
    'orphaned wizard:1 keyspace',
    'stale spell:1',
    'stale spell:70',
    'unreadable spell:2 codec',
    'unreadable spell:3 register',
    'unreadable spell:6 register', // another key's
    'unreadable spell:wrong-type register',
  ]
}

/** Plants values with tags in every state, the tags beside them, and says what an audit is to find. */
async function plantTags(
  { prefix }: Book,
  raw: Pick<Redis, 'get' | 'set'>,
): Promise<readonly [findings: string[], counts: object]> {
  const generation = (await raw.get(`${prefix}@generation:spell`))!
  const mine = (name: string): Stamp => ({ name, token: token(name), generation: token('author') })
  const plantSpell = (id: number, damage: number, ...tags: Stamp[]) => {
    const fill = { generation, shape: 1, freshMs: 600_000, staleMs: 0, costMs: 1, tags, text: `${damage}` }
    const key = `spell:${id}`
    return raw.set(prefix + key, valueText(markedToken(key, token(key)), fill, Date.now()))
  }
  await raw.set(`${prefix}@generation:author`, token('author'))
  await raw.set(`${prefix}@generation:class`, token('class'))
  for (const name of ['author:7', 'author:é🔥', 'class:1'])
    await raw.set(prefix + name, stampText(token(name)))
  await raw.set(`${prefix}author:8`, stampText(token('another')))
  await raw.set(`${prefix}author:9`, `W0${token('Anna')}${Date.now() + 600_000}`)
  await plantSpell(10, 1_000, mine('author:7'), mine('author:é🔥'))
  await plantSpell(11, 77, mine('author:7'))
  await plantSpell(12, 77, mine('author:8'))
  await plantSpell(13, 1_300, mine('author:7'), mine('author:9'))
  await plantSpell(14, 77, mine('author:none'))
  await plantSpell(15, 77, mine('class:1'))
  const orphaned = [12, 13, 14, 15].map(id => `orphaned spell:${id} tag`)
  return [
    [...orphaned, 'stale spell:11'],
    { checked: 40, equal: 35, stale: 1, orphaned: 4, skipped: { stamp: 4, guarded: 1 } },
  ]
}

async function findsTags(book: Book, raw: Pick<Redis, 'get' | 'set'>): Promise<void> {
  await fill(book)
  const [planted, counts] = await plantTags(book, raw)
  const report = await book.verify()
  expect(found(report)).toEqual(planted)
  expect(report.total).toMatchObject(counts)
}

async function findsWhatIsPlanted(book: Book, raw: Pick<Redis, 'get' | 'set' | 'lpush'>): Promise<void> {
  await fill(book)
  expect(await book.verify()).toMatchObject({
    store: 'redis',
    total: { checked: 40, equal: 40 },
    findings: [],
    foreign: 0,
  })
  const planted = await plant(book, raw)
  const report = await book.verify()
  expect(found(report)).toEqual(planted)
  expect(report.total).toMatchObject({ checked: 44, equal: 35, stale: 2, unreadable: 4, orphaned: 3 })
  expect(report.foreign).toBe(1)
  expect(report.findings.find(({ key }) => key === 'spell:1')).toMatchObject({
    behind: { by: -1, unit: 'versions' },
  })
}

describe.each(serverPrograms())('verify on one $name server', ({ path }) => {
  let server: RedisServer
  let raw: Redis
  /** Connections that are there while no store is. */
  let others = 0
  beforeAll(async () => {
    server = await startRedis({}, path())
    raw = new Redis(server.port)
    others = await connections()
  })
  afterAll(async () => {
    raw.disconnect()
    await server.stop()
  })
  const connections = async () =>
    String(await raw.client('LIST'))
      .trim()
      .split('\n').length

  test.each(CLIENT_LIBRARIES)('finds exactly what was planted, by $name', library =>
    findsWhatIsPlanted(spellbook(library.single(server.port)), raw),
  )

  test.each(CLIENT_LIBRARIES)('tells fallen tags from those that stand, by $name', library =>
    findsTags(spellbook(library.single(server.port)), raw),
  )

  test.each(CLIENT_LIBRARIES)(
    "another key's registers cost no other look, whose reply comes after theirs, by $name",
    async library => {
      const book = spellbook(library.single(server.port))
      await fill(book)
      const valid = (await raw.get(`${book.prefix}spell:1`))!
      const long = 'x'.repeat(300_000)
      for (let id = 2; id < 40; id++) await raw.set(`${book.prefix}spell:${id}`, id % 4 === 0 ? valid : long)
      const { total } = await book.verify()
      expect(total).toMatchObject({ checked: 40, equal: 2, unreadable: 38 })
    },
  )

  test.each(CLIENT_LIBRARIES)(
    "looks that begin while another key's register has ended the connection wait for the next, by $name",
    async library => {
      const book = spellbook(library.single(server.port))
      await fill(book)
      const texts = await raw.mget([1, 2, 3].map(id => `${book.prefix}spell:${id}`))
      await raw.set(`${book.prefix}spell:2`, texts[0]!)
      const view = await openStore({ client: library.single(server.port), prefix: book.prefix }).view!()
      onTestFinished(() => view.close())
      const first = view.peek(['spell:2'])
      let isOver = false
      void first.finally(() => {
        isOver = true
      })
      const others: Promise<readonly (string | undefined)[]>[] = []
      while (!isOver) {
        others.push(view.peek(['spell:3']))
        await new Promise(setImmediate)
      }
      expect(await first).toEqual([texts[0]])
      for (const seen of await Promise.all(others)) expect(seen).toEqual([texts[2]])
    },
  )

  test('writes nothing, and sends nothing but what looks', async () => {
    const book = spellbook(IOREDIS.single(server.port))
    await fill(book)
    await plant(book, raw)
    await plantTags(book, raw)
    const shared = openStore({ client: IOREDIS.single(server.port), prefix: book.prefix })
    await shared.ready()
    // The store's own connection, which is for caches and idle here; whatever was open before is closed.
    await vi.waitFor(async () => expect(await connections()).toBe(others + 1), PATIENCE)
    const keys = async () => (await raw.keys('*')).sort()
    const before = { changes: await changes(raw), keys: await keys(), calls: await calls(raw) }
    expect((await book.verify({ shared })).total).toMatchObject({ stale: 3, unreadable: 4 })
    const after = await calls(raw)
    expect({ changes: await changes(raw), keys: await keys() }).toEqual({
      changes: before.changes,
      keys: before.keys,
    })
    const sent = Object.keys(after).filter(name => after[name] !== before.calls[name])
    const looking = /^(get|scan|time|info|keys|select|hello|client\|.*)$/
    expect(sent.filter(name => !looking.test(name))).toEqual([])
    expect(sent).toEqual(expect.arrayContaining(['get', 'scan', 'time']))
  })

  test('leaves the idle time of what it reads alone where the server lets it, and elsewhere says so', async () => {
    const book = spellbook(IOREDIS.single(server.port))
    await fill(book)
    const key = `${book.prefix}spell:1`
    const idle = async () => Number(await raw.object('IDLETIME', key))
    await vi.waitFor(async () => expect(await idle()).toBeGreaterThanOrEqual(2), PATIENCE)
    const { notes } = await book.verify()
    const knowsNoTouch = await raw.call('CLIENT', 'NO-TOUCH', 'OFF').then(
      () => true,
      () => false,
    )
    if (knowsNoTouch) {
      expect(notes).toEqual([])
      expect(await idle()).toBeGreaterThanOrEqual(2)
    } else {
      expect(notes).toEqual([
        expect.stringMatching(
          /^127\.0\.0\.1:\d+ \([\d.]+\) does not know CLIENT NO-TOUCH: what is looked at there counts as used/,
        ),
      ])
      expect(await idle()).toBeLessThan(2)
    }
  })

  test('says so where the user may not ask not to be counted', async () => {
    await raw
      .call('ACL', 'SETUSER', 'auditor', 'on', '>word', '~*', '&*', '+@all', '-client|no-touch')
      .catch(() => undefined)
    await raw.call('ACL', 'SETUSER', 'auditor', 'on', '>word', '~*', '&*', '+@all', '-client')
    const book = spellbook(IOREDIS.single(server.port, { username: 'auditor', password: 'word' }))
    const report = await book.verify()
    expect(report.notes).toEqual([
      expect.stringContaining('CLIENT NO-TOUCH: what is looked at there counts as used'),
    ])
  })

  test('accuses nobody while two processes write as fast as they can', async () => {
    const book = spellbook(IOREDIS.single(server.port))
    await fill(book)
    const { writes, audits } = await whileWriting(book, () => book.verify({ graceMs: 50 }))
    expect(writes).toBeGreaterThan(500)
    for (const { total, findings } of audits) {
      expect(findings).toEqual([])
      expect(total.equal).toBeGreaterThan(0)
    }
    expect(await book.verify()).toMatchObject({ findings: [] })
  })

  test('accuses nobody while writers of their tags write as fast as they can', async () => {
    const book = spellbook(IOREDIS.single(server.port))
    const audits = await whileWritingTags(book, audited => book.verify({ keyspaces: [audited], graceMs: 50 }))
    const counts = { equal: 0, orphaned: 0, stamp: 0 }
    for (const { total, findings } of audits) {
      expect(findings.filter(({ kind }) => kind !== 'orphaned')).toEqual([])
      expect(total).toMatchObject({ stale: 0, unreadable: 0 })
      counts.equal += total.equal
      counts.orphaned += total.orphaned
      counts.stamp += total.skipped.stamp
    }
    for (const count of Object.values(counts)) expect(count).toBeGreaterThan(0)
    expect((await book.verify()).total).toMatchObject({ stale: 0, unreadable: 0 })
  })

  test('accuses a value that a writer has left behind without telling the cache, in the midst of them', async () => {
    const book = spellbook(IOREDIS.single(server.port))
    await fill(book)
    book.damages.set(39, 1)
    const { audits } = await whileWriting(book, () => book.verify({ graceMs: 50 }), 39)
    for (const report of audits) expect(found(report)).toEqual(['stale spell:39'])
  })

  test('rejects with one reason where the server is away, hangs or lets nobody in', async () => {
    const away = await startRedis({}, path())
    onTestFinished(() => away.stop())
    const verifying = (way = {}) => spellbook(IOREDIS.single(away.port, way)).verify({ timeoutMs: 800 })
    await expect(verifying({ username: 'nobody', password: 'wrong' })).rejects.toThrow(/WRONGPASS/)
    away.suspend()
    await expect(verifying()).rejects.toThrow('the shared store did not answer within 800 ms')
    await away.kill()
    await expect(verifying()).rejects.toThrow(/ECONNREFUSED/)
  })

  test('startSampling measures, on connections of its own, and gives them back', async () => {
    const book = spellbook(IOREDIS.single(server.port))
    await fill(book)
    const { cache } = book.process()
    await vi.waitFor(async () => expect(await connections()).toBe(others + 2), PATIENCE)
    const sampler = startSampling(cache, { keyspaces: [book.audited], everyMs: 20, keys: 20, graceMs: 100 })
    const verified = () => cache.stats().keyspaces.spell?.verified
    await vi.waitFor(() => expect(verified()?.equal).toBeGreaterThan(80), PATIENCE)
    expect(verified()).toMatchObject({ stale: 0 })
    expect(await connections()).toBe(others + 3)
    book.damages.set(7, 1)
    await vi.waitFor(() => expect(verified()?.stale).toBeGreaterThan(0), PATIENCE)
    expect(verified()?.maxStaleMs).toBeGreaterThanOrEqual(100)
    await sampler.stop()
    await vi.waitFor(async () => expect(await connections()).toBe(others + 2), PATIENCE)
  })
})

describe.each(serverPrograms())('verify on a Cluster of $name', ({ path }) => {
  let servers: RedisClusterServers
  let raw: InstanceType<typeof Redis.Cluster>
  beforeAll(async () => {
    servers = await startRedisCluster({}, path())
    raw = new Redis.Cluster([...servers.nodes])
  })
  afterAll(async () => {
    raw.disconnect()
    await servers.stop()
  })

  test.each(CLIENT_LIBRARIES)('finds exactly what was planted, by $name', library =>
    findsWhatIsPlanted(spellbook(library.cluster(servers.nodes)), raw as never),
  )

  test.each(CLIENT_LIBRARIES)('tells fallen tags from those that stand, by $name', library =>
    findsTags(spellbook(library.cluster(servers.nodes)), raw as never),
  )

  test('says of each primary that it counts what is looked at, or of none', async () => {
    const book = spellbook(IOREDIS.cluster(servers.nodes))
    const { notes } = await book.verify()
    expect([0, servers.primaries.length]).toContain(notes.length)
    expect(new Set(notes).size).toBe(notes.length)
  })

  test('rejects when its slots move while it walks, instead of passing over what it has not seen', async () => {
    const book = spellbook(IOREDIS.cluster(servers.nodes))
    await fill(book)
    const [from, to] = servers.primaries as [RedisServer, RedisServer]
    const ids = [
      String(await from.command('CLUSTER', 'MYID')),
      String(await to.command('CLUSTER', 'MYID')),
    ] as const
    const slot = 5
    const give = async (id: string) => {
      for (const node of servers.primaries) await node.command('CLUSTER', 'SETSLOT', slot, 'NODE', id)
    }
    const shared = openStore({ client: IOREDIS.cluster(servers.nodes), prefix: book.prefix })
    const view = await shared.view!()
    onTestFinished(() => view.close())
    const walk = view.keys()[Symbol.asyncIterator]()
    await walk.next()
    await give(ids[1])
    const rest = async () => {
      while (!(await walk.next()).done);
    }
    await expect(rest()).rejects.toThrow('the Cluster has changed while its keys were walked over')
    await give(ids[0])
  })
})

/** Audits again and again while two processes read and write the spells but `except`. */
async function whileWriting<T>(book: Book, audit: () => Promise<T>, except = -1) {
  const ids = [...book.damages.keys()].filter(id => id !== except)
  let isOver = false
  let writes = 0
  const work = async ({ spells }: ReturnType<Book['process']>, from: number) => {
    for (let i = from; !isOver; i += 7) {
      const id = ids[i % ids.length]!
      const other = ids[(i * 3) % ids.length]!
      await Promise.all([
        spells.write(id, () => void book.damages.set(id, ++writes), {}),
        spells.get(other),
        spells.get(id, { consistency: 'strong' }),
      ])
      await spells.get(id)
    }
  }
  const working = [book.process(), book.process()].flatMap((process, i) =>
    [0, 1, 2].map(j => work(process, i * 11 + j * 5)),
  )
  const audits: T[] = []
  try {
    while (audits.length < 5 || writes < 600) audits.push(await audit())
  } finally {
    isOver = true
    await Promise.all(working)
  }
  return { audits, writes }
}

const AUTHORS = 10
const READS_PER_WRITE = 20

/** A process that reads spells under the tag of their author, of whom there are ten. */
function taggedProcess({ find, client, prefix }: Book) {
  const cache = createCache({ shared: openStore({ client, prefix }) })
  onTestFinished(() => cache.close())
  const author = cache.tags<number>('author')
  const options = { load: find, tags: (id: number) => [author.key(id % AUTHORS)] }
  return { cache, author, options, tagged: cache.keyspace('spell', options) }
}

/**
 * Audits again and again while two processes read spells, and change all spells of an author after so many reads, under
 * a guard of the author alone.
 */
async function whileWritingTags<T>(book: Book, audit: (audited: AuditedKeyspace) => Promise<T>) {
  const { damages } = book
  const counts = { reads: 0, writes: 0, hits: 0 }
  let isOver = false
  const processes = [0, 1].map(() => taggedProcess(book))
  const read = async ({ tagged }: (typeof processes)[number], from: number) => {
    for (let i = from; !isOver; i += 7, counts.reads++) {
      const options = i % 2 === 0 ? {} : ({ consistency: 'strong' } as const)
      const { from: level } = await tagged.read(i % damages.size, options)
      if (level === 'shared') counts.hits++
    }
  }
  const write = async ({ cache, author }: (typeof processes)[number], from: number) => {
    for (let i = from; !isOver; i += 3) {
      const readsBefore = counts.reads
      await cache.write([author.key(i % AUTHORS)], () => {
        for (const [id, damage] of damages) if (id % AUTHORS === i % AUTHORS) damages.set(id, damage + 1)
      })
      counts.writes++
      while (!isOver && counts.reads < readsBefore + READS_PER_WRITE)
        await new Promise(resolve => setImmediate(resolve))
    }
  }
  const working = processes.flatMap((one, i) => [
    ...[0, 5, 10].map(from => read(one, from + i * 11)),
    write(one, i),
  ])
  const audited = auditedKeyspace('spell', { ...processes[0]!.options, idFromKey: ([id]) => Number(id) })
  const audits: T[] = []
  // Does not end by itself; it rejects if a read or a write does.
  const all = Promise.all(working)
  try {
    while (audits.length < 5 || counts.writes < 200 || counts.hits < 200) {
      await Promise.race([audit(audited).then(one => audits.push(one)), all])
    }
  } finally {
    isOver = true
    await all
  }
  return audits
}

async function changes(raw: Redis): Promise<string | undefined> {
  return /rdb_changes_since_last_save:(\d+)/.exec(await raw.info('persistence'))?.[1]
}

/** How often each command was called. */
async function calls(raw: Redis): Promise<Record<string, string>> {
  const lines = (await raw.info('commandstats')).matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)
  return Object.fromEntries([...lines].map(([, name, count]) => [name, count]))
}
