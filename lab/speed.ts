/**
 * `npm run lab:speed`: what a warm hit takes in each library, through the same adapters as in the trials. Each library has a
 * process of its own, as in a program that uses it: in one process they would run each other's compiled code, which V8 then
 * compiles for both. The processes take turns in every round, in an order that changes, and only one of them is at work. What
 * counts is the ratio to ours within a round. Ours is measured as it is published, so the command compiles it first.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { ensureRedisServer } from '../test/ensure-redis-server.ts'
import { type RedisServer, startRedis } from '../test/redis-servers.ts'
import { parsedArgs } from '../test/usage.ts'
import type { About } from './adapter.ts'
import { machineOf, versionsOf } from './results.ts'
import type { Opened, Taken } from './speed-process.ts'

/** V8 compiles the same program a little differently each time. So each library is started several times. */
const LAUNCHES = 5
const ROUNDS = 20
const PROCESS = fileURLToPath(new URL('speed-process.ts', import.meta.url))
const PAGE = fileURLToPath(new URL('../docs/lab-speed.md', import.meta.url))

/** Libraries that are compared with each other: with a level in the process, and on Redis alone. */
const GROUPS = [
  {
    title: 'With a level in the process',
    ours: 'cacheaside-local',
    others: ['layered-loader', 'cacheable', 'cacheable-sync', 'bentocache-bus', 'node-redis-client-side'],
    hitsPerRound: 10_000,
  },
  {
    title: 'Redis alone',
    ours: 'cacheaside',
    others: ['plain-ioredis', 'async-cache-dedupe', 'cachified', 'cache-manager', 'bentocache'],
    hitsPerRound: 500,
  },
] as const

/** One library, and nanoseconds for a hit, one for each round. */
interface Row {
  readonly about: About
  readonly taken: number[]
}

/** One process of a library. */
interface Contender extends Row {
  readonly child: ChildProcess
}

/** The value below which this part of them lies. */
const quantile = (values: readonly number[], part: number): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length * part)]!

/** The next message of a process; rejects if it ends first. */
async function nextMessage<T>(name: string, child: ChildProcess): Promise<T> {
  const over = new AbortController()
  const ended = once(child, 'exit', { signal: over.signal }).then(() => {
    throw new Error(`the process of ${name} has ended`)
  })
  try {
    const [message] = await Promise.race([once(child, 'message', { signal: over.signal }), ended])
    return message as T
  } finally {
    ended.catch(() => {})
    over.abort()
  }
}

async function opened(name: string, redisPort: number): Promise<Contender> {
  const child = fork(PROCESS, [name, String(redisPort)], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
  const { about } = await nextMessage<Opened>(name, child)
  return { about, child, taken: [] }
}

/** Starts each library once, and has them take turns. */
async function launch(names: readonly string[], hits: number, program: string): Promise<Contender[]> {
  const contenders: Contender[] = []
  const servers: RedisServer[] = []
  for (const name of names) {
    // One server each: keys and messages of one library are not another's business.
    const server = await startRedis({}, program)
    servers.push(server)
    contenders.push(await opened(name, server.port))
  }
  for (let round = 0; round < ROUNDS; round++) {
    for (const { about, child, taken } of rotated(contenders, round)) {
      child.send(hits)
      taken.push((await nextMessage<Taken>(about.name, child)).nsPerHit)
    }
  }
  for (const { child } of contenders) child.kill()
  for (const server of servers) await server.stop()
  return contenders
}

const rotated = <T>(all: readonly T[], by: number): T[] => all.map((_, i) => all[(i + by) % all.length]!)

async function compare(group: (typeof GROUPS)[number], program: string): Promise<string> {
  const names = [group.ours, ...group.others]
  const all = new Map<string, Row>()
  for (let at = 0; at < LAUNCHES; at++) {
    for (const { about, taken } of await launch(rotated(names, at), group.hitsPerRound, program)) {
      const row = all.get(about.name)
      if (row === undefined) all.set(about.name, { about, taken })
      else row.taken.push(...taken)
    }
  }
  const [ours] = all.values()
  const rows = [...all.values()]
    .map(({ about, taken }) => ({ about, taken, ratios: taken.map((ns, i) => ns / ours!.taken[i]!) }))
    .toSorted((a, b) => quantile(a.ratios, 0.5) - quantile(b.ratios, 0.5))
    .map(({ about, taken, ratios }) => {
      const [low, middle, high] = [0.25, 0.5, 0.75].map(part => quantile(ratios, part).toFixed(2))
      return `| ${about.name} | ${(quantile(taken, 0.5) / 1000).toFixed(2)} | ${middle} (${low} to ${high}) | ${versionsOf(about)} |`
    })
  return [
    `## ${group.title}`,
    '',
    '| library | µs | times ours | versions |',
    '|---|---|---|---|',
    ...rows,
  ].join('\n')
}

parsedArgs('lab:speed', { options: {} })
const program = ensureRedisServer()
const tables: string[] = []
for (const group of GROUPS) {
  const table = await compare(group, program)
  console.log(`\n${table}`)
  tables.push(table)
}
const machine = machineOf(program, 'not used')
writeFileSync(
  PAGE,
  `# What a hit takes

The libraries of [the lab](lab.md), each through its adapter there and in a process of its own: one awaited read of a value that is
warm at every level, 100 keys, one after the other. Each is started ${LAUNCHES} times, and then the processes take turns in ${ROUNDS} rounds. The times are
medians, of one machine.
Look at the ratios: the median of all rounds, and in brackets their middle half. Where it lies on both sides of 1, the two are not
distinguishable.

Our hits check more. A hit in L1 reads the wall clock, and at most once per millisecond the monotonic clock too: the larger of both
bounds its age when the process was suspended, the machine asleep or the wall clock set back. A hit in Redis has its own time limit,
the header of its value is compared, and the value is frozen. The lab shows what the copies of the other libraries are worth.

${machine}, ${new Date().toISOString().slice(0, 10)}. \`npm run lab:speed\` measures again.

${tables.join('\n\n')}
`,
)
process.exit(0)
