import type { CacheEvent } from 'cacheaside'
import type { FastifyBaseLogger } from 'fastify'

/** Logs what the cache gets over by itself, but somebody should know of. Reads are logged where they are answered. */
export function logCache(log: FastifyBaseLogger): (event: CacheEvent) => void {
  return event => {
    switch (event.type) {
      case 'fault':
        return log.warn({ err: event.error }, `the cache had trouble during ${event.during}`)
      case 'shared':
        if (event.state === 'available') return log.info('the shared store is available again')
        return log.warn(
          { err: event.error },
          `the shared store is unavailable, reads go to the database: ${messageOf(event.error)}`,
        )
      case 'invalidation':
        if (event.outcome === 'queued' || event.outcome === 'collapsed')
          log.warn(`the invalidation of ${event.key} is ${event.outcome}`)
        return
      case 'keyspace-invalidation':
        if (event.outcome === 'queued') log.warn(`the invalidation of all of ${event.keyspace} is queued`)
        return
      case 'feed':
        if (event.state === 'open') return log.info('the change feed is open')
        return log.warn(
          { err: event.error },
          `the change feed is lost, changes wait in the outbox: ${messageOf(event.error)}`,
        )
      case 'feed-distrust':
        return log.info(
          `nothing that is cached counts any more in ${event.keyspaces.join(', ')}: ${event.reason}`,
        )
      case 'feed-warning':
        return log.warn(event.message)
    }
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
