import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import {
  eventually,
  type RedisClusterServers,
  type RedisServer,
  startClusterNode,
  startRedisCluster,
} from '../../../test/redis-servers.ts'
import { createCache } from '../../src/index.ts'
import { redisShared } from '../../src/redis/index.ts'
import { slotOf } from '../../src/redis/slot.ts'
import { CLIENT_LIBRARIES, IOREDIS } from './clients.ts'
import { hearing, LONG_MS, openStore, proven, put, spell, token } from './harness.ts'

let servers: RedisClusterServers
beforeAll(async () => {
  servers = await startRedisCluster()
})
afterAll(() => servers.stop())

let prefixes = 0
const nextPrefix = () => `test${++prefixes}:`

/** Some key for each primary, in the order of the primaries. */
function keyOfEach(prefix: string, count: number): string[] {
  const keys: string[] = []
  for (let i = 0; keys.filter(Boolean).length < count; i++) {
    const primary = Math.floor((slotOf(`${prefix}spell:${i}`) * count) / 16_384)
    keys[primary] ??= `spell:${i}`
  }
  return keys
}

const interruptions = (heard: readonly string[]) => heard.filter(line => line.startsWith('interrupted'))
const idOf = async (server: RedisServer) => String(await server.command('CLUSTER', 'MYID'))

/** Gives a slot with one key to another primary, as a resharding tool does; returns steps to be taken one by one. */
async function moving(slot: number, from: RedisServer, to: RedisServer, all: readonly RedisServer[]) {
  const [fromId, toId] = [await idOf(from), await idOf(to)]
  return {
    begin: async () => {
      await to.command('CLUSTER', 'SETSLOT', slot, 'IMPORTING', fromId)
      await from.command('CLUSTER', 'SETSLOT', slot, 'MIGRATING', toId)
    },
    moveKeys: async () => {
      const keys = (await from.command('CLUSTER', 'GETKEYSINSLOT', slot, 1000)) as string[]
      if (keys.length > 0) await from.command('MIGRATE', '127.0.0.1', to.port, '', 0, 5000, 'KEYS', ...keys)
    },
    finish: async () => {
      for (const server of [to, from]) await server.command('CLUSTER', 'SETSLOT', slot, 'NODE', toId)
      for (const server of all) await server.command('CLUSTER', 'SETSLOT', slot, 'NODE', toId)
    },
  }
}

