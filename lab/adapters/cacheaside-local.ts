/** cacheaside with an L1 and Redis. */
import type { About, Adapter, Setting } from '../adapter.ts'
import { openCache } from '../cacheaside-cache.ts'

const WITHOUT_FEED = 'needs the change feed'

export const about: About = {
  name: 'cacheaside, L1 + L2',
  docs: '../cacheaside/README.md',
  packages: ['cacheaside', 'ioredis'],
  setUp:
    'createCache({ shared: redisShared({ client }), local: { maxBytes } }); all times as by default; absent rows live as long as others.',
  refreshes: true,
  unpromised: { 'foreign-change': WITHOUT_FEED, 'old-snapshot': WITHOUT_FEED },
}

export function open(setting: Setting): Promise<Adapter> {
  return openCache(setting, { local: true, feed: false })
}
