import { describe, expect, test } from 'vitest'
import { tableText } from '../../src/command/table.ts'
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

test('a table whose last column stands to the left is no wider than its other lines for one long cell', () => {
  const long = '-'.repeat(500)
  expect(
    tableText(
      [
        ['reads/s', 'key'],
        ['12.0', 'spell:1'],
        ['0.5', long],
      ],
      1,
    ),
  ).toEqual(['reads/s  key', '   12.0  spell:1', `    0.5  ${long}`])
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

test.each<[string, number]>([
  ['spell:4', 7],
  ['spell:魔法', 10],
  ['カタカナ', 8],
  ['한글', 4],
  ['ﾊﾝｶｸ', 4],
  ['Ｆ４', 4],
  ['é', 1],
  ['e\u0301', 1],
  ['🔥', 2],
  ['👩‍👩‍👧', 2],
  ['❤\ufe0f', 2],
  ['🇨🇭', 2],
  ['#4', 2],
  ['\u200d', 0],
])('a table gives %j the %i columns that a terminal shows it in', (cell, columns) => {
  const wide = '-'.repeat(12)
  expect(
    tableText([
      [cell, '|'],
      [wide, '|'],
    ]),
  ).toEqual([`${cell}${' '.repeat(12 - columns)}  |`, `${wide}  |`])
  expect(
    tableText([
      ['', cell],
      ['', wide],
    ])[0],
  ).toBe(`  ${' '.repeat(12 - columns)}${cell}`)
})
