/**
 * `npm run bench -- http`: a hit in Spellbook over HTTP, beside a route of Fastify that answers a constant, and beside one that
 * passes on what Redis has. Load comes from wrk. The servers run in processes of their own, and take turns.
 *
 * CPU time of the server per request is what is compared: on a busy machine requests per second say how busy it is. A ratio
 * of 1 means that Spellbook takes no more than the other.
 */
import { type ChildProcess, execFileSync, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { ensureRedisServer } from '../../test/ensure-redis-server.ts'
import { startRedis } from '../../test/redis-servers.ts'
import { refuse } from '../../test/usage.ts'

/** What a server of the bench tells. */
export type Told = { readonly port: number } | { readonly cpuUs: number; readonly kernelUs: number }

const CONNECTIONS = '32'
const WARM_S = 2
const ROUND_S = 1
const ROUNDS = 8
const SERVER = fileURLToPath(new URL('http-server.ts', import.meta.url))

/** Each server, what it is compared with, and the ratio that is wanted. */
const ROWS = [
  { kind: 'plain' },
  { kind: 'spellbook', against: 'plain', goal: 0.85 },
  { kind: 'spellbook with L1', against: 'plain', goal: 0.9 },
  { kind: 'plain with headers' },
  { kind: 'spellbook', against: 'plain with headers' },
  { kind: 'spellbook with L1', against: 'plain with headers' },
  { kind: 'bare Node with headers', against: 'plain' },
  { kind: 'spellbook', against: 'bare Node with headers' },
  { kind: 'spellbook with L1', against: 'bare Node with headers' },
  { kind: 'plain on Redis' },
  { kind: 'spellbook on Redis', against: 'plain on Redis', goal: 0.9 },
] as const

type Kind = (typeof ROWS)[number]['kind']

interface Server {
  readonly child: ChildProcess
  readonly port: number
  readonly cpuUs: number[]
  /** How much of that the kernel took. */
  readonly kernelUs: number[]
  readonly perSecond: number[]
}

async function next<Name extends string>(child: ChildProcess): Promise<Record<Name, number>> {
  const over = new AbortController()
  const { signal } = over
  const ended = once(child, 'exit', { signal }).then(([code]) => {
    throw new Error(`a server of the bench ended with ${code}`)
  })
  try {
    const [told] = await Promise.race([once(child, 'message', { signal }), ended])
    return told
  } finally {
    over.abort()
    ended.catch(() => {})
  }
}

async function start(kind: Kind, argument: string): Promise<Server> {
  const child = fork(SERVER, [kind, argument], { execArgv: ['--import', 'tsx'] })
  const { port } = await next<'port'>(child)
  return { child, port, cpuUs: [], kernelUs: [], perSecond: [] }
}

function used({ child }: Server): Promise<Record<'cpuUs' | 'kernelUs', number>> {
  const told = next<'cpuUs' | 'kernelUs'>(child)
  child.send('cpu')
  return told
}

/** Sends requests for so long, and answers with their number. All must have succeeded. */
async function load({ port }: Server, seconds: number): Promise<number> {
  const wrk = spawn('wrk', ['-t1', `-c${CONNECTIONS}`, `-d${seconds}s`, `http://127.0.0.1:${port}/spells/4`])
  let said = ''
  wrk.stdout.on('data', text => {
    said += text
  })
  await new Promise(resolve => wrk.once('close', resolve))
  if (said.includes('Non-2xx') || said.includes('Socket errors')) throw new Error(said)
  return Number(/(\d+) requests in/.exec(said)?.[1])
}

async function measure(server: Server): Promise<void> {
  const before = await used(server)
  const requests = await load(server, ROUND_S)
  const after = await used(server)
  server.cpuUs.push((after.cpuUs - before.cpuUs) / requests)
  server.kernelUs.push((after.kernelUs - before.kernelUs) / requests)
  server.perSecond.push(requests / ROUND_S)
}

const median = (numbers: readonly number[]) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1]!

/** Half of all rounds lie between these. */
const spread = (numbers: readonly number[]) => {
  const sorted = numbers.toSorted((a, b) => a - b)
  return [sorted[sorted.length >> 2]!, sorted[(3 * sorted.length) >> 2]!] as const
}

const shape = async ({ port }: Server) => {
  const response = await fetch(`http://127.0.0.1:${port}/spells/4`)
  const body = await response.text()
  return { headers: [...response.headers], body }
}

/** Measures and prints. */
export async function printHttp(): Promise<void> {
  try {
    execFileSync('wrk', ['-v'], { stdio: 'ignore' })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT')
      refuse('bench', 'wrk is needed, of the package wrk')
  }
  const redis = await startRedis({}, ensureRedisServer())
  const servers = new Map<Kind, Server>()
  try {
    const spellbook = await start('spellbook', '')
    servers.set('spellbook', spellbook)
    const { headers: sent } = await shape(spellbook)
    // Node writes these itself.
    const own = ['connection', 'content-length', 'content-type', 'date', 'keep-alive']
    const same = Object.fromEntries(sent.filter(([name]) => !own.includes(name)))
    for (const { kind } of ROWS) {
      if (servers.has(kind)) continue
      const argument = kind.endsWith('headers') ? JSON.stringify(same) : redis.url
      servers.set(kind, await start(kind, argument))
    }
    for (const server of servers.values()) await load(server, WARM_S)
    const all = [...servers.values()]
    for (let round = 0; round < ROUNDS; round++)
      for (let at = 0; at < all.length; at++) await measure(all[(at + round) % all.length]!)
    await printServers(servers)
    printRatios(servers)
  } finally {
    for (const { child } of servers.values()) child.disconnect()
    await redis.stop()
  }
}

async function printServers(servers: ReadonlyMap<Kind, Server>): Promise<void> {
  console.log(
    `\nA hit over HTTP; Node ${process.version}, ${ROUNDS} rounds of ${ROUND_S} s, ${CONNECTIONS} connections\n`,
  )
  console.log(
    '| server | CPU µs/request (half of the rounds) | of that in the kernel | requests/s | body bytes, header fields |\n|---|---|---|---|---|',
  )
  for (const [kind, server] of servers) {
    const [low, high] = spread(server.cpuUs).map(us => us.toFixed(0))
    const { headers, body } = await shape(server)
    console.log(
      `| ${kind} | ${median(server.cpuUs).toFixed(1)} (${low}–${high}) | ${median(server.kernelUs).toFixed(1)} | ${median(server.perSecond).toFixed(0)} | ${Buffer.byteLength(body)}, ${headers.length} |`,
    )
  }
}

function printRatios(servers: ReadonlyMap<Kind, Server>): void {
  console.log('\n| ratio of CPU, by rounds | median (half of the rounds) | goal |\n|---|---|---|')
  for (const row of ROWS) {
    if (!('against' in row)) continue
    const other = servers.get(row.against)!.cpuUs
    const ratios = servers.get(row.kind)!.cpuUs.map((us, round) => other[round]! / us)
    const [low, high] = spread(ratios)
    const isPlain = high - low <= 1 - ('goal' in row ? row.goal : 0)
    const goal = 'goal' in row ? `>= ${row.goal}${isPlain ? '' : ' (not distinguishable)'}` : ''
    console.log(
      `| ${row.against} / ${row.kind} | ${median(ratios).toFixed(2)} (${low.toFixed(2)}–${high.toFixed(2)}) | ${goal} |`,
    )
  }
}
