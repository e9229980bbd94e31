import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { PATIENCE } from '../../test/patience.ts'
import { type RedisServer, startRedis } from '../../test/redis-servers.ts'
import { createDatabase, sharedPostgresUrl } from '../../test/services.ts'
import type { Database } from '../src/database/database.ts'
import { openPostgres } from '../src/database/postgres.ts'
import { migrate } from '../src/migrations.ts'
import { parseRedisUrl, type RedisServers } from '../src/redis-url.ts'
import type { Answer, Spells } from '../src/spells.ts'
import { CACHE, openSpells } from './harness.ts'

/** How often each read is made: what else is sent meanwhile, such as heartbeats, does not count beside it. */
const TIMES = 100

let redis: RedisServer
let database: Database
let spells: Spells
beforeAll(async () => {
  redis = await startRedis()
  const url = await createDatabase(sharedPostgresUrl())
  database = openPostgres({ kind: 'postgres', url, poolMax: 4, timeoutMs: 5_000 }, () => {})
  await migrate(database)
  const servers = parseRedisUrl(redis.url) as RedisServers
  spells = await openSpells(database, {
    ...CACHE,
    shared: { kind: 'redis', ...servers, policy: undefined },
  })
  await spells.wizards.create({ name: 'Merlin' })
  for (const id of ['1', '4', '8']) await spells.wizards.add('1', id)
})
afterAll(async () => {
  await spells.close()
  await database.close()
  await redis.stop()
})

/** How often Redis has read something from a connection. What is sent in one piece is read at once. */
const readings = async () =>
  Number(/total_reads_processed:(\d+)/.exec(String(await redis.command('INFO', 'stats')))?.[1])

/** How many round trips a read costs that is answered from the cache. The feed may still apply what was written before. */
function tripsOf(read: () => Promise<Answer<unknown>>): Promise<number> {
  return vi.waitFor(async () => {
    const before = await readings()
    for (let i = 0; i < TIMES; i++) expect((await read()).from).toBe('shared')
    return ((await readings()) - before) / TIMES
  }, PATIENCE)
}

test.each<[string, () => Promise<Answer<unknown>>]>([
  ['a spell', () => spells.find('4')],
  ['a page of spells, which depends on all of them,', () => spells.page('0', 20)],
  ['a wizard with a book, which depends on the spells in it,', () => spells.wizards.find('1')],
  ['a page of wizards', () => spells.wizards.page('0', 20)],
])('%s that is cached costs one round trip', async (_what, read) => {
  const trips = await tripsOf(read)
  expect(trips).toBeGreaterThanOrEqual(1)
  expect(trips).toBeLessThan(1.5)
})

test('two reads, one after the other, are counted as two', async () => {
  const both = () => spells.find('4').then(() => spells.page('0', 20))
  expect(await tripsOf(both)).toBeGreaterThanOrEqual(2)
})
