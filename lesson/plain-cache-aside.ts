import type { Redis } from 'ioredis'

/**
 * Cache-aside as it is usually written, in a few lines around one client. The lesson and its stages show what it does, and where it
 * goes wrong.
 */

/** How a plain cache-aside is made. */
export interface PlainOptions<T> {
  readonly redis: Redis
  /** What the keys begin with. */
  readonly name: string
  /** Reads one row from the database; `undefined`: there is none. */
  load(id: string | number): Promise<T | undefined>
  /** How long a value is kept. */
  readonly ttlMs: number
  /** Whether a read waits until what it has loaded is stored. */
  readonly fill: 'blocking' | 'background'
}

/** A value, and where it came from. */
export interface PlainAnswer<T> {
  readonly value: T | undefined
  readonly from: 'cache' | 'database'
  /** How long the cache was asked. */
  readonly cacheMs: number
}

/** Cache-aside for rows of one kind. */
export interface PlainCacheAside<T> {
  get(id: string | number): Promise<PlainAnswer<T>>
  /** Commits, then deletes what is cached. */
  write<R>(id: string | number, commit: () => Promise<R>): Promise<R>
  /** Commits, then stores what was committed. */
  writeThrough<R extends T | undefined>(id: string | number, commit: () => Promise<R>): Promise<R>
}

/** Reads with GET, a load and SET; writes with the commit, and DEL or SET. */
export function plainCacheAside<T>({ redis, name, load, ttlMs, fill }: PlainOptions<T>): PlainCacheAside<T> {
  const keyOf = (id: string | number) => `${name}:${id}`
  const store = (id: string | number, value: T) => redis.set(keyOf(id), JSON.stringify(value), 'PX', ttlMs)
  return {
    async get(id) {
      const began = performance.now()
      const cached = await redis.get(keyOf(id))
      const cacheMs = performance.now() - began
      if (cached !== null) return { value: JSON.parse(cached) as T, from: 'cache', cacheMs }
      const value = await load(id)
      if (value !== undefined) {
        const storing = store(id, value)
        if (fill === 'blocking') await storing
        // Nobody waits for it, so nobody hears of it.
        else storing.catch(() => {})
      }
      return { value, from: 'database', cacheMs }
    },
    async write(id, commit) {
      const written = await commit()
      await redis.del(keyOf(id))
      return written
    },
    async writeThrough(id, commit) {
      const written = await commit()
      if (written === undefined) await redis.del(keyOf(id))
      else await store(id, written)
      return written
    },
  }
}
