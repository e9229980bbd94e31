/** What docs/redis.md shows, with what it takes for granted. It is compiled and not run. */

import { createCache } from 'cacheaside'
import { redisShared } from 'cacheaside/redis'
import { Redis } from 'ioredis'

const shared = redisShared({ client: () => new Redis(process.env.REDIS_URL ?? 'redis://localhost') })
await shared.ready() // optional: it works as soon as it can
const cache = createCache({ shared, local: { maxBytes: 64 * 2 ** 20 } })
// … at the end; nothing stays open
await cache.close()
