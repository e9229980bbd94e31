/** The writer that `writer-killed` kills: it changes Earthquake, says that it has committed, and goes no further. */
import { createCache } from 'cacheaside'
import { redisShared } from 'cacheaside/redis'
import { Redis } from 'ioredis'
import { spellTable } from '../spellbook/src/spell-table.ts'
import { SHARED_TIMEOUT_MS, SILENT, TTL_MS } from './both-ways.ts'
import { EARTHQUAKE } from './demonstration.ts'
import { plainCacheAside } from './plain-cache-aside.ts'
import { openDatabase } from './stages/servers.ts'

/** What it is told. */
export interface WriterOrder {
  readonly kind: 'plain' | 'ours'
  readonly postgresUrl: string
  readonly redisPort: number
  readonly guardMs: number
  readonly damage: number
}

const { kind, postgresUrl, redisPort, guardMs, damage } = JSON.parse(process.argv[2]!) as WriterOrder
const table = spellTable(openDatabase(postgresUrl))
const load = (id: string | number) => table.find(String(id))
const redis = new Redis({ host: '127.0.0.1', port: redisPort, lazyConnect: kind === 'ours' })

async function commit(): Promise<never> {
  await table.update(String(EARTHQUAKE), { damage })
  process.send!('committed')
  return new Promise(() => {})
}

if (kind === 'plain') {
  const spells = plainCacheAside({ redis, name: 'spell', load, ttlMs: TTL_MS, fill: 'blocking' })
  void spells.write(EARTHQUAKE, commit)
} else {
  const shared = redisShared({ client: redis, logger: SILENT })
  await shared.ready()
  const cache = createCache({ shared, guardMs, sharedTimeoutMs: SHARED_TIMEOUT_MS, logger: SILENT })
  const spells = cache.keyspace('spell', { load, ttlMs: TTL_MS })
  void spells.write(EARTHQUAKE, commit)
}
// Nobody who starts it may leave it behind.
process.on('disconnect', () => process.exit())
