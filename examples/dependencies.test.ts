/** The code of docs/dependencies.md, on an origin that is two maps. */
import { createCache } from 'cacheaside'
import { afterAll, expect, test } from 'vitest'

const authors = new Map([[7, 'Anna']])
const rows = new Map([[5, 7]])
const table = {
  async postWithAuthor(id: number) {
    const author_id = rows.get(id)
    return author_id === undefined ? undefined : { id, author_id, author: authors.get(author_id) }
  },
  postsOf: async (author_id: number) => [...rows].filter(([, by]) => by === author_id).map(([id]) => id),
  rename: async (id: number, name: string) => void authors.set(id, name),
  async postAndPage(id: number, author_id: number) {
    return [await table.postWithAuthor(id), await table.postsOf(author_id)] as const
  },
}
const cache = createCache()
afterAll(() => cache.close())

const author = cache.tags<number>('author') // one tag for each author
const postsOf = cache.tags<number>('posts-of') // one for each author's list

const posts = cache.keyspace('post', {
  load: (id: number) => table.postWithAuthor(id),
  tagsOf: post => (post ? [author.key(post.author_id)] : []), // by reference: known from the value
})
const pages = cache.keyspace('page', {
  load: (author_id: number) => table.postsOf(author_id),
  tags: author_id => [postsOf.key(author_id)], // by condition: known from the id
})

/** A writer that names a tag beside its keys. */
const rename = (id: number, name: string) => cache.write([author.key(id)], () => table.rename(id, name)) // guarded and released like any key

test('everything that shows an author falls with its tag', async () => {
  expect(await posts.get(5)).toMatchObject({ author: 'Anna' })
  await rename(7, 'Ann')
  expect(await posts.get(5)).toMatchObject({ author: 'Ann' })
  authors.set(7, 'Annie')
  await author.invalidate(7) // everything that shows author 7
  expect(await posts.get(5)).toMatchObject({ author: 'Annie' })
  await author.invalidateAll() // everything that shows any author
  expect((await posts.read(5)).from).toBe('origin')
})

test('a snapshot reads a post and the page it is on at one moment', async () => {
  expect(await pages.get(7)).toEqual([5])
  expect(await postAndPage(5, 7)).toEqual([{ id: 5, author_id: 7, author: 'Annie' }, [5]])
})

const postAndPage = (id: number, author_id: number) =>
  cache.snapshot([posts.at(id), pages.at(author_id)], {
    load: () => table.postAndPage(id, author_id), // one statement, or one REPEATABLE READ transaction
  })
