import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { startProxy } from '../../../test/proxy.ts'
import { eventually, type RedisServer, startRedis } from '../../../test/redis-servers.ts'
import { timed } from '../../../test/timed.ts'
import { createCache } from '../../src/index.ts'
import type { RedisShared } from '../../src/redis/index.ts'
import { quiet } from '../heard-warnings.ts'
import { CLIENT_LIBRARIES } from './clients.ts'
import { hearing, LONG_MS, openStore, proven, put, spell, token } from './harness.ts'

let server: RedisServer
let raw: Redis
beforeAll(async () => {
  server = await startRedis()
  raw = new Redis({ port: server.port, retryStrategy: () => 20 })
  raw.on('error', () => {})
})
afterAll(async () => {
  raw.disconnect()
  await server.stop()
})

let prefixes = 0
const nextPrefix = () => `test${++prefixes}:`

/** How long something took to reject, and with what. */
async function rejection(work: Promise<unknown>): Promise<{ afterMs: number; message: string }> {
  const { value, tookMs } = await timed(() =>
    work.then(
      () => new Error('it resolved'),
      (problem: Error) => problem,
    ),
  )
  return { afterMs: tookMs, message: value.message }
}

/** Waits until operations work again. */
const recovered = (store: RedisShared) =>
  eventually(async () => (await store.heartbeat('', [])).timeMs > 0, 'the store to work again')

