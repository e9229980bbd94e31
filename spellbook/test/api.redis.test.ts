import { afterAll, beforeAll } from 'vitest'
import { type RedisServer, startRedis } from '../../test/redis-servers.ts'
import { createDatabase, sharedPostgresUrl } from '../../test/services.ts'
import { openPostgres } from '../src/database/postgres.ts'
import type { RedisServers } from '../src/redis-url.ts'
import { parseRedisUrl } from '../src/redis-url.ts'
import { apiSuite } from './api-suite.ts'
import { CACHE } from './harness.ts'

let redis: RedisServer
beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis.stop())

apiSuite(
  'the API on PostgreSQL and Redis',
  async () => {
    const url = await createDatabase(sharedPostgresUrl())
    return openPostgres({ kind: 'postgres', url, poolMax: 4, timeoutMs: 5_000 }, () => {})
  },
  // Without the change feed, which may end what a test has just seen being kept: it hears of the test's own writes.
  async () => {
    await redis.command('FLUSHALL')
    const servers = parseRedisUrl(redis.url) as RedisServers
    return { ...CACHE, shared: { kind: 'redis', ...servers, policy: undefined } }
  },
)
