import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { ensureRedisServer } from '../../test/ensure-redis-server.ts'
import { startRedis, startRedisCluster } from '../../test/redis-servers.ts'
import type { Series } from './scale-report.ts'

/** What a process of a measurement is told, as text, and then tells: how many hits it had, and how long one took. */
export interface HitsAsked {
  readonly ports: readonly number[]
  readonly onCluster: boolean
  readonly tags: number
  /** How many hits are asked for at once. */
  readonly width: number
}
/** The answer. */
export interface HitsTold {
  readonly perSecond: number
  readonly medianUs: number
}

const MEASURES = ['hits per second, median of 20 slices', 'µs per hit, median of the best slice']

/** Hits on one Redis, from one process to eight. */
export async function processes(): Promise<Series> {
  const server = await startRedis({}, ensureRedisServer())
  const points = []
  for (const size of [1, 2, 4, 8]) {
    const told = await hits(size, { ports: [server.port], onCluster: false, tags: 0, width: 32 })
    points.push({ size, amounts: told })
  }
  await server.stop()
  return { title: 'Processes on one Redis', grows: 'processes', measures: MEASURES, points }
}

/** Hits on a Cluster of one primary to three, from two processes. */
export async function clusters(): Promise<Series> {
  const points = []
  for (const size of [1, 2, 3]) {
    const cluster = await startRedisCluster({ primaries: size }, ensureRedisServer())
    const ports = cluster.primaries.map(({ port }) => port)
    points.push({ size, amounts: await hits(2, { ports, onCluster: true, tags: 0, width: 32 }) })
    await cluster.stop()
  }
  return { title: 'Primaries of a Cluster', grows: 'primaries', measures: MEASURES, points }
}

/** Hits of values that have more and more tags. */
export async function tags(): Promise<Series> {
  const server = await startRedis({}, ensureRedisServer())
  const points = []
  for (const size of [0, 1, 2, 4, 8, 16, 32]) {
    const told = await hits(1, { ports: [server.port], onCluster: false, tags: size, width: 1 })
    points.push({ size, amounts: told })
  }
  await server.stop()
  return { title: 'Tags of a value', grows: 'tags', measures: MEASURES, points }
}

async function hits(processes: number, asked: HitsAsked): Promise<number[]> {
  const program = fileURLToPath(new URL('scale-redis-process.ts', import.meta.url))
  const children = Array.from({ length: processes }, () => fork(program, [JSON.stringify(asked)]))
  await Promise.all(children.map(child => once(child, 'message')))
  const told = children.map(child => once(child, 'message') as Promise<[HitsTold]>)
  for (const child of children) child.send('begin')
  const all = (await Promise.all(told)).map(([one]) => one)
  return [
    all.reduce((sum, { perSecond }) => sum + perSecond, 0),
    all.reduce((sum, { medianUs }) => sum + medianUs, 0) / processes,
  ]
}
