/** cacheaside with tags, and Redis only. */
import type { About, Adapter, Setting } from '../adapter.ts'
import { openTags } from '../cacheaside-tags.ts'

const WITHOUT_FEED = 'needs the change feed'

export const about: About = {
  name: 'cacheaside, tags, L2',
  docs: './dependencies.md',
  packages: ['cacheaside', 'ioredis'],
  setUp: 'tags and tagsOf with the keys of cache.tags(); get, snapshot, write. All times as by default.',
  refreshes: false,
  hasTags: true,
  tagKeys: /^(row|shelf):/,
  unpromised: { 'row-moves': WITHOUT_FEED, 'tag-old-snapshot': WITHOUT_FEED },
}

export function open(setting: Setting): Promise<Adapter> {
  return openTags(setting, { local: false, feed: false })
}
