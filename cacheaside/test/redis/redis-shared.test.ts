import { once } from 'node:events'
import { type AddressInfo, connect } from 'node:net'
import { createServer, rootCertificates } from 'node:tls'
import fc from 'fast-check'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { LOCALHOST_CERTIFICATE, LOCALHOST_KEY } from '../../../test/localhost-certificate.ts'
import { eventually, type RedisServer, startRedis } from '../../../test/redis-servers.ts'
import { createCache } from '../../src/index.ts'
import type { RedisShared } from '../../src/redis/index.ts'
import { guardText, laterGuardText, parseRegister } from '../../src/shared/register.ts'
import { REFUSED } from '../../src/shared/shared-store.ts'
import { isSame, keptValues } from '../kept-values.ts'
import { CLIENT_LIBRARIES, IOREDIS } from './clients.ts'
import { hearing, LONG_MS, openStore, put, spell, token } from './harness.ts'
import { startHoldingWay } from './holding-way.ts'

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
afterEach(async () => {
  await raw.flushall()
})

/** The commands that clients send while `work` runs, those inside of scripts left out, each as one line. */
async function sent(work: () => Promise<unknown>): Promise<string[]> {
  const monitor = connect(server.port, '127.0.0.1')
  let log = ''
  monitor.setEncoding('utf8').on('data', chunk => {
    log += chunk
  })
  monitor.write('MONITOR\r\n')
  await eventually(() => log.includes('OK'), 'MONITOR to begin')
  await work()
  await raw.echo('the end')
  await eventually(() => log.includes('"the end"'), 'MONITOR to catch up')
  monitor.destroy()
  const lines = log.split('\r\n').filter(line => line.startsWith('+1') && !line.includes(' lua] '))
  const commands = lines.map(line => line.slice(line.indexOf('] ') + 2).replaceAll('"', ''))
  return commands.filter(command => !/^echo|@heartbeat|@generation|^info/i.test(command))
}

function promiseWithResolvers() {
  let resolve = () => {}
  const promise = new Promise<void>(settle => {
    resolve = settle
  })
  return { promise, resolve: () => resolve() }
}

