/** The table in `docs/warnings.md` is the library's own list. */
import { readFileSync } from 'node:fs'
import { WARNINGS } from 'cacheaside'
import { expect, test } from 'vitest'

test('docs/warnings.md lists every code with its level, and no other', () => {
  const text = readFileSync(new URL('../docs/warnings.md', import.meta.url), 'utf8')
  const rows = [...text.matchAll(/^\| `CACHEASIDE_(\w+)` \| (\w+) \|(.+)\|$/gm)]
  expect(rows.map(([, code, level]) => [code, level])).toEqual(Object.entries(WARNINGS))
  for (const [row, , , rest] of rows) expect(rest!.split(' | '), row).toHaveLength(2)
})
