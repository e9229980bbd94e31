/** What docs/tables.md shows, with what it takes for granted. It is compiled and not run. */
import { createCache } from 'cacheaside'
import { tableTags } from 'cacheaside/postgres'

const { comment } = tableTags({ comment: { by: ['post_id'] } })
const comments = createCache().keyspace('comment', { load: async (id: number) => ({ id }) })

const tables = {
  comment: comment.with({ columns: ['id'], keys: row => [comments.key(row.id)], keyspaces: ['comment'] }),
}

export { tables }
