import { describe, expect, test } from 'vitest'
import { ROWS } from './rows.ts'
import { run, story } from './run.ts'
import { PROTECTIONS } from './setting.ts'
import { STREAM_PROTECTIONS } from './stream-machine.ts'
import { TAG_PROTECTIONS } from './tags-setting.ts'

describe('the model', () => {
  test.each(ROWS)('$name', { timeout: 180_000 }, row => {
    const result = run(row)
    expect(result.isAsExpected, `expected: ${row.breaks ?? 'no breach'}; found:\n${story(result)}`).toBe(true)
    expect(result.states, 'a state more or less means that the rules have changed').toBe(row.states)
  })

  test('takes out every protection in some row, and finds a breach', () => {
    const taken = new Set(
      ROWS.filter(({ breaks }) => breaks !== undefined).flatMap(({ setting }) => setting.without ?? []),
    )
    expect([...taken].sort()).toEqual([...PROTECTIONS, ...STREAM_PROTECTIONS, ...TAG_PROTECTIONS].sort())
  })

  test('names no row twice', () => {
    expect(new Set(ROWS.map(({ name }) => name)).size).toBe(ROWS.length)
  })
})
