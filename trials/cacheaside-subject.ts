import {
  type Cache,
  type CacheEvent,
  createCache,
  type Key,
  type Keyspace,
  type SharedStore,
  type Tag,
} from 'cacheaside'
import { postgresFeed, tableTags } from 'cacheaside/postgres'
import { type RedisClient, redisShared } from 'cacheaside/redis'
import { Origin, type Spell } from './origin.ts'
import { clientOf } from './redis-client.ts'
import type { Steps } from './steps.ts'
import type {
  ProcessOptions,
  Seen,
  SeenTogether,
  Shown,
  Status,
  Subject,
  WriteHow,
  Written,
} from './subject.ts'

/** cacheaside, wired as a program would, with steps at which the test can hold it. */
export class CacheasideSubject implements Subject {
  readonly #origin: Origin
  readonly #cache: Cache
  readonly #spells: Keyspace<number, Spell>
  readonly #shown: Shown
  /** What a writer of a row names. */
  readonly #changed: (id: number) => Key | Tag
  #hasProof = false
  #latestMs = performance.now()
  #pauseMs = 0
  #lostMs = 0

  constructor(options: ProcessOptions, steps: Steps) {
    const { postgres, statementTimeoutMs, poolSize, store, local, feed, allowUnsafePolicy, cache } = options
    this.#shown = options.shown ?? 'row'
    this.#origin = new Origin(postgres, steps, statementTimeoutMs, poolSize, this.#shown)
    const redis = redisShared({
      client: clientOf(store) as unknown as RedisClient,
      allowUnsafePolicy: allowUnsafePolicy === true,
      onWarning: () => {},
    })
    this.#cache = createCache({
      shared: stepping(redis, steps),
      ...(local === true ? { local: { maxEntries: 10_000 } } : {}),
      ...(feed === true ? { feed: this.#feed() } : {}),
      ...cache,
      onEvent: event => this.#hear(event),
    })
    const tagging = taggingOf(this.#cache, this.#shown)
    this.#spells = this.#cache.keyspace<number, Spell>(this.#shown === 'row' ? 'spell' : 'book', {
      load: id => this.#origin.find(id),
      loadMany: async ids => (await this.#origin.findMany(ids)).map(spell => [spell.id, spell] as const),
      ...tagging.options,
      ...options.keyspace,
    })
    this.#changed = tagging.changed ?? (id => this.#spells.key(id))
    this.#watchPauses()
  }

  #feed() {
    const { pool } = this.#origin
    if (this.#shown === 'table') return postgresFeed({ pool, tables: groups })
    return postgresFeed({ pool, tables: { spell: row => [this.#spells.key(row.id)] } })
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
    const raise = async () => (await this.#origin.raise([id], how))[0]!
    const writing =
      this.#shown === 'row'
        ? this.#spells.write(id, raise, { writeThrough: how.through === true })
        : this.#cache.write([this.#changed(id)], raise)
    const { value, invalidation, fenced } = await writing
    return { version: value.version, invalidation, fenced, tookMs: performance.now() - beganMs }
  }

  async writeAll(ids: readonly number[]): Promise<Written[]> {
    const beganMs = performance.now()
    const keys = ids.map(this.#changed)
    const { value, invalidation, fenced } = await this.#cache.write(keys, () => this.#origin.raise(ids))
    const tookMs = performance.now() - beganMs
    return value.map(({ version }) => ({ version, invalidation, fenced, tookMs }))
  }

  async move(from: number, to: number): Promise<void> {
    await this.#cache.write([from, to].map(this.#changed), () => this.#origin.move(from, to))
  }

  async snapshot(ids: readonly number[]): Promise<SeenTogether> {
    let isLoaded = false
    const values = await this.#cache.snapshot(
      ids.map(id => this.#spells.at(id)),
      {
        load: async () => {
          isLoaded = true
          const found = new Map((await this.#origin.findMany(ids)).map(spell => [spell.id, spell]))
          return ids.map(id => found.get(id))
        },
      },
    )
    return { versions: values.map(value => value?.version ?? null), isLoaded }
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

/** The groups of both tables on which a book depends. */
export const groups = tableTags({ scroll: { by: ['book'] }, spell: { by: ['id'] } })

/** How the values depend on tags, and what a writer of a row names; left out: the row's key. */
function taggingOf(cache: Cache, shown: Shown) {
  if (shown === 'condition') {
    const tags = cache.tags<number>('shelf')
    return { options: { tags: (id: number) => [tags.key(id)] }, changed: (id: number) => tags.key(id) }
  }
  if (shown === 'reference') {
    const tags = cache.tags<number>('shown')
    const tagsOf = (book: Spell | undefined) => (book?.spells ?? []).map(id => tags.key(id))
    return { options: { tagsOf }, changed: (id: number) => tags.key(id) }
  }
  if (shown === 'row') return { options: {} }
  return {
    options: {
      tags: (book: number) => [groups.scroll.where({ book })],
      tagsOf: (book: Spell | undefined) => (book?.spells ?? []).map(id => groups.spell.where({ id })),
    },
    changed: (id: number) => groups.spell.where({ id }),
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
