/** What `npm ci` installs. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const { packages } = JSON.parse(readFileSync(join(import.meta.dirname, '../package-lock.json'), 'utf8')) as {
  packages: Record<string, { engines?: { node?: string } }>
}

/** Whether a range, as they are written in the lock, has the oldest Node that is supported: 20.19. */
function hasOurs(range: string): boolean {
  return range.split('||').some(part => {
    if (part.trim() === '*') return true
    const [, operator, major, minor = 0] = part.trim().match(/^(>=|\^)? ?(\d+)(?:\.(\d+))?/) ?? []
    if (Number(major) === 20) return Number(minor) <= 19
    return operator === '>=' && Number(major) < 20
  })
}

test('every package that is installed says that it runs on the oldest Node that is supported', () => {
  const ranges = Object.entries(packages).map(([path, { engines }]) => ({
    path,
    range: engines?.node ?? '>=0',
  }))
  expect(ranges.length).toBeGreaterThan(100)
  expect(ranges.filter(({ range }) => !hasOurs(range))).toEqual([])
})

test.each([
  ['*', true],
  ['>=0.4', true],
  ['>= 10.x', true],
  ['>=20.19', true],
  ['^20.0.0 || ^22.0.0 || >=24.0.0', true],
  ['20 || >=22', true],
  ['>=22', false],
  ['>=20.20', false],
  ['^18.0.0 || >=22.12.0', false],
])('the range %s has it: %s', (range, has) => {
  expect(hasOurs(range)).toBe(has)
})
