/**
 * `npm run bench -- http`: a hit in Spellbook over HTTP, beside a route of Fastify that answers a constant, and beside one that
 * passes on what Redis has. Load comes from wrk. The servers run in processes of their own, and take turns.
 *
 * CPU time of the server per request is what is compared: on a busy machine requests per second say how busy it is.
 */
import { type ChildProcess, execFileSync, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { ensureRedisServer } from '../../test/ensure-redis-server.ts'
import { startRedis } from '../../test/redis-servers.ts'
import { refuse } from '../../test/usage.ts'
import { middleOf, type Row, rowOf } from './report.ts'

/** What a server of the bench tells. */
export type Told = { readonly port: number } | { readonly cpuUs: number }

const CONNECTIONS = '32'
const WARM_S = 2
const ROUND_S = 1
const ROUNDS = 12
const SERVER = fileURLToPath(new URL('http-server.ts', import.meta.url))

/** Spellbook may take so much of what the other takes: the inverse of the share that is wanted of its speed. */
const GOAL = { embedded: 1 / 0.85, others: 1 / 0.9 }

/** Each server, and what it is compared with. */
const ROWS = [
  { kind: 'plain' },
  { kind: 'spellbook', against: 'plain', goal: GOAL.embedded },
  { kind: 'spellbook with L1', against: 'plain', goal: GOAL.others },
  { kind: 'plain with headers' },
  { kind: 'spellbook', against: 'plain with headers' },
  { kind: 'spellbook with L1', against: 'plain with headers' },
  { kind: 'bare Node with headers', against: 'plain' },
  { kind: 'spellbook', against: 'bare Node with headers' },
  { kind: 'spellbook with L1', against: 'bare Node with headers' },
  { kind: 'plain on Redis' },
  { kind: 'spellbook on Redis', against: 'plain on Redis', goal: GOAL.others },
] as const

type Kind = (typeof ROWS)[number]['kind']

interface Server {
  readonly child: ChildProcess
  readonly port: number
  readonly cpuUs: number[]
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
  return { child, port, cpuUs: [] }
}

async function usedUs({ child }: Server): Promise<number> {
  const told = next<'cpuUs'>(child)
  child.send('cpu')
  return (await told).cpuUs
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
  const beforeUs = await usedUs(server)
  const requests = await load(server, ROUND_S)
  server.cpuUs.push(((await usedUs(server)) - beforeUs) / requests)
}

async function headersOf({ port }: Server): Promise<[string, string][]> {
  const response = await fetch(`http://127.0.0.1:${port}/spells/4`)
  await response.text()
  return [...response.headers]
}

/** The CPU time of each server for a request, and how they compare. */
export async function httpRows(): Promise<Row[]> {
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
    const sent = await headersOf(spellbook)
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
    return ROWS.map(row => rowFor(row, servers))
  } finally {
    for (const { child } of servers.values()) child.disconnect()
    await redis.stop()
  }
}

function rowFor(row: (typeof ROWS)[number], servers: ReadonlyMap<Kind, Server>): Row {
  const { cpuUs } = servers.get(row.kind)!
  const value = { amount: middleOf(cpuUs), unit: 'µs' }
  if (!('against' in row)) return rowOf({ name: row.kind, value })
  const other = servers.get(row.against)!.cpuUs
  const goal = 'goal' in row ? Number(row.goal.toFixed(2)) : undefined
  return rowOf({
    name: row.kind,
    value,
    against: row.against,
    goal,
    ratios: cpuUs.map((us, round) => us / other[round]!),
  })
}
