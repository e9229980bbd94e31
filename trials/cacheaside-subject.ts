import { type Cache, type CacheEvent, createCache, type Keyspace, type SharedStore } from 'cacheaside'
import { postgresFeed } from 'cacheaside/postgres'
import { type RedisClient, redisShared } from 'cacheaside/redis'
import { Origin, type Spell } from './origin.ts'
import { clientOf } from './redis-client.ts'
import type { Steps } from './steps.ts'
import type { ProcessOptions, Seen, Status, Subject, WriteHow, Written } from './subject.ts'

/** cacheaside, wired as a program would, with steps at which the test can hold it. */
export class CacheasideSubject implements Subject {
  readonly #origin: Origin
  readonly #cache: Cache
  readonly #spells: Keyspace<number, Spell>
  #hasProof = false
  #latestMs = performance.now()
  #pauseMs = 0
  #lostMs = 0

  constructor(options: ProcessOptions, steps: Steps) {
    const { postgres, statementTimeoutMs, poolSize, store, local, feed, allowUnsafePolicy, cache } = options
    this.#origin = new Origin(postgres, steps, statementTimeoutMs, poolSize)
    const redis = redisShared({
      client: clientOf(store) as unknown as RedisClient,
      allowUnsafePolicy: allowUnsafePolicy === true,
      onWarning: () => {},
    })
    this.#cache = createCache({
      shared: stepping(redis, steps),
      ...(local === true ? { local: { maxEntries: 10_000 } } : {}),
      ...(feed === true
        ? {
            feed: postgresFeed({
              pool: this.#origin.pool,
              tables: { spell: row => [this.#spells.key(row.id)] },
            }),
          }
        : {}),
      ...cache,
      onEvent: event => this.#hear(event),
    })
    this.#spells = this.#cache.keyspace<number, Spell>('spell', {
      load: id => this.#origin.find(id),
      loadMany: async ids => (await this.#origin.findMany(ids)).map(spell => [spell.id, spell] as const),
      ...options.keyspace,
    })
    this.#watchPauses()
  }

  #hear(event: CacheEvent): void {
    if (event.type === 'stream') this.#hasProof = event.state === 'proven'
  }

  /** How long this process did not get to run, at most and all in all: its own doing, or the machine's. */
  #watchPauses(): void {
    const timer = setInterval(() => {
      const nowMs = performance.now()
      const lateMs = Math.max(0, nowMs - this.#latestMs - 10)
      this.#pauseMs = Math.max(this.#pauseMs, lateMs)
      this.#lostMs += lateMs
      this.#latestMs = nowMs
    }, 10)
    timer.unref()
  }

  async get(id: number, strong = false): Promise<Seen> {
    const { value, from, why, timings } = await this.#spells.read(id, strong ? { consistency: 'strong' } : {})
    return { version: value?.version ?? null, from, why, tookMs: timings.totalMs, sharedMs: timings.sharedMs }
  }

  async getMany(ids: readonly number[], strong = false): Promise<(number | null)[]> {
    const values = await this.#spells.getMany(ids, strong ? { consistency: 'strong' } : {})
    return ids.map(id => values.get(id)?.version ?? null)
  }

  async write(id: number, how: WriteHow = {}): Promise<Written> {
    const beganMs = performance.now()
    const result = await this.#spells.write(id, async () => (await this.#origin.raise([id], how))[0]!, {
      writeThrough: how.through === true,
    })
    const { value, invalidation, fenced } = result
    return { version: value.version, invalidation, fenced, tookMs: performance.now() - beganMs }
  }

  async writeAll(ids: readonly number[]): Promise<Written[]> {
    const beganMs = performance.now()
    const keys = ids.map(id => this.#spells.key(id))
    const { value, invalidation, fenced } = await this.#cache.write(keys, () => this.#origin.raise(ids))
    const tookMs = performance.now() - beganMs
    return value.map(({ version }) => ({ version, invalidation, fenced, tookMs }))
  }

  status(): Status {
    const { now, shared, feed } = this.#cache.stats()
    return {
      working: now.flights + now.loads + now.queuedLoads,
      queued: now.queuedInvalidations,
      loads: this.#origin.loads,
      mostLoads: this.#origin.mostLoads,
      hasProof: this.#hasProof,
      storeIsAvailable: shared.available,
      feedIsOpen: feed.open,
      maxLagMs: feed.maxLagMs,
      distrusted: feed.distrusted,
      localEntries: now.localEntries,
      pauseMs: this.#pauseMs,
      lostMs: this.#lostMs,
    }
  }
}

const idOf = (key: string): string => key.slice(key.indexOf(':') + 1)

/** The store, with steps before and after what a trial may interrupt. */
function stepping(store: SharedStore, steps: Steps): SharedStore {
  const stepped: Partial<SharedStore> = {
    async guard(key, ...rest) {
      await steps.pass('guard', idOf(key))
      const reply = await store.guard(key, ...rest)
      await steps.pass('guarded', idOf(key))
      return reply
    },
    async release(key, ...rest) {
      await steps.pass('release', idOf(key))
      const sent = store.release(key, ...rest)
      await steps.pass('releasing', idOf(key))
      return sent
    },
    async fill(key, ...rest) {
      const accepted = await store.fill(key, ...rest)
      await steps.pass('filled', idOf(key))
      return accepted
    },
  }
  return new Proxy(store, {
    get(target, name) {
      const own = stepped[name as keyof SharedStore]
      if (own !== undefined) return own
      const value: unknown = Reflect.get(target, name)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}
