import { type Cache, type CacheOptions, createCache, type Keyspace } from 'cacheaside'
import { postgresFeed } from 'cacheaside/postgres'
import { redisShared } from 'cacheaside/redis'
import { Redis } from 'ioredis'
import type { Spell } from '../spellbook/src/api.ts'
import { eventually } from '../test/redis-servers.ts'
import { EARTHQUAKE, type Room, type SpellDatabase, shown } from './demonstration.ts'
import { type PlainCacheAside, plainCacheAside } from './plain-cache-aside.ts'

/** How long a value is kept in the lesson: too long for time to heal anything. */
export const TTL_MS = 3_600_000

/** What the caches of the lesson would say to somebody who looks after them is not part of it. */
export const SILENT = { info() {}, warn() {}, error() {} }

/** More than usual, because the lesson may run on a machine that stands still now and then; less than a third of any guard here. */
export const SHARED_TIMEOUT_MS = 300

/** Plain cache-aside over the spells, as one process has it. */
export async function plain(
  room: Room,
  redisPort: number,
  load: (id: string | number) => Promise<Spell | undefined>,
  fill: 'blocking' | 'background' = 'blocking',
): Promise<PlainCacheAside<Spell>> {
  return plainCacheAside<Spell>({
    redis: await room.client(redisPort),
    name: 'spell',
    load,
    ttlMs: TTL_MS,
    fill,
  })
}

/** This library over the spells, as one process has it. */
export interface Ours {
  readonly cache: Cache
  readonly spells: Keyspace<number, Spell>
}

/** How {@link ours} is made, where it is not as usual. */
export interface OursOptions extends Pick<CacheOptions, 'local' | 'guardMs'> {
  /** Whether it hears of changes by others. */
  readonly feed?: SpellDatabase
  readonly ttlMs?: number
}

/** Opens a cache on a Redis, and waits until it has heard from it. */
export async function ours(
  room: Room,
  redisPort: number,
  load: (id: number) => Promise<Spell | undefined>,
  { feed, ttlMs = TTL_MS, ...options }: OursOptions = {},
): Promise<Ours> {
  const { cache, spells, isReady } = openOurs(redisPort, load, ttlMs, options, feed)
  room.atEnd(() => cache.close())
  await eventually(isReady, 'the cache to be ready')
  return { cache, spells }
}

function openOurs(
  port: number,
  load: (id: number) => Promise<Spell | undefined>,
  ttlMs: number,
  options: Pick<CacheOptions, 'local' | 'guardMs'>,
  feed: SpellDatabase | undefined,
) {
  const client = new Redis({ host: '127.0.0.1', port, lazyConnect: true })
  let isProven = false
  const cache = createCache({
    shared: redisShared({ client, logger: SILENT }),
    logger: SILENT,
    sharedTimeoutMs: SHARED_TIMEOUT_MS,
    ...options,
    ...(feed === undefined
      ? {}
      : {
          feed: postgresFeed({
            ...feed.database.feedSource,
            tables: { spell: row => [spells.key(Number(row.id))] },
          }),
        }),
    onEvent: event => {
      if (event.type === 'stream') isProven = event.state === 'proven'
    },
  })
  const spells = cache.keyspace<number, Spell>('spell', { load, ttlMs })
  const isReady = () => isProven && (feed === undefined || cache.stats().feed.open)
  return { cache, spells, isReady }
}

/** Reads Earthquake until it is a hit, so that it is cached for sure. */
export function warm(one: PlainCacheAside<Spell> | Ours): Promise<void> {
  const isHit = async () =>
    'spells' in one
      ? (await one.spells.read(EARTHQUAKE)).from !== 'origin'
      : (await one.get(EARTHQUAKE)).from === 'cache'
  return eventually(isHit, 'Earthquake to be cached')
}

/** What plain cache-aside answers in the end, compared with the database: it is to be old. */
export async function wentWrong(
  room: Room,
  database: SpellDatabase,
  answered: Spell | undefined,
): Promise<void> {
  const damage = await database.damage()
  room.say(`  PostgreSQL has ${damage}, the reader gets ${answered?.damage}: stale`)
  shown(answered !== undefined && answered.damage !== damage, 'plain cache-aside was right')
}

/** What this library answers in the end, compared with the database: it is to be the same. */
export async function wentWell(
  room: Room,
  database: SpellDatabase,
  answered: Spell | undefined,
): Promise<void> {
  const damage = await database.damage()
  room.say(`  PostgreSQL has ${damage}, the reader gets ${answered?.damage}: right`)
  shown(answered?.damage === damage, 'the cache was wrong')
}
