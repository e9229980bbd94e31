/**
 * Two versions of the library at once on one Redis, as in a rolling deploy: readers and writers in both, and nothing
 * stale. Each of the four caches stands for a process.
 */
import * as present from 'cacheaside'
import { redisShared } from 'cacheaside/redis'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { eventually, type RedisServer, startRedis } from '../test/redis-servers.ts'
import * as earlier from './earlier-version/cacheaside.mjs'

const KEYS = 12
const ROUNDS = 1_500
const STRONG = { consistency: 'strong' } as const

let server: RedisServer
let raw: Redis
beforeAll(async () => {
  server = await startRedis()
  raw = new Redis(server.port)
})
afterAll(async () => {
  raw.disconnect()
  await server.stop()
})

/** A database whose statements take a moment, and in which a row is its version. */
class Rows {
  readonly #versions = new Map<number, number>()
  loads = 0
  readonly load = async (id: number): Promise<number> => {
    const seen = this.now(id)
    this.loads++
    await pause()
    return seen
  }
  async change(id: number): Promise<number> {
    await pause()
    const version = this.now(id) + 1
    this.#versions.set(id, version)
    await pause()
    return version
  }
  now(id: number): number {
    return this.#versions.get(id) ?? 1
  }
}

/** How long a statement takes. It stands for no condition: different times make different interleavings. */
const pause = () => new Promise<void>(resolve => setTimeout(resolve, Math.random() * 3))

async function deploy() {
  const rows = new Rows()
  const open = async (version: 'earlier' | 'present') => {
    const client = new Redis({ port: server.port, lazyConnect: true })
    const shared =
      version === 'present'
        ? redisShared({ client, onWarning: () => {} })
        : earlier.redisShared({ client, onWarning: () => {} })
    await shared.ready()
    const make = version === 'present' ? present.createCache : earlier.createCache
    // A busy machine is no outage: each write has to be fenced.
    const cache = make({ shared, local: { maxEntries: 100 }, sharedTimeoutMs: 1_500 })
    onTestFinished(async () => {
      await cache.close()
      await shared.close()
      client.disconnect()
    })
    return { version, cache, spells: cache.keyspace('spell', { load: rows.load, ttlMs: 600_000 }) }
  }
  const processes = await Promise.all((['earlier', 'earlier', 'present', 'present'] as const).map(open))
  return { rows, processes }
}

test('two versions side by side, with writers in both, leave nothing stale', async () => {
  const { rows, processes } = await deploy()
  const stale: string[] = []
  /** The newest version of each row whose fenced write has resolved, or that somebody has read. */
  const floors = new Map<number, number>()
  const raise = (id: number, version: number) => floors.set(id, Math.max(floors.get(id) ?? 0, version))
  const pick = <T>(list: readonly T[]): T => list[Math.floor(Math.random() * list.length)]!
  const writes = { earlier: 0, present: 0 }

  const worker = async () => {
    for (let round = 0; round < ROUNDS / 10; round++) {
      const { version, spells } = pick(processes)
      const id = Math.floor(Math.random() * KEYS)
      if (Math.random() < 0.2) {
        const { value, fenced } = await spells.write(id, () => rows.change(id), {
          writeThrough: Math.random() < 0.5,
        })
        writes[version]++
        if (fenced) raise(id, value)
        else stale.push(`a write of row ${id} by the ${version} version was not fenced`)
      } else {
        const floor = floors.get(id) ?? 0
        const isStrong = Math.random() < 0.5
        const seen = (await spells.get(id, isStrong ? STRONG : {}))!
        if (isStrong && seen < floor)
          stale.push(`row ${id}: v${seen} after v${floor}, by the ${version} version`)
      }
    }
  }
  await Promise.all(Array.from({ length: 10 }, worker))

  expect(writes.earlier).toBeGreaterThan(50)
  expect(writes.present).toBeGreaterThan(50)
  for (const { version, spells } of processes)
    for (let id = 0; id < KEYS; id++) {
      const seen = await spells.get(id, STRONG)
      if (seen !== rows.now(id)) stale.push(`row ${id} at rest: v${seen}, by the ${version} version`)
    }
  await eventually(async () => {
    const all = processes.flatMap(({ spells }) =>
      Array.from({ length: KEYS }, async (_, id) => (await spells.get(id)) === rows.now(id)),
    )
    return (await Promise.all(all)).every(Boolean)
  }, 'every copy to be as the row')
  expect(stale).toEqual([])
})

test('each version finds what the present one has stored, and they do not take turns in replacing it', async () => {
  await raw.flushall()
  const { rows, processes } = await deploy()
  const [before, , after] = processes as [(typeof processes)[0], (typeof processes)[0], (typeof processes)[0]]
  await eventually(
    async () => (await before.spells.read(1, STRONG)).from === 'shared',
    'a value of the earlier version',
  )
  expect(await raw.get('spell:1')).toMatch(/^V[\w-]{16}/)
  const { why } = await after.spells.read(1, STRONG)
  expect(why).toBe('version')
  await eventually(async () => (await raw.get('spell:1'))?.startsWith('V.') === true, 'its replacement')
  const text = await raw.get('spell:1')
  const { loads } = rows
  for (let i = 0; i < 20; i++)
    for (const { spells } of processes) expect((await spells.read(1, STRONG)).from).toBe('shared')
  expect([await raw.get('spell:1'), rows.loads]).toEqual([text, loads])
})
