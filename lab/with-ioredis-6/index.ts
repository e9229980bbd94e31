/** layered-loader beside the ioredis it asks for: bentocache, in the same install, asks for another. */
export { Redis } from 'ioredis'
export { createNotificationPair, Loader, RedisCache } from 'layered-loader'
