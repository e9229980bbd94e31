import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { createCache } from 'cacheaside'
import { type RedisClient, redisShared } from 'cacheaside/redis'
import { Redis } from 'ioredis'
import { ensureRedisServer } from '../../test/ensure-redis-server.ts'
import { startRedis } from '../../test/redis-servers.ts'
import { type Row, rowOf } from './report.ts'

const WRITERS = 1_000
/** How long each of them is at work, in milliseconds. */
const COMMIT_MS = 1_000
const GOAL_MS = 5

/** Somebody who has nothing to do with it, on a thread of its own: pings every millisecond, and says how long it took. */
const BYSTANDER = `
const { parentPort, workerData } = require('node:worker_threads')
const { Redis } = require('ioredis')
const client = new Redis(workerData)
const tookMs = []
let isOver = false
parentPort.once('message', () => { isOver = true })
const ping = async () => {
  await client.ping()
  tookMs.length = 0
  parentPort.postMessage('ready')
  while (!isOver) {
    const beganMs = performance.now()
    await client.ping()
    tookMs.push(performance.now() - beganMs)
    await new Promise(resolve => setTimeout(resolve, 1))
  }
  client.disconnect()
  parentPort.postMessage(tookMs.sort((a, b) => a - b))
}
ping()
`

/**
 * What many writers of one key do to everybody else on their Redis, from one process and from several: by the PING of a
 * bystander beside that of a server on which nobody writes.
 */
export async function writerRows(): Promise<Row[]> {
  const server = await startRedis({}, ensureRedisServer())
  const rows: Row[] = []
  for (const processes of [0, 1, 10]) rows.push(await row(server.port, processes))
  await server.stop()
  return rows
}

async function row(port: number, processes: number): Promise<Row> {
  const control = new Redis(port)
  const caches = Array.from({ length: processes }, () => {
    const client = new Redis(port)
    const shared = redisShared({ client: client as unknown as RedisClient, prefix: 'w:', onWarning() {} })
    const cache = createCache({ shared })
    return { client, shared, cache, lists: cache.keyspace('list', { load: async (id: number) => [id] }) }
  })
  await Promise.all(caches.map(({ lists }) => lists.get(1)))
  const bystander = new Worker(BYSTANDER, { eval: true, workerData: port })
  await once(bystander, 'message')
  await control.config('RESETSTAT')
  const commit = () => new Promise<void>(resolve => setTimeout(resolve, COMMIT_MS))
  const written = await Promise.all(
    caches.flatMap(({ lists }) => Array.from({ length: WRITERS / processes }, () => lists.write(1, commit))),
  )
  if (processes === 0) await commit()
  const told = once(bystander, 'message')
  bystander.postMessage('stop')
  const [tookMs] = (await told) as [number[]]
  const commands = /cmdstat_evalsha:calls=(\d+)/.exec(await control.info('commandstats'))?.[1] ?? '0'
  const queued = written.filter(({ invalidation }) => invalidation === 'queued').length
  for (const { client, shared, cache } of caches) {
    await cache.close()
    await shared.close()
    client.disconnect()
  }
  control.disconnect()
  const who =
    processes === 0 ? 'nobody writes' : `${processes} processes, ${commands} commands, ${queued} queued`
  return rowOf({
    name: `PING of a bystander, p99: ${who}`,
    value: { amount: tookMs[Math.floor(tookMs.length * 0.99)]!, unit: 'ms' },
    goal: GOAL_MS,
  })
}
