import { expect, onTestFinished, test } from 'vitest'
import { type RedisServer, startRedis } from '../test/redis-servers.ts'
import { idle, isSoak, killAll, openField, ready, report, staleAmong, times } from './field.ts'
import { judge } from './judge.ts'
import type { Operation, ProcessOptions } from './subject.ts'

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
const CONTROL_ROUNDS = 10
const FILLER = 'x'.repeat(4_000)

/** A server that has room for little, under this policy. */
async function crowdedRedis(policy: string): Promise<RedisServer> {
  const server = await startRedis({ 'maxmemory-policy': policy })
  onTestFinished(() => server.stop())
  const used = /used_memory:(\d+)/.exec(String(await server.command('INFO', 'memory')))![1]
  await server.command('CONFIG', 'SET', 'maxmemory', Number(used) + 2_500_000)
  return server
}

/** Crowds a server with other people's data until told to stop. */
async function crowd(server: RedisServer, isOver: () => boolean): Promise<void> {
  const script = `for i = 1, 40 do
    redis.pcall('SET', 'filler:' .. math.random(100000) .. ARGV[2], ARGV[1], 'PX', 2000 + math.random(600000)) end`
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

test('reads and writes break no promise while memory is short, under any policy', async context => {
  await field.database.plant(...IDS)
  const policies = isSoak ? POLICIES : ['noeviction', 'volatile-ttl', 'allkeys-lru']
  let controlIsStale = false
  for (const policy of policies) {
    const server = await crowdedRedis(policy)
    const { stale, evicted, history } = await runCrowded(server, { allowUnsafePolicy: true })
    const verdict = judge(history, { localMaxStaleMs: 2_000, lagMs: Number.POSITIVE_INFINITY })
    const unfenced = verdict.writes - verdict.fenced
    const plain = await controlOn(server)
    controlIsStale ||= plain.oldReads > 0
    report(context, {
      group: GROUP,
      trial: policy,
      ours: `${stale} stale keys at rest; ${verdict.oldStrongReads} of ${verdict.strongReads} strong reads, ${verdict.oldReads} of ${verdict.reads} reads too old`,
      control: `${plain.stale} stale keys at rest; ${plain.oldReads} of ${plain.reads} reads older than an acknowledged write`,
      notes: `${evicted} evictions or refusals; ${unfenced} of ${verdict.writes} writes not fenced`,
    })
    expect(verdict.examples, policy).toEqual([])
    expect(stale, `stale keys at rest, ${policy}`).toBe(0)
    expect(evicted, 'evictions or refusals').toBeGreaterThan(0)
    for (let round = 0; policy === policies.at(-1) && !controlIsStale && round < CONTROL_ROUNDS; round++)
      controlIsStale = (await controlOn(server)).oldReads > 0
  }
  expect(controlIsStale, 'stale in the control, under any of the policies').toBe(true)
})

/** The same load on plain processes. Where all storing is refused, it has nothing to be stale. */
async function controlOn(server: RedisServer): Promise<{ stale: number; oldReads: number; reads: number }> {
  const { stale, history } = await runCrowded(server, { ...plainly, commandTimeoutMs: 1_000 })
  const { oldReads, reads } = judge(history, { localMaxStaleMs: 0, lagMs: 0 })
  return { stale, oldReads, reads }
}
