/**
 * Real servers for the tests: Redis, or with `VALKEY_SERVER` also Valkey, each on free loopback ports and with a
 * temporary folder of its own. None outlives the process that started it, however that process ends.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import getPort from 'get-port'
import { Redis } from 'ioredis'
import { inject } from 'vitest'

/** A server of a test's own. */
export interface RedisServer {
  readonly port: number
  readonly url: string
  /** Another one after {@link RedisServer.restart}. */
  readonly pid: number
  /** Sends one command, outside of everything that is tested. Numbers and texts come back as ioredis has them. */
  command(...args: (string | number)[]): Promise<unknown>
  /** Stops the process where it is: connections stay open and are accepted, and nothing is answered. */
  suspend(): void
  /** Lets a suspended process go on. */
  resume(): void
  /** Ends the server as in a crash, and resolves when it has gone. */
  kill(): Promise<void>
  /** Starts it again on the same port and folder, after killing it if it runs. */
  restart(): Promise<void>
  /** Ends it for good and removes its folder. Idempotent. */
  stop(): Promise<void>
}

/** A Cluster of a test's own. */
export interface RedisClusterServers {
  readonly primaries: readonly RedisServer[]
  readonly replicas: readonly RedisServer[]
  /** Where a client starts from. */
  readonly nodes: readonly { readonly host: string; readonly port: number }[]
  stop(): Promise<void>
}

/** A primary and a replica watched by sentinels. */
export interface SentinelServers {
  readonly name: string
  readonly primary: RedisServer
  readonly replica: RedisServer
  readonly sentinels: readonly RedisServer[]
  /** Where a client starts from. */
  readonly nodes: readonly { readonly host: string; readonly port: number }[]
  stop(): Promise<void>
}

/** Settings of a server, as in its configuration file; a text with blanks stands for several arguments. */
export type Settings = Readonly<Record<string, string>>

/** What the global setup hands to the tests: where the server's program is, or why there is none. */
export type RedisProgram = { readonly path: string } | { readonly problem: string }

declare module 'vitest' {
  interface ProvidedContext {
    redis: RedisProgram
  }
}

/** The programs that tests of a server run with: `redis`, and `valkey` if `VALKEY_SERVER` names one. */
export function serverPrograms(): { readonly name: string; readonly path: () => string }[] {
  const programs = [{ name: 'redis', path: redisProgram }]
  const valkey = process.env.VALKEY_SERVER ?? ''
  return valkey === '' ? programs : [...programs, { name: 'valkey', path: () => valkey }]
}

function redisProgram(): string {
  const program = inject('redis')
  if ('problem' in program) throw new Error(program.problem)
  return program.path
}

const START_DEADLINE_MS = 90_000
/** Long enough for Sentinel to rest, too: where the machine kept it from running it does nothing for 30 s. */
const JOIN_DEADLINE_MS = 100_000
const POLL_MS = 20
const PORT_ATTEMPTS = 5

const PLAIN: Settings = {
  save: '""',
  appendonly: 'no',
  'protected-mode': 'no',
  bind: '127.0.0.1',
  // A primary waits five seconds for more replicas before it feeds the first.
  'repl-diskless-sync-delay': '0',
}

/** Starts one server, which takes a few hundredths of a second. */
export async function startRedis(settings: Settings = {}, program = redisProgram()): Promise<RedisServer> {
  const fleet = await startFleet()
  const server = await fleet.start(program, settings).catch(fleet.failed)
  return Object.assign(server, { stop: fleet.stop })
}

/**
 * Starts a Cluster whose slots are divided evenly, and waits until every node knows it.
 *
 * @param shape - how many primaries (3 by default), and how many replicas each (none).
 */
export async function startRedisCluster(
  shape: { primaries?: number; replicas?: number; settings?: Settings } = {},
  program = redisProgram(),
): Promise<RedisClusterServers> {
  const { primaries: count = 3, replicas: each = 0 } = shape
  // Where nobody could take over, a node that the machine holds up for a second is not given up.
  const settings = { ...(each > 0 ? { 'cluster-node-timeout': '1000' } : {}), ...shape.settings }
  const fleet = await startFleet()
  return makeCluster().catch(fleet.failed)

  async function makeCluster(): Promise<RedisClusterServers> {
    const nodes: RedisServer[] = []
    for (let i = 0; i < count * (1 + each); i++)
      nodes.push(await fleet.start(program, await clusterSettings(settings)))
    const primaries = nodes.slice(0, count)
    const replicas = nodes.slice(count)
    for (const [i, node] of primaries.entries()) {
      const from = Math.floor((16_384 * i) / count)
      await node.command('CLUSTER', 'ADDSLOTSRANGE', from, Math.floor((16_384 * (i + 1)) / count) - 1)
    }
    for (const [i, node] of nodes.entries()) await node.command('CLUSTER', 'SET-CONFIG-EPOCH', i + 1)
    const busPort = Number(await setting(nodes[0]!, 'cluster-port'))
    for (const node of nodes.slice(1))
      await node.command('CLUSTER', 'MEET', '127.0.0.1', nodes[0]!.port, busPort)
    const agreed = (known: number) => async () => {
      const infos = await Promise.all(nodes.map(node => node.command('CLUSTER', 'INFO')))
      const all = [`cluster_known_nodes:${known}\r`, 'cluster_state:ok\r']
      return infos.every(info => all.every(line => String(info).includes(line)))
    }
    await eventually(agreed(nodes.length), 'the nodes of the Cluster to meet')
    for (const [i, node] of replicas.entries()) {
      const id = String(await primaries[i % count]!.command('CLUSTER', 'MYID'))
      await node.command('CLUSTER', 'REPLICATE', id)
    }
    const linked = async () => {
      const infos = await Promise.all(replicas.map(node => node.command('INFO', 'replication')))
      const views = (await Promise.all(nodes.map(node => node.command('CLUSTER', 'SLOTS')))) as unknown[][][]
      return (
        infos.every(info => String(info).includes('master_link_status:up')) &&
        views.every(ranges => ranges.every(([, , ...owners]) => owners.length === 1 + each))
      )
    }
    await eventually(linked, 'the replicas of the Cluster to follow')
    return { primaries, replicas, nodes: nodes.map(address), stop: fleet.stop }
  }
}

