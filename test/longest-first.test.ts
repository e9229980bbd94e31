import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createVitest, type TestSpecification } from 'vitest/node'
import { LONGEST, LongestFirst } from './longest-first.ts'

const ROOT = join(import.meta.dirname, '..')

test('every file that is begun with is there', () => {
  expect(LONGEST.filter(file => !existsSync(join(ROOT, file)))).toEqual([])
})

test('the longest files come first, the longest of all before the others', async () => {
  const vitest = await createVitest('test', { config: false, root: ROOT, watch: false })
  try {
    const specification = (file: string): TestSpecification =>
      vitest.getRootProject().createSpecification(join(ROOT, file))
    const files = ['test/lock.test.ts', LONGEST[1]!, 'test/ladder.test.ts', LONGEST[0]!].map(specification)
    const sorted = await new LongestFirst(vitest).sort(files)
    expect(sorted.slice(0, 2).map(({ moduleId }) => moduleId)).toEqual(
      LONGEST.slice(0, 2).map(file => join(ROOT, file)),
    )
    expect(sorted).toHaveLength(4)
  } finally {
    await vitest.close()
  }
})
