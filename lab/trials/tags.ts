/** Values that depend on other rows: books, which show the rows whose scrolls lie in them. */
import { eventually, type RedisServer } from '../../test/redis-servers.ts'
import type { TagsFrom } from '../adapter.ts'
import type { LabProcess } from '../lab-process.ts'
import { clientsOf, passes, REST_MS, reconnected, type Stage, warm } from '../stage.ts'
import { inRounds, type Trial } from '../trial.ts'

/** Readers are held with the old books in their hands, a tag of each is written, the readers go on. */
async function overlap(
  stage: Stage,
  [reader, writer]: readonly [LabProcess, LabProcess],
  all: readonly LabProcess[],
  count: number,
) {
  const ids = stage.ids(count)
  await stage.plant(ids)
  const held = ids.map(id => reader.hold('loaded', id))
  const reading = ids.map(id => reader.get(id))
  await Promise.all(held.map(one => one.reached))
  await Promise.all(ids.map(id => writer.write(id)))
  for (const one of held) one.letGo()
  await Promise.all(reading)
  await passes(REST_MS)
  const stale = await stage.staleAmong(all, ids)
  return { bad: stale.size, unforced: 0 }
}

function duringLoad(id: string, heading: string, text: string, isSame: boolean, tagsFrom: TagsFrom): Trial {
  return {
    id,
    heading,
    text,
    isOfTags: true,
    async run(stage, rows) {
      const all = await stage.start(2, { tagsFrom })
      const [reader, other] = all as [LabProcess, LabProcess]
      return inRounds(rows, count => overlap(stage, [reader, isSame ? reader : other], all, count))
    },
  }
}

/** The process that loads could know of it. */
export const tagInLoad = duringLoad(
  'tag-in-load',
  'tag invalidated during a load',
  'The tags of a book are known from its id. A reader has run its SELECT and is held before its loader returns. The same process changes a row of the book and invalidates its tag. Then the reader continues. Counted: books that either of two processes answers with the old version after the rest.',
  true,
  'id',
)

/** The process that loads cannot know of it. */
export const tagInLoadElsewhere = duringLoad(
  'tag-in-load-elsewhere',
  '… by another process',
  'The same, but another process changes the row and invalidates the tag.',
  false,
  'id',
)

/** The process does not know the tag when it begins to load. */
export const lateTag = duringLoad(
  'late-tag',
  'late tag',
  'The same, but the tags are known from the loaded book only. The library is given them in the way it has for that; where it has none, the program loads, and stores the value with its tags.',
  false,
  'value',
)

const FILLER = 'x'.repeat(4_000)

/**
 * Makes a server evict all keys of tags: they have not been used for the longest time when other data fills it, and its other
 * keys are touched before each further piece.
 */
async function evict(redis: RedisServer, isTag: RegExp): Promise<void> {
  const keys = (await redis.command('KEYS', '*')) as string[]
  const tags = keys.filter(key => isTag.test(key))
  if (tags.length === 0) throw new Error(`Redis has no key of tags among ${keys.slice(0, 5).join(', ')}`)
  const others = keys.filter(key => !isTag.test(key))
  const used = /used_memory:(\d+)/.exec(String(await redis.command('INFO', 'memory')))![1]
  await redis.command('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru')
  await redis.command('CONFIG', 'SET', 'maxmemory-samples', 64)
  await redis.command('CONFIG', 'SET', 'maxmemory', Number(used) + 1_500_000)
  let pieces = 0
  const fill = (fillers: number) =>
    redis.command(
      'EVAL',
      `for i = 1, ARGV[3] do redis.call('SET', 'filler:' .. ARGV[2] .. ':' .. i, ARGV[1]) end`,
      0,
      FILLER,
      pieces++,
      fillers,
    )
  const unused = (key: string) =>
    eventually(async () => Number(await redis.command('OBJECT', 'IDLETIME', key)) >= 2, `${key} to be old`)
  await unused(tags.at(-1)!)
  await fill(200)
  await unused('filler:0:200')
  await eventually(async () => {
    if (others.length > 0) await redis.command('TOUCH', ...others)
    await fill(10)
    return (await redis.command('EXISTS', ...tags)) === 0
  }, 'the tags to be evicted')
  await redis.command('CONFIG', 'SET', 'maxmemory', 0)
  await redis.command(
    'EVAL',
    "for _, key in ipairs(redis.call('KEYS', 'filler:*')) do redis.call('DEL', key) end",
    0,
  )
}