describe.each(CLIENT_LIBRARIES)('redisShared by $name', library => {
  const open = (prefix = '') => openStore({ client: library.single(server.port), prefix })

  it('get answers with what load returned, which the server has held as text', async () => {
    const shared = open()
    const cache = createCache({ shared, sharedTimeoutMs: 1500 })
    onTestFinished(() => cache.close())
    const rows = fc.sample(keptValues, 100).map(value => ({ value }))
    const ids = rows.map((_, id) => id)
    const values = cache.keyspace('value', { load: async (id: number) => rows[id] })
    const stored = async () =>
      (await raw.mget(ids.map(id => `value:${id}`))).every(text => text?.startsWith('V'))
    await eventually(async () => {
      // What is loaded while the connection for broadcasts is being made is not kept.
      await values.getMany(ids)
      return stored()
    }, 'the fills')
    const plainly = cache.keyspace('plain', { load: async (id: number) => ({ id, name: 'Fireball' }) })
    await plainly.get(4)
    await eventually(
      async () => (await raw.get('plain:4'))?.endsWith('{"id":4,"name":"Fireball"}') === true,
      'a fill',
    )
    for (const id of ids) {
      const { from, value } = await values.read(id)
      expect(from).toBe('shared')
      if (!isSame(value, rows[id])) expect.unreachable(fc.stringify(rows[id]))
    }
  })

  it('get costs one command for a hit, and one and a fill for a miss', async () => {
    const shared = open()
    const cache = createCache({ shared, sharedTimeoutMs: 1500 })
    onTestFinished(() => cache.close())
    const spells = cache.keyspace('spell', { load: async (id: number) => ({ id, name: 'Fireball' }) })
    // Not by one read: nothing is kept of a load that began before the stream was proven.
    await eventually(async () => (await spells.read(1)).from === 'shared', 'a value that is found')
    const miss = await sent(async () => {
      await spells.get(4)
      await eventually(async () => (await raw.get('spell:4'))?.startsWith('V') === true, 'the fill')
    })
    expect(miss.filter(line => !line.startsWith('get '))).toEqual([
      expect.stringMatching(/^EVALSHA \w{40} 1 spell:4 1152000 15000 L.{16} create /i),
      expect.stringMatching(/^EVALSHA \w{40} 1 spell:4 L.* fill /i),
    ])
    await eventually(async () => (await spells.read(4)).from === 'shared', 'its reply')
    expect(await sent(() => spells.get(4))).toEqual([expect.stringMatching(/^GET spell:4$/i)])
    expect(await sent(() => spells.get(4, { consistency: 'strong' }))).toEqual([
      expect.stringMatching(/^EVALSHA \w{40} 1 spell:4 1152000 15000 L.{16} create /i),
    ])
  })

  describe('a fill leaves at the end of the turn of its answer', () => {
    /** Rows with a version, read once, and the scripts that some work runs on them, in their order. */
    const openRows = async () => {
      const cache = createCache({ shared: open(), sharedTimeoutMs: 1500 })
      onTestFinished(() => cache.close())
      const row = { version: 1 }
      const spells = cache.keyspace('spell', { load: async (id: number) => ({ id, ...row }) })
      await eventually(async () => (await spells.read(1)).from === 'shared', 'a value that is found')
      const scripts = async (work: () => Promise<unknown>) =>
        (await sent(work)).map(line => /(spell:\d) .* (\w+) \S+$/.exec(line)?.slice(1).join(' '))
      return { row, spells, scripts }
    }

    it('so callers go on before it', async () => {
      const { spells, scripts } = await openRows()
      const ran = await scripts(async () => {
        await spells.get(4)
        await spells.get(5)
      })
      expect(ran.slice(0, 3)).toEqual(['spell:4 create', 'spell:5 create', 'spell:4 fill'])
    })

    it('but ahead of a strong read of its key, which finds the value', async () => {
      const { spells, scripts } = await openRows()
      const ran = await scripts(async () => {
        await spells.get(4)
        expect((await spells.read(4, { consistency: 'strong' })).from).toBe('shared')
      })
      expect(ran).toEqual(['spell:4 create', 'spell:4 fill', 'spell:4 create'])
    })

    it('and behind a write of its key, which it does not undo', async () => {
      const { row, spells, scripts } = await openRows()
      const change = () => {
        row.version = 2
      }
      const ran = await scripts(async () => {
        await spells.get(4)
        expect(await spells.write(4, change)).toMatchObject({ fenced: true, invalidation: 'applied' })
      })
      expect(ran.slice(0, 3)).toEqual(['spell:4 create', 'spell:4 guard', 'spell:4 fill'])
      expect(await spells.get(4, { consistency: 'strong' })).toEqual({ id: 4, version: 2 })
    })
  })

  /** A process whose values have three tags that are known from the id, and one value that it has found already. */
  const openTagged = async (port: number) => {
    const shared = openStore({ client: library.single(port) })
    const cache = createCache({ shared, sharedTimeoutMs: 1500 })
    onTestFinished(() => cache.close())
    const author = cache.tags<number>('author')
    const pages = cache.keyspace('page', {
      load: async (id: number) => ({ id }),
      tags: () => [author.key(3), author.key(1), author.key(2)],
    })
    await eventually(async () => (await pages.read(4)).from === 'shared', 'a value that is found')
    return { cache, author, pages }
  }

  it('get costs one command for a hit of a value with three tags', async () => {
    const { pages } = await openTagged(server.port)
    const hit = [expect.stringMatching(/^MGET page:4 author:1 author:2 author:3$/i)]
    await eventually(async () => (await sent(() => pages.get(4))).length === 1, 'the generations')
    expect(await sent(() => pages.get(4))).toEqual(hit)
    await pages.getMany([4])
    expect(await sent(() => pages.getMany([4]))).toEqual(hit)
  })

  it('get by a strong reader asks for a value and its tags in one round trip', async () => {
    const way = await startHoldingWay(server.port)
    onTestFinished(() => way.close())
    const { pages, author } = await openTagged(way.port)
    const asked = ['page:4', 'author:1', 'author:2', 'author:3'].map(key => `\r\n${key}\r\n`)
    way.hold()
    const reading = pages.read(4, { consistency: 'strong' })
    // All of it has left before anything can have been answered.
    await eventually(() => asked.every(key => way.held.includes(key)), 'all questions to leave')
    const commands = await sent(async () => {
      way.letGo()
      expect(await reading).toMatchObject({ from: 'shared', why: 'fresh' })
    })
    expect(commands).toEqual([
      expect.stringMatching(/^EVALSHA \w{40} 1 page:4 1152000 15000 L.{16} create /i),
      expect.stringMatching(/^EVALSHA \w{40} 3 author:1 author:2 author:3 /i),
    ])
    await author.invalidate(2)
    expect(await pages.read(4, { consistency: 'strong' })).toMatchObject({ why: 'tag', tag: 'author:2' })
  })

  it('calls no register unreadable because the user may not write any more', async () => {
    const shared = open()
    await shared.lease('spell:4', token('4'), LONG_MS)
    await raw.call('ACL', 'SETUSER', 'default', '-set')
    try {
      await expect(shared.lease('spell:4', token('5'), LONG_MS)).rejects.toThrow(
        /can't run this command|NOPERM/,
      )
      await expect(shared.leaseMany([{ key: 'spell:4', token: token('6') }], LONG_MS)).rejects.toThrow(
        /can't run this command|NOPERM/,
      )
    } finally {
      await raw.call('ACL', 'SETUSER', 'default', '+set')
    }
    // The server was examined again, and refused.
    await eventually(async () => (await shared.heartbeat('', [])).timeMs > 0, 'the store to be used')
    expect(await shared.lease('spell:4', token('7'), LONG_MS)).toBe(`L${token('4')}`)
  })

  it('a lease or a guard from which somebody has taken the end gets it again, by the next reader', async () => {
    const shared = open()
    const [leased, guarded, dead, later] = ['spell:1', 'spell:2', 'spell:3', 'spell:4'] as const
    await shared.lease(leased, token('Anna'), LONG_MS)
    await shared.guard(guarded, token('Anna'), LONG_MS, false)
    const endsMs = await raw.pexpiretime(guarded)
    for (const key of [leased, guarded]) await raw.persist(key)
    const past = guardText(false, [{ token: token('Bert'), deadlineMs: 1 }])
    await raw.mset(dead, past, later, laterGuardText('W?of a later version'))
    const ask = (key: string) => shared.lease(key, token('Cara'), 5_000)
    for (const key of [leased, guarded, dead, later]) expect(await ask(key)).toBeTypeOf('string')
    expect(await raw.pttl(leased)).toBeGreaterThan(0)
    expect(await raw.pexpiretime(guarded)).toBe(endsMs)
    expect(await raw.pttl(later)).toBe(-1)
    expect(await ask(dead)).toBeNull()
  })

  it('getMany costs one round trip', async () => {
    const shared = open()
    const requests = Array.from({ length: 100 }, (_, i) => ({ key: `spell:${i}`, token: token(`${i}`) }))
    await shared.leaseMany(requests.slice(0, 50), LONG_MS)
    const commands = await sent(() => shared.leaseMany(requests, LONG_MS))
    expect(commands).toHaveLength(1)
    expect(await raw.dbsize()).toBe(100)
  })

  it('getMany of values that were found before costs one command', async () => {
    const cache = createCache({ shared: open(), sharedTimeoutMs: 1500 })
    onTestFinished(() => cache.close())
    const spells = cache.keyspace('spell', { load: async (id: number) => ({ id }) })
    const ids = Array.from({ length: 100 }, (_, id) => id)
    await eventually(async () => {
      await spells.getMany(ids)
      return (await sent(() => spells.getMany(ids))).length === 1
    }, 'the fills')
    expect(await sent(() => spells.getMany(ids))).toEqual([expect.stringMatching(/^MGET( spell:\d+){100}$/i)])
  })

  it('get of many keys in one turn costs one command, each key with its own answer', async () => {
    const cache = createCache({ shared: open(), sharedTimeoutMs: 1500 })
    onTestFinished(() => cache.close())
    const spells = cache.keyspace('spell', { load: async (id: number) => ({ id }) })
    const ids = Array.from({ length: 1_001 }, (_, id) => id)
    const getAll = () => Promise.all(ids.map(id => spells.get(id)))
    await eventually(async () => {
      await getAll()
      return (await sent(getAll)).length === 2
    }, 'the fills')
    expect(await sent(getAll)).toEqual([
      expect.stringMatching(/^MGET( spell:\d+){1000}$/i),
      expect.stringMatching(/^GET spell:1000$/i),
    ])
    // Each name is looked for by itself: one that holds something else hinders no other.
    await raw.del('spell:0')
    await raw.rpush('spell:0', 'a list')
    await raw.del('spell:1')
    const answers = await Promise.all([0, 1, 2].map(id => spells.read(id)))
    expect(answers.map(({ value, from }) => [value?.id, from])).toEqual([
      [0, 'origin'],
      [1, 'origin'],
      [2, 'shared'],
    ])
  })

  it('write of one key by a thousand at once costs a handful of commands', async () => {
    const cache = createCache({ shared: open(), sharedTimeoutMs: 1500 })
    onTestFinished(() => cache.close())
    const spells = cache.keyspace('spell', { load: async (id: number) => ({ id }) })
    await spells.get(4)
    const commands = await sent(async () => {
      const { promise, resolve } = promiseWithResolvers()
      const writing = Promise.all(Array.from({ length: 1_000 }, () => spells.write(4, () => promise)))
      await eventually(async () => (await raw.get('spell:4'))?.startsWith('W') === true, 'the guard')
      resolve()
      expect((await writing).every(({ fenced }) => fenced)).toBe(true)
    })
    expect(commands.filter(line => /^evalsha/i.test(line)).length).toBeLessThan(20)
  })

  it('stampMany costs one round trip, and renewStamp one', async () => {
    const shared = open()
    const requests = Array.from({ length: 64 }, (_, i) => ({ key: `author:${i}`, token: token(`${i}`) }))
    await shared.stampMany(requests.slice(0, 30), LONG_MS)
    await shared.renewStamp('author:1', token('1'), LONG_MS)
    expect(await sent(() => shared.stampMany(requests, LONG_MS))).toEqual([
      expect.stringMatching(/^EVALSHA \w{40} 64 author:0 /i),
    ])
    expect(await sent(() => shared.renewStamp('author:1', token('1'), LONG_MS))).toEqual([
      expect.stringMatching(/^EVALSHA \w{40} 1 author:1 S1_/i),
    ])
    expect(await raw.dbsize()).toBe(64)
  })

  it('gets of one turn leave in one piece', async () => {
    const shared = open()
    await put(shared, 'spell:4')
    const readings = async () => Number(/total_reads_processed:(\d+)/.exec(await raw.info('stats'))?.[1])
    const before = await readings()
    await Promise.all(Array.from({ length: 100 }, () => shared.lease('spell:4', token('reader'), LONG_MS)))
    // One for all of them, one for the question, and a heartbeat may come between.
    expect((await readings()) - before).toBeLessThan(10)
  })

  it('write costs one command to guard and one to release', async () => {
    const shared = open()
    await put(shared, 'spell:4')
    const commands = await sent(async () => {
      await shared.guard('spell:4', token('Anna'), LONG_MS, false)
      await shared.release('spell:4', token('Anna'))
    })
    expect(commands).toEqual([expect.stringMatching(/^EVALSHA/i), expect.stringMatching(/^EVALSHA/i)])
  })

  it('fill leaves a value that can be read in redis-cli', async () => {
    await put(open(), 'spell:4', '{"id":4,"name":"Blitz ⚡"}')
    const text = await raw.get('spell:4')
    expect(text).toMatch(/^V\.[\w-]{100}= \{"id":4,"name":"Blitz ⚡"\}$/)
    expect(parseRegister(text as string).state).toBe('value')
  })

  it('write, invalidate and invalidateAll empty the L1 of another process', async () => {
    const rows = new Map([[4, 30]])
    const process = (shared: RedisShared) => {
      const cache = createCache({ shared, sharedTimeoutMs: 1500, local: { maxEntries: 10 } })
      onTestFinished(() => cache.close())
      return cache.keyspace('spell', { load: async (id: number) => ({ id, damage: rows.get(id) }) })
    }
    const [writer, reader] = [process(open()), process(open())]
    const inLocal = () => eventually(async () => (await reader.read(4)).from === 'local', 'a copy in L1')
    const changes = [
      () => writer.write(4, async () => 'committed'),
      () => writer.invalidate(4),
      () => writer.invalidateAll(),
    ]
    for (const [i, change] of changes.entries()) {
      await inLocal()
      rows.set(4, 31 + i)
      await change()
      await eventually(() => reader.peek(4) === undefined, 'the copy to go')
      expect(await reader.get(4)).toEqual({ id: 4, damage: 31 + i })
    }
  })

  it('every script works again after SCRIPT FLUSH', async () => {
    const shared = open()
    const run = async () => {
      await raw.script('FLUSH')
      await put(shared, 'spell:4')
      await raw.script('FLUSH')
      expect(await shared.guard('spell:4', token('Anna'), LONG_MS, false)).toBe('new')
      await raw.script('FLUSH')
      expect((await shared.release('spell:4', token('Anna'), spell('x'))).stored).toBe(true)
      await raw.script('FLUSH')
      await shared.invalidate('spell:4')
      await raw.script('FLUSH')
      await shared.invalidateKeyspace('spell', token('second'))
      await raw.script('FLUSH')
      expect(
        (await shared.heartbeat('1', [{ name: 'spell', candidate: token('third') }])).generations,
      ).toEqual([token('second')])
      await raw.script('FLUSH')
      expect(await shared.leaseMany([{ key: 'spell:4', token: token('Bert') }], LONG_MS)).toEqual([null])
      await raw.script('FLUSH')
      expect(await shared.drop('spell:4', { exactly: `L${token('Bert')}` })).toBe(true)
      await raw.script('FLUSH')
      expect(await shared.stampMany([{ key: 'author:7', token: token('Bert') }], LONG_MS)).toEqual([null])
      await raw.script('FLUSH')
      expect(await shared.renewStamp('author:7', token('Bert'), LONG_MS)).toBe(true)
      await shared.invalidate('author:7')
    }
    await run()
    await run()
  })

  it('keeps apart what other prefixes and databases hold', async () => {
    const first = open('one:')
    const second = open('two:')
    const third = openStore({ client: library.single(server.port, { database: 3 }), prefix: 'one:' })
    for (const store of [first, second, third]) expect(await put(store, 'spell:4')).toBe(true)
    expect(await raw.dbsize()).toBe(2)
    expect(await raw.exists('one:spell:4', 'two:spell:4')).toBe(2)
    await second.invalidate('spell:4')
    expect(await raw.exists('one:spell:4', 'two:spell:4')).toBe(1)
    const identities = await Promise.all([first, second, third].map(store => store.identity()))
    expect(new Set(identities).size).toBe(3)
  })

  it("puts the client's own key prefix before its own, also in scripts", async () => {
    const client = library.single(server.port, { keyPrefix: 'app:' })
    const shared = openStore({ client, prefix: 'cache:' })
    const heard = hearing(shared)
    await put(shared, 'spell:4')
    await shared.generation('spell', token('first'))
    expect((await raw.keys('*')).sort()).toEqual(['app:cache:@generation:spell', 'app:cache:spell:4'])
    await shared.heartbeat('1', [])
    await eventually(() => heard.includes('heartbeat 1'), 'the message')
    await shared.invalidate('spell:4')
    await eventually(() => heard.includes('invalidated spell:4'), 'the message')
    expect(await raw.exists('app:cache:spell:4')).toBe(0)
  })

  it('works over encrypted connections, and not with a certificate that is not trusted', async () => {
    const secrets = { key: LOCALHOST_KEY, cert: LOCALHOST_CERTIFICATE }
    const gateway = createServer(secrets, socket => {
      const inner = connect(server.port, '127.0.0.1')
      socket.pipe(inner).pipe(socket)
      for (const one of [socket, inner]) one.on('error', () => {})
      socket.on('close', () => inner.destroy())
    })
    await once(gateway.listen(0, 'localhost'), 'listening')
    onTestFinished(() => void gateway.close())
    const { port } = gateway.address() as AddressInfo
    const shared = openStore({ client: library.encrypted(port, LOCALHOST_CERTIFICATE) })
    const heard = hearing(shared)
    expect(await put(shared, 'spell:4')).toBe(true)
    await shared.heartbeat('1', [])
    await eventually(() => heard.includes('heartbeat 1'), 'the heartbeat')
    const [ca] = rootCertificates
    await expect(openStore({ client: library.encrypted(port, ca!) }).ready()).rejects.toThrow(
      /self.signed.*NODE_EXTRA_CA_CERTS/,
    )
  })

  it('says in words that the server wants a certificate of the client', async () => {
    const secrets = { key: LOCALHOST_KEY, cert: LOCALHOST_CERTIFICATE }
    const gateway = createServer({ ...secrets, requestCert: true, rejectUnauthorized: true })
    gateway.on('tlsClientError', () => {})
    await once(gateway.listen(0, 'localhost'), 'listening')
    onTestFinished(() => void gateway.close())
    const { port } = gateway.address() as AddressInfo
    const ready = openStore({ client: library.encrypted(port, LOCALHOST_CERTIFICATE) }).ready()
    await expect(ready).rejects.toThrow(/: TLS: .*certificate required \(.* give cert and key to it\)$/)
  })

  it('works while the client that was given is not connected, and leaves it alone', async () => {
    const client = library.single(server.port)
    const shared = openStore({ client })
    expect(await put(shared, 'spell:4')).toBe(true)
    expect('status' in client ? client.status : client.isOpen).toBe('status' in client ? 'wait' : false)
  })

  it('identity stays the same for as long as the server runs', async () => {
    const shared = open()
    const identity = await shared.identity()
    expect(identity).toMatch(/[0-9a-f]{40}/)
    expect(await shared.identity()).toBe(identity)
    expect(await open().identity()).toBe(identity)
  })
})

