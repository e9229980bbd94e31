/** What docs/verify.md shows, with what it takes for granted. It is compiled and not run. */
import { createCache } from 'cacheaside'
import { redisShared } from 'cacheaside/redis'
import { auditedKeyspace, reportText, startSampling, verify } from 'cacheaside/verify'
import { Redis } from 'ioredis'

const shared = redisShared({ client: () => new Redis() })
const keyspaces = [auditedKeyspace('spell', { load: async (id: string) => ({ id }) })]
const cache = createCache({ shared })
const log = console

const report = await verify({ shared, keyspaces }) // what the command prints with --json
console.log(reportText(report))

const sampler = startSampling(cache, {
  keyspaces,
  everyMs: 1_000,
  keys: 10,
  onFinding: finding => log.warn(finding),
})
cache.stats().keyspaces.spell?.verified // { equal: 8123, stale: 0, unreadable: 0, orphaned: 2, skipped: 14, maxStaleMs: 0 }

export { sampler }
