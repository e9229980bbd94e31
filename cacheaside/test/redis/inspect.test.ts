import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { eventually, type RedisServer, startRedis, startRedisCluster } from '../../../test/redis-servers.ts'
import { createCache } from '../../src/index.ts'
import { inspectRedis, REDIS_POLICIES, type RedisFinding, redisShared } from '../../src/redis/index.ts'
import { CLIENT_LIBRARIES, IOREDIS } from './clients.ts'
import { hearing, LONG_MS, openStore, proven, put, token } from './harness.ts'

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
  await raw.config('SET', 'maxmemory-policy', 'noeviction')
  await raw.config('SET', 'maxmemory', '0')
  await raw.call('REPLICAOF', 'NO', 'ONE')
  await raw.flushall()
})

const client = () => IOREDIS.single(server.port)
const codes = (findings: readonly RedisFinding[]) =>
  findings.map(({ severity, code }) => `${severity} ${code}`)

describe('ready', () => {
  it('tells what the server is', async () => {
    await raw.config('SET', 'maxmemory', '100mb')
    await raw.config('SET', 'maxmemory-policy', 'allkeys-lru')
    const report = await openStore({ client: client() }).ready()
    expect(report).toEqual({
      deployment: 'standalone',
      nodes: [
        {
          address: `127.0.0.1:${server.port}`,
          server: 'redis',
          version: expect.stringMatching(/^\d+\.\d+\.\d+$/),
          role: 'primary',
          policy: 'allkeys-lru',
          maxBytes: 100 * 2 ** 20,
          usedBytes: expect.any(Number),
          turnedAway: 0,
          replicas: 0,
          needsReplicas: false,
          identity: expect.stringMatching(/^[0-9a-f]{40} [0-9a-f]{40}$/),
        },
      ],
      findings: [],
    })
  })

  it.each(REDIS_POLICIES)('judges the policy %s', async policy => {
    await raw.config('SET', 'maxmemory', '100mb')
    await raw.config('SET', 'maxmemory-policy', policy)
    const { findings } = await inspectRedis({ client: client() })
    const expected = /ttl/.test(policy)
      ? ['refused EVICTS_GUARDS']
      : /lfu|random/.test(policy)
        ? ['warned MAY_EVICT_GUARDS']
        : []
    expect(codes(findings)).toEqual(expected)
    for (const { message } of findings) expect(message).toContain(policy)
  })

  it('warns of memory without a limit', async () => {
    const { findings } = await openStore({ client: client() }).ready()
    expect(codes(findings)).toEqual(['warned UNBOUNDED'])
  })

  it('refuses volatile-ttl, and lets a read go to the origin', async () => {
    await raw.config('SET', 'maxmemory-policy', 'volatile-ttl')
    const shared = openStore({ client: client() })
    await expect(shared.ready()).rejects.toMatchObject({
      code: 'INVALID_OPTIONS',
      message: expect.stringMatching(/volatile-ttl .* evicts .* guards .* allowUnsafePolicy/),
    })
    await expect(shared.lease('spell:4', token('Anna'), LONG_MS)).rejects.toThrow(/volatile-ttl/)
    const cache = createCache({ shared })
    onTestFinished(() => cache.close())
    const spells = cache.keyspace('spell', { load: async (id: number) => ({ id }) })
    expect(await spells.read(4)).toMatchObject({ value: { id: 4 }, from: 'origin', why: 'unavailable' })
  })

  it('uses a server that was refused as soon as it is no more what it was refused for', async () => {
    await raw.config('SET', 'maxmemory-policy', 'volatile-ttl')
    const shared = openStore({ client: client() })
    await expect(shared.ready()).rejects.toThrow()
    await raw.config('SET', 'maxmemory-policy', 'allkeys-lru')
    await eventually(() => put(shared, 'spell:4'), 'the store to be used')
    expect((await shared.ready()).nodes[0]?.policy).toBe('allkeys-lru')
  })

  it('tells what a server is refused for that was in order when it was seen first', async () => {
    await raw.config('SET', 'maxmemory', '100mb')
    const told: RedisFinding[] = []
    const shared = openStore({ client: client(), onWarning: finding => told.push(finding) })
    await shared.ready()
    await raw.config('SET', 'maxmemory-policy', 'volatile-ttl')
    await raw.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
    await eventually(async () => told.length > 0, 'the finding')
    await expect(shared.ready()).rejects.toThrow(/volatile-ttl/)
    expect(codes(told)).toEqual(['refused EVICTS_GUARDS'])
  })

  it('puts up with volatile-ttl where it is told to', async () => {
    await raw.config('SET', 'maxmemory-policy', 'volatile-ttl')
    const shared = openStore({ client: client(), allowUnsafePolicy: true })
    expect(codes((await shared.ready()).findings)).toEqual(['warned EVICTS_GUARDS'])
    expect(await put(shared, 'spell:4')).toBe(true)
  })

  it.each(['allkeys-lru', 'volatile-lru'] as const)(
    'sets the policy %s where it is told to',
    async policy => {
      await raw.config('SET', 'maxmemory-policy', 'volatile-ttl')
      const { nodes } = await openStore({ client: client(), policy }).ready()
      expect(nodes[0]?.policy).toBe(policy)
      expect(await raw.config('GET', 'maxmemory-policy')).toEqual(['maxmemory-policy', policy])
    },
  )

  it('refuses a replica, and a primary that becomes one, and uses it again when it is a primary', async () => {
    const shared = openStore({ client: client() })
    const heard = hearing(shared)
    expect(await put(shared, 'spell:4')).toBe(true)
    await proven(shared, heard)
    await raw.call('REPLICAOF', '127.0.0.1', '1')
    await expect(shared.heartbeat('', [])).rejects.toThrow(/READONLY/)
    await eventually(
      () =>
        shared.ready().then(
          () => false,
          error => /is a replica/.test(error.message),
        ),
      'the refusal',
    )
    await expect(openStore({ client: client() }).ready()).rejects.toThrow(/is a replica/)
    await raw.call('REPLICAOF', 'NO', 'ONE')
    await eventually(async () => (await shared.heartbeat('again', [])).timeMs > 0, 'the store to be used')
    // The same process, but another history: what was listened to may not have been all.
    await eventually(() => heard.some(line => line.startsWith('interrupted')), 'the interruption')
  })

  it('refuses a node of a Cluster behind a client for one server', async () => {
    const cluster = await startRedisCluster()
    onTestFinished(cluster.stop)
    for (const library of CLIENT_LIBRARIES) {
      const shared = openStore({ client: library.single(cluster.nodes[0]!.port) })
      await expect(shared.ready()).rejects.toThrow(/node of a Cluster/)
    }
  })

  it('tells each warning once', async () => {
    const warnings: RedisFinding[] = []
    const shared = openStore({ client: client(), onWarning: warning => warnings.push(warning) })
    await shared.ready()
    await raw.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
    await eventually(async () => (await shared.heartbeat('', [])).timeMs > 0, 'the next connection')
    expect(codes(warnings)).toEqual(['warned UNBOUNDED'])
  })

  it('warns by process.emitWarning where it is not told how', async () => {
    const emitted = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    onTestFinished(() => emitted.mockRestore())
    const shared = redisShared({ client: client() })
    onTestFinished(() => shared.close())
    await shared.ready()
    expect(emitted).toHaveBeenCalledExactlyOnceWith(expect.stringMatching(/maxmemory/), {
      type: 'CacheasideWarning',
      code: 'CACHEASIDE_REDIS_UNBOUNDED',
    })
  })
})

