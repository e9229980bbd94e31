import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe } from 'vitest'
import { type RedisClusterServers, serverPrograms, startRedisCluster } from '../../../test/redis-servers.ts'
import type { RedisClient } from '../../src/redis/index.ts'
import { sharedStoreContract } from '../../src/testing/index.ts'
import { CLIENT_LIBRARIES } from './clients.ts'
import { openForContract, type Raw, runner } from './harness.ts'

describe.each(serverPrograms())('redisShared on a Cluster of $name', ({ path }) => {
  let servers: RedisClusterServers
  let raw: Raw
  beforeAll(async () => {
    servers = await startRedisCluster({}, path())
    raw = new Redis.Cluster([...servers.nodes])
  })
  afterAll(async () => {
    raw.disconnect()
    await servers.stop()
  })

  // Tests of lives wait for most of their time: they wait together.
  describe.concurrent.each(CLIENT_LIBRARIES)('by $name', library => {
    let client: RedisClient
    beforeAll(() => {
      client = library.cluster(servers.nodes)
    })
    sharedStoreContract(runner, { open: async () => openForContract(client, raw) })
  })
})
