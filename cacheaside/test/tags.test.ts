import v8 from 'node:v8'
import vm from 'node:vm'
import { describe, expect, test } from 'vitest'
import type { CacheOptions, Key, KeyspaceOptions, Tag } from '../src/index.ts'
import { gate } from '../src/testing/index.ts'
import { openWorld, passing, within } from './world.ts'

interface Post {
  readonly id: number
  readonly author_id: number
  readonly author: string
}

/** An origin of posts and their authors. */
function blog() {
  const authors = new Map([
    [7, 'Ann'],
    [8, 'Bob'],
  ])
  const posts = new Map([
    [5, 7],
    [6, 7],
    [9, 8],
  ])
  let loads = 0
  const stops: ReturnType<typeof gate<void>>[] = []
  const post = (id: number): Post | undefined => {
    const author_id = posts.get(id)
    return author_id === undefined ? undefined : { id, author_id, author: authors.get(author_id)! }
  }
  return {
    authors,
    posts,
    get loads() {
      return loads
    },
    /** The next load has read what there is, and answers when the gate is opened. */
    stopNextLoad() {
      const stop = gate<void>()
      stops.push(stop)
      return stop
    },
    async post(id: number) {
      loads++
      const seen = post(id)
      await stops.shift()?.wait()
      return seen
    },
    async postsMany(ids: readonly number[]) {
      loads++
      const seen = ids.map(id => [id, post(id)] as const)
      await stops.shift()?.wait()
      return seen
    },
    async page(author_id: number) {
      loads++
      const seen = [...posts].filter(([, by]) => by === author_id).map(([id]) => post(id)!)
      await stops.shift()?.wait()
      return seen
    },
  }
}

type Blog = ReturnType<typeof blog>

/** One process of the blog: values by reference (`posts`) and by condition (`pages`). */
function open(
  world: ReturnType<typeof openWorld>,
  origin: Blog,
  options: Omit<CacheOptions, 'clock' | 'shared'> = {},
  shared?: ReturnType<typeof world.network>,
) {
  const one = world.process(options, shared)
  const author = one.cache.tags<number>('author')
  const postsOf = one.cache.tags<number>('posts-of')
  const posts = one.cache.keyspace('post', {
    load: (id: number) => origin.post(id),
    loadMany: (ids: readonly number[]) => origin.postsMany(ids),
    tagsOf: post => (post === undefined ? [] : [author.key(post.author_id)]),
    ttlJitter: 0,
  })
  const pages = one.cache.keyspace('page', {
    load: (author_id: number) => origin.page(author_id),
    tags: author_id => [postsOf.key(author_id), author.key(author_id)],
    ttlJitter: 0,
  })
  return { ...one, author, postsOf, posts, pages }
}

