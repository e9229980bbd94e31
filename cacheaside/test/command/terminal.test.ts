import { describe, expect, test } from 'vitest'
import { CLEAR_LINE, ProgressLine, wantsColor } from '../../src/command/terminal.ts'
import { SimulatedClock } from '../../src/testing/index.ts'

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

test.each<[number | undefined, string]>([
  [undefined, `[${'-'.repeat(30)}] 0/9, 0 stale`],
  [0, `[${'-'.repeat(30)}] 0/9, 0 stale`],
  [20, `[${'-'.repeat(18)}`],
])('a line of progress stays in one line of a terminal with %s columns', (columns, drawn) => {
  let err = ''
  const line = new ProgressLine({
    out: () => {},
    err: text => {
      err += text
    },
    isTerminal: true,
    columns: () => columns,
    clock: new SimulatedClock(),
  })
  line.show(0, 9, ', 0 stale')
  expect(err).toBe(CLEAR_LINE + drawn)
})
