/**
 * The shared store on Redis and Valkey, over the client you have: ioredis, iovalkey, or redis (node-redis).
 *
 * @packageDocumentation
 */
export {
  REDIS_POLICIES,
  type RedisFinding,
  type RedisFindingCode,
  type RedisNode,
  type RedisPolicy,
} from './examine.ts'
export type { IoredisLike } from './ioredis.ts'
export type { NodeRedisLike } from './node-redis.ts'
export type { RedisClient, RedisSharedOptions } from './options.ts'
export { inspectRedis, type RedisShared, redisShared } from './redis-shared.ts'
export type { RedisReport } from './servers.ts'
