/** What docs/tables.md shows, with what it takes for granted. It is compiled and not run. */
import { createCache } from 'cacheaside'
import { observeLoads, tableTags } from 'cacheaside/postgres'
import pg from 'pg'

const pool = new pg.Pool()
const { author } = tableTags({ author: { by: ['id'] } })
const tables = { author }
const cache = createCache()

const observed = observeLoads(cache, { pool, tables, sample: 1, undeclared: 'throw' }) // in tests
const posts = observed.keyspace('post', {
  load: async (id: number, { db }) =>
    (await db.query('SELECT * FROM post_with_author WHERE id = $1', [id])).rows[0],
  tagsOf: post => (post ? [author.where({ id: post.author_id })] : []),
})

export { posts }