describe.each(CLIENT_LIBRARIES)('redisShared on a Cluster by $name', library => {
  const open = (prefix: string, cluster = servers) => {
    const store = redisShared({ client: library.cluster(cluster.nodes), prefix, onWarning: () => {} })
    onTestFinished(() => store.close())
    return store
  }

  it('ready tells of every primary', async () => {
    const report = await open(nextPrefix()).ready()
    expect(report.deployment).toBe('cluster')
    expect(report.nodes.map(({ role }) => role)).toEqual(['primary', 'primary', 'primary'])
    expect(report.findings.filter(({ code }) => code === 'SPLIT_BRAIN')).toHaveLength(3)
  })

  it('reaches nodes that are to be called by their host names, and have none', async () => {
    const prefer = (type: string) =>
      Promise.all(
        servers.primaries.map(node => node.command('CONFIG', 'SET', 'cluster-preferred-endpoint-type', type)),
      )
    await prefer('hostname')
    onTestFinished(async () => void (await prefer('ip')))
    const shared = open(nextPrefix())
    const { nodes } = await shared.ready()
    expect(nodes.map(({ address }) => address).sort()).toEqual(
      servers.nodes.map(({ host, port }) => `${host}:${port}`).sort(),
    )
    expect(await put(shared, 'spell:4')).toBe(true)
  })

  it('close leaves no connection to any node', async () => {
    const connections = async () => {
      const list = (node: RedisServer) => node.command('CLIENT', 'LIST', 'TYPE', 'normal')
      const lines = String(await Promise.all(servers.primaries.map(list))).split('\n')
      return lines.filter(line => line.includes('id=') && !line.includes('cmd=client|list')).length
    }
    const before = await connections()
    const store = open(nextPrefix())
    await store.ready()
    expect(await connections()).toBeGreaterThan(before)
    await store.close()
    await eventually(async () => (await connections()) <= before, 'every connection to be gone', 10_000)
  })

  it('leaseMany reaches keys on all primaries, each reply in its place', async () => {
    const prefix = nextPrefix()
    const store = open(prefix)
    const keys = Array.from({ length: 60 }, (_, i) => `spell:${i}`)
    await put(store, 'spell:7', 'seven')
    const replies = await store.leaseMany(
      keys.map(key => ({ key, token: token(key) })),
      LONG_MS,
    )
    expect(replies.filter(reply => reply === null)).toHaveLength(59)
    expect(replies[7]).toMatch(/seven$/)
    const sizes = await Promise.all(servers.primaries.map(server => server.command('DBSIZE')))
    for (const size of sizes) expect(Number(size)).toBeGreaterThan(5)
  })

  it('stampMany reaches keys on all primaries, each reply in its place', async () => {
    const store = open(nextPrefix())
    const keys = Array.from({ length: 64 }, (_, i) => `author:${i}`)
    await store.stampMany([{ key: 'author:7', token: token('seven') }], LONG_MS)
    const replies = await store.stampMany(
      keys.map(key => ({ key, token: token(key) })),
      LONG_MS,
    )
    expect(replies).toEqual(keys.map((_, i) => (i === 7 ? `S${token('seven')}` : null)))
    for (const key of keys) expect(await store.renewStamp(key, token(key), LONG_MS)).toBe(key !== 'author:7')
  })

  it("puts the client's own key prefix before its own", async () => {
    const own = nextPrefix()
    const client = library.cluster(servers.nodes, { keyPrefix: 'app:' })
    const store = openStore({ client, prefix: own })
    expect(await put(store, 'spell:4')).toBe(true)
    const owner = servers.primaries[Math.floor((slotOf(`app:${own}spell:4`) * 3) / 16_384)]!
    expect(await owner.command('EXISTS', `app:${own}spell:4`)).toBe(1)
  })

  it('invalidate is heard once, whichever primary owns the key', async () => {
    const prefix = nextPrefix()
    const store = open(prefix)
    const heard = hearing(store)
    await proven(store, heard)
    const keys = keyOfEach(prefix, 3)
    for (const key of keys) await store.invalidate(key)
    await store.invalidateKeyspace('spell', token('first'))
    await proven(store, heard)
    const messages = heard.filter(line => !line.startsWith('heartbeat'))
    expect(messages.sort()).toEqual([...keys.map(key => `invalidated ${key}`), 'keyspace spell'].sort())
  })

  it('a heartbeat is not heard while the subscription to one of the primaries is gone', async () => {
    const prefix = nextPrefix()
    const store = open(prefix)
    const heard = hearing(store)
    await proven(store, heard)
    const [first] = servers.primaries as [RedisServer]
    // Nobody may subscribe there for as long as it takes.
    await first.command('ACL', 'SETUSER', 'default', '-subscribe')
    onTestFinished(async () => {
      await first.command('ACL', 'SETUSER', 'default', '+subscribe')
    })
    await first.command('CLIENT', 'KILL', 'TYPE', 'pubsub')
    await eventually(() => interruptions(heard).length > 0, 'the interruption')
    for (let i = 0; i < 10; i++) await store.heartbeat(`in vain ${i}`, [])
    const other = keyOfEach(prefix, 3)[2]!
    await store.invalidate(other)
    await eventually(() => heard.includes(`invalidated ${other}`), 'the message of another primary')
    expect(heard.some(line => line.includes('in vain'))).toBe(false)
    await first.command('ACL', 'SETUSER', 'default', '+subscribe')
    await proven(store, heard)
  })

  it('follows a slot that is moved to another primary, from the first key to the last', async () => {
    const prefix = nextPrefix()
    const [from, to] = servers.primaries as [RedisServer, RedisServer]
    const key = keyOfEach(prefix, 3)[0]!
    const slot = slotOf(prefix + key)
    const store = open(prefix)
    const heard = hearing(store)
    await proven(store, heard)
    await store.guard(key, token('Anna'), LONG_MS, false)
    const there = await moving(slot, from, to, servers.primaries)
    await there.begin()
    expect(await store.guard(key, token('Anna'), LONG_MS, true)).toBe('renewed')
    await there.moveKeys()
    // The old owner asks to go to the new one, which does it for who was asked only.
    expect(await store.guard(key, token('Anna'), LONG_MS, true)).toBe('renewed')
    expect(await store.release(key, token('Anna'), spell('moved'))).toEqual({ held: true, stored: true })
    expect(await store.lease(key, token('Bert'), LONG_MS)).toMatch(/moved$/)
    await there.finish()
    expect(await store.lease(key, token('Bert'), LONG_MS)).toMatch(/moved$/)
    await store.invalidate(key)
    expect(await store.lease(key, token('Bert'), LONG_MS)).toBeNull()
    await eventually(() => interruptions(heard).length > 0, 'the interruption')
    await proven(store, heard)
    const back = await moving(slot, to, from, servers.primaries)
    await back.begin()
    await back.moveKeys()
    await back.finish()
    expect(await store.fill(key, `L${token('Bert')}`, spell('back'))).toBe(true)
  })

  it('a heartbeat is heard while a slot is moved, also if it is the one that its primary is asked with', async () => {
    const prefix = nextPrefix()
    const [from, to] = servers.primaries as [RedisServer, RedisServer]
    const probes = Array.from({ length: 100 }, (_, i) => slotOf(`${prefix}@probe:${i}`))
    const slot = probes.find(one => one < Math.floor(16_384 / 3))!
    const store = open(prefix)
    const heard = hearing(store)
    await proven(store, heard)
    const there = await moving(slot, from, to, servers.primaries)
    await there.begin()
    onTestFinished(async () => {
      for (const server of [from, to]) await server.command('CLUSTER', 'SETSLOT', slot, 'STABLE')
    })
    await store.heartbeat('while it is moved', [])
    await eventually(() => heard.includes('heartbeat while it is moved'), 'the heartbeat')
  })

  it('notices a slot that was moved although it sends no command to it', async () => {
    const prefix = nextPrefix()
    const [, from, to] = servers.primaries as [RedisServer, RedisServer, RedisServer]
    const slot = slotOf(prefix + keyOfEach(prefix, 3)[1]!)
    const store = open(prefix)
    const heard = hearing(store)
    await proven(store, heard)
    const identity = await store.identity()
    for (const [one, other] of [
      [from, to],
      [to, from],
    ] as const) {
      const seen = interruptions(heard).length
      const there = await moving(slot, one, other, servers.primaries)
      await there.begin()
      await there.moveKeys()
      await there.finish()
      await eventually(async () => {
        await store.heartbeat('beat', []).catch(() => {})
        return interruptions(heard).length > seen
      }, 'the interruption')
      await proven(store, heard)
    }
    expect(await store.identity()).toBe(identity)
  })

  it('get and write work for keys on all primaries', async () => {
    const prefix = nextPrefix()
    const cache = createCache({ shared: open(prefix), sharedTimeoutMs: 1500, local: { maxEntries: 100 } })
    onTestFinished(() => cache.close())
    let damage = 30
    const spells = cache.keyspace('spell', { load: async (id: number) => ({ id, damage }) })
    const ids = Array.from({ length: 30 }, (_, i) => i)
    await spells.getMany(ids)
    await eventually(
      async () => (await Promise.all(ids.map(id => spells.read(id)))).every(({ from }) => from === 'local'),
      'all values in L1',
    )
    damage = 31
    for (const id of ids) expect((await spells.write(id, async () => {})).fenced).toBe(true)
    for (const id of ids) expect(await spells.get(id)).toEqual({ id, damage: 31 })
  })
})

