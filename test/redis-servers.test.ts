import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { PATIENCE } from './patience.ts'
import { startProxy } from './proxy.ts'
import {
  eventually,
  type RedisServer,
  serverPrograms,
  startRedis,
  startRedisCluster,
  startSentinels,
} from './redis-servers.ts'

const runs = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

async function folderOf(server: RedisServer): Promise<string> {
  return ((await server.command('CONFIG', 'GET', 'dir')) as string[])[1]!
}

describe.each(serverPrograms())('startRedis with $name', ({ path }) => {
  test('starts a server that keeps nothing, with the settings it is given', async () => {
    const server = await startRedis({ maxmemory: '10mb' }, path())
    onTestFinished(server.stop)
    expect(await server.command('PING')).toBe('PONG')
    expect(await server.command('CONFIG', 'GET', 'maxmemory')).toEqual(['maxmemory', '10485760'])
    await server.command('SET', 'spell:4', 'x')
    const { pid } = server
    await server.restart()
    expect(server.pid).not.toBe(pid)
    expect(await server.command('EXISTS', 'spell:4')).toBe(0)
  })

  test('stop ends the server and removes its folder, also one that was suspended or killed', async () => {
    for (const before of [
      () => {},
      (server: RedisServer) => server.suspend(),
      (server: RedisServer) => server.kill(),
    ]) {
      const server = await startRedis({}, path())
      const folder = await folderOf(server)
      await before(server)
      await server.stop()
      await server.stop()
      expect(runs(server.pid)).toBe(false)
      expect(existsSync(folder)).toBe(false)
    }
  })

  test('a suspended server answers when it goes on', async () => {
    const server = await startRedis({}, path())
    onTestFinished(server.stop)
    const other = await startRedis({}, path())
    onTestFinished(other.stop)
    server.suspend()
    const stateOf = (pid: number) =>
      execFileSync('ps', ['-o', 'state=', '-p', `${pid}`], { encoding: 'utf8' })
    await eventually(() => stateOf(server.pid).startsWith('T'), 'the server to stand still')
    let isAnswered = false
    const answer = server.command('PING').finally(() => {
      isAnswered = true
    })
    // Asked later, and answered: the suspended one would have answered by now.
    expect(await other.command('PING')).toBe('PONG')
    expect(isAnswered).toBe(false)
    server.resume()
    expect(await answer).toBe('PONG')
  })
})

test('startRedis says why a server did not start', async () => {
  await expect(startRedis({ maxmemory: 'much' })).rejects.toThrow(/did not start.*maxmemory/s)
  await expect(startRedis({}, '/no/such/program')).rejects.toThrow(/did not start.*ENOENT/)
})

test('a server does not outlive the process that started it, even if that is killed', async () => {
  const program = `
    import { startRedis } from ${JSON.stringify(import.meta.resolve('./redis-servers.ts'))}
    const server = await startRedis({}, ${JSON.stringify(serverPrograms()[0]!.path())})
    const [, folder] = await server.command('CONFIG', 'GET', 'dir')
    process.stdout.write(JSON.stringify({ pid: server.pid, folder }))
    await new Promise(() => process.stdin.resume())`
  const starter = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', program], {
    cwd: import.meta.dirname,
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  onTestFinished(() => void starter.kill('SIGKILL'))
  const [line] = await once(starter.stdout, 'data')
  const { pid, folder } = JSON.parse(String(line))
  expect(runs(pid)).toBe(true)
  starter.kill('SIGKILL')
  await vi.waitUntil(() => !runs(pid) && !existsSync(folder), PATIENCE)
})

test('startRedisCluster divides the slots, and has the replicas follow', async () => {
  const { primaries, replicas, stop } = await startRedisCluster({ primaries: 3, replicas: 1 })
  onTestFinished(stop)
  expect([primaries.length, replicas.length]).toEqual([3, 3])
  const slots = (await primaries[1]!.command('CLUSTER', 'SLOTS')) as [number, number, ...unknown[]][]
  expect(slots.map(([from, to]) => [from, to]).sort((a, b) => a[0]! - b[0]!)).toEqual([
    [0, 5460],
    [5461, 10_921],
    [10_922, 16_383],
  ])
  for (const [, , ...nodes] of slots) expect(nodes).toHaveLength(2)
})

