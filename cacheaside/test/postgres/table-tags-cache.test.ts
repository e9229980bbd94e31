import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  type Cache,
  type CacheOptions,
  createCache,
  embeddedShared,
  type FeedRow,
  systemClock,
} from '../../src/index.ts'
import { installFeed, type PostgresFeedTables, postgresFeed, tableTags } from '../../src/postgres/index.ts'
import { faultySharedStore } from '../../src/testing/index.ts'
import { notingLogger, quiet } from '../heard-warnings.ts'
import { until } from './conditions.ts'
import { openPGlite, openPostgres, type TestDatabase } from './databases.ts'

const declare = () => tableTags({ comment: { by: ['post_id'] } })

describe.each([
  ['PostgreSQL', openPostgres],
  ['PGlite', openPGlite],
])('values under the tags of a table on %s', (_name, open) => {
  let database: TestDatabase
  let caches: Cache[]

  beforeAll(async () => {
    database = await open()
  })
  afterAll(() => database.close())
  beforeEach(async () => {
    caches = []
    await database.reset()
    await database.sql(`CREATE TABLE comment (id bigint PRIMARY KEY, post_id bigint, body text);
      INSERT INTO comment VALUES (1, 5, 'a'), (2, 5, 'b'), (3, 6, 'c')`)
  })
  afterEach(() => Promise.all(caches.map(cache => cache.close())))

  function start(options: CacheOptions, tables?: PostgresFeedTables): Cache {
    const feed = tables === undefined ? {} : { feed: postgresFeed({ ...database.driver, tables }) }
    const cache = createCache({ logger: quiet, ...options, ...feed })
    caches.push(cache)
    return cache
  }

  const keyspacesOf = (cache: Cache, { comment } = declare()) => ({
    ofPost: cache.keyspace('comments-of-post', {
      load: async (post: number) => {
        const rows = await database.sql(`SELECT body FROM comment WHERE post_id = ${post} ORDER BY id`)
        return rows.map(({ body }) => String(body)).join('')
      },
      tags: post => [comment.where({ post_id: post })],
    }),
    count: cache.keyspace('comment-count', {
      load: async (_: string) => Number((await database.sql('SELECT count(*)::int AS n FROM comment'))[0]!.n),
      tags: () => [comment.any()],
    }),
  })

  it('are loaded again after every change of their group by a stranger, and kept through those of others', async () => {
    const tags = declare()
    await installFeed(database.sql, { tables: tags })
    const cache = start({ local: { maxEntries: 100 } }, tags)
    const { ofPost, count } = keyspacesOf(cache, tags)
    await until('the feed to be open', () => cache.stats().feed.open)
    const shown = async () => [await ofPost.get(5), await ofPost.get(6), await count.get('all')]
    const becomes = (...expected: unknown[]) =>
      until(String(expected), async () => JSON.stringify(await shown()) === JSON.stringify(expected))
    await becomes('ab', 'c', 3)
    const { loads } = cache.stats().keyspaces['comments-of-post']!
    await database.sql(`UPDATE comment SET body = 'B' WHERE id = 2`)
    await becomes('aB', 'c', 3)
    expect(cache.stats().keyspaces['comments-of-post']!.loads.loaded, 'of the other group').toBe(
      loads.loaded + 1,
    )
    await database.sql('UPDATE comment SET post_id = 6 WHERE id = 1')
    await becomes('B', 'ac', 3)
    await database.sql(`INSERT INTO comment VALUES (9, 5, 'z')`)
    await becomes('Bz', 'ac', 4)
    await database.sql('DELETE FROM comment WHERE post_id = 6')
    await becomes('Bz', '', 2)
    await database.sql('TRUNCATE comment')
    await becomes('', '', 0)
    expect((await ofPost.read(5)).from).toBe('local')
  })

  it('fall by a relay of an older process, which knows the table and not its tags', async () => {
    const store = embeddedShared()
    const link = () => faultySharedStore(store, { clock: systemClock })
    const map = (row: FeedRow) => [old.key(row.id)]
    await installFeed(database.sql, { tables: { comment: map } })
    const logger = notingLogger()
    const older = start({ shared: link(), logger }, { comment: map })
    const old = older.keyspace('old', { load: (_id: string) => 'old' })
    await until('the feed to be open', () => older.stats().feed.open)

    // A newer process starts. Its own relay is left out, so that there is only the older one.
    const tables = declare()
    await installFeed(database.sql, { tables })
    const newer = start({ shared: link() })
    const { ofPost } = keyspacesOf(newer, tableTags(newer, { comment: { by: ['post_id'] } }))
    await until('what the installation has recorded to be applied', async () => {
      const [row] = await database.sql('SELECT count(*)::int AS n FROM cacheaside.outbox')
      return row?.n === 0
    })
    expect(await ofPost.get(5)).toBe('ab')
    await until('it to be kept', async () => (await ofPost.read(5)).from === 'shared')
    await database.sql(`UPDATE comment SET post_id = 5, body = 'C' WHERE id = 3`)
    await until('the older relay to have applied it', async () => (await ofPost.get(5)) === 'abC')
    expect(logger.heard.map(([, code]) => code)).not.toContain('UNKNOWN_KEYSPACE')
  })

  it('may be made known to the cache besides, and invalidated and guarded like any tag', async () => {
    const tags = declare()
    await installFeed(database.sql, { tables: tags })
    const cache = start({}, tags)
    tableTags(cache, { comment: { by: ['post_id'] } })
    const { ofPost } = keyspacesOf(cache, tags)
    await until('the feed to be open', () => cache.stats().feed.open)
    expect(await ofPost.get(5)).toBe('ab')
    const { fenced } = await cache.write([tags.comment.where({ post_id: 5 })], () =>
      database.sql(`UPDATE comment SET body = 'A' WHERE id = 1`),
    )
    expect(fenced).toBe(true)
    expect(await ofPost.get(5)).toBe('Ab')
    expect(await cache.tags(tags.comment.name).invalidateAll()).toBe('applied')
  })
})
