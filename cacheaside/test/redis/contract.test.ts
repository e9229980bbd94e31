import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe } from 'vitest'
import { type RedisServer, serverPrograms, startRedis } from '../../../test/redis-servers.ts'
import type { RedisClient } from '../../src/redis/index.ts'
import { sharedStoreContract } from '../../src/testing/index.ts'
import { CLIENT_LIBRARIES } from './clients.ts'
import { openForContract, type Raw, runner } from './harness.ts'

describe.each(serverPrograms())('redisShared on one $name server', ({ path }) => {
  let server: RedisServer
  let raw: Raw
  beforeAll(async () => {
    server = await startRedis({}, path())
    raw = new Redis(server.port)
  })
  afterAll(async () => {
    raw.disconnect()
    await server.stop()
  })

  // Tests of lives wait for most of their time: they wait together.
  describe.concurrent.each(CLIENT_LIBRARIES)('by $name', library => {
    let client: RedisClient
    beforeAll(() => {
      client = library.single(server.port)
    })
    sharedStoreContract(runner, { open: async () => openForContract(client, raw) })
  })
})