describe.each(CLIENT_LIBRARIES)('redisShared by $name', library => {
  const open = (port = server.port) => openStore({ client: library.single(port), prefix: nextPrefix() })

  async function behindProxy() {
    const proxy = await startProxy(server.port)
    onTestFinished(proxy.close)
    const store = open(proxy.port)
    await store.ready()
    return { proxy, store }
  }

  it('rejects at once while connections are refused, and comes back by itself', async () => {
    const { proxy, store } = await behindProxy()
    const heard = hearing(store)
    await proven(store, heard)
    await proxy.refuse()
    await eventually(() => heard.some(line => line.startsWith('interrupted')), 'the interruption')
    for (const work of [
      () => store.lease('spell:4', token('Anna'), LONG_MS),
      () => store.guard('spell:4', token('Anna'), LONG_MS, false),
      () => store.invalidate('spell:4'),
      () => store.heartbeat('1', [{ name: 'spell', candidate: token('first') }]),
      () => store.identity(),
      () => store.ready(),
    ]) {
      const { afterMs, message } = await rejection(work())
      expect(message).toMatch(/^no connection to 127\.0\.0\.1:\d+: /)
      expect(afterMs).toBeLessThan(50)
    }
    await proxy.restore()
    await recovered(store)
    await proven(store, heard)
    expect(await put(store, 'spell:4')).toBe(true)
  })

  it('is made while nothing listens, rejects, and works when something does', async () => {
    const proxy = await startProxy(server.port)
    onTestFinished(proxy.close)
    await proxy.refuse()
    const store = open(proxy.port)
    const { message } = await rejection(store.lease('spell:4', token('Anna'), LONG_MS))
    expect(message).toContain('ECONNREFUSED')
    await expect(store.ready()).rejects.toThrow('ECONNREFUSED')
    await proxy.restore()
    await recovered(store)
    expect((await store.ready()).nodes[0]).toMatchObject({ role: 'primary' })
  })

  it('waits for its first connection before it takes anything for an outage', async () => {
    const store = open()
    expect(await store.lease('spell:4', token('Anna'), LONG_MS)).toBeNull()
  })

  it('sends nothing twice when the reply is lost', async () => {
    const { proxy, store } = await behindProxy()
    proxy.swallow('toClient')
    await raw.config('RESETSTAT')
    const lost = [
      store.lease('spell:1', token('Anna'), LONG_MS),
      store.guard('spell:2', token('Anna'), LONG_MS, false),
      store.leaseMany([{ key: 'spell:3', token: token('Anna') }], LONG_MS),
      store.stampMany([{ key: 'author:3', token: token('Anna') }], LONG_MS),
    ].map(rejection)
    const evalsha = async () => /cmdstat_evalsha:calls=(\d+)/.exec(await raw.info('commandstats'))?.[1]
    await eventually(async () => (await evalsha()) === '4', 'the commands to be applied')
    proxy.cut()
    await proxy.restore()
    for (const { message } of await Promise.all(lost)) expect(message).not.toBe('it resolved')
    await recovered(store)
    expect(await store.guard('spell:4', token('Anna'), LONG_MS, false)).toBe('new')
    const stats = await raw.info('commandstats')
    const leases = /cmdstat_set:calls=(\d+)/.exec(stats)?.[1]
    // The lease, those of the two guards, those of the batches, and the new connection's question whether it may SET.
    expect(leases).toBe('6')
  })

  it('sends nothing later that was sent while there was no connection', async () => {
    const { proxy, store } = await behindProxy()
    const heard = hearing(store)
    await proven(store, heard)
    await proxy.refuse()
    await eventually(() => heard.some(line => line.startsWith('interrupted')), 'the interruption')
    await rejection(store.guard('spell:2', token('Anna'), LONG_MS, false))
    await rejection(store.lease('spell:1', token('Anna'), LONG_MS))
    await proxy.restore()
    await recovered(store)
    expect(
      await store.leaseMany(
        ['spell:1', 'spell:2'].map(key => ({ key, token: token('Bert') })),
        LONG_MS,
      ),
    ).toEqual([null, null])
  })

  it('get goes to the origin while packets are swallowed, within its time limit, and hits again after', async () => {
    const { proxy, store } = await behindProxy()
    const cache = createCache({ shared: store, local: { maxEntries: 10 } })
    onTestFinished(() => cache.close())
    const spells = cache.keyspace('spell', { load: async (id: number) => ({ id }) })
    await eventually(async () => (await spells.read(4)).from === 'local', 'a proven L1')
    proxy.swallow()
    const { value, tookMs } = await timed(() => spells.read(4, { consistency: 'strong' }))
    expect(value).toMatchObject({ from: 'origin', why: 'unavailable' })
    expect(tookMs).toBeLessThan(1000)
    // The suspicion is known now: nothing waits any more.
    expect(await spells.read(5)).toMatchObject({ from: 'origin', why: 'unavailable' })
    await eventually(async () => (await spells.read(4)).from !== 'local', 'the proof to run out')
    await proxy.restore()
    await eventually(async () => (await spells.read(4)).from === 'local', 'L1 to be proven again')
  })

  it('rejects or hangs no longer than the cache lets it while the server is stopped, and works when it goes on', async () => {
    const own = await startRedis()
    onTestFinished(own.stop)
    const store = open(own.port)
    await store.ready()
    const heard = hearing(store)
    const cache = createCache({ shared: store })
    onTestFinished(() => cache.close())
    const spells = cache.keyspace('spell', { load: async (id: number) => ({ id }) })
    await spells.get(4)
    await proven(store, heard)
    own.suspend()
    onTestFinished(own.resume)
    const { value, tookMs } = await timed(() => spells.read(4))
    expect(value).toMatchObject({ from: 'origin', why: 'unavailable' })
    expect(tookMs).toBeLessThan(1000)
    // The probes find the connection silent, and give it up: nothing waits for it any more.
    await eventually(async () => {
      const { message } = await rejection(store.lease('spell:5', token('Anna'), LONG_MS))
      return message.startsWith('no connection')
    }, 'the silence to be noticed')
    own.resume()
    await eventually(async () => (await spells.read(4)).from === 'shared', 'hits')
    await proven(store, heard)
  })

  it('is another store after a restart of the server, and tells the listeners', async () => {
    const own = await startRedis()
    onTestFinished(own.stop)
    const store = open(own.port)
    const heard = hearing(store)
    await put(store, 'spell:4')
    await proven(store, heard)
    const identity = await store.identity()
    await own.restart()
    await eventually(() => heard.some(line => line.startsWith('interrupted')), 'the interruption')
    await recovered(store)
    expect(await store.identity()).not.toBe(identity)
    await proven(store, heard)
    expect(await store.lease('spell:4', token('Anna'), LONG_MS)).toBeNull()
    expect(await store.fill('spell:4', `L${token('Anna')}`, spell('x'))).toBe(true)
  })

  it('tells the listeners when its subscription is killed, and subscribes again', async () => {
    const store = open()
    const heard = hearing(store)
    await proven(store, heard)
    await raw.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
    await eventually(() => heard.some(line => line.startsWith('interrupted')), 'the interruption')
    await proven(store, heard)
    await store.invalidate('spell:4')
    await eventually(() => heard.includes('invalidated spell:4'), 'the message')
  })

  it('survives the killing of its other connection without an interruption', async () => {
    const store = open()
    const heard = hearing(store)
    await proven(store, heard)
    await raw.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
    await recovered(store)
    await proven(store, heard)
    expect(heard.filter(line => line.startsWith('interrupted'))).toEqual([])
  })

  it('finds out that its subscription is dead although its other connection is well, and opens another', async () => {
    const { proxy, store } = await behindProxy()
    const heard = hearing(store)
    await proven(store, heard)
    expect(proxy.accepted).toBe(2)
    proxy.forget(2)
    await proven(store, heard)
    expect(heard.filter(line => line.startsWith('interrupted'))).toEqual([
      expect.stringMatching(/^interrupted: the subscription to .* was lost: it is silent$/),
    ])
    expect(proxy.accepted).toBe(3)
  })

  it.each([':7\r\n', '$3\r\nabc\r\n', '+OK\r\n', '*0\r\n', '*1\r\n*0\r\n', '-WHAT is this\r\n'])(
    'fails no read and calls nothing done while everything is answered with %j',
    async reply => {
      const { proxy, store } = await behindProxy()
      let version = 1
      let proven = false
      const cache = createCache({
        shared: store,
        onEvent: event => {
          if (event.type === 'stream') proven = event.state === 'proven'
        },
      })
      onTestFinished(() => cache.close())
      const spells = cache.keyspace<number, number>('spell', {
        load: () => version,
        loadMany: async ids => ids.map(id => [id, version]),
      })
      const all = (value: number) => new Map([1, 2].map(id => [id, value]))
      // A batch that was found is looked for first the next time, once there is proof of the generation.
      await eventually(async () => {
        await spells.getMany([1, 2])
        return proven && (await spells.read(1)).from === 'shared'
      }, 'hits')
      await spells.getMany([1, 2])
      proxy.garble(reply)
      expect(await spells.getMany([1, 2])).toEqual(all(1))
      const written = await spells.write(1, () => {
        version = 2
      })
      expect(written).toMatchObject({ fenced: false, invalidation: 'queued' })
      expect(await cache.invalidate([spells.key(2)])).toBe('queued')
      expect(await spells.invalidateAll()).toBe('queued')
      expect(await spells.getMany([1, 2], { consistency: 'strong' })).toEqual(all(2))
      expect(await spells.get(1, { consistency: 'strong' })).toBe(2)
      expect(await spells.get(2)).toBe(2)
      await proxy.restore()
      await eventually(async () => {
        const { value, from } = await spells.read(1)
        expect(value).toBe(2)
        return from === 'shared'
      }, 'hits')
    },
  )

  it('opens a subscription with the first listener and closes it with the last', async () => {
    const store = open()
    await store.ready()
    const subscribed = async () =>
      ((await raw.call('CLIENT', 'LIST', 'TYPE', 'pubsub')) as string)
        .split('\n')
        .filter(line => line.includes('sub=2')).length
    await eventually(async () => (await subscribed()) === 0, 'no subscription')
    const nobody = { invalidated() {}, keyspaceInvalidated() {}, heartbeat() {}, interrupted() {} }
    const stops = [store.subscribe(nobody), store.subscribe(nobody)]
    await eventually(async () => (await subscribed()) === 1, 'one subscription')
    stops[0]!()
    stops[0]!()
    expect(await subscribed()).toBe(1)
    stops[1]!()
    await eventually(async () => (await subscribed()) === 0, 'no subscription')
  })

  it('close ends every connection, also while it is being tried', async () => {
    const proxy = await startProxy(server.port)
    onTestFinished(proxy.close)
    const store = open(proxy.port)
    hearing(store)
    await store.ready()
    await eventually(() => proxy.connections === 2, 'both connections')
    await store.close()
    await eventually(() => proxy.connections === 0, 'no connection')
    await expect(store.lease('spell:4', token('Anna'), LONG_MS)).rejects.toMatchObject({ code: 'CLOSED' })
    proxy.swallow()
    const hanging = open(proxy.port)
    const waiting = rejection(hanging.lease('spell:4', token('Anna'), LONG_MS))
    await eventually(() => proxy.accepted === 3, 'an attempt')
    await hanging.close()
    expect((await waiting).message).toMatch(/closed/)
  })

  it('close leaves its caches reading the origin: nothing is stale, writes are queued, and they can be closed', async () => {
    const proxy = await startProxy(server.port)
    onTestFinished(proxy.close)
    const shared = open(proxy.port)
    let value = 1
    const cacheOnIt = () => {
      const cache = createCache({ shared, local: { maxEntries: 9 }, logger: quiet })
      onTestFinished(() => cache.close())
      return { cache, k: cache.keyspace('k', { load: async (_: number) => ({ value }) }) }
    }
    const [a, b] = [cacheOnIt(), cacheOnIt()]
    await eventually(async () => (await a.k.read(1)).from === 'local', 'L1')
    await shared.close()
    expect(a.cache.stats().now).toMatchObject({ streamProven: false, localEntries: 0 })
    const written = b.k.write(1, async () => {
      value = 2
    })
    expect(await written).toMatchObject({ invalidation: 'queued', fenced: false })
    const late = cacheOnIt()
    for (const { k } of [a, b, late]) {
      expect(await k.read(1)).toMatchObject({ value: { value: 2 }, from: 'origin', kept: false })
      expect(k.peek(1)).toBeUndefined()
    }
    await eventually(() => proxy.connections === 0, 'no connection, also for a cache that was made later')
    for (const { cache } of [a, b, late]) await cache.close()
  })
})
