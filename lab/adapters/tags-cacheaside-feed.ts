/** cacheaside with tags, an L1, Redis, and the change feed. */
import type { About, Adapter, Setting } from '../adapter.ts'
import { openTags, prepareTags } from '../cacheaside-tags.ts'

export const about: About = {
  name: 'cacheaside, tags, L1 + L2 + feed',
  docs: './tables.md',
  packages: ['cacheaside', 'ioredis', 'pg'],
  setUp:
    'the same with L1, tableTags in the place of cache.tags(), and feed: postgresFeed({ pool, tables }).',
  refreshes: false,
  hasTags: true,
  tagKeys: /^table\./,
}

export const install = prepareTags

export function open(setting: Setting): Promise<Adapter> {
  return openTags(setting, { local: true, feed: true })
}
