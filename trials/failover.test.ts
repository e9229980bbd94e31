import { expect, test } from 'vitest'
import {
  eventually,
  type RedisServer,
  startRedis,
  startRedisCluster,
  startSentinels,
} from '../test/redis-servers.ts'
import {
  distrusted,
  distrustOf,
  drained,
  expectFreshUnlikeControl,
  killAll,
  openField,
  ready,
  report,
  staleAmong,
  times,
  warm,
} from './field.ts'
import type { ProcessOptions, StoreAddress } from './subject.ts'
import type { WorkerProcess } from './worker-process.ts'

const GROUP = '5 failovers'
const KEYS = 10

const field = openField()
const plainly: Partial<ProcessOptions> = { subject: 'plain', local: false }

/** Processes of one kind, and rows of which they have copies. */
interface Party {
  readonly workers: readonly WorkerProcess[]
  readonly ids: readonly number[]
}

async function party(options: Partial<ProcessOptions>): Promise<Party> {
  const workers = await field.startAll(2, options)
  await ready(workers, options.feed)
  const ids = Array.from({ length: KEYS }, field.nextId)
  await field.database.plant(...ids)
  for (const id of ids) await warm(workers, id, options.subject !== 'plain')
  return { workers, ids }
}

/** A primary dies whose replica has not heard of the changes, and the replica takes over. */
async function staleAfterFailover(
  store: StoreAddress,
  { primary, replica }: { primary: RedisServer; replica: RedisServer },
): Promise<{ ours: number; control: number }> {
  const ours = await party({ feed: true, store })
  const plain = await party({ ...plainly, store })
  await replicated(primary, replica)
  const before = await distrustOf(ours.workers)
  replica.suspend()
  // What is sent from here on it must not find in its socket when it goes on.
  await primary.command('CLIENT', 'KILL', 'TYPE', 'replica')
  for (const { workers, ids } of [ours, plain]) for (const id of ids) await workers[0]!.write(id)
  await drained(field.database)
  await primary.kill()
  replica.resume()
  await eventually(async () => {
    const [role] = (await replica.command('ROLE')) as string[]
    return role === 'master'
  }, 'the replica to take over')
  await distrusted(ours.workers, before)
  const stale = await Promise.all(
    [ours, plain].map(({ workers, ids }) => staleAmong(field.database, ids, workers)),
  )
  await killAll([...ours.workers, ...plain.workers])
  return { ours: stale[0]!, control: stale[1]! }
}

/** Waits until a replica has everything that its primary has. */
function replicated(primary: RedisServer, replica: RedisServer): Promise<void> {
  const offset = async (server: RedisServer, name: string) =>
    new RegExp(`${name}:(\\d+)`).exec(String(await server.command('INFO', 'replication')))?.[1]
  return eventually(async () => {
    const sent = await offset(primary, 'master_repl_offset')
    return sent !== undefined && sent === (await offset(replica, 'slave_repl_offset'))
  }, 'the replica to have everything')
}

test('get finds nothing old after a failover by Sentinel that lost the invalidations', async context => {
  const runs = times(1, 5)
  const found = { ours: 0, control: 0 }
  for (let run = 0; run < runs; run++) {
    const servers = await startSentinels()
    try {
      const { ours, control } = await staleAfterFailover(
        { sentinels: servers.nodes, name: servers.name },
        servers,
      )
      found.ours += ours
      found.control += control
    } finally {
      await servers.stop()
    }
  }
  expectFreshUnlikeControl(context, {
    group: GROUP,
    trial: 'failover by Sentinel, the invalidations lost',
    runs: runs * KEYS,
    ...found,
    controlRuns: runs * KEYS,
  })
})

test('get finds nothing old after a failover in a Cluster that lost the invalidations', async context => {
  const runs = times(1, 5)
  const found = { ours: 0, control: 0 }
  for (let run = 0; run < runs; run++) {
    const servers = await startRedisCluster({ replicas: 1 })
    try {
      const pair = { primary: servers.primaries[0]!, replica: servers.replicas[0]! }
      const { ours, control } = await staleAfterFailover({ cluster: servers.nodes }, pair)
      found.ours += ours
      found.control += control
    } finally {
      await servers.stop()
    }
  }
  report(context, {
    group: GROUP,
    trial: 'failover of one of three primaries of a Cluster, the invalidations lost',
    ours: `${found.ours} of ${runs * KEYS}`,
    control: `${found.control} of ${runs * KEYS}`,
    notes: 'the keys are spread over the primaries, of which two live on',
  })
  expect(found.ours, 'stale in cacheaside').toBe(0)
  expect(found.control, 'stale in the control').toBeGreaterThan(0)
})

/** A replica is promoted by hand: one process follows, and what is changed then only another one can take, which does not. */
async function staleAfterPromotion(options: Partial<ProcessOptions>): Promise<number> {
  const primary = await startRedis()
  const replica = await startRedis({ replicaof: `127.0.0.1 ${primary.port}` })
  const [lateWay, way] = [await field.network(primary.port), await field.network(primary.port)]
  const late = await field.start({ ...options, store: { port: lateWay.port } })
  const follower = await field.start({ ...options, store: { port: way.port } })
  const workers = [late, follower]
  const isLocal = options.subject !== 'plain'
  try {
    await ready(workers, options.feed)
    const ids = Array.from({ length: KEYS }, field.nextId)
    await field.database.plant(...ids)
    for (const id of ids) await warm(workers, id, isLocal)
    if (options.feed) await drained(field.database)
    await replicated(primary, replica)
    const before = await distrustOf([follower])
    await replica.command('REPLICAOF', 'NO', 'ONE')
    way.lead(replica.port)
    if (options.feed) await distrusted([follower], before)
    for (const id of ids) await warm([follower], id, isLocal)
    await follower.suspend()
    await field.database.sql('UPDATE spell SET version = 2 WHERE id = ANY($1::bigint[])', [ids])
    if (options.feed) {
      const isFresh = async (id: number) => (await late.get(id, true)).version === 2
      await eventually(
        async () => (await Promise.all(ids.map(isFresh))).every(Boolean),
        'the old primary to be told',
      )
    }
    lateWay.lead(replica.port)
    await follower.resume()
    if (options.feed) await drained(field.database)
    await ready(workers, options.feed)
    return await staleAmong(field.database, ids, workers)
  } finally {
    await killAll(workers)
    await primary.stop()
    await replica.stop()
  }
}

test('get finds nothing old though a process went on with a primary that had been replaced', async context => {
  const runs = times(1, 5)
  const found = { ours: 0, control: 0 }
  for (let run = 0; run < runs; run++) {
    found.control += await staleAfterPromotion(plainly)
    found.ours += await staleAfterPromotion({ feed: true })
  }
  expectFreshUnlikeControl(context, {
    group: GROUP,
    trial: 'a replica promoted by hand, its old primary still in use by the relay that takes the changes',
    runs: runs * KEYS,
    ...found,
    controlRuns: runs * KEYS,
  })
})
