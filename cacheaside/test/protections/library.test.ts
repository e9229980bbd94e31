import { expect, test } from 'vitest'
import { patchedSources } from './library.ts'

const sources = new Map([
  ['read.ts', 'ask()\nfill()\nkeep()'],
  ['refresh.ts', 'ask()\nclaim()\nclaim()'],
])

test('a patch is applied where its text is, whichever file that is', () => {
  const patched = patchedSources(sources, [
    ['keep()', 'drop()'],
    ['fill()\ndrop()', 'drop()'],
  ])
  expect([...patched]).toEqual([['read.ts', 'ask()\ndrop()']])
})

test.each([
  ['lease()', 'the text to be patched is in no file: lease()'],
  ['ask()', 'is there 1 times in read.ts, 1 times in refresh.ts: ask()'],
  ['claim()', 'is there 2 times in refresh.ts: claim()'],
])('a patch is refused whose text, %s, is not there exactly once', (find, message) => {
  expect(() => patchedSources(sources, [[find, '']])).toThrow(message)
})
