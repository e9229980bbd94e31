/**
 * `npm run scale`: how what there is grows, each by one dimension. `npm run scale -- keys`, `-- processes`, `-- cluster`, `-- tags`,
 * `-- feed`, `-- backlog` and `-- viewers` run one part. What was measured is kept in `docs/performance`: as Markdown, JSON and
 * a picture each.
 */
import { refuse } from '../../test/usage.ts'
import { backlog, changesPerSecond } from './scale-feed.ts'
import { keys } from './scale-keys.ts'
import { clusters, processes, tags } from './scale-redis.ts'
import { keepSeries, type Series, seriesTable } from './scale-report.ts'
import { viewers } from './scale-viewers.ts'

const PARTS: Readonly<Record<string, () => Promise<Series>>> = {
  keys,
  processes,
  cluster: clusters,
  tags,
  feed: changesPerSecond,
  backlog,
  viewers,
}

const asked = process.argv.slice(2)
const unknown = asked.find(part => !Object.hasOwn(PARTS, part))
if (unknown !== undefined) refuse('scale', `${unknown} is none of ${Object.keys(PARTS).join(', ')}`)
for (const [name, run] of Object.entries(PARTS)) {
  if (asked.length > 0 && !asked.includes(name)) continue
  const series = await run()
  console.log(seriesTable(series))
  await keepSeries(name, series)
}
process.exit(0)
