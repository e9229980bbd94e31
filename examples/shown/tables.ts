/** What docs/tables.md shows, with what it takes for granted. It is compiled and not run. */

import { createCache } from 'cacheaside'
import { installFeed, postgresFeed, tableTags } from 'cacheaside/postgres'
import pg from 'pg'

const pool = new pg.Pool()
declare const table: { commentsOf(postId: number): Promise<object[]>; countries(): Promise<string[]> }

const { comment, country } = tableTags({
  comment: { by: ['post_id', ['post_id', 'author_id']] },
  country: {},
})
await installFeed(pool, { tables: { comment, country } })

const cache = createCache({ feed: postgresFeed({ pool, tables: { comment, country } }) })
const commentsOfPost = cache.keyspace('comments-of-post', {
  load: (postId: number) => table.commentsOf(postId),
  tags: postId => [comment.where({ post_id: postId })],
})
const countries = cache.keyspace('countries', { load: () => table.countries(), tags: () => [country.any()] })

export { commentsOfPost, countries }
