import { expect, test } from 'vitest'
import { eventually, type RedisServer, startRedis } from '../test/redis-servers.ts'
import { expectFreshUnlikeControl, killAll, openField, ready, staleAmong, times, warm } from './field.ts'
import type { ProcessOptions } from './subject.ts'
import type { WorkerProcess } from './worker-process.ts'

const GROUP = '12 stamps'
const KEYS = times(20, 100)
const FILLER = 'x'.repeat(4_000)

const field = openField()
const plainly: Partial<ProcessOptions> = { subject: 'plain', shown: 'reference', local: false }

async function planted(): Promise<number[]> {
  const ids = Array.from({ length: KEYS }, field.nextId)
  await field.database.plantBooks(...ids)
  return ids
}

/**
 * Makes a server evict every tag: they have not been used for the longest time when other people's data fills it, and its
 * other keys are touched before each further piece.
 */
async function evictTags(server: RedisServer, tags: readonly string[]): Promise<void> {
  const others = ((await server.command('KEYS', '*')) as string[]).filter(key => !tags.includes(key))
  const used = /used_memory:(\d+)/.exec(String(await server.command('INFO', 'memory')))![1]
  await server.command('CONFIG', 'SET', 'maxmemory', Number(used) + 1_500_000)
  let pieces = 0
  const fill = async (fillers: number) => {
    const script = `for i = 1, ARGV[3] do redis.call('SET', 'filler:' .. ARGV[2] .. ':' .. i, ARGV[1]) end`
    await server.command('EVAL', script, 0, FILLER, pieces++, fillers)
  }
  // One command after the other: each connection takes memory too. Redis knows times of use to the second.
  const unused = (key: string) =>
    eventually(async () => Number(await server.command('OBJECT', 'IDLETIME', key)) >= 2, `${key} to be old`)
  await unused(tags.at(-1)!)
  await fill(200)
  await unused('filler:0:200')
  await eventually(async () => {
    await server.command('TOUCH', ...others)
    await fill(10)
    return (await server.command('EXISTS', ...tags)) === 0
  }, 'the tags to be evicted')
  await server.command('CONFIG', 'SET', 'maxmemory', 0)
}

/** Ids whose values have outlived their tags. */
async function orphaned(server: RedisServer, ids: readonly number[], prefix: string): Promise<number[]> {
  const found: number[] = []
  for (const id of ids) if ((await server.command('EXISTS', `${prefix}:${id}`)) === 1) found.push(id)
  return found
}

test('get serves nothing whose stamp was evicted, and write of an evicted tag reaches every copy', async context => {
  const server = await startRedis({ 'maxmemory-policy': 'allkeys-lru', 'maxmemory-samples': '64' })
  const store = { port: server.port }
  try {
    const [kept, local] = await Promise.all([
      field.start({ store, shown: 'condition', local: false, allowUnsafePolicy: true }),
      field.start({ store, shown: 'condition', allowUnsafePolicy: true }),
    ])
    const plain = await field.start({ ...plainly, store })
    const ours = [kept, local]
    await ready(ours)
    const [ids, others] = [await planted(), await planted()]
    for (const id of ids) {
      await warm([kept], id, false)
      await warm([local], id)
    }
    for (const id of others) await warm([plain], id, false)
    await evictTags(server, [...ids.map(id => `shelf:${id}`), ...others.map(id => `plain-shows:${id}`)])
    const [apart, plainApart] = [await orphaned(server, ids, 'book'), await orphaned(server, others, 'plain')]
    expect(Math.min(apart.length, plainApart.length), 'values that outlive their tags').toBeGreaterThan(0)
    // Half of them are written under the tag that is not there; the others fall when they are read.
    const [written, left] = [apart.filter((_, i) => i % 2 === 0), apart.filter((_, i) => i % 2 === 1)]
    for (const id of written) await kept.write(id)
    for (const id of plainApart) await plain.write(id)
    const whys = await Promise.all(left.map(async id => (await kept.get(id)).why))
    expect(new Set(whys), 'why values without their stamps were loaded').toEqual(new Set(['tag']))
    expectFreshUnlikeControl(context, {
      group: GROUP,
      trial: 'stamps are evicted by allkeys-lru and values are not, then the tags are written',
      runs: apart.length,
      ours: await staleAmong(field.database, apart, ours),
      control: await staleAmong(field.database, plainApart, [plain]),
      controlRuns: plainApart.length,
      notes: `${left.length} of ${left.length} values that were not written fell`,
    })
    await killAll([...ours, plain])
  } finally {
    await server.stop()
  }
})

/** Waits until a replica has everything that its primary has. */
function replicated(primary: RedisServer, replica: RedisServer): Promise<void> {
  const offset = async (server: RedisServer, name: string) =>
    new RegExp(`${name}:(\\d+)`).exec(String(await server.command('INFO', 'replication')))?.[1]
  return eventually(async () => {
    const sent = await offset(primary, 'master_repl_offset')
    return sent !== undefined && sent === (await offset(replica, 'slave_repl_offset'))
  }, 'the replica to have everything')
}

test('a strong get trusts no stamp of a primary that was demoted', async context => {
  const primary = await startRedis()
  const replica = await startRedis({ replicaof: `127.0.0.1 ${primary.port}` })
  try {
    const [left, plain] = await Promise.all([
      field.start({ store: { port: primary.port }, shown: 'condition', local: false }),
      field.start({ ...plainly, store: { port: primary.port } }),
    ])
    await ready([left])
    const ids = await planted()
    for (const id of ids) {
      await warm([left, plain], id, false)
    }
    await replicated(primary, replica)
    await replica.command('REPLICAOF', 'NO', 'ONE')
    // The primary follows somebody who is not there: it answers reads with what it has, and refuses writes.
    await primary.command('REPLICAOF', '127.0.0.1', '1')
    const writer = await field.start({ store: { port: replica.port }, shown: 'condition', local: false })
    await ready([writer])
    for (const id of ids) await writer.write(id)
    const isOld = async (worker: WorkerProcess, id: number) =>
      (await worker.get(id, true)).version !== (await field.database.version(id))
    const oldOf = async (worker: WorkerProcess) =>
      (await Promise.all(ids.map(id => isOld(worker, id)))).filter(Boolean).length
    expectFreshUnlikeControl(context, {
      group: GROUP,
      trial: 'a replica was promoted and tags written there; a strong read at the old primary, now a replica',
      runs: ids.length,
      ours: await oldOf(left),
      control: await oldOf(plain),
      controlRuns: ids.length,
    })
    await killAll([left, plain, writer])
  } finally {
    await primary.stop()
    await replica.stop()
  }
})
