import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { createClient, createCluster } from 'redis'
import { expect, it, onTestFinished } from 'vitest'
import { eventually, startRedis } from '../../../test/redis-servers.ts'
import { type RedisClient, redisShared } from '../../src/redis/index.ts'
import { openStore } from './harness.ts'

type Client = ReturnType<typeof createClient>
type Login = { username: string; password: string }

/** Like a client of node-redis 5.0, whose `destroy` throws when the connection has gone; so do its duplicates. */
function asInVersion5(client: Client): Client {
  const duplicate = client.duplicate.bind(client)
  const destroy = client.destroy.bind(client)
  return Object.assign(client, {
    duplicate: (override: object) => asInVersion5(duplicate(override) as Client),
    destroy() {
      if (!client.isOpen) throw new Error('The client is closed')
      destroy()
    },
  })
}

/** A way to a server that is cut when a server is examined, as long as `cutting` says so. */
async function cutWhenExamined(toPort: number, cutting: () => boolean): Promise<number> {
  const between = createServer(client => {
    const server = connect(toPort, '127.0.0.1')
    client.on('data', bytes =>
      bytes.includes('replication') && cutting() ? client.destroy() : server.write(bytes),
    )
    server.on('data', bytes => client.write(bytes))
    client.on('close', () => server.destroy()).on('error', () => {})
    server.on('close', () => client.destroy()).on('error', () => {})
  }).listen(0, '127.0.0.1')
  onTestFinished(() => void between.close())
  await once(between, 'listening')
  return (between.address() as AddressInfo).port
}

it('redisShared comes back with a client whose lost connections cannot be closed again', async () => {
  const server = await startRedis()
  onTestFinished(server.stop)
  let cuts = 0
  const port = await cutWhenExamined(server.port, () => ++cuts <= 3)
  const client = asInVersion5(createClient({ socket: { port, host: '127.0.0.1' } }))
  const store = openStore({ client: client as unknown as RedisClient })
  await eventually(async () => (await store.heartbeat('', [])).timeMs > 0, 'the store to work')
  expect(cuts).toBeGreaterThan(3)
})

it('redisShared leaves no connection that it has given up while node-redis opened it', async () => {
  let [opened, ended] = [0, 0]
  const silent = createServer(client => {
    opened++
    client.on('close', () => ended++).on('error', () => {})
    client.resume()
  }).listen(0, '127.0.0.1')
  onTestFinished(() => void silent.close())
  await once(silent, 'listening')
  const { port } = silent.address() as AddressInfo
  const store = redisShared({ client: createClient({ socket: { port, host: '127.0.0.1' } }) })
  store.heartbeat('', []).catch(() => {})
  await store.close() // the socket is not connected yet
  await eventually(() => opened > 0 && ended === opened, 'every connection to be gone', 10_000)
})

it('redisShared refuses a Cluster of a node-redis that does not tell its options', () => {
  const cluster = createCluster({ rootNodes: [{ socket: { host: '127.0.0.1', port: 1 } }] })
  Object.defineProperty(cluster, '_options', { value: undefined })
  expect(() => redisShared({ client: cluster as unknown as RedisClient })).toThrow(
    expect.objectContaining({ code: 'INVALID_OPTIONS' }),
  )
})

it('redisShared listens to a provider of credentials only for connections that it has', async () => {
  const server = await startRedis()
  onTestFinished(server.stop)
  const listeners = new Set<unknown>()
  let [subscribed, password] = [0, 'wrong']
  const credentialsProvider = {
    type: 'streaming-credentials-provider' as const,
    async subscribe(listener: unknown): Promise<[Login, { dispose(): void }]> {
      listeners.add(listener)
      subscribed++
      return [{ username: 'spellbook', password }, { dispose: () => void listeners.delete(listener) }]
    },
    onReAuthenticationError() {},
  }
  await server.command('ACL', 'SETUSER', 'spellbook', 'on', '>right', '~*', '&*', '+@all')
  const client = createClient({ socket: { port: server.port, host: '127.0.0.1' }, credentialsProvider })
  const store = openStore({ client })
  await eventually(() => subscribed > 1, 'a second login to be refused')
  password = 'right'
  const works = async () => (await store.heartbeat('', [])).timeMs > 0
  await eventually(works, 'the store to work')
  expect(listeners.size).toBe(1)
  const before = subscribed
  await server.command('CLIENT', 'KILL', 'USER', 'spellbook')
  await eventually(async () => subscribed > before && (await works()), 'the store to work again')
  expect(listeners.size).toBe(1)
  await store.close()
  expect(listeners.size).toBe(0)
})
