/** SECURITY.md says which tests show what it claims. They exist, by exactly these names, and every claim has some. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { partsOf, shownIn, whatIsWrong } from './shown-tests.ts'

const read = (path: string) => {
  const full = join(import.meta.dirname, '..', path)
  return existsSync(full) ? readFileSync(full, 'utf8') : undefined
}

const page = read('SECURITY.md')!
const shown = shownIn(page, '.')

test('SECURITY.md has a part for each kind of trust, limit and trouble', () => {
  expect([...partsOf(page).keys()]).toEqual([
    'library',
    'spellbook',
    'roles',
    'store',
    'connections',
    'exhausted',
    'rest',
  ])
})

test('SECURITY.md names tests that are there, each line in the form that is checked', () => {
  expect(shown.map(one => whatIsWrong(one, read)).filter(complaint => complaint !== undefined)).toEqual([])
  expect(page.split('\n').filter(line => /^ *- \[`/.test(line))).toHaveLength(shown.length)
})

test('SECURITY.md names a test below every claim', () => {
  for (const [part, text] of partsOf(page)) {
    if (part === 'rest') continue
    const claims = text.split(/^(?=\*\*)/m).slice(1)
    expect(claims.length, part).toBeGreaterThan(0)
    for (const claim of claims) expect(claim, part).toMatch(/^- \[`/m)
  }
})
