import { pino } from 'pino'
import { readConfig } from '../../spellbook/src/config.ts'
import { openSharedStore } from '../../spellbook/src/shared-store.ts'
import { cachedSpells, type Spells, uncachedSpells } from '../../spellbook/src/spells.ts'
import { eventually } from '../../test/redis-servers.ts'
import { plainSpells } from './plain-spells.ts'
import { openDatabase, openRedis, type Servers } from './servers.ts'

/** Spellbook at one stage, in use. */
export interface OpenStage {
  readonly spells: Spells
  /** Whether what was loaded of a spell is stored, so that the next read of it can be a hit. */
  isKept(id: number): Promise<boolean>
  ping(): Promise<unknown>
  close(): Promise<void>
}

/** A stage of the lesson. */
export interface Stage {
  readonly name: string
  /** Where a second read of a spell is answered. */
  readonly hitFrom: 'database' | 'cache'
  open(servers: Servers): Promise<OpenStage>
}

const L1_BYTES = 16 * 2 ** 20

/** The stages, in the order of the lesson. */
export const STAGES: readonly Stage[] = [
  { name: 'no cache', hitFrom: 'database', open: openUncached },
  { name: 'blocking fill', hitFrom: 'cache', open: servers => openPlain(servers, 'blocking') },
  { name: 'background fill', hitFrom: 'cache', open: servers => openPlain(servers, 'background') },
  { name: 'cacheaside', hitFrom: 'cache', open: servers => openOurs(servers, undefined) },
  { name: 'cacheaside, with L1', hitFrom: 'cache', open: servers => openOurs(servers, L1_BYTES) },
]

async function openUncached({ farPostgresUrl }: Servers): Promise<OpenStage> {
  const database = openDatabase(farPostgresUrl)
  return {
    spells: uncachedSpells(database),
    isKept: async () => true,
    ping: () => database.query('select 1'),
    close: () => database.close(),
  }
}

/** Whether a spell's value is in Redis. A register of cacheaside is longer than a lease of it from its value on. */
async function isInRedis({ redis }: Servers, id: number): Promise<boolean> {
  return String(await redis.command('GET', `spell:${id}`)).includes('{')
}

async function openPlain(servers: Servers, fill: 'blocking' | 'background'): Promise<OpenStage> {
  const database = openDatabase(servers.farPostgresUrl)
  const redis = await openRedis(servers.farRedisPort)
  return {
    spells: plainSpells(database, redis, fill),
    isKept: id => isInRedis(servers, id),
    ping: () => database.query('select 1'),
    async close() {
      redis.disconnect()
      await database.close()
    },
  }
}

/** As `npm start` opens it on servers. */
async function openOurs(servers: Servers, localMaxBytes: number | undefined): Promise<OpenStage> {
  const config = readConfig({
    DATABASE_URL: servers.farPostgresUrl,
    REDIS_URL: `redis://127.0.0.1:${servers.farRedisPort}`,
    ...(localMaxBytes === undefined ? {} : { CACHE_LOCAL_MAX_BYTES: String(localMaxBytes) }),
  }).cache!
  const database = openDatabase(servers.farPostgresUrl)
  const log = pino({ level: 'silent' })
  const shared = await openSharedStore(config.shared, log)
  let isProven = false
  const spells = await cachedSpells(
    database,
    shared,
    config,
    event => {
      if (event.type === 'stream') isProven = event.state === 'proven'
    },
    log,
  )
  const stats = () => spells.cache!.stats()
  await eventually(() => isProven && stats().feed.open, 'the messages and the change feed to be there')
  return {
    spells,
    async isKept(id) {
      const { flights, localEntries } = stats().now
      const isHere = localMaxBytes === undefined || localEntries > 0
      // A reader that comes while the flight still waits for its fill is answered by it, sooner than by any level.
      return flights === 0 && isHere && isInRedis(servers, id)
    },
    ping: () => database.query('select 1'),
    async close() {
      await spells.close()
      await shared.close()
      await database.close()
    },
  }
}
