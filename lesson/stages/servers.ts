import { Redis } from 'ioredis'
import type { Database } from '../../spellbook/src/database/database.ts'
import { openPostgres } from '../../spellbook/src/database/postgres.ts'
import { installChangeFeed, migrate } from '../../spellbook/src/migrations.ts'
import { type Proxy as Network, startProxy } from '../../test/proxy.ts'
import type { RedisServer } from '../../test/redis-servers.ts'

/** How far away the servers are: milliseconds from a question to its answer. */
export interface Distances {
  readonly postgresMs: number
  readonly redisMs: number
}

/** The servers of the stages: near, to prepare and to look, and far, behind proxies, for what is measured. */
export interface Servers {
  readonly near: Database
  readonly redis: RedisServer
  readonly farPostgresUrl: string
  readonly farRedisPort: number
  /** Empties Redis, and the outbox of the change feed, which only the last stages read. */
  clear(): Promise<void>
  close(): Promise<void>
}

/** Puts proxies before a database and a Redis, and Spellbook's tables into the database. Both servers stay when it is closed. */
export async function openServers(
  postgresUrl: string,
  redis: RedisServer,
  { postgresMs, redisMs }: Distances,
): Promise<Servers> {
  const near = openDatabase(postgresUrl)
  await migrate(near)
  await installChangeFeed(near)
  const farPostgres = await farFrom(Number(new URL(postgresUrl).port), postgresMs)
  const farRedis = await farFrom(redis.port, redisMs)
  const farUrl = new URL(postgresUrl)
  farUrl.port = String(farPostgres.port)
  return {
    near,
    redis,
    farPostgresUrl: farUrl.href,
    farRedisPort: farRedis.port,
    async clear() {
      await redis.command('FLUSHALL')
      await near.query('delete from cacheaside.outbox')
    },
    async close() {
      await near.close()
      await farPostgres.close()
      await farRedis.close()
    },
  }
}

/** Half of the time is spent on the way there, half on the way back. */
async function farFrom(port: number, awayMs: number): Promise<Network> {
  const network = await startProxy(port)
  network.delay(awayMs / 2)
  return network
}

/** Spellbook's connections to a database. */
export function openDatabase(url: string): Database {
  return openPostgres({ kind: 'postgres', url, poolMax: 4, timeoutMs: 5_000 }, () => {})
}

/** A client of a Redis on this machine, connected. */
export async function openRedis(port: number): Promise<Redis> {
  const redis = new Redis({ host: '127.0.0.1', port, lazyConnect: true })
  await redis.connect()
  return redis
}
