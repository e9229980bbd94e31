import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createVitest, type TestSpecification } from 'vitest/node'
import { LONGEST, LongestFirst } from './longest-first.ts'
import { SHARING } from './sharing.ts'

const ROOT = join(import.meta.dirname, '..')

test('every file that is begun with, or shares a process, is there', () => {
  expect([...LONGEST, ...SHARING].filter(file => !existsSync(join(ROOT, file)))).toEqual([])
})

test('the longest files come first, the longest of all before the others, and those that share a process last', async () => {
  const vitest = await createVitest('test', { config: false, root: ROOT, watch: false })
  try {
    const specification = (file: string): TestSpecification =>
      vitest.getRootProject().createSpecification(join(ROOT, file))
    const files = [SHARING[0]!, 'test/lock.test.ts', LONGEST[1]!, LONGEST[0]!].map(specification)
    const sorted = await new LongestFirst(vitest).sort(files)
    expect(sorted.map(({ moduleId }) => moduleId)).toEqual(
      [...LONGEST.slice(0, 2), 'test/lock.test.ts', SHARING[0]!].map(file => join(ROOT, file)),
    )
  } finally {
    await vitest.close()
  }
})
