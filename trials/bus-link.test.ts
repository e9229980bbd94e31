import { expect, onTestFinished, test } from 'vitest'
import { startProxy } from '../test/proxy.ts'
import { eventually, type RedisClusterServers, startRedisCluster } from '../test/redis-servers.ts'
import { killAll, openField, ready, report, staleAmong, times, warm } from './field.ts'
import { BOUND_MS, writeAndWatch } from './stale-reads.ts'
import type { ProcessOptions, StoreAddress } from './subject.ts'

/**
 * In a Cluster a node passes on what is published there to the others over the links between them, the bus. A link that
 * is cut loses messages, and for as long as no node is taken for dead the Cluster says that all is well.
 */

const GROUP = '9 lost messages'
const KEYS = 12
/** Nobody is taken for dead while the links are cut. */
const NODE_TIMEOUT_MS = 120_000

const field = openField()

/** A Cluster whose nodes reach each other through networks that can be cut. */
async function startCuttable() {
  const cluster = await startRedisCluster({ settings: { 'cluster-node-timeout': String(NODE_TIMEOUT_MS) } })
  onTestFinished(() => cluster.stop())
  const links = await Promise.all(
    cluster.primaries.map(async node => {
      const [, busPort] = (await node.command('CONFIG', 'GET', 'cluster-port')) as [string, string]
      const link = await startProxy(Number(busPort))
      onTestFinished(() => link.close())
      await node.command('CONFIG', 'SET', 'cluster-announce-bus-port', link.port)
      return link
    }),
  )
  const others = cluster.primaries.length - 1
  await eventually(() => links.every(({ connections }) => connections === others), 'the links to be in use')
  return { cluster, links }
}

/** Whether every node says that all is well. */
async function isOk({ primaries }: RedisClusterServers): Promise<boolean> {
  const infos = await Promise.all(primaries.map(node => node.command('CLUSTER', 'INFO')))
  return infos.every(info => String(info).includes('cluster_state:ok'))
}

async function party(store: StoreAddress, options: Partial<ProcessOptions>) {
  const workers = await field.startAll(2, { ...options, store })
  await ready(workers)
  const ids = Array.from({ length: KEYS }, field.nextId)
  await field.database.plant(...ids)
  for (const id of ids) await warm(workers, id)
  return { workers, ids }
}

test('get is no older than localMaxStaleMs though the links of the cluster bus are cut', async context => {
  const { cluster, links } = await startCuttable()
  const store = { cluster: cluster.nodes }
  const found = { ours: 0, control: 0, atRest: 0, oldestMs: 0 }
  const rounds = times(1, 10)
  for (let round = 0; round < rounds; round++) {
    const ours = await party(store, {})
    const plain = await party(store, { subject: 'plain' })
    for (const link of links) link.swallow()
    const [kept, control] = await Promise.all(
      [ours, plain].map(({ workers: [writer, reader], ids }) => writeAndWatch(writer!, reader!, ids)),
    )
    expect(await isOk(cluster), 'the nodes notice nothing').toBe(true)
    found.ours += kept!.stale
    found.oldestMs = Math.max(found.oldestMs, kept!.oldestMs)
    found.control += control!.stale
    found.atRest += await staleAmong(field.database, ours.ids, ours.workers)
    await killAll([...ours.workers, ...plain.workers])
    for (const link of links) {
      // What was swallowed is dead for good: the nodes are to connect again.
      link.cut()
      await link.restore()
    }
    await eventually(() => links.every(({ connections }) => connections === links.length - 1), 'new links')
  }
  report(context, {
    group: GROUP,
    trial: 'L1 of a reader, all links of the cluster bus cut, and no node notices',
    ours: `${found.ours} of ${rounds * KEYS} older than ${BOUND_MS} ms`,
    control: `${found.control} of ${rounds * KEYS}`,
    notes: `oldest ${Math.round(found.oldestMs)} ms; what is published at the node where the control listens arrives`,
  })
  expect(found.ours, 'reads that began later and were answered with the old version').toBe(0)
  expect(found.atRest, 'stale afterwards').toBe(0)
  expect(found.control, 'the same of the control').toBeGreaterThan(0)
})