describe.each([
  ['without L1', {}],
  ['with L1', { local: { maxEntries: 100 } }],
])('a cache %s', (_, options: Omit<CacheOptions, 'clock' | 'shared'>) => {
  test('keeps values with tags, and finds them', async () => {
    const world = openWorld()
    const origin = blog()
    const { posts, pages } = open(world, origin, options)
    expect(await pages.get(7)).toHaveLength(2)
    await world.clock.drain()
    expect(await pages.read(7)).toMatchObject({ why: 'fresh' })
    expect(await posts.get(5)).toMatchObject({ author: 'Ann' })
    await world.clock.drain()
    expect(await posts.read(5)).toMatchObject({ why: 'fresh' })
  })

  test('invalidate of a tag removes every value stored under it, and no other, in every process', async () => {
    const world = openWorld()
    const origin = blog()
    const [one, other] = [open(world, origin, options), open(world, origin, options)]
    for (const { posts } of [one, other]) for (const id of [5, 6, 9, 5, 6, 9]) await posts.get(id)
    origin.authors.set(7, 'Anna')
    expect(await one.author.invalidate(7)).toBe('applied')
    for (const { posts } of [one, other]) {
      expect(await posts.get(5)).toMatchObject({ author: 'Anna' })
      expect(await posts.get(6)).toMatchObject({ author: 'Anna' })
      expect(await posts.read(9)).toMatchObject({ why: 'fresh' })
    }
  })

  test('read says that a value fell because of a tag, and which', async () => {
    const world = openWorld()
    const { posts, author } = open(world, blog(), options)
    await posts.get(5)
    await world.clock.drain()
    await author.invalidate(7)
    await world.clock.drain()
    expect(await posts.read(5)).toMatchObject({ why: 'tag', tag: 'author:7', from: 'origin', kept: true })
  })

  test('invalidateAll of tags removes what was stored under any of them', async () => {
    const world = openWorld()
    const origin = blog()
    const [one, other] = [open(world, origin, options), open(world, origin, options)]
    for (const { posts } of [one, other]) for (const id of [5, 9, 5, 9]) await posts.get(id)
    origin.authors.set(7, 'Anna').set(8, 'Bobby')
    expect(await one.author.invalidateAll()).toBe('applied')
    for (const { posts } of [one, other]) {
      expect(await posts.get(5)).toMatchObject({ author: 'Anna' })
      expect(await posts.get(9)).toMatchObject({ author: 'Bobby' })
    }
  })

  test('a write that names a tag guards what depends on it', async () => {
    const world = openWorld()
    const origin = blog()
    const { cache, posts, pages, author, postsOf } = open(world, origin, options)
    await pages.get(7)
    const { fenced } = await cache.write([posts.key(5), author.key(7), postsOf.key(7)], async () => {
      origin.authors.set(7, 'Anna')
      expect(await pages.read(7)).toMatchObject({ why: 'guarded', from: 'origin', kept: false })
    })
    expect(fenced).toBe(true)
    expect((await pages.get(7))?.[0]).toMatchObject({ author: 'Anna' })
  })

  test('a load that an invalidation of its tag overtakes is answered, and not kept', async () => {
    const world = openWorld()
    const origin = blog()
    const [one, other] = [open(world, origin, options), open(world, origin, options)]
    const stop = origin.stopNextLoad()
    const reading = one.pages.get(7)
    await stop.reached
    origin.authors.set(7, 'Anna')
    await other.author.invalidate(7)
    stop.open()
    expect((await reading)?.[0]).toMatchObject({ author: 'Ann' })
    expect((await one.pages.get(7))?.[0]).toMatchObject({ author: 'Anna' })
    expect((await other.pages.get(7))?.[0]).toMatchObject({ author: 'Anna' })
  })

  test('a load whose tag is known only from its value is not kept if the tag was invalidated meanwhile', async () => {
    const world = openWorld()
    const origin = blog()
    const [one, other] = [open(world, origin, options), open(world, origin, options)]
    const stop = origin.stopNextLoad()
    const reading = one.posts.get(5)
    await stop.reached
    origin.authors.set(7, 'Anna')
    await other.author.invalidate(7)
    stop.open()
    expect(await reading).toMatchObject({ author: 'Ann' })
    await world.clock.drain()
    expect(await one.posts.get(5)).toMatchObject({ author: 'Anna' })
    expect(await other.posts.get(5)).toMatchObject({ author: 'Anna' })
  })

  test('own writes are seen, also by a read that finds a flight which began before', async () => {
    const world = openWorld()
    const origin = blog()
    const { posts, author, cache } = open(world, origin, options)
    const stop = origin.stopNextLoad()
    const overtaken = posts.get(5)
    await stop.reached
    await cache.write([author.key(7)], async () => void origin.authors.set(7, 'Anna'))
    expect(await within(world.clock, 3_000, posts.get(5))).toMatchObject({ author: 'Anna' })
    stop.open()
    expect(await overtaken).toMatchObject({ author: 'Ann' })
  })

  test('getMany reads and keeps values with tags', async () => {
    const world = openWorld()
    const origin = blog()
    const { posts, author, cache } = open(world, origin, options)
    expect((await posts.getMany([5, 6, 9])).size).toBe(3)
    await world.clock.drain()
    const { loads } = origin
    expect((await posts.getMany([5, 6, 9])).size).toBe(3)
    expect(origin.loads).toBe(loads)
    origin.authors.set(7, 'Anna')
    await author.invalidate(7)
    const found = await posts.getMany([5, 6, 9])
    expect([...found.values()].map(post => post.author)).toEqual(['Anna', 'Anna', 'Bob'])
    expect(origin.loads).toBe(loads + 1)
    await world.clock.drain()
    expect((await posts.getMany([5, 6, 9])).size).toBe(3)
    expect(origin.loads).toBe(loads + 1)
    expect(cache.stats().now.loads).toBe(0)
  })

  test('a strong read never finds a value whose tag has fallen', async () => {
    const world = openWorld()
    const origin = blog()
    const link = world.network()
    const one = open(world, origin, options, link)
    const other = open(world, origin, options)
    await world.clock.advance(10)
    await one.pages.get(7)
    link.holdStream()
    origin.authors.set(7, 'Anna')
    await other.author.invalidate(7)
    expect((await one.pages.get(7, { consistency: 'strong' }))?.[0]).toMatchObject({ author: 'Anna' })
    link.releaseStream()
    await world.clock.drain()
  })

  test('an absent row has tags too', async () => {
    const world = openWorld()
    const origin = blog()
    const { cache } = world.process(options)
    const slot = cache.tags<number>('slot')
    const rows = cache.keyspace('row', { load: (id: number) => origin.post(id), tags: id => [slot.key(id)] })
    expect(await rows.get(1)).toBeUndefined()
    await world.clock.drain()
    expect(await rows.read(1)).toMatchObject({ why: 'fresh', value: undefined })
    origin.posts.set(1, 8)
    await slot.invalidate(1)
    expect(await rows.get(1)).toMatchObject({ author: 'Bob' })
  })
})