describe('a server without a command', () => {
  it.each(['GETRANGE', 'TIME', 'EVALSHA', 'SUBSCRIBE'])('is found: %s', async command => {
    const without = await startRedis({ 'rename-command': `${command} ""` })
    onTestFinished(without.stop)
    const told: RedisFinding[] = []
    const shared = openStore({
      client: IOREDIS.single(without.port),
      onWarning: finding => told.push(finding),
    })
    hearing(shared)
    if (command === 'SUBSCRIBE') await shared.ready()
    else
      await expect(shared.ready()).rejects.toMatchObject({
        code: 'INVALID_OPTIONS',
        message: expect.stringMatching(new RegExp(`rename-command.*unknown command '${command}'`)),
      })
    const severity = command === 'SUBSCRIBE' ? 'warned' : 'refused'
    await eventually(() => codes(told).includes(`${severity} COMMAND`), 'the finding')
  })
})

it.each(CLIENT_LIBRARIES)('$name needs no CLIENT command', async library => {
  const without = await startRedis({ 'rename-command': 'CLIENT ""' })
  onTestFinished(without.stop)
  const shared = openStore({ client: library.single(without.port) })
  expect(codes((await shared.ready()).findings)).toContain('warned UNKNOWN')
  expect(await shared.identity()).toBe('')
  expect(await put(shared, 'spell:4')).toBe(true)
})

