/** What docs/cli.md shows, with what it takes for granted. It is compiled and not run. */
import { createCache } from 'cacheaside'
import { answerInquiries } from 'cacheaside/operate'

const cache = createCache()

answerInquiries(cache, { name: 'api-3' }) // by Redis; ends with the cache
