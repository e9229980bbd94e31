/** cacheaside with an L1, Redis, and the change feed. */
import type { About, Adapter, Setting } from '../adapter.ts'
import { openCache, prepareFeed } from '../cacheaside-cache.ts'

export const about: About = {
  name: 'cacheaside, L1 + L2 + feed',
  docs: './feed.md',
  packages: ['cacheaside', 'ioredis', 'pg'],
  setUp: 'as with L1, and feed: postgresFeed({ pool, tables }); all times as by default.',
  refreshes: true,
}

export const install = prepareFeed

export function open(setting: Setting): Promise<Adapter> {
  return openCache(setting, { local: true, feed: true })
}
