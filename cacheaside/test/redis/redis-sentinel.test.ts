import { describe, expect, it, onTestFinished } from 'vitest'
import { eventually, type RedisServer, startSentinels } from '../../../test/redis-servers.ts'
import { createCache } from '../../src/index.ts'
import { redisShared } from '../../src/redis/index.ts'
import { CLIENT_LIBRARIES } from './clients.ts'
import { hearing, LONG_MS, proven, put, token } from './harness.ts'

describe.each(CLIENT_LIBRARIES)('redisShared behind Sentinel by $name', library => {
  async function open() {
    const servers = await startSentinels()
    onTestFinished(servers.stop)
    const client = library.sentinel(servers.nodes, servers.name, { keyPrefix: 'app:' })
    const store = redisShared({ client, onWarning: () => {} })
    onTestFinished(() => store.close())
    return { servers, store, heard: hearing(store) }
  }

  it('finds the primary, warns of split brain, and keeps the key prefix', async () => {
    const { servers, store } = await open()
    const { deployment, nodes, findings } = await store.ready()
    expect(deployment).toBe('sentinel')
    expect(nodes).toMatchObject([{ role: 'primary', replicas: 1, needsReplicas: false }])
    expect(findings.map(({ code }) => code)).toContain('SPLIT_BRAIN')
    expect(await put(store, 'spell:4')).toBe(true)
    expect(await servers.primary.command('EXISTS', 'app:spell:4')).toBe(1)
    await servers.primary.command('CONFIG', 'SET', 'min-replicas-to-write', 1)
    expect((await store.inspect()).findings.map(({ code }) => code)).not.toContain('SPLIT_BRAIN')
  })

  it('goes on with the new primary when the old one dies, and tells the listeners', async () => {
    const { servers, store, heard } = await open()
    const cache = createCache({ shared: store })
    onTestFinished(() => cache.close())
    const spells = cache.keyspace('spell', { load: async (id: number) => ({ id }) })
    await spells.get(4)
    const identity = await store.identity()
    await proven(store, heard)
    await servers.primary.kill()
    await eventually(() => heard.some(line => line.startsWith('interrupted')), 'the interruption')
    expect(await spells.read(4)).toMatchObject({ from: 'origin', value: { id: 4 } })
    await eventually(async () => (await spells.read(4)).from === 'shared', 'hits on the new primary')
    expect(await store.identity()).not.toBe(identity)
    expect((await store.ready()).nodes).toMatchObject([{ role: 'primary' }])
    expect(await servers.replica.command('EXISTS', 'app:spell:4')).toBe(1)
  })

  it('leaves the old primary when Sentinel makes it a replica, although it lives on', async () => {
    const { servers, store, heard } = await open()
    await store.ready()
    const identity = await store.identity()
    await proven(store, heard)
    servers.primary.suspend()
    const role = async (server: RedisServer) =>
      /role:(\w+)/.exec(String(await server.command('INFO', 'replication')))?.[1]
    await eventually(async () => (await role(servers.replica)) === 'master', 'the failover')
    servers.primary.resume()
    await eventually(async () => (await role(servers.primary)) === 'slave', 'the old primary to follow')
    await eventually(async () => (await store.heartbeat('', [])).timeMs > 0, 'the store to work')
    let beats = 0
    await eventually(async () => {
      await store.heartbeat(`beat ${++beats}`, [])
      return heard.some(line => line.startsWith('heartbeat beat'))
    }, 'a heartbeat through the new primary')
    expect(heard.some(line => line.startsWith('interrupted'))).toBe(true)
    expect(await store.identity()).not.toBe(identity)
    expect(await store.lease('spell:4', token('Anna'), LONG_MS)).toBeNull()
    expect(await servers.replica.command('GET', 'app:spell:4')).toBe(`L${token('Anna')}`)
    await store.invalidate('spell:4')
    await eventually(() => heard.includes('invalidated spell:4'), 'the message')
  })
})
