/** What docs/eviction.md shows, with what it takes for granted. It is compiled and not run. */
import { createCache, embeddedShared } from 'cacheaside'

const cache = createCache({
  shared: embeddedShared({ maxBytes: 64 * 2 ** 20, policy: 'allkeys-lfu' }),
  local: { maxBytes: 16 * 2 ** 20, policy: 's3-fifo' },
})

export { cache }