/** Another node for a Cluster, which has met nobody yet; for {@link RedisClusterServers}' tests of resharding. */
export async function startClusterNode(
  settings: Settings = {},
  program = redisProgram(),
): Promise<RedisServer> {
  return startRedis(await clusterSettings(settings), program)
}

/** Starts a primary, a replica and sentinels that fail over within about a second. */
export async function startSentinels(
  shape: { sentinels?: number; settings?: Settings } = {},
  program = redisProgram(),
): Promise<SentinelServers> {
  const { sentinels: count = 1, settings = {} } = shape
  const name = 'spells'
  const fleet = await startFleet()
  return makeSentinels().catch(fleet.failed)

  async function makeSentinels(): Promise<SentinelServers> {
    const primary = await fleet.start(program, settings)
    const replica = await fleet.start(program, { ...settings, replicaof: `127.0.0.1 ${primary.port}` })
    const follows = async () =>
      String(await replica.command('INFO', 'replication')).includes('master_link_status:up')
    await eventually(follows, 'the replica to follow')
    const sentinels: RedisServer[] = []
    for (let i = 0; i < count; i++) {
      const watch = [
        `sentinel monitor ${name} 127.0.0.1 ${primary.port} ${Math.floor(count / 2) + 1}`,
        `sentinel down-after-milliseconds ${name} 500`,
        `sentinel failover-timeout ${name} 2000`,
      ]
      sentinels.push(await fleet.start(program, {}, watch))
    }
    const knowing = async () => {
      const replies = await Promise.all(sentinels.map(one => one.command('SENTINEL', 'MASTER', name)))
      return replies.every(reply => {
        const fields = reply as string[]
        const of = (field: string) => fields[fields.indexOf(field) + 1]
        return of('num-slaves') === '1' && of('num-other-sentinels') === String(count - 1)
      })
    }
    await eventually(knowing, 'the sentinels to know all servers')
    return { name, primary, replica, sentinels, nodes: sentinels.map(address), stop: fleet.stop }
  }
}

/** Waits for a condition; a failing one counts as not fulfilled. */
export async function eventually(
  condition: () => Promise<boolean> | boolean,
  what: string,
  deadlineMs = JOIN_DEADLINE_MS,
): Promise<void> {
  const untilMs = Date.now() + deadlineMs
  let problem: unknown
  while (Date.now() < untilMs) {
    try {
      if (await condition()) return
    } catch (error) {
      problem = error
    }
    await new Promise(resolve => setTimeout(resolve, POLL_MS))
  }
  throw new Error(`waited ${deadlineMs} ms in vain for ${what}`, { cause: problem })
}

const address = ({ port }: RedisServer) => ({ host: '127.0.0.1', port })

async function clusterSettings(settings: Settings): Promise<Settings> {
  return {
    'cluster-enabled': 'yes',
    'cluster-port': String(await getPort({ host: '127.0.0.1' })),
    'cluster-replica-validity-factor': '0',
    ...settings,
  }
}

async function setting(server: RedisServer, name: string): Promise<string | undefined> {
  return ((await server.command('CONFIG', 'GET', name)) as string[])[1]
}

/** Servers that live and end together, with one folder and one cleaner. */
interface Fleet {
  /** @param watch - lines of a sentinel's configuration; with them the server is a sentinel. */
  start(program: string, settings: Settings, watch?: readonly string[]): Promise<RedisServer>
  stop(): Promise<void>
  /** Stops it, and throws why. */
  failed(error: Error): Promise<never>
}

