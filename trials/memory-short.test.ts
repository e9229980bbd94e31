import { expect, onTestFinished, test } from 'vitest'
import { type RedisServer, startRedis } from '../test/redis-servers.ts'
import { idle, isSoak, isStale, killAll, openField, ready, report, staleAmong, times } from './field.ts'
import { judge } from './judge.ts'
import type { Operation, ProcessOptions } from './subject.ts'
import type { WorkerProcess } from './worker-process.ts'

const GROUP = '5 memory short'
const KEYS = 100
const IDS = Array.from({ length: KEYS }, (_, i) => i + 1)

const field = openField()
const plainly: Partial<ProcessOptions> = { subject: 'plain', local: false }

const POLICIES = [
  'noeviction',
  'allkeys-lru',
  'allkeys-lfu',
  'allkeys-random',
  'volatile-lru',
  'volatile-lfu',
  'volatile-random',
  'volatile-ttl',
]
/** How often the one interleaving is forced; the control may go on until it has been stale once. */
const FORCED = times(10, 100)
const CONTROL_PATIENCE = 300
const FILLER = 'x'.repeat(4_000)

/** A server that has room for little, under this policy. */
async function crowdedRedis(policy: string): Promise<RedisServer> {
  const server = await startRedis({ 'maxmemory-policy': policy })
  onTestFinished(() => server.stop())
  const used = /used_memory:(\d+)/.exec(String(await server.command('INFO', 'memory')))![1]
  await server.command('CONFIG', 'SET', 'maxmemory', Number(used) + 2_500_000)
  return server
}

/**
 * Crowds a server with other people's data until told to stop. Where that is refused, a little of it goes again, so that
 * some of what others store is refused, and some is not.
 */
async function crowd(server: RedisServer, isOver: () => boolean): Promise<void> {
  const script = `local refused = false
    for i = 1, 40 do
      local done = redis.pcall('SET', 'filler:' .. math.random(100000) .. ARGV[2], ARGV[1], 'PX', 2000 + math.random(600000))
      refused = refused or done.err
    end
    for i = 1, refused and 8 or 0 do
      local key = redis.call('RANDOMKEY')
      if key and key:find('^filler:') then redis.call('DEL', key) end
    end`
  for (let i = 0; !isOver(); i++) {
    await server.command('EVAL', script, 0, FILLER, i).catch(() => {})
    await field.database.sql('SELECT pg_sleep(0.02)')
  }
}

async function runCrowded(server: RedisServer, options: Partial<ProcessOptions>) {
  const workers = await field.startAll(2, { ...options, store: { port: server.port } })
  await ready(workers)
  const history: Operation[] = []
  const before = await evictedBy(server)
  let isOver = false
  const crowding = crowd(server, () => isOver)
  const operations = times(2_000, 20_000)
  await Promise.all(
    workers.map((worker, seed) =>
      worker.runAtRandom({ operations, keys: KEYS, atOnce: 8, seed }, some => {
        for (const operation of some) history.push(operation)
      }),
    ),
  )
  isOver = true
  await crowding
  await idle(...workers)
  const evicted = (await evictedBy(server)) - before
  const stale = await staleAmong(field.database, IDS, workers)
  await killAll(workers)
  return { stale, evicted, history }
}

async function evictedBy(server: RedisServer): Promise<number> {
  const info = String(await server.command('INFO', 'stats'))
  const of = (field: string) => Number(new RegExp(`${field}:(\\d+)`).exec(info)?.[1] ?? 0)
  return of('evicted_keys') + of('total_error_replies')
}

/** A reader is held with the old row in its hands, a writer commits and invalidates, the reader goes on. */
async function staleSet([reader, writer]: readonly [WorkerProcess, WorkerProcess]): Promise<boolean> {
  const id = field.nextId() + KEYS
  await field.database.plant(id)
  const loaded = reader.hold('loaded', id)
  const reading = reader.get(id)
  await loaded.reached
  await writer.write(id)
  loaded.letGo()
  await reading
  await idle(reader)
  return isStale(field.database, [reader, writer], id)
}

/** How often the stale set comes about on a crowded server, in how many trials. */
async function forced(
  server: RedisServer,
  options: Partial<ProcessOptions>,
  isEnough: (stale: number, runs: number) => boolean,
): Promise<{ stale: number; runs: number }> {
  const pair = await field.startAll(2, { ...options, store: { port: server.port } })
  await ready(pair)
  let isOver = false
  const crowding = crowd(server, () => isOver)
  const found = { stale: 0, runs: 0 }
  while (!isEnough(found.stale, found.runs)) {
    if (await staleSet(pair as [WorkerProcess, WorkerProcess])) found.stale++
    found.runs++
  }
  isOver = true
  await crowding
  await killAll(pair)
  return found
}

test.for(isSoak ? POLICIES : ['noeviction', 'volatile-ttl', 'allkeys-lru'])(
  'reads and writes break no promise while memory is short, under %s',
  { timeout: isSoak ? 3_600_000 : 240_000 },
  async (policy, context) => {
    await field.database.sql('TRUNCATE spell')
    await field.database.plant(...IDS)
    const server = await crowdedRedis(policy)
    const { stale, evicted, history } = await runCrowded(server, { allowUnsafePolicy: true })
    const verdict = judge(history, { localMaxStaleMs: 2_000, lagMs: Number.POSITIVE_INFINITY })
    const unfenced = verdict.writes - verdict.fenced
    const ours = await forced(server, { allowUnsafePolicy: true }, (_, runs) => runs >= FORCED)
    const control = await forced(
      server,
      { ...plainly, commandTimeoutMs: 1_000 },
      (found, runs) => (found > 0 && runs >= FORCED) || runs >= CONTROL_PATIENCE,
    )
    report(context, {
      group: GROUP,
      trial: policy,
      ours: `${stale} stale keys at rest; ${verdict.oldStrongReads} of ${verdict.strongReads} strong reads, ${verdict.oldReads} of ${verdict.reads} reads too old; ${ours.stale} of ${ours.runs} stale sets`,
      control: `${control.stale} of ${control.runs} stale sets`,
      notes: `${evicted} evictions or refusals; ${unfenced} of ${verdict.writes} writes not fenced`,
    })
    expect(verdict.examples, policy).toEqual([])
    expect(stale, 'stale keys at rest').toBe(0)
    expect(evicted, 'evictions or refusals').toBeGreaterThan(0)
    expect(ours.stale, 'stale sets').toBe(0)
    expect(control.stale, 'stale sets of the control').toBeGreaterThan(0)
  },
)
