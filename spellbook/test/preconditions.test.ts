import fc from 'fast-check'
import { expect, test } from 'vitest'
import { conditionOf, judgeRead } from '../src/http/preconditions.ts'

const ETAG = '"abc"'

test('any header value gets a verdict in no time, and changes are never allowed by one that is not understood', () => {
  const near = fc.string({ unit: fc.constantFrom('"', 'W', '/', ',', ' ', '\t', '*', 'abc', "'", '\\', 'é') })
  fc.assert(
    fc.property(near, value => {
      const members = /^[\t ,]*(?:(?:W\/)?"[^" \t\\]*"[\t ]*(?:,[\t ,]*|$))+$/.test(
        value.replaceAll('\\', ''),
      )
      const allows = conditionOf({ 'if-match': value })!({ exists: true, etag: ETAG })
      if (allows) expect(value === '*' || value.includes(ETAG)).toBe(true)
      if (!members && value !== '*') {
        expect(allows).toBe(false)
        expect(conditionOf({ 'if-none-match': value })!({ exists: true, etag: ETAG })).toBe(false)
        expect(judgeRead({ 'if-none-match': value }, ETAG)).toBe('send')
      }
    }),
    { numRuns: 2_000 },
  )
})

test.each([
  ' '.repeat(16_000),
  ','.repeat(16_000),
  '"x" '.repeat(4_000),
  `${'"'.repeat(16_000)}`,
  'W/'.repeat(8_000),
])('a header as long as one can be is judged at once (%#)', value => {
  const beganMs = performance.now()
  for (let i = 0; i < 20; i++) expect(judgeRead({ 'if-none-match': value }, ETAG)).toBe('send')
  // A hundred times what it takes; backtracking would take minutes.
  expect(performance.now() - beganMs).toBeLessThan(2_000)
})

test('a request without conditions has none', () => {
  expect(conditionOf({})).toBeUndefined()
  expect(judgeRead({}, ETAG)).toBe('send')
})