describe('redisShared on a server that has lost its replicas', () => {
  it('rejects, and its heartbeat too', async () => {
    const shared = openStore({ client: IOREDIS.single(server.port) })
    await put(shared, 'spell:4')
    await raw.config('SET', 'min-replicas-to-write', '1')
    try {
      await expect(shared.lease('spell:4', token('Anna'), LONG_MS)).rejects.toThrow('NOREPLICAS')
      await expect(shared.guard('spell:4', token('Anna'), LONG_MS, false)).rejects.toThrow('NOREPLICAS')
      await expect(shared.heartbeat('', [])).rejects.toThrow('NOREPLICAS')
    } finally {
      await raw.config('SET', 'min-replicas-to-write', '0')
    }
    expect(await shared.lease('spell:4', token('Anna'), LONG_MS)).toMatch(/^V/)
  })
})

describe('redisShared that meets what it has not written', () => {
  const open = () => openStore({ client: IOREDIS.single(server.port) })

  const strangers: [string, () => Promise<unknown>][] = [
    ['a list', () => raw.rpush('spell:4', 'a', 'b')],
    ['a hash', () => raw.hset('spell:4', 'a', 'b')],
    ['bytes that are no text', () => raw.set('spell:4', Buffer.from([0xff, 0xfe, 0x00, 0xc3]))],
    ['an empty string', () => raw.set('spell:4', '')],
    ['a text', () => raw.set('spell:4', 'hello')],
  ]
  describe.each(strangers)('lease, on %s', (_name, plant) => {
    it('reads it as unreadable, and swaps it for a lease', async () => {
      const shared = open()
      await plant()
      const seen = await shared.lease('spell:4', token('Anna'), LONG_MS)
      expect(parseRegister(seen as string).state).toBe('unreadable')
      expect(await shared.leaseMany([{ key: 'spell:4', token: token('Anna') }], LONG_MS)).toEqual([seen])
      expect(await shared.look(['spell:4'])).toEqual([seen])
      expect(await shared.stampMany([{ key: 'spell:4', token: token('Anna') }], LONG_MS)).toEqual([seen])
      expect(await shared.renewStamp('spell:4', token('Anna'), LONG_MS)).toBe(false)
      expect(await shared.swap('spell:4', { exactly: seen as string }, token('Anna'), LONG_MS)).toBe(true)
      expect(await shared.fill('spell:4', `L${token('Anna')}`, spell('x'))).toBe(true)
    })

    it('refuses to take a guard away for it', async () => {
      const shared = open()
      await plant()
      const seen = await shared.lease('spell:4', token('Anna'), LONG_MS)
      await shared.guard('spell:4', token('Bert'), LONG_MS, false)
      expect(await shared.swap('spell:4', { exactly: seen as string }, token('Anna'), LONG_MS)).toBe(false)
      expect(await shared.drop('spell:4', { exactly: seen as string })).toBe(false)
      expect(await raw.get('spell:4')).toMatch(new RegExp(`^W0${token('Bert')}`))
    })

    it('guards, releases, invalidates, claims and fills over it', async () => {
      const shared = open()
      await plant()
      expect(await shared.fill('spell:4', `L${token('Anna')}`, spell('x'))).toBe(false)
      expect(await shared.claim('spell:4', token('nonce'), token('Anna'), LONG_MS)).toBe(false)
      expect(await shared.release('spell:4', token('Anna'))).toEqual({ held: false, stored: false })
      await plant()
      await shared.invalidate('spell:4')
      expect(await raw.exists('spell:4')).toBe(0)
      await plant()
      expect(await shared.guard('spell:4', token('Anna'), LONG_MS, false)).toBe('new')
    })
  })

  it.each([
    ['too short', 'W0abc'],
    ['of a wrong length', `${guardText(false, [{ token: token('Anna'), deadlineMs: 1_900_000_000_000 }])}x`],
    ['with a deadline that is no number', `W0${token('Anna')}190000000000x`],
    ['without a writer', 'W1'],
    ['with another flag', `W2${token('Anna')}1900000000000`],
  ])('guard, release and invalidate leave a guard %s standing, and dirty', async (_name, text) => {
    const shared = open()
    const dirty = laterGuardText(text)
    const operations = [
      () => shared.guard('spell:4', token('Bert'), LONG_MS, false),
      () => shared.guard('spell:4', token('Bert'), LONG_MS, true),
      () => shared.release('spell:4', token('Bert'), spell('x')),
      () => shared.invalidate('spell:4'),
      () => shared.swap('spell:4', { exactly: dirty }, token('Bert'), LONG_MS),
      () => shared.drop('spell:4', { exactly: dirty }),
    ]
    const replies: unknown[] = []
    for (const operation of operations) {
      await raw.set('spell:4', operations.indexOf(operation) < 4 ? text : dirty, 'PX', LONG_MS)
      const untilMs = await raw.call('PEXPIRETIME', 'spell:4')
      replies.push(await operation())
      expect([await raw.get('spell:4'), await raw.call('PEXPIRETIME', 'spell:4')]).toEqual([dirty, untilMs])
    }
    const unheld = { held: false, stored: false }
    expect(replies).toEqual(['barred', 'barred', unheld, undefined, false, false])
  })

  it.each([
    ['a list', () => raw.rpush('@generation:spell', 'a')],
    ['a text of another length', () => raw.set('@generation:spell', 'short')],
  ])('generation replaces %s', async (_name, plant) => {
    const shared = open()
    await plant()
    expect(await shared.generation('spell', token('first'))).toBe(token('first'))
    expect(await shared.generation('spell', token('second'))).toBe(token('first'))
  })
})