describe('inspect', () => {
  it('asks again, and reports a refused server', async () => {
    const shared = openStore({ client: client() })
    expect((await shared.inspect()).nodes[0]?.policy).toBe('noeviction')
    await raw.config('SET', 'maxmemory-policy', 'volatile-ttl')
    const { nodes, findings } = await shared.inspect()
    expect(nodes[0]?.policy).toBe('volatile-ttl')
    expect(codes(findings)).toContain('refused EVICTS_GUARDS')
    const refused = await inspectRedis({ client: client(), onWarning: () => {} })
    expect(codes(refused.findings)).toContain('refused EVICTS_GUARDS')
  })

  it('throws when there is no server', async () => {
    const gone = await startRedis()
    await gone.stop()
    await expect(inspectRedis({ client: IOREDIS.single(gone.port) })).rejects.toThrow(/ECONNREFUSED/)
  })
})

describe.each(CLIENT_LIBRARIES)('a user with few rights, by $name,', library => {
  /** No more than `docs/redis.md` asks for. */
  const COMMANDS =
    'hello auth select client|info info set get mget getrange setrange del time pttl publish subscribe eval evalsha script|load'
  const RIGHTS = [
    'reset',
    'on',
    '>secret',
    '~app:*',
    '&app:@*',
    ...COMMANDS.split(' ').map(command => `+${command}`),
  ]

  async function openAs(...rights: string[]) {
    await raw.call('ACL', 'SETUSER', 'spellbook', ...RIGHTS, ...rights)
    onTestFinished(async () => {
      await raw.call('ACL', 'DELUSER', 'spellbook')
    })
    const way = { username: 'spellbook', password: 'secret' }
    return openStore({ client: library.single(server.port, way), prefix: 'app:' })
  }

  it('does everything within the prefix', async () => {
    const shared = await openAs()
    await shared.ready()
    const heard = hearing(shared)
    expect(await put(shared, 'spell:4')).toBe(true)
    const nonce = (await raw.get('app:spell:4'))!.slice(1, 17)
    expect(await shared.claim('spell:4', nonce, token('Cara'), LONG_MS)).toBe(true)
    expect(await shared.swap('spell:4', { prefix: `V${nonce}` }, token('Cara'), LONG_MS)).toBe(true)
    expect(await shared.drop('spell:4', { exactly: `L${token('Cara')}` })).toBe(true)
    await shared.leaseMany([{ key: 'spell:5', token: token('Cara') }], LONG_MS)
    expect(await shared.look(['spell:5', 'spell:6'])).toEqual([`L${token('Cara')}`, null])
    expect(await shared.stampMany([{ key: 'author:7', token: token('Cara') }], LONG_MS)).toEqual([null])
    expect(await shared.renewStamp('author:7', token('Cara'), LONG_MS)).toBe(true)
    expect(await shared.guard('spell:4', token('Anna'), LONG_MS, false)).toBe('new')
    await shared.invalidate('spell:4')
    expect(await shared.release('spell:4', token('Anna'))).toEqual({ held: true, stored: false })
    await shared.invalidateKeyspace('spell', token('first'))
    await shared.heartbeat('1', [{ name: 'spell', candidate: token('second') }])
    await eventually(() => heard.includes('heartbeat 1'), 'the heartbeat')
    expect(await shared.identity()).not.toBe('')
  })

  it('guards beside a guard of any length without the right to PTTL', async () => {
    const shared = await openAs('-pttl')
    const long = `W0${`${token('Bert')}${Date.now() + LONG_MS}`.repeat(500)}`
    await raw.set('app:spell:4', long, 'PX', LONG_MS)
    expect(await shared.guard('spell:4', token('Anna'), LONG_MS, false)).toBe('new')
    expect(await shared.release('spell:4', token('Anna'))).toEqual({ held: true, stored: false })
    expect(await raw.get('app:spell:4')).toMatch(/^W1/)
  })

  it('renews a stamp without the right to PTTL, to the life that is asked for', async () => {
    const shared = await openAs('-pttl')
    await shared.stampMany([{ key: 'author:7', token: token('Cara') }], 5000)
    expect(await shared.renewStamp('author:7', token('Anna'), LONG_MS)).toBe(false)
    expect(await raw.pttl('app:author:7')).toBeLessThanOrEqual(5000)
    expect(await shared.renewStamp('author:7', token('Cara'), LONG_MS)).toBe(true)
    expect(await raw.pttl('app:author:7')).toBeGreaterThan(5000)
  })

  it.each<[what: string, rights: string[], message: RegExp]>([
    ['the channels', ['resetchannels'], /&app:@\*.*NOPERM/],
    ['the keys', ['resetkeys', '~other:*'], /~app:\*.*NOPERM/],
    ['scripts', ['-eval', '-evalsha'], /NOPERM.*eval/i],
    ['scripts by their names', ['-evalsha'], /NOPERM.*evalsha/i],
    ...['set', 'get', 'mget', 'getrange', 'setrange', 'del', 'time'].map(
      (command): [string, string[], RegExp] => [
        command,
        [`-${command}`],
        new RegExp(`NOPERM.*'${command}'`, 'i'),
      ],
    ),
  ])('is refused without the right to %s', async (_name, rights, message) => {
    const shared = await openAs(...rights)
    await expect(shared.ready()).rejects.toMatchObject({
      code: 'INVALID_OPTIONS',
      message: expect.stringMatching(message),
    })
    expect(await raw.dbsize()).toBe(0)
  })

  // The heartbeats need none of these: the store would come and go for ever.
  it.each<[what: string, taken: string[], given: string[]]>([
    ['to publish', ['-publish'], ['+publish']],
    ['to a key', ['resetkeys', '~app:@*'], ['~app:*']],
    ['to look', ['-get'], ['+get']],
  ])(
    'is not used from when somebody takes away the right %s until it is back',
    async (_name, taken, given) => {
      const shared = await openAs()
      await shared.ready()
      const use = () => Promise.all([shared.look(['spell:4']), shared.invalidate('spell:4')])
      const reason = /does not let this user do what the cache needs.*NOPERM/
      // And once more, soon after.
      for (let i = 0; i < 2; i++) {
        await raw.call('ACL', 'SETUSER', 'spellbook', ...taken)
        await expect(use()).rejects.toThrow()
        await eventually(
          () =>
            shared.heartbeat('', []).then(
              () => false,
              ({ message }) => reason.test(message),
            ),
          'the refusal',
        )
        await raw.call('ACL', 'SETUSER', 'spellbook', ...given)
        await eventually(
          () =>
            use().then(
              () => true,
              () => false,
            ),
          'the store to be used',
        )
      }
    },
  )

  it('is warned without the right to INFO, and the identity is unknown', async () => {
    const shared = await openAs('-info')
    const { nodes, findings } = await shared.ready()
    expect(codes(findings)).toEqual(['warned UNKNOWN'])
    expect(nodes[0]).toMatchObject({ version: undefined, policy: undefined, identity: '' })
    expect(await shared.identity()).toBe('')
    const heard = hearing(shared)
    await shared.heartbeat('1', [])
    await eventually(() => heard.includes('heartbeat 1'), 'the heartbeat')
    expect(await put(shared, 'spell:4')).toBe(true)
  })

  it('is warned without the right to CLIENT INFO, and the identity is unknown', async () => {
    const shared = await openAs('-client|info')
    const { findings } = await shared.ready()
    expect(codes(findings)).toEqual(['warned UNBOUNDED', 'warned UNKNOWN'])
    expect(findings[1]!.message).toContain('does not let this user ask CLIENT INFO')
    expect(await shared.identity()).toBe('')
  })

  it('works without the right to load scripts', async () => {
    const shared = await openAs('-script|load')
    await shared.ready()
    expect(await put(shared, 'spell:4')).toBe(true)
    await shared.invalidate('spell:4')
    expect(await raw.exists('app:spell:4')).toBe(0)
  })

  it('is warned once that it may not listen, and works without a proof', async () => {
    await openAs('-subscribe')
    const warnings: string[] = []
    const shared = openStore({
      client: library.single(server.port, { username: 'spellbook', password: 'secret' }),
      prefix: 'app:',
      onWarning: ({ message }) => void warnings.push(message),
    })
    shared.subscribe({ invalidated() {}, keyspaceInvalidated() {}, heartbeat() {}, interrupted() {} })
    await shared.ready()
    await eventually(() => warnings.some(message => /may not listen/.test(message)), 'the warning')
    expect(await put(shared, 'spell:4')).toBe(true)
    expect(warnings.filter(message => /may not listen/.test(message))).toHaveLength(1)
  })

  it('is warned that the policy could not be set', async () => {
    await openAs()
    const way = { username: 'spellbook', password: 'secret' }
    const shared = openStore({
      client: library.single(server.port, way),
      prefix: 'app:',
      policy: 'allkeys-lru',
    })
    const { findings } = await shared.ready()
    expect(findings.some(({ message }) => /could not be set to allkeys-lru: NOPERM/.test(message))).toBe(true)
  })

  it('is refused without the right to select its database, also after a reconnect', async () => {
    const database = 3
    await openAs()
    const way = { username: 'spellbook', password: 'secret', database }
    const shared = openStore({ client: library.single(server.port, way), prefix: 'app:' })
    const heard = hearing(shared)
    await shared.ready()
    await proven(shared, heard)
    expect(await put(shared, 'spell:4')).toBe(true)
    expect(await raw.exists('app:spell:4')).toBe(0)
    await raw.call('ACL', 'SETUSER', 'spellbook', '-select')
    await raw.call('CLIENT', 'KILL', 'USER', 'spellbook')
    const refusal = { code: 'INVALID_OPTIONS', message: expect.stringMatching(/database 3 .*NOPERM.*select/) }
    await eventually(
      () =>
        shared.ready().then(
          () => false,
          error => error.code === 'INVALID_OPTIONS',
        ),
      'the refusal',
    )
    await expect(shared.ready()).rejects.toMatchObject(refusal)
    await expect(shared.inspect()).rejects.toMatchObject(refusal)
    expect(heard.filter(line => line.startsWith('interrupted')).length).toBeGreaterThan(0)
    await expect(shared.lease('spell:4', token('Anna'), LONG_MS)).rejects.toMatchObject(refusal)
  })

  it('is refused where its database does not exist', async () => {
    const shared = openStore({ client: library.single(server.port, { database: 99 }) })
    await expect(shared.ready()).rejects.toMatchObject({
      code: 'INVALID_OPTIONS',
      message: expect.stringMatching(/database 99 cannot be selected: ERR .*out of range/),
    })
    expect(await raw.dbsize()).toBe(0)
  })

  it('is told of a wrong password', async () => {
    await openAs()
    const way = { username: 'spellbook', password: 'wrong' }
    await expect(openStore({ client: library.single(server.port, way) }).ready()).rejects.toThrow(/WRONGPASS/)
  })

  it('is told of a wrong password also before other commands are answered', async () => {
    const curt = createServer(socket => {
      socket.on('error', () => {})
      socket.on('data', data => {
        const text = String(data)
        if (/auth/i.test(text)) socket.write('-WRONGPASS invalid username-password pair\r\n')
        for (const _ of text.matchAll(/setinfo/gi)) socket.write('+OK\r\n')
      })
    })
    await once(curt.listen(0, '127.0.0.1'), 'listening')
    onTestFinished(() => void curt.close())
    const { port } = curt.address() as AddressInfo
    const way = { username: 'spellbook', password: 'wrong' }
    await expect(openStore({ client: library.single(port, way) }).ready()).rejects.toThrow(/WRONGPASS/)
  })

  it.each(['ERR max number of clients reached', 'DENIED Redis is running in protected mode'])(
    'is told in the words of a server that lets nobody in: %s',
    async words => {
      // A real server closes at once, so that on one machine the client mostly fails to write before it reads.
      const full = createServer(socket => {
        socket.on('error', () => {})
        socket.resume()
        socket.end(`-${words}\r\n`)
      })
      await once(full.listen(0, '127.0.0.1'), 'listening')
      onTestFinished(() => void full.close())
      const { port } = full.address() as AddressInfo
      await expect(openStore({ client: library.single(port) }).ready()).rejects.toThrow(words)
    },
  )
})