async function startFleet(): Promise<Fleet> {
  if (process.platform === 'win32') throw new Error('Redis for the tests needs a POSIX shell; use WSL')
  const folder = await mkdtemp(join(tmpdir(), 'cacheaside-redis-'))
  const cleaner = await startCleaner(folder)
  const servers: (() => ChildProcess)[] = []
  const stop = async () => {
    cleaner.stdin?.end()
    await exited(cleaner)
    await Promise.all(servers.map(child => exited(child())))
  }
  return {
    async start(program, settings, watch) {
      const own = await mkdtemp(join(folder, 'server-'))
      const { server, child } = await launchOnFreePort(program, own, settings, watch)
      servers.push(child)
      return server
    },
    stop,
    async failed(error) {
      await stop()
      throw new Error(`Redis for the tests did not start: ${error.message}`, { cause: error })
    },
  }
}

/**
 * Waits until the process at the other end of its standard input has gone, killed or not; then ends the servers that
 * run in the folder, and removes it. The only way in which servers are ended for good, so that the way of a killed
 * test run is the one that every test takes.
 */
export async function startCleaner(folder: string): Promise<ChildProcess> {
  const script = `
    trap '' HUP INT TERM
    cat >/dev/null
    for file in "$1"/*/pid; do
      pid=$(cat "$file") && [ "$pid" -gt 0 ] && kill -KILL "$pid"
    done
    until rm -rf "$1"; do sleep 0.05; done`
  // Detached: the Ctrl-C that ends the tests is sent to their whole process group.
  const cleaner = spawn('sh', ['-c', script, 'cleaner', folder], {
    cwd: '/',
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  await once(cleaner, 'spawn')
  return cleaner
}

/** A server, and the process that it is at the moment. */
interface Launched {
  readonly server: RedisServer
  child(): ChildProcess
}

async function launchOnFreePort(
  program: string,
  folder: string,
  settings: Settings,
  watch?: readonly string[],
): Promise<Launched> {
  for (let attempt = 1; ; attempt++) {
    const port = await getPort({ host: '127.0.0.1' })
    try {
      return await launch(program, folder, port, settings, watch)
    } catch (error) {
      // Between our look at the port and the server's, another process may have taken it.
      const taken = (error as Error).message.includes('Address already in use')
      if (!taken || attempt === PORT_ATTEMPTS) throw error
    }
  }
}

async function launch(
  program: string,
  folder: string,
  port: number,
  settings: Settings,
  watch?: readonly string[],
): Promise<Launched> {
  const pidFile = join(folder, 'pid')
  const config = join(folder, 'server.conf')
  const all: Settings = { ...PLAIN, ...settings, port: String(port), dir: folder, pidfile: pidFile }
  const lines = Object.entries(all).map(([name, value]) => `${name} ${value}`)
  await writeFile(config, [...lines, ...(watch ?? [])].join('\n'))
  const args = watch === undefined ? [config] : [config, '--sentinel']
  const begin = () => startProcess(program, args, folder)
  let child = await begin()
  const kill = async () => {
    child.kill('SIGKILL')
    await exited(child)
    // The number may be a stranger's when the cleaner reads it.
    await rm(pidFile, { force: true })
  }
  const server: RedisServer = {
    port,
    url: `redis://127.0.0.1:${port}`,
    get pid() {
      return child.pid as number
    },
    command: (...args) => sendCommand(port, args),
    suspend: () => void child.kill('SIGSTOP'),
    resume: () => void child.kill('SIGCONT'),
    kill,
    async restart() {
      await kill()
      child = await begin()
    },
    // Replaced for a server that is alone.
    stop: kill,
  }
  return { server, child: () => child }
}

async function sendCommand(port: number, args: readonly (string | number)[]): Promise<unknown> {
  const client = new Redis({
    port,
    host: '127.0.0.1',
    lazyConnect: true,
    retryStrategy: () => null,
    protocol: 2,
  })
  client.on('error', () => {})
  try {
    await client.connect()
    const [name = '', ...rest] = args
    return await client.call(String(name), ...rest)
  } finally {
    client.disconnect()
  }
}

const hasExited = (child: ChildProcess): boolean => child.exitCode !== null || child.signalCode !== null

/** Waits until a process has gone. */
export async function exited(child: ChildProcess): Promise<void> {
  if (!hasExited(child)) await once(child, 'exit')
}

/** Starts a server and resolves when it accepts connections. */
function startProcess(program: string, args: readonly string[], folder: string): Promise<ChildProcess> {
  const child = spawn(program, args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] })
  let log = ''
  return new Promise((resolve, reject) => {
    const fail = (what: string) => {
      clearTimeout(deadline)
      reject(new Error(`${what}: ${log.trim()}`))
    }
    const deadline = setTimeout(() => {
      child.kill('SIGKILL')
      fail(`the server was not ready within ${START_DEADLINE_MS} ms`)
    }, START_DEADLINE_MS)
    child.once('error', error => fail(error.message))
    child.once('close', code => fail(`the server ended with ${code}`))
    const read = (chunk: string) => {
      log = (log + chunk).slice(-4000)
    }
    child.stderr?.setEncoding('utf8').on('data', read)
    child.stdout?.setEncoding('utf8').on('data', chunk => {
      read(chunk)
      if (!/Ready to accept connections|Sentinel ID is/.test(log)) return
      clearTimeout(deadline)
      resolve(child)
    })
  })
}
