/** What docs/warnings.md shows, with what it takes for granted. It is compiled and not run. */
import { createCache } from 'cacheaside'
import { redisShared } from 'cacheaside/redis'
import { Redis } from 'ioredis'
import { pino } from 'pino'

const client = new Redis({ lazyConnect: true })
const logger = console

const cache = createCache({ logger: pino() }) // or console, a Winston logger, a request's log of Fastify, NestJS's Logger
const shared = redisShared({ client, logger }) // the store's own, about its servers

export { cache, shared }
