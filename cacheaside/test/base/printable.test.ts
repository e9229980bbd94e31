import { describe, expect, test } from 'vitest'
import { CacheError } from '../../src/base/errors.ts'
import { lineOf } from '../../src/base/masked.ts'
import { printable, printableJson } from '../../src/base/printable.ts'
import { Warnings } from '../../src/base/warnings.ts'
import { jsonText } from '../../src/command/json-text.ts'
import { agreed } from '../../src/command/terminal.ts'
import { createCache } from '../../src/index.ts'
import { SimulatedClock } from '../../src/testing/index.ts'

/** Nothing of this may reach a terminal as it is: ESC, BEL, NEL, CSI in one character, and marks of direction. */
const HOSTILE = 'red \u001b[31m\u0007\u0085\u009b2J\u061c\u200e\u202e\u2066\u2028\u2029\u007f\ud83d'
const SHOWN = 'red \\u001b[31m\\u0007\\u0085\\u009b2J\\u061c\\u200e\\u202e\\u2066\\u2028\\u2029\\u007f\\ud83d'

describe('printable', () => {
  test('escapes what controls a terminal, turns the direction of a line, or ends it', () => {
    expect(printable(HOSTILE)).toBe(SHOWN)
    expect(printable('a\nb\tc')).toBe('a\\nb\\tc')
  })

  test.each(['spell:4', 'Blitz ⚡ 🧙‍♀️', 'برق', 'a\\nb'])('leaves %s alone', text => {
    expect(printable(text)).toBe(text)
  })

  test('of a text of JSON means the same', () => {
    const report = { key: HOSTILE, more: ['a\nb'] }
    const text = printableJson(JSON.stringify(report, undefined, 2))
    expect(text).toContain(SHOWN)
    expect(JSON.parse(text)).toEqual(report)
  })
})

describe('of a key or a text with control characters, none is shown by', () => {
  const id = HOSTILE.slice(0, -1)
  const shown =
    /^[^\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Bidi_Control}]*red %1B.*\\u009b2J[^\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Bidi_Control}]*$/u

  test('the message of an error', async () => {
    const cache = createCache()
    const spells = cache.keyspace('spell', { load: async (of: string): Promise<unknown> => spells.get(of) })
    const error = await spells.get(id).catch(String)
    expect(error).toMatch(shown)
    await cache.close()
    expect(new CacheError('INVALID_KEY', HOSTILE).message).toBe(SHOWN)
  })

  test('a warning', () => {
    const said: string[] = []
    const warn = (text: string) => said.push(text)
    new Warnings(new SimulatedClock(), { warn, error: warn }).once('UNKEPT', 'spell', { message: HOSTILE })
    expect(said).toEqual([SHOWN])
  })

  test('the line of an error of others, a question, or a report as JSON', async () => {
    expect(lineOf(new Error(`${HOSTILE}\nmore`))).toBe(SHOWN)
    const asked: string[] = []
    const ask = async (question: string) => `y${asked.push(question) === 1 ? 'es' : ''}`
    await agreed({ ask }, false, HOSTILE)
    expect(asked).toEqual([`${SHOWN}. Do it? [y/N] `])
    expect(jsonText({ key: HOSTILE, error: new Error(HOSTILE) })).toMatch(
      /^\{\n {2}"key": "[ -~]+",\n {2}"error": "[ -~]+"\n\}$/,
    )
  })
})
