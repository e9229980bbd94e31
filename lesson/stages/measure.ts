import type { AddressInfo } from 'node:net'
import { pino } from 'pino'
import { createApp } from '../../spellbook/src/app.ts'
import { eventually } from '../../test/redis-servers.ts'
import { type Distances, openServers, type Servers } from './servers.ts'
import { type OpenStage, STAGES, type Stage } from './stage.ts'

/** What is measured, in this order. */
export const REQUESTS = ['first miss', 'hit', 'second miss', 'write', 'read after it'] as const

/** A request that is measured. */
export type Request = (typeof REQUESTS)[number]

/** Milliseconds from a request over HTTP to its answer. */
export type Times = Readonly<Record<Request, number>>

/** What a stage takes: the best of all rounds, because a busy machine makes a request slower, never faster. */
export interface Measured {
  readonly stage: string
  readonly bestMs: Times
}

/** What is measured on: running servers of one's own. Both are written to, and Redis is emptied. */
export interface Ground {
  readonly postgresUrl: string
  readonly redis: Parameters<typeof openServers>[1]
}

/** The cache was not used as the stage uses it: a machine that stands still lets its limits of time run out. */
class Disturbed extends Error {}

/** How often a stage is begun again in a round because of that. */
const ATTEMPTS = 5
const KEPT_DEADLINE_MS = 5_000

/**
 * Sends the same five requests to Spellbook at every stage, in rounds; in each round every stage starts again, with an empty Redis.
 *
 * @throws Error if an answer does not come from where the stage is to give it from, five times in a row.
 */
export async function measureStages(
  { postgresUrl, redis }: Ground,
  distances: Distances,
  rounds: number,
  onRound: (round: number) => void = () => {},
): Promise<Measured[]> {
  const servers = await openServers(postgresUrl, redis, distances)
  const times = new Map(STAGES.map(stage => [stage, [] as Times[]]))
  try {
    for (let round = 1; round <= rounds; round++) {
      for (const stage of STAGES) times.get(stage)!.push(await measureInOrder(stage, servers))
      onRound(round)
    }
  } finally {
    await servers.close()
  }
  return STAGES.map(stage => ({ stage: stage.name, bestMs: best(times.get(stage)!) }))
}

async function measureInOrder(stage: Stage, servers: Servers): Promise<Times> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await measureOnce(stage, servers)
    } catch (error) {
      if (!(error instanceof Disturbed) || attempt === ATTEMPTS) throw error
    }
  }
}

async function measureOnce(stage: Stage, servers: Servers): Promise<Times> {
  await servers.clear()
  const open = await stage.open(servers)
  const app = await createApp({ log: pino({ level: 'silent' }), service: () => open })
  try {
    await app.listen({ port: 0, host: '127.0.0.1' })
    const { port } = app.server.address() as AddressInfo
    return await measureRequests(`http://127.0.0.1:${port}`, stage, open)
  } finally {
    await app.close()
    await open.close()
  }
}

async function measureRequests(url: string, stage: Stage, open: OpenStage): Promise<Times> {
  // So that no request has to wait for the connections of the process.
  await timed(`${url}/health/ready`)
  const read = async (id: number, from: Stage['hitFrom']) => {
    const { tookMs, answeredFrom } = await timed(`${url}/spells/${id}`)
    if (answeredFrom !== from)
      throw new Disturbed(`${stage.name}: spell ${id} came from the ${answeredFrom}, not from the ${from}`)
    return tookMs
  }
  const first = await read(4, 'database')
  await eventually(() => open.isKept(4), 'spell 4 to be stored', KEPT_DEADLINE_MS).catch(error => {
    throw new Disturbed(`${stage.name}: ${error.message}`)
  })
  const hit = await read(4, stage.hitFrom)
  const second = await read(5, 'database')
  const { tookMs: write } = await timed(`${url}/spells/4`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ damage: 41 }),
  })
  const after = await read(4, 'database')
  return { 'first miss': first, hit, 'second miss': second, write, 'read after it': after }
}

async function timed(url: string, request: RequestInit = {}) {
  const began = performance.now()
  const response = await fetch(url, request)
  await response.arrayBuffer()
  const tookMs = performance.now() - began
  if (!response.ok) throw new Error(`${url} was answered with ${response.status}`)
  const status = response.headers.get('cache-status') ?? ''
  return { tookMs, answeredFrom: status.includes('; hit') ? ('cache' as const) : ('database' as const) }
}

function best(all: readonly Times[]): Times {
  const of = (request: Request) => Math.min(...all.map(times => times[request]))
  return Object.fromEntries(REQUESTS.map(request => [request, of(request)])) as Record<Request, number>
}
