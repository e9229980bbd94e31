/**
 * `npm run lab:speed`: what a warm hit takes in each library, through the same adapters as in the trials, side by side in
 * one process. All take turns in every round, in an order that changes, and the best round of each counts: a noisy
 * neighbour makes a round slower, never faster. Rounds are short and many, so that a busy machine leaves some of each
 * library alone. Ours is measured as it is published, so the command compiles it first.
 */
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { ensureRedisServer } from '../test/ensure-redis-server.ts'
import { type RedisServer, startRedis } from '../test/redis-servers.ts'
import { parsedArgs } from '../test/usage.ts'
import type { Setting, Spell } from './adapter.ts'
import { adapterNamed } from './program.ts'
import { machineOf, versionsOf } from './results.ts'

const KEYS = 100
const ROUNDS = 300
const MOST_TURNS = 1_000
const PAGE = fileURLToPath(new URL('../docs/lab-speed.md', import.meta.url))

/** Libraries that are compared with each other: with a level in the process, and on Redis alone. */
const GROUPS = [
  {
    title: 'With a level in the process',
    ours: 'cacheaside-local',
    others: ['layered-loader', 'cacheable', 'cacheable-sync', 'bentocache-bus', 'node-redis-client-side'],
    hitsPerRound: 200,
  },
  {
    title: 'Redis alone',
    ours: 'cacheaside',
    others: ['plain-ioredis', 'async-cache-dedupe', 'cachified', 'cache-manager', 'bentocache'],
    hitsPerRound: 200,
  },
] as const

interface Contender {
  readonly title: string
  readonly versions: string
  readonly get: (id: number) => Promise<Spell | null>
  bestNs: number
}

async function opened(name: string, redisPort: number, pool: pg.Pool): Promise<Contender> {
  const { about, open } = await adapterNamed(name)
  let loads = 0
  const rowOf = (id: number): Spell => {
    loads++
    return { id, version: 1 }
  }
  const setting: Setting = {
    redisPort,
    pool,
    find: async id => rowOf(id),
    findMany: async ids => ids.map(rowOf),
    ttlMs: 3_600_000,
    tagsFrom: 'id',
  }
  const { get } = await open(setting)
  // Warm is what a whole turn finds without a load, however long a library takes to store behind its answers.
  for (let before = -1, turns = 0; before !== loads; turns++) {
    if (turns === MOST_TURNS) throw new Error(`${about.name} still loads after ${turns} turns`)
    before = loads
    for (let id = 0; id < KEYS; id++) await get(id)
  }
  return { title: about.name, versions: versionsOf(about), get, bestNs: Number.POSITIVE_INFINITY }
}

async function round(contender: Contender, hits: number): Promise<void> {
  const beganMs = performance.now()
  for (let i = 0; i < hits; i++) await contender.get(i % KEYS)
  const tookNs = ((performance.now() - beganMs) * 1e6) / hits
  contender.bestNs = Math.min(contender.bestNs, tookNs)
}

async function compare(
  group: (typeof GROUPS)[number],
  pool: pg.Pool,
  program: string,
  servers: RedisServer[],
): Promise<string> {
  const contenders: Contender[] = []
  for (const name of [group.ours, ...group.others]) {
    // One server each: keys and messages of one library are not another's business.
    const server = await startRedis({}, program)
    servers.push(server)
    contenders.push(await opened(name, server.port, pool))
  }
  for (let turn = 0; turn < ROUNDS; turn++)
    for (let at = 0; at < contenders.length; at++)
      await round(contenders[(at + turn) % contenders.length]!, group.hitsPerRound)
  const [ours] = contenders
  const rows = contenders
    .toSorted((a, b) => a.bestNs - b.bestNs)
    .map(
      ({ title, versions, bestNs }) =>
        `| ${title} | ${(bestNs / 1000).toFixed(2)} | ${(bestNs / ours!.bestNs).toFixed(2)} | ${versions} |`,
    )
  return [
    `## ${group.title}`,
    '',
    '| library | µs | over ours | versions |',
    '|---|---|---|---|',
    ...rows,
  ].join('\n')
}

parsedArgs('lab:speed', { options: {} })
const program = ensureRedisServer()
const pool = new pg.Pool({ max: 1 })
const tables: string[] = []
const servers: RedisServer[] = []
for (const group of GROUPS) {
  const table = await compare(group, pool, program, servers)
  console.log(`\n${table}`)
  tables.push(table)
}
const machine = machineOf(program, 'not used')
writeFileSync(
  PAGE,
  `# What a hit takes

The libraries of [the lab](lab.md), each through its adapter there: one awaited read of a value that is warm at every level, 100
keys, one after the other. Best of ${ROUNDS} rounds in which all take turns. The times are of one machine: look at the ratios.

Our hits cost more because they check more. A hit in L1 reads the wall clock, and at most once per millisecond the
monotonic clock too: the larger of both bounds its age when the process was suspended, the machine asleep or the wall clock set back. A hit in Redis has its own time limit, the header of its value is compared,
and the value is frozen. On loopback, where a GET takes ten microseconds, that shows; it shows less the farther away Redis is. The lab
shows what the copies of the other libraries are worth.

${machine}, ${new Date().toISOString().slice(0, 10)}. \`npm run lab:speed\` measures again.

${tables.join('\n\n')}
`,
)
// Not every client takes the end of its server quietly.
process.on('uncaughtException', () => {})
for (const server of servers) await server.stop()
process.exit(0)
