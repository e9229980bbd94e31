import { expect, test } from 'vitest'
import { Tagging } from '../src/tagging.ts'

const open = () => new Tagging<number, number>('value', { tagsOf: () => [] }, () => true)

test('the tags of 8,192 keys are remembered, and those of the key that changed first are forgotten first', () => {
  const tagging = open()
  for (let i = 0; i <= 8_192; i++) tagging.remember(`value:${i}`, [`author:${i}`])
  expect(tagging.remembered('value:0')).toEqual([])
  expect(tagging.remembered('value:1')).toEqual(['author:1'])
  tagging.remember('value:1', ['author:2'], true)
  tagging.remember('value:9000', [])
  expect(tagging.remembered('value:1')).toEqual(['author:2'])
  expect(tagging.isRestless('value:1')).toBe(true)
  expect(tagging.remembered('value:2')).toEqual([])
  expect(tagging.isRestless('value:2')).toBe(false)
})

test('nothing is remembered where all tags are known from the id', () => {
  const tagging = new Tagging<number, number>('value', { tags: () => [] }, () => true)
  tagging.remember('value:1', ['author:1'])
  expect(tagging.remembered('value:1')).toEqual([])
})

test('of 8,192 keys it is remembered that a value was replaced, until that value would have ended', () => {
  const tagging = open()
  expect(tagging.mayReplace('value:0', 0, 100)).toBe(true)
  expect(tagging.mayReplace('value:0', 99, 200)).toBe(false)
  expect(tagging.mayReplace('value:0', 100, 200)).toBe(true)
  for (let i = 1; i < 8_192; i++) tagging.mayReplace(`value:${i}`, 100, 200)
  expect(tagging.mayReplace('value:0', 100, 200)).toBe(false)
  tagging.mayReplace('value:8192', 100, 200)
  expect(tagging.mayReplace('value:0', 100, 200)).toBe(true)
})

test.each([
  [
    'table.comment:post_id:=5',
    /this cache has no tags of the name table\.comment\. Its feed makes .*tableTags with the cache$/,
  ],
  ['rubbish', /got "rubbish"$/],
  [7, /got number$/],
  [undefined, /got undefined$/],
])('what is no tag of this cache is refused with what makes it one: %j', (tag, message) => {
  const tagging = new Tagging<number, number>('value', { tags: () => [tag] as never }, () => false)
  expect(() => tagging.before(1)).toThrow(message)
})

test('what an async function rejects with instead of tags is heard', async () => {
  const tagging = new Tagging<number, number>(
    'value',
    { tags: () => Promise.reject(new Error('no')) as never },
    () => true,
  )
  const rejections: unknown[] = []
  const note = (error: unknown) => void rejections.push(error)
  process.on('unhandledRejection', note)
  expect(() => tagging.before(1)).toThrow('value.tags: expected a list of tags, got object')
  await new Promise(resolve => setImmediate(resolve))
  process.off('unhandledRejection', note)
  expect(rejections).toEqual([])
})

test('tags stay those of their id if the list is used again for another one', () => {
  const list: string[] = []
  const tags = (id: number) => {
    list[0] = `author:${id}`
    return list as never
  }
  const tagging = new Tagging<number, number>('value', { tags }, () => true)
  const first = tagging.before(1)
  tagging.before(2)
  expect(first).toEqual(['author:1'])
})

test('tags are told in order and once, those of the id with those of the value', () => {
  const tagging = new Tagging<number, number>(
    'value',
    { tags: () => ['b:1', 'a:1', 'b:1'] as never, tagsOf: () => ['c:1', 'a:1', 'a:10'] as never },
    () => true,
  )
  expect(tagging.before(1)).toEqual(['a:1', 'b:1'])
  expect(tagging.after(tagging.before(1), 1, 1)).toEqual(['a:1', 'a:10', 'b:1', 'c:1'])
})