/** What a load has seen, and which of all loads it was. */
interface Row {
  readonly seen: number
  readonly call: number
}

/** How often the loads of three processes are called while 20 readers of each ask for one key, after each of five writes. */
async function loadsOf(
  shape: 'static' | 'late' | 'restless',
  options: Omit<CacheOptions, 'clock' | 'shared'>,
) {
  const world = openWorld()
  let [version, loads] = [1, 0]
  const processes = [1, 2, 3].map(() => {
    const { cache } = world.process(options, world.network())
    const tag = cache.tags<number>('tag')
    const load = async (_id: number): Promise<Row> => {
      const [seen, call] = [version, ++loads]
      await passing(world.clock, 20)
      return { seen, call }
    }
    const named: Record<typeof shape, Pick<KeyspaceOptions<number, Row>, 'tags' | 'tagsOf'>> = {
      static: { tags: () => [tag.key(1)] },
      late: { tagsOf: () => [tag.key(1)] },
      restless: { tagsOf: row => [tag.key(row?.call ?? 0)] },
    }
    const values = cache.keyspace<number, Row>('value', { load, ...named[shape] })
    return { cache, tag, values }
  })
  await world.clock.advance(10)
  const counts: number[] = []
  for (let round = 0; round < 6; round++) {
    const before = loads
    const { cache, tag } = processes[round % 3]!
    if (round > 0) await cache.write([tag.key(1)], async () => ++version)
    const reading = processes.flatMap(({ values }) => Array.from({ length: 20 }, () => values.get(1)))
    const answers = await within(world.clock, 2_000, Promise.all(reading))
    expect(new Set(answers.map(answer => answer?.seen))).toEqual(new Set([version]))
    // Those who come later, one after the other.
    for (let i = 0; i < 5; i++)
      for (const { values } of processes) await within(world.clock, 200, values.get(1))
    counts.push(loads - before)
  }
  await world.clock.advance(5_000)
  for (const { cache } of processes) expect(cache.stats().now).toMatchObject({ loads: 0, flights: 0 })
  return counts
}