test('startSentinels watches a primary and its replica', async () => {
  const { name, primary, replica, sentinels, stop } = await startSentinels({ sentinels: 3 })
  onTestFinished(stop)
  for (const sentinel of sentinels) {
    expect(await sentinel.command('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', name)).toEqual([
      '127.0.0.1',
      String(primary.port),
    ])
  }
  expect(String(await replica.command('INFO', 'replication'))).toContain(`master_port:${primary.port}`)
})

describe('startProxy', () => {
  async function open() {
    const server = await startRedis()
    onTestFinished(server.stop)
    const proxy = await startProxy(server.port)
    onTestFinished(proxy.close)
    return { server, proxy, client: await dial(proxy.port) }
  }

  /** A connection, and what has arrived on it. */
  async function dial(port: number): Promise<Socket & { received: string; problem?: string }> {
    const socket = Object.assign(connect(port, '127.0.0.1'), { received: '' })
    onTestFinished(() => void socket.destroy())
    socket.setEncoding('utf8').on('data', chunk => {
      socket.received += chunk
    })
    socket.on('error', (error: NodeJS.ErrnoException) => Object.assign(socket, { problem: error.code }))
    await once(socket, 'connect')
    return socket
  }

  const callsOf = async (command: string, server: RedisServer) => {
    const stats = String(await server.command('INFO', 'commandstats'))
    return Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0)
  }
  const pings = (server: RedisServer) => callsOf('ping', server)
  const echoes = (server: RedisServer) => callsOf('echo', server)

  test('passes on what is sent', async () => {
    const { proxy, client } = await open()
    client.write('PING\r\n')
    await eventually(() => client.received === '+PONG\r\n', 'the answer')
    expect([proxy.accepted, proxy.connections]).toEqual([1, 1])
  })

  test('cut resets connections and accepts new ones', async () => {
    const { proxy, client } = await open()
    await eventually(() => proxy.connections === 1, 'the connection')
    proxy.cut()
    await eventually(() => client.problem === 'ECONNRESET', 'the reset')
    const again = await dial(proxy.port)
    again.write('PING\r\n')
    await eventually(() => again.received === '+PONG\r\n', 'the answer')
  })

  test('refuse refuses connections until restore', async () => {
    const { proxy } = await open()
    await proxy.refuse()
    await expect(dial(proxy.port)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    await proxy.restore()
    const again = await dial(proxy.port)
    again.write('PING\r\n')
    await eventually(() => again.received === '+PONG\r\n', 'the answer')
  })

  test('swallow lets nothing through in one direction, for good on that connection', async () => {
    const { server, proxy, client } = await open()
    proxy.swallow('toClient')
    client.write('PING\r\n')
    await eventually(async () => (await pings(server)) === 1, 'the command to arrive')
    expect(client.received).toBe('')
    await proxy.restore()
    client.write('PING\r\n')
    await eventually(async () => (await pings(server)) === 2, 'the command to arrive')
    const again = await dial(proxy.port)
    again.write('PING\r\n')
    await eventually(() => again.received === '+PONG\r\n', 'the answer')
    expect(client.received).toBe('')
    expect(client.destroyed).toBe(false)
  })

  test('forget kills one connection and no other', async () => {
    const { server, proxy, client } = await open()
    const second = await dial(proxy.port)
    proxy.forget(1)
    client.write('PING\r\n')
    second.write('PING\r\n')
    await eventually(() => second.received === '+PONG\r\n', 'the answer')
    expect(await pings(server)).toBe(1)
    expect(client.received).toBe('')
  })

  test('delay holds up what is sent, in order', async () => {
    const { proxy, client } = await open()
    proxy.delay(60, 'toClient')
    const began = performance.now()
    client.write('PING\r\n')
    client.write('ECHO two\r\n')
    await eventually(() => client.received.includes('two'), 'the answers')
    expect(client.received).toBe('+PONG\r\n$3\r\ntwo\r\n')
    expect(performance.now() - began).toBeGreaterThan(55)
  })

  test('restore lets nothing overtake what a delay has held up', async () => {
    const { server, proxy, client } = await open()
    proxy.delay(200, 'toClient')
    client.write('ECHO one\r\n')
    await eventually(async () => (await echoes(server)) === 1, 'the first command')
    await proxy.restore()
    client.write('ECHO two\r\n')
    await eventually(() => client.received.includes('two'), 'the answers')
    expect(client.received).toBe('$3\r\none\r\n$3\r\ntwo\r\n')
  })
})