describe.each(CLIENT_LIBRARIES)('redisShared on a Cluster that changes, by $name', library => {
  async function ownCluster(shape: Parameters<typeof startRedisCluster>[0]) {
    const own = await startRedisCluster(shape)
    onTestFinished(own.stop)
    const store = redisShared({ client: library.cluster(own.nodes), onWarning: () => {} })
    onTestFinished(() => store.close())
    return { own, store, heard: hearing(store) }
  }

  it('goes on with the replica of a primary that dies', async () => {
    const { own, store, heard } = await ownCluster({ replicas: 1 })
    await proven(store, heard)
    const identity = await store.identity()
    const [key] = keyOfEach('', 3) as [string]
    expect(await put(store, key)).toBe(true)
    await own.primaries[0]!.kill()
    await eventually(() => interruptions(heard).length > 0, 'the interruption')
    await expect(store.heartbeat('', [])).rejects.toThrow()
    await eventually(async () => (await store.heartbeat('', [])).timeMs > 0, 'the failover')
    await proven(store, heard)
    expect(await store.identity()).not.toBe(identity)
    await store.invalidate(key)
    await eventually(() => heard.includes(`invalidated ${key}`), 'the message')
    expect(await put(store, key)).toBe(true)
  })

  it('is not proven while slots are moved to a primary that owned none, and then listens to it', async () => {
    const { own, store, heard } = await ownCluster({ primaries: 2 })
    await proven(store, heard)
    const added = await startClusterNode()
    onTestFinished(added.stop)
    const busPort = ((await added.command('CONFIG', 'GET', 'cluster-port')) as string[])[1]!
    await own.primaries[0]!.command('CLUSTER', 'MEET', '127.0.0.1', added.port, busPort)
    const all = [...own.primaries, added]
    const met = async () =>
      (await Promise.all(all.map(server => server.command('CLUSTER', 'INFO')))).every(info =>
        ['cluster_state:ok\r', 'cluster_known_nodes:3\r'].every(line => String(info).includes(line)),
      )
    await eventually(met, 'the new node to be known')
    await proven(store, heard)

    const [key] = keyOfEach('', 2) as [string]
    const there = await moving(slotOf(key), own.primaries[0]!, added, all)
    await there.begin()
    const before = heard.length
    for (let i = 0; i < 5; i++) await store.heartbeat(`unproven ${i}`, [])
    expect(interruptions(heard.slice(before))[0]).toMatch(/which owns none yet/)
    // It is the new node that runs this, and nobody here can be sure to hear of it.
    expect(await store.guard(key, token('Anna'), LONG_MS, false)).toBe('new')
    expect(heard.some(line => line.includes('unproven'))).toBe(false)
    await there.moveKeys()
    await there.finish()
    await proven(store, heard)
    await store.invalidate(key)
    await eventually(() => heard.includes(`invalidated ${key}`), 'the message of the new primary')
  })

  it('is made while no node can be reached, and works when they can', async () => {
    const own = await startRedisCluster({ primaries: 1 })
    onTestFinished(own.stop)
    await own.primaries[0]!.kill()
    const store = redisShared({ client: library.cluster(own.nodes), onWarning: () => {} })
    onTestFinished(() => store.close())
    await expect(store.ready()).rejects.toThrow(/cannot be found out/)
    await own.primaries[0]!.restart()
    await eventually(() => put(store, 'spell:4'), 'the store to work')
  })
})

