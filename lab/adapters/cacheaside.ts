/** cacheaside with Redis only. */
import type { About, Adapter, Setting } from '../adapter.ts'
import { openCache } from '../cacheaside-cache.ts'

const WITHOUT_FEED = 'needs the change feed'

export const about: About = {
  name: 'cacheaside, L2',
  docs: '../cacheaside/README.md',
  packages: ['cacheaside', 'ioredis'],
  setUp:
    'createCache({ shared: redisShared({ client }) }); get, getMany, write. All times as by default; absent rows live as long as others.',
  refreshes: true,
  unpromised: { 'foreign-change': WITHOUT_FEED, 'old-snapshot': WITHOUT_FEED },
}

export function open(setting: Setting): Promise<Adapter> {
  return openCache(setting, { local: false, feed: false })
}