describe('redisShared on a server without memory left', () => {
  let full: RedisServer
  let past: Redis
  beforeAll(async () => {
    full = await startRedis({ 'maxmemory-policy': 'noeviction' })
    past = new Redis(full.port)
  })
  afterAll(async () => {
    past.disconnect()
    await full.stop()
  })

  /** Lets the server have no memory for anything new; what is there stays. */
  const fillUp = () => past.config('SET', 'maxmemory', '1')
  const makeRoom = () => past.config('SET', 'maxmemory', '0')

  async function openFull(): Promise<RedisShared> {
    await makeRoom()
    await past.flushall()
    const shared = openStore({ client: IOREDIS.single(full.port) })
    await shared.ready()
    onTestFinished(async () => {
      await makeRoom()
    })
    return shared
  }

  it('lease still serves hits and refuses leases, alone and in batches', async () => {
    const shared = await openFull()
    await put(shared, 'spell:1', 'one')
    const value = await past.get('spell:1')
    await fillUp()
    for (let i = 0; i < 2; i++) {
      expect(await shared.lease('spell:1', token('Anna'), LONG_MS)).toBe(value)
      expect(await shared.lease('spell:2', token('Anna'), LONG_MS)).toBe(REFUSED)
      const requests = ['spell:2', 'spell:1'].map(key => ({ key, token: token('Anna') }))
      expect(await shared.leaseMany(requests, LONG_MS)).toEqual([REFUSED, value])
    }
  })

  it('lease serves no hits where writes are refused for other reasons as well', async () => {
    const shared = await openFull()
    await put(shared, 'spell:1', 'one')
    await fillUp()
    const lease = () => shared.lease('spell:1', token('Anna'), LONG_MS)
    expect(await lease()).toMatch(/^V/)
    // As when it is cut off from its replicas, one of which may have taken its place.
    await past.config('SET', 'min-replicas-to-write', '1')
    onTestFinished(async () => void (await past.config('SET', 'min-replicas-to-write', '0')))
    await expect(lease()).rejects.toThrow('NOREPLICAS')
  })

  it('lease goes on with GET first until a SET succeeds', async () => {
    const shared = await openFull()
    await put(shared, 'spell:1', 'one')
    await fillUp()
    await shared.lease('spell:1', token('Anna'), LONG_MS)
    await past.config('RESETSTAT')
    for (let i = 0; i < 3; i++) await shared.lease('spell:1', token('Anna'), LONG_MS)
    const refusedStats = await past.info('commandstats')
    expect(refusedStats).toMatch(/cmdstat_get:calls=3,/)
    expect(refusedStats).not.toContain('cmdstat_set:')
    await makeRoom()
    expect(await shared.lease('spell:2', token('Anna'), LONG_MS)).toBeNull()
    await past.config('RESETSTAT')
    await shared.lease('spell:1', token('Anna'), LONG_MS)
    expect(await past.info('commandstats')).toMatch(/cmdstat_set:calls=1,/)
  })

  it('leaseMany finds out by itself that there is no room', async () => {
    const shared = await openFull()
    await put(shared, 'spell:1', 'one')
    await fillUp()
    const requests = ['spell:2', 'spell:1'].map(key => ({ key, token: token('Anna') }))
    expect(await shared.leaseMany(requests, LONG_MS)).toEqual([REFUSED, await past.get('spell:1')])
  })

  it('leaseMany takes no lease of its own for another one where memory becomes full in the middle', async () => {
    const shared = await openFull()
    const requests = Array.from({ length: 10_000 }, (_, i) => ({ key: `spell:${i}`, token: token('Anna') }))
    let granted = 0
    for (let room = 2 ** 19; granted === 0; room += 2 ** 19) {
      const used = Number(/used_memory:(\d+)/.exec(await past.info('memory'))![1])
      await past.config('SET', 'maxmemory', used + room)
      const replies = await shared.leaseMany(requests, LONG_MS)
      granted = await past.dbsize()
      expect(replies.filter(reply => reply === null)).toHaveLength(granted)
      expect(replies.filter(reply => reply === REFUSED)).toHaveLength(requests.length - granted)
    }
    expect(granted).toBeLessThan(requests.length)
  })

  it('stampMany says what is there and refuses stamps, alone and in batches, and renewStamp works', async () => {
    const shared = await openFull()
    await put(shared, 'spell:1', 'one')
    const anna = token('Anna')
    await shared.stampMany([{ key: 'author:1', token: anna }], 5000)
    const value = await past.get('spell:1')
    await fillUp()
    const requests = ['author:2', 'author:1', 'spell:1'].map(key => ({ key, token: token('Bert') }))
    for (let i = 0; i < 2; i++) {
      expect(await shared.stampMany(requests, LONG_MS)).toEqual([REFUSED, `S${anna}`, value])
      expect(await shared.stampMany(requests.slice(0, 1), LONG_MS)).toEqual([REFUSED])
    }
    expect(await shared.renewStamp('author:1', anna, LONG_MS)).toBe(true)
    expect(await past.pttl('author:1')).toBeGreaterThan(5000)
    expect(await shared.renewStamp('author:2', anna, LONG_MS)).toBe(false)
    await makeRoom()
    expect(await shared.stampMany(requests.slice(0, 1), LONG_MS)).toEqual([null])
  })

  it('stampMany and renewStamp answer nothing where writes are refused for other reasons', async () => {
    const shared = await openFull()
    const stamp = { key: 'author:1', token: token('Anna') }
    await shared.stampMany([stamp], LONG_MS)
    await past.config('SET', 'min-replicas-to-write', '1')
    onTestFinished(async () => void (await past.config('SET', 'min-replicas-to-write', '0')))
    await expect(shared.stampMany([stamp], LONG_MS)).rejects.toThrow('NOREPLICAS')
    await expect(shared.renewStamp(stamp.key, stamp.token, LONG_MS)).rejects.toThrow('NOREPLICAS')
    await fillUp()
    await expect(shared.stampMany([stamp], LONG_MS)).rejects.toThrow('NOREPLICAS')
  })

  it('fill is refused, and its lease can be given back', async () => {
    const shared = await openFull()
    await shared.lease('spell:1', token('Anna'), LONG_MS)
    await fillUp()
    expect(await shared.fill('spell:1', `L${token('Anna')}`, spell('x'))).toBe(false)
    expect(await past.get('spell:1')).toBe(`L${token('Anna')}`)
    expect(await shared.drop('spell:1', { prefix: `L${token('Anna')}` })).toBe(true)
  })

  it('guards, renewals, releases, invalidations, claims and swaps work', async () => {
    const shared = await openFull()
    await put(shared, 'spell:1', 'one')
    await put(shared, 'spell:2', 'two')
    await put(shared, 'spell:3', 'three')
    const nonceOf = async (key: string) => ((await past.get(key)) as string).slice(1, 17)
    await fillUp()
    expect(await shared.claim('spell:2', await nonceOf('spell:2'), token('Cara'), LONG_MS)).toBe(true)
    const seen = { prefix: `V${await nonceOf('spell:3')}` }
    expect(await shared.swap('spell:3', seen, token('Cara'), LONG_MS)).toBe(true)
    expect(await shared.guard('spell:1', token('Anna'), LONG_MS, false)).toBe('new')
    expect(await shared.guard('spell:1', token('Anna'), LONG_MS, true)).toBe('renewed')
    expect(await shared.guard('spell:9', token('Anna'), LONG_MS, false)).toBe('new')
    await shared.invalidate('spell:2')
    expect(await shared.release('spell:1', token('Anna'))).toEqual({ held: true, stored: false })
    expect(await past.exists('spell:1', 'spell:2')).toBe(0)
  })

  it('release with a value releases, and stores nothing', async () => {
    const shared = await openFull()
    await shared.guard('spell:1', token('Anna'), LONG_MS, false)
    await fillUp()
    expect(await shared.release('spell:1', token('Anna'), spell('x'))).toEqual({ held: true, stored: false })
    expect(await past.exists('spell:1')).toBe(0)
  })

  it('generations are read, drawn and changed, and heartbeats heard', async () => {
    const shared = await openFull()
    await shared.generation('spell', token('first'))
    const heard = hearing(shared)
    await fillUp()
    expect(await shared.generation('spell', token('second'))).toBe(token('first'))
    expect(await shared.generation('wizard', token('third'))).toBe(token('third'))
    await shared.invalidateKeyspace('spell', token('fourth'))
    const reply = await shared.heartbeat('1', [{ name: 'spell', candidate: token('fifth') }])
    expect(reply.generations).toEqual([token('fourth')])
    await eventually(() => heard.includes('heartbeat 1'), 'the message')
  })

  it('get serves hits and loads misses without calling the store away', async () => {
    const shared = await openFull()
    const events: string[] = []
    const cache = createCache({
      shared,
      sharedTimeoutMs: 1500,
      onEvent: event => event.type === 'shared' && events.push(event.state),
    })
    onTestFinished(() => cache.close())
    const spells = cache.keyspace('spell', { load: async (id: number) => ({ id }) })
    await spells.get(1)
    await eventually(async () => (await past.get('spell:1'))?.startsWith('V') === true, 'the fill')
    await fillUp()
    expect(await spells.read(1)).toMatchObject({ from: 'shared', why: 'fresh' })
    expect(await spells.read(2)).toMatchObject({ from: 'origin', why: 'full', value: { id: 2 } })
    await makeRoom()
    await spells.read(2)
    await eventually(async () => (await past.get('spell:2'))?.startsWith('V') === true, 'the fill')
    expect(events).toEqual([])
  })
})
