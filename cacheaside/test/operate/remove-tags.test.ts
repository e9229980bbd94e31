import { describe, expect, test } from 'vitest'
import { embeddedShared } from '../../src/index.ts'
import { flushKeyspace, invalidateKey, type Operated } from '../../src/operate/index.ts'
import { tableTags } from '../../src/postgres/index.ts'
import { auditedKeyspace } from '../../src/verify/index.ts'
import { openWorld } from '../world.ts'

const types = { post_id: 'integer', author: 'uuid', is_open: 'boolean' } as const
const { comment } = tableTags({ comment: { by: ['post_id', ['post_id', 'author'], 'is_open'], types } })
const ANN = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'

/** A process whose values depend on tags, and somebody who looks after its store. */
function open() {
  const world = openWorld()
  const inner = embeddedShared({ clock: world.clock })
  const { cache } = world.process({}, inner)
  const author = cache.tags<number | readonly [string, string]>('author')
  cache.tags('table.comment')
  const of = (name: string, tag: () => ReturnType<typeof author.key>) =>
    cache.keyspace(name, { load: async (id: number) => ({ id }), tags: () => [tag()] })
  const keyspaces = {
    'author 7': of('author-7', () => author.key(7)),
    'author a:b c': of('author-ab', () => author.key(['a:b', 'c'])),
    'table.comment any': of('any', () => comment.any()),
    'table.comment post_id=5': of('post-5', () => comment.where({ post_id: 5 })),
    'table.comment post_id': of('post-null', () => comment.where({ post_id: null })),
    'table.comment is_open=true': of('open', () => comment.where({ is_open: true })),
    [`table.comment author=${ANN.toUpperCase()} post_id=5`]: of('both', () =>
      comment.where({ post_id: 5, author: ANN }),
    ),
  }
  const operated: Operated = {
    shared: inner,
    clock: world.clock,
    keyspaces: [auditedKeyspace('spell', { load: async (id: string) => id })],
    tags: [author],
    migration: { sql: async () => {}, tables: { comment, other: () => [] } },
  }
  /** Which of the values are found, after all were loaded. */
  const standing = async (work: () => Promise<unknown>) => {
    for (const keyspace of Object.values(keyspaces)) await keyspace.get(1)
    await work()
    const reads = await Promise.all(Object.values(keyspaces).map(keyspace => keyspace.read(1)))
    return Object.keys(keyspaces).filter((_, i) => reads[i]!.why === 'fresh')
  }
  return { operated, standing, all: Object.keys(keyspaces) }
}

describe('invalidateKey', () => {
  const { all } = open()

  test.each(all)('ends what depends on the tag %s, and nothing else', async text => {
    const { operated, standing } = open()
    const [name, ...id] = text === 'author a:b c' ? ['author', 'a:b', 'c'] : text.split(' ')
    expect(await standing(() => invalidateKey(operated, name!, id))).toEqual(all.filter(one => one !== text))
  })

  test.each<[string, string[], RegExp]>([
    ['table.comment', ['7'], /expected the tag of table\.comment to be any, or .*post_id=VALUE.*, got "7"/],
    ['table.comment', ['author=x'], /INVALID_OPTIONS|expected the tag of table\.comment to be any, or /],
    ['table.comment', ['post_id=x'], /whole number/],
    ['table.comment', ['any', 'post_id=5'], /expected the tag of table\.comment/],
    ['author', ['x'.repeat(600)], /at most 512 characters/],
    [
      'autor',
      ['7'],
      /expected the name to be one of the keyspaces spell, or of the tags author, table\.comment, got "autor"/,
    ],
  ])('refuses %s %j, and changes nothing', async (name, id, message) => {
    const { operated, standing } = open()
    const refused = () => expect(invalidateKey(operated, name, id)).rejects.toThrow(message)
    expect(await standing(refused)).toEqual(all)
  })
})

test('flushKeyspace ends what depends on any tag of one kind, and nothing else', async () => {
  const { operated, standing, all } = open()
  expect(await standing(() => flushKeyspace(operated, 'table.comment'))).toEqual(
    all.filter(name => name.startsWith('author')),
  )
  await expect(flushKeyspace(operated, 'comment')).rejects.toThrow(/of the tags author, table\.comment/)
})

test('tags that have the name of a keyspace, or none, are refused', async () => {
  const { operated } = open()
  for (const [tags, message] of [
    [['spell'], /expected tags to be named otherwise than any keyspace, got "spell"/],
    [['a b'], /expected tags to be an array/],
    [[undefined], /expected tags to be an array/],
    ['author', /expected tags to be an array/],
  ] as const)
    await expect(flushKeyspace({ ...operated, tags: tags as never }, 'spell')).rejects.toThrow(message)
})