describe('redisShared refuses', () => {
  it.each([
    [
      'no client',
      undefined,
      /expected client to be an ioredis, iovalkey or node-redis client, got undefined/,
    ],
    ['another object', {}, /expected client to be an ioredis, iovalkey or node-redis client/],
    ['a promise of a client', Promise.resolve(), /got a promise: do not connect it/],
    ['the class of a client', Redis, /a function: \(\) => new Redis\(url\), got a class/],
    ['a client that reads from replicas', new Redis({ lazyConnect: true, readOnly: true }), /readOnly/],
    [
      'a Sentinel client of the replicas',
      new Redis({ lazyConnect: true, sentinels: [{ port: 1 }], name: 'spells', role: 'slave' }),
      /role to be "master"/,
    ],
    [
      'a Cluster that reads from replicas',
      new Redis.Cluster([{ port: 1 }], { lazyConnect: true, scaleReads: 'slave' }),
      /scaleReads to be "master", got "slave"/,
    ],
  ])('%s', (_name, wrong, message) => {
    expect(() => redisShared({ client: wrong as never })).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTIONS', message: expect.stringMatching(message) }),
    )
  })

  it.each([
    [{ prefix: 7 }, /expected prefix to be a string/],
    [{ prefix: 'x'.repeat(300) }, /at most 256/],
    [{ policy: 'lru' }, /expected policy to be one of noeviction/],
    [{ policy: 'volatile-ttl' }, /allowUnsafePolicy/],
    [{ allowUnsafePolicy: 1 }, /true or false/],
    [{ onWarning: true }, /expected onWarning to be a function/],
    [{ keyprefix: '' }, /options\.keyprefix/],
  ])('%j', (options, message) => {
    expect(() => redisShared({ client: client(), ...(options as object) })).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTIONS', message: expect.stringMatching(message) }),
    )
  })

  it('a client of its own, and ends it', async () => {
    const own = new Redis(server.port, { readOnly: true })
    expect(() => redisShared({ client: () => own })).toThrow(/readOnly/)
    await eventually(() => own.status === 'end', 'the client to be ended')
  })

  it('a client in place of the options, and says where it belongs', () => {
    expect(() => redisShared(new Redis({ lazyConnect: true }) as never)).toThrow(
      /redisShared\(\{ client \}\)/,
    )
  })

  it('a prefix that would put a Cluster into one slot', () => {
    const cluster = new Redis.Cluster([{ port: 1 }], { lazyConnect: true, keyPrefix: '{app}:' })
    expect(() => redisShared({ client: cluster })).toThrow(/free of \{ and \}/)
  })
})
