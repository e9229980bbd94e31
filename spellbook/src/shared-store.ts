import { CacheError, embeddedShared, type SharedStore } from 'cacheaside'
import { type RedisReport, redisShared } from 'cacheaside/redis'
import type { FastifyBaseLogger } from 'fastify'
import { Cluster, Redis } from 'ioredis'
import type { RedisConfig, SharedConfig } from './config.ts'

/**
 * Opens the shared store: in this process, or on Redis for any number of processes. To be closed after the cache.
 *
 * The cache is not the origin, so an unreachable Redis does not prevent a start: reads go to the database, the cache reports
 * it, and uses the Redis as soon as it is there. A Redis that is there and would make the cache wrong is refused.
 *
 * @param log - Gets the servers' accounts of themselves, and what a person should mend.
 * @throws CacheError `INVALID_OPTIONS` if a server is refused for what it is: too old, a replica, or evicting guards.
 */
export async function openSharedStore(config: SharedConfig, log: FastifyBaseLogger): Promise<SharedStore> {
  if (config.kind === 'embedded') return embeddedShared({ maxBytes: config.maxBytes, policy: config.policy })
  const store = redisShared({
    client: clientOf(config),
    logger: log,
    ...(config.policy === undefined ? {} : { policy: config.policy }),
  })
  try {
    introduce(await store.ready(), log)
  } catch (error) {
    if (error instanceof CacheError) {
      await store.close()
      throw error
    }
    // It is away: the cache warns of that at its first command.
  }
  return store
}

/** A client that is never connected: the store only reads from it how its own connections are to be made. */
function clientOf({ servers, cluster, tls, username, password, database }: RedisConfig): Redis | Cluster {
  const login = {
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(tls ? { tls: {} } : {}),
  }
  if (!cluster) return new Redis({ ...servers[0]!, ...login, db: database, lazyConnect: true })
  return new Cluster([...servers], {
    lazyConnect: true,
    redisOptions: login,
    // Certificates are made out to names: so the names must not be turned into addresses before the connection is made.
    ...(tls ? { dnsLookup: (name, found) => found(null, name) } : {}),
  })
}

function introduce({ nodes }: RedisReport, log: FastifyBaseLogger): void {
  for (const { address, server = 'server', version = 'of unknown version', policy = 'unknown' } of nodes)
    log.info(
      { address, version, policy },
      `the cache is on ${server} ${version} at ${address}, policy ${policy}`,
    )
}