describe.each([
  ['without L1', {}],
  ['with L1', { local: { maxEntries: 100 } }],
])('the loads of a hot key in three processes %s', (_, options) => {
  test('are one for each write, where its tag is known from the id', async () => {
    expect(await loadsOf('static', options)).toEqual([1, 1, 1, 1, 1, 1])
  })

  test('are one for each write, where its tag is late, and one more where the tag is new', async () => {
    expect(await loadsOf('late', options)).toEqual([2, 1, 1, 1, 1, 1])
  })

  test('are one for each time that somebody asks, and one more for each process, where its tags never stay the same', async () => {
    // All readers of three processes at once, and then 15 readers one after the other.
    const each = 3 + 15
    expect(await loadsOf('restless', options)).toEqual([each + 3, each, each, each, each, each])
  })
})

describe('values with tags', () => {
  test('are loaded once more where a tag is new to the process, and once where it is known', async () => {
    const world = openWorld()
    const origin = blog()
    const { posts } = open(world, origin)
    await posts.get(5)
    await world.clock.drain()
    expect(origin.loads).toBe(2)
    expect(await posts.read(5)).toMatchObject({ why: 'fresh' })
    await posts.get(6)
    await world.clock.drain()
    expect(origin.loads).toBe(3)
    expect(await posts.read(6)).toMatchObject({ why: 'fresh' })
  })

  test('are not loaded again and again where their tags never stay the same', async () => {
    const world = openWorld()
    const { cache } = world.process()
    const any = cache.tags<number>('any')
    let loads = 0
    const restless = cache.keyspace('restless', {
      load: async (_id: number) => ++loads,
      tagsOf: value => [any.key(value!)],
    })
    await restless.get(1)
    await world.clock.drain()
    expect(loads).toBe(2)
    for (let i = 0; i < 5; i++) {
      await restless.get(1)
      await world.clock.drain()
    }
    expect(loads).toBe(7)
  })

  test('are not kept with more than 64 tags, which an event says', async () => {
    const world = openWorld()
    const { cache, eventsOf } = world.process()
    const one = cache.tags<number>('one')
    const wide = cache.keyspace('wide', {
      load: async (id: number) => id,
      tagsOf: () => Array.from({ length: 65 }, (_, i) => one.key(i)),
    })
    expect(await wide.get(1)).toBe(1)
    await world.clock.drain()
    expect(await wide.read(1)).toMatchObject({ from: 'origin', kept: false })
    expect(eventsOf('fill').map(({ outcome }) => outcome)).toEqual(['too-many-tags', 'too-many-tags'])
    const asked = cache.keyspace('asked', {
      load: async (id: number) => id,
      tags: () => Array.from({ length: 65 }, (_, i) => one.key(i)),
    })
    await expect(asked.get(1)).rejects.toMatchObject({ code: 'INVALID_KEY' })
  })

  test('are kept with 64 tags', async () => {
    const world = openWorld()
    const { cache } = world.process()
    const one = cache.tags<number>('one')
    const wide = cache.keyspace('wide', {
      load: async (id: number) => id,
      tags: () => Array.from({ length: 64 }, (_, i) => one.key(i)),
    })
    await wide.get(1)
    await world.clock.drain()
    expect(await wide.read(1)).toMatchObject({ why: 'fresh' })
    await one.invalidate(63)
    expect(await wide.read(1)).toMatchObject({ why: 'tag', tag: 'one:63' })
  })

  test('are answered and not kept where tagsOf throws or answers with something else', async () => {
    const world = openWorld()
    const { cache, eventsOf } = world.process()
    const values = cache.keyspace('value', {
      load: async (id: number) => id,
      tagsOf: () => {
        throw new Error('no tags')
      },
    })
    expect(await values.read(1)).toMatchObject({ value: 1, kept: false })
    expect(eventsOf('fault')).toMatchObject([{ during: 'value.tagsOf' }])
    const keys = cache.keyspace('key', {
      load: async (id: number) => id,
      tagsOf: () => [values.key(1) as string as Tag],
    })
    expect(await keys.read(1)).toMatchObject({ value: 1, kept: false })
    expect(eventsOf('fault')[1]).toMatchObject({ during: 'key.tagsOf', error: { code: 'INVALID_KEY' } })
  })

  test('whose tags throws are not read', async () => {
    const world = openWorld()
    const { cache } = world.process()
    const values = cache.keyspace('value', {
      load: async (id: number) => id,
      loadMany: async (ids: readonly number[]) => ids.map(id => [id, id] as const),
      tags: () => {
        throw new Error('no tags')
      },
    })
    await expect(values.get(1)).rejects.toThrow('no tags')
    await expect(values.get(1, { consistency: 'strong' })).rejects.toThrow('no tags')
    await expect(values.getMany([1, 2])).rejects.toThrow('no tags')
  })

  test('are not served stale once a tag has fallen', async () => {
    const world = openWorld()
    const origin = blog()
    const { cache } = world.process()
    const author = cache.tags<number>('author')
    let fails = false
    const posts = cache.keyspace('post', {
      load: (id: number) => {
        if (fails) throw new Error('away')
        return origin.post(id)
      },
      tags: () => [author.key(7)],
      ttlMs: 1_000,
      ttlJitter: 0,
      staleMs: 60_000,
      staleIfErrorMs: 60_000,
    })
    await posts.get(5)
    await world.clock.advance(2_000)
    fails = true
    await author.invalidate(7)
    await expect(posts.get(5)).rejects.toThrow('away')
  })

  test('a tag whose invalidation is queued is bypassed by this process', async () => {
    const world = openWorld()
    const origin = blog()
    const link = world.network()
    const { pages, posts, author } = open(world, origin, { local: { maxEntries: 10 } }, link)
    await world.clock.advance(10)
    await pages.get(7)
    await posts.get(5)
    await world.clock.drain()
    await posts.get(5)
    link.fail('invalidate')
    origin.authors.set(7, 'Anna')
    expect(await author.invalidate(7)).toBe('queued')
    expect(await pages.read(7)).toMatchObject({ from: 'origin', kept: false })
    expect(await posts.get(5)).toMatchObject({ author: 'Anna' })
    link.restore()
    await world.clock.advance(3_000)
    expect((await pages.get(7))?.[0]).toMatchObject({ author: 'Anna' })
    await world.clock.drain()
    expect(await pages.read(7)).toMatchObject({ why: 'fresh' })
  })

  test('that lack a tag are replaced once, and then bypassed, so that processes do not take turns', async () => {
    const world = openWorld()
    let loads = 0
    const [older, newer] = [world.process(), world.process()]
    const load = async (id: number) => {
      loads++
      return id
    }
    const [a, b] = [older.cache.tags<number>('a'), newer.cache.tags<number>('b')]
    const olds = older.cache.keyspace('value', { load, tags: id => [a.key(id)] })
    const news = newer.cache.keyspace('value', { load, tags: id => [b.key(id)] })
    const whys: string[] = []
    for (let i = 0; i < 4; i++) {
      whys.push((await olds.read(1)).why)
      whys.push((await news.read(1)).why)
    }
    expect(whys).toEqual(['missing', 'names', 'names', 'names', 'fresh', 'names', 'fresh', 'names'])
    expect(loads).toBe(6)
  })

  test('cost one round trip where they are found', async () => {
    const world = openWorld()
    const origin = blog()
    const link = world.network()
    const { pages } = open(world, origin, {}, link)
    await world.clock.advance(10)
    await pages.get(7)
    await world.clock.drain()
    const before = link.log.length
    expect(await pages.read(7)).toMatchObject({ why: 'fresh' })
    expect(link.log.slice(before).map(({ operation }) => operation)).toEqual(['look'])
  })

  test('cost one round trip for a strong read too, as without tags', async () => {
    const world = openWorld()
    const link = world.network()
    const { pages, cache } = open(world, blog(), {}, link)
    const plain = cache.keyspace('plain', { load: async (id: number) => id })
    await world.clock.advance(10)
    await Promise.all([pages.get(7), plain.get(7)])
    await world.clock.drain()
    link.delay(20)
    const tookMs = async (read: () => Promise<{ readonly why: string }>) => {
      const beganMs = world.clock.nowMs()
      let endedMs = 0
      const reading = read().finally(() => {
        endedMs = world.clock.nowMs()
      })
      expect(await within(world.clock, 200, reading)).toMatchObject({ why: 'fresh' })
      return endedMs - beganMs
    }
    const withoutMs = await tookMs(() => plain.read(7, { consistency: 'strong' }))
    expect(withoutMs).toBeGreaterThanOrEqual(20)
    expect(await tookMs(() => pages.read(7, { consistency: 'strong' }))).toBe(withoutMs)
    link.restore()
  })

  test('give back the lease that a guarded tag makes useless', async () => {
    const world = openWorld()
    const origin = blog()
    const { pages, posts, cache, author } = open(world, origin)
    await cache.write([author.key(7)], async () => {
      expect(await pages.read(7)).toMatchObject({ why: 'guarded', tag: 'author:7' })
      await world.clock.drain()
      expect(world.inspect('page:7')).toBeUndefined()
      expect(await posts.read(5)).toMatchObject({ kept: false })
      await world.clock.drain()
      expect(world.inspect('post:5')).toBeUndefined()
    })
  })

  test('a register that is no stamp is replaced', async () => {
    const world = openWorld()
    const origin = blog()
    world.plant('author:7', 'rubbish')
    world.plant('posts-of:7', `L${'.'.padEnd(16, 'x')}`)
    const { pages } = open(world, origin)
    await pages.get(7)
    await world.clock.drain()
    expect(await pages.read(7)).toMatchObject({ why: 'fresh' })
    expect(world.inspect('author:7')).toMatch(/^S/)
    expect(world.inspect('posts-of:7')).toMatch(/^S/)
  })

  test('nothing is left of tags whose values are gone', async () => {
    const world = openWorld()
    const { cache } = world.process({ local: { maxEntries: 2 } })
    const one = cache.tags<number>('one')
    const values = cache.keyspace('value', { load: async (id: number) => id, tags: id => [one.key(id)] })
    for (let i = 0; i < 50; i++) await values.get(i)
    await world.clock.drain()
    expect(cache.stats().now).toMatchObject({ localEntries: 2, localTags: 2, flights: 0 })
  })

  test('types: a tag is no key of a value, and the other way round', () => {
    const world = openWorld()
    const { cache } = world.process()
    const tags = cache.tags<number>('one')
    const values = cache.keyspace('value', {
      load: async (id: number) => ({ id }),
      tags: id => [tags.key(id)],
      tagsOf: value => (value === undefined ? [] : [tags.key(value.id)]),
    })
    const key: Key = values.key(1)
    const tag: Tag = tags.key(1)
    // @ts-expect-error a tag has no value
    const noKey: Key = tag
    // @ts-expect-error a key is no tag
    const noTag: Tag = key
    // @ts-expect-error the id is a number
    tags.key('1')
    expect([noKey, noTag]).toEqual([tag, key])
    expect(() => cache.tags('value')).toThrow(/a new one in this cache/)
    expect(() => cache.keyspace('one', { load: async () => 1 })).toThrow(/a new one in this cache/)
  })

  test('that were found do not stay in memory because their tags are remembered', async () => {
    v8.setFlagsFromString('--expose-gc')
    const collectGarbage: () => void = vm.runInNewContext('gc')
    const heap = () => {
      collectGarbage()
      return process.memoryUsage().heapUsed
    }
    const world = openWorld()
    const of = ({ cache }: Pick<ReturnType<typeof world.process>, 'cache'>) => {
      const authors = cache.tags<number>('authors-of-a-post')
      return cache.keyspace('post', {
        load: async (id: number) => id,
        tagsOf: (_, id) => [authors.key(id)],
        codec: { encode: id => 'x'.repeat(1_000_000) + id, decode: text => Number(text.slice(1_000_000)) },
      })
    }
    const [posts, theirs] = [of(world.process()), of(world.process({}, world.network()))]
    await world.clock.advance(10)
    const before = heap()
    for (let id = 0; id < 30; id++) {
      await posts.get(id)
      await world.clock.drain()
      expect(await theirs.read(id)).toMatchObject({ from: 'shared' })
      await posts.invalidate(id)
    }
    expect(heap() - before).toBeLessThan(10_000_000)
  })
})