/** Redis is short of memory, and forgets tags before it forgets values. */
export const stampEvicted: Trial = {
  id: 'stamp-evicted',
  heading: 'stamp evicted',
  text: 'Two processes have the books cached. Half of the rows are changed and their tags invalidated. Then Redis, under allkeys-lru, is short of memory until it has evicted what it keeps of tags, which nobody has used for seconds; everything else is touched meanwhile. Then the other half are changed and invalidated. Counted: books that either process answers with the old version after the rest. A dash: the library keeps nothing of tags in Redis.',
  isOfTags: true,
  async run(stage, rows) {
    if (stage.caches && stage.tagKeys === undefined)
      return { kind: 'none', why: 'keeps nothing of tags in Redis' }
    const processes = await stage.start(2)
    return inRounds(rows, async count => {
      const ids = stage.ids(count)
      await stage.plant(ids)
      const cached = stage.caches ? await warm(processes, ids) : ids
      const [before, after] = [cached.filter((_, i) => i % 2 === 0), cached.filter((_, i) => i % 2 === 1)]
      await Promise.all(before.map(id => processes[0]!.write(id)))
      if (stage.tagKeys !== undefined) await evict(stage.redis, stage.tagKeys)
      await Promise.all(after.map(id => processes[0]!.write(id)))
      await passes(REST_MS)
      const stale = await stage.staleAmong(processes, cached)
      return { bad: stale.size, unforced: count - cached.length }
    })
  },
}

/** Nobody who changes the rows knows of a cache. */
export const rowMoves: Trial = {
  id: 'row-moves',
  heading: 'row moved by psql',
  text: 'Two processes have the books cached. Another program, which knows of no cache, moves the row of each book to the next book, by one UPDATE. Counted: books that either process answers as they were, after the rest.',
  isOfTags: true,
  async run(stage, rows) {
    const processes = await stage.start(2)
    return inRounds(rows, async count => {
      const ids = stage.ids(count)
      await stage.plant(ids)
      // Otherwise two books would show as much as before.
      await stage.sql('UPDATE spell SET version = id WHERE id = ANY($1::bigint[])', [ids])
      await passes(REST_MS)
      const cached = stage.caches ? await warm(processes, ids) : ids
      await stage.sql('UPDATE scroll SET book = book + 1 WHERE book = ANY($1::bigint[])', [ids.slice(0, -1)])
      await passes(REST_MS)
      const stale = await stage.staleAmong(processes, cached)
      return { bad: stale.size, unforced: count - cached.length }
    })
  },
}

/** Redis forgets which tags were invalidated. */
export const tagOldSnapshot: Trial = {
  id: 'tag-old-snapshot',
  heading: 'old snapshot, tags',
  text: 'Two processes have the books cached; Redis saves a snapshot; one process changes the rows and invalidates their tags. Then Redis is killed and started again with the snapshot. The rest begins when all clients are connected again. Counted: books that either process answers with the old version.',
  isOfTags: true,
  async run(stage, rows) {
    const processes = await stage.start(2)
    const { redis } = stage
    return inRounds(rows, async count => {
      const ids = stage.ids(count)
      await stage.plant(ids)
      const cached = stage.caches ? await warm(processes, ids) : ids
      const clients = await clientsOf(redis)
      await redis.command('SAVE')
      await Promise.all(cached.map(id => processes[0]!.write(id)))
      await redis.kill()
      await redis.restart()
      await reconnected(redis, clients)
      await passes(REST_MS)
      const stale = await stage.staleAmong(processes, cached)
      return { bad: stale.size, unforced: count - cached.length }
    })
  },
}

/** Two values are read, and both are changed by one commit meanwhile. */
export const tornPair: Trial = {
  id: 'torn-pair',
  heading: 'torn pair',
  text: 'A process has the first of two books cached, reads both, and is held before it loads the second. Another process takes one from the row of the first and adds it to that of the second, by one commit, and invalidates both tags. Then the reader continues. Both are read by the library’s read of several values at one moment, if it has one, and else side by side. Counted: pairs whose sum is not what it always was.',
  isOfTags: true,
  async run(stage, rows) {
    const [reader, writer] = (await stage.start(2)) as [LabProcess, LabProcess]
    return inRounds(rows, async count => {
      const pairs = Array.from({ length: count }, () => stage.ids(2) as [number, number])
      await stage.plant(pairs.flat())
      const firsts = pairs.map(([first]) => first)
      const cached = new Set(stage.caches ? await warm([reader], firsts) : firsts)
      const tried = pairs.filter(([first]) => cached.has(first))
      const held = tried.map(([, second]) => reader.hold('load', second))
      const reading = tried.map(pair => reader.getBoth(pair))
      await Promise.all(held.map(one => one.reached))
      // The first of each was asked for before the second was loaded.
      await passes(500)
      await Promise.all(tried.map(([from, to]) => writer.move(from, to)))
      for (const one of held) one.letGo()
      const seen = await Promise.all(reading)
      const torn = seen.filter(versions => (versions[0] ?? 0) + (versions[1] ?? 0) !== 2)
      return { bad: torn.length, unforced: count - tried.length }
    })
  },
}