describe('redisShared on a Cluster', () => {
  it('rejects, and does not take itself for well, while the Cluster is down', async () => {
    const own = await startRedisCluster({ primaries: 3, settings: { 'cluster-node-timeout': '1000' } })
    onTestFinished(own.stop)
    const store = openStore({ client: IOREDIS.cluster(own.nodes) })
    await store.ready()
    await own.primaries[2]!.kill()
    const survivor = own.primaries[0]!
    const isDown = async () =>
      String(await survivor.command('CLUSTER', 'INFO')).includes('cluster_state:fail')
    await eventually(isDown, 'the Cluster to be down')
    const [key] = keyOfEach('', 3) as [string]
    await expect(store.lease(key, token('Anna'), LONG_MS)).rejects.toThrow(/CLUSTERDOWN/)
    await expect(store.heartbeat('', [])).rejects.toThrow()
  })

  it('sends nothing to replicas', async () => {
    const own = await startRedisCluster({ primaries: 1, replicas: 1 })
    onTestFinished(own.stop)
    const store = openStore({ client: IOREDIS.cluster(own.nodes) })
    const heard = hearing(store)
    await store.ready()
    await own.replicas[0]!.command('CONFIG', 'RESETSTAT')
    await proven(store, heard)
    for (let i = 0; i < 20; i++) await put(store, `spell:${i}`)
    const stats = String(await own.replicas[0]!.command('INFO', 'commandstats'))
    expect(stats).not.toMatch(/cmdstat_(get|evalsha|eval|subscribe):/)
    const clients = String(await own.replicas[0]!.command('CLIENT', 'LIST', 'TYPE', 'normal'))
    expect(clients.trim().split('\n')).toHaveLength(1)
  })

  it('slotOf is what the Cluster says', async () => {
    const raw = new Redis(servers.nodes[0]!.port)
    onTestFinished(() => raw.disconnect())
    const keys = [
      '',
      'spell:4',
      '{a}b',
      'x{a}b',
      '{}a',
      'a{',
      'a{b',
      'a}b{c}',
      'ä🔥',
      '{ä}',
      'a{{b}}c',
      '123456789',
    ]
    for (const key of keys) expect([key, slotOf(key)]).toEqual([key, await raw.cluster('KEYSLOT', key)])
  })
})

describe.each(CLIENT_LIBRARIES.filter(({ name }) => name !== 'node-redis'))(
  'redisShared on a Cluster by $name with a password',
  library => {
    it('logs in by the one that the options of the client have at that moment', async () => {
      const onAll = (...command: string[]) =>
        Promise.all(servers.primaries.map(node => node.command(...(command as [string]))))
      const username = nextPrefix()
      await onAll('ACL', 'SETUSER', username, 'on', '>old', '~*', '&*', '+@all')
      const client = library.cluster(servers.nodes, { username, password: 'old' })
      const store = redisShared({ client, prefix: nextPrefix(), onWarning: () => {} })
      onTestFinished(async () => {
        await store.close()
        await onAll('ACL', 'DELUSER', username)
      })
      await store.ready()
      await onAll('ACL', 'SETUSER', username, 'resetpass', '>new')
      const { options } = client as unknown as { options: { redisOptions: { password: string } } }
      options.redisOptions.password = 'new'
      await onAll('CLIENT', 'KILL', 'USER', username)
      await eventually(async () => (await put(store, `spell:${nextPrefix()}`)) === true, 'a login')
    })
  },
)
