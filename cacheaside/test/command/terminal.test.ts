import { describe, expect, test } from 'vitest'
import { wantsColor } from '../../src/command/terminal.ts'

describe('wantsColor', () => {
  test.each<[boolean, Record<string, string>, boolean]>([
    [true, {}, true],
    [false, {}, false],
    [true, { NO_COLOR: '1' }, false],
    [true, { NO_COLOR: '' }, true],
    [true, { TERM: 'dumb' }, false],
  ])('on a terminal (%s) with %o is %s', (isTerminal, env, expected) => {
    expect(wantsColor(isTerminal, env)).toBe(expected)
  })
})
