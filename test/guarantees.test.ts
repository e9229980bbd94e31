/**
 * docs/guarantees.md says which tests show each promise. They exist, by exactly these names, and every promise has
 * some. Every reference to a part of that page refers to one that is there.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, posix, sep } from 'node:path'
import { describe, expect, test } from 'vitest'
import { partsOf, shownIn, whatIsWrong } from './shown-tests.ts'

const ROOT = join(import.meta.dirname, '..')
const PAGE = 'docs/guarantees.md'
const PROMISES = ['g1', 'g2', 'g3', 'g4', 'g5', 'g6', 'g7', 'g8', 'g9', 'g10']
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8')

const openInRepository = (path: string) => (existsSync(join(ROOT, path)) ? read(path) : undefined)

/** Files of the repository that might refer to the page. */
function texts(): string[] {
  const folders = ['cacheaside', 'docs', 'examples', 'spellbook', 'test', 'trials']
  const inside = folders.flatMap(folder =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' }).map(name =>
      posix.join(folder, name.split(sep).join('/')),
    ),
  )
  const all = [...readdirSync(ROOT), ...inside]
  return all.filter(path => /\.(md|ts)$/.test(path) && !/(^|\/)(node_modules|dist)\//.test(path))
}

describe(PAGE, () => {
  const page = read(PAGE)
  const shown = shownIn(page)

  test('has a part for every promise, and one for what is not promised', () => {
    expect([...partsOf(page).keys()]).toEqual([...PROMISES, 'not-promised'])
  })

  test('names in its first table what its parts are about', () => {
    const rows = [...page.matchAll(/^\| \[(G\d+)\]\(#(g\d+)\) \|/gm)].map(match => [match[1], match[2]])
    expect(rows).toEqual(PROMISES.map(anchor => [anchor.toUpperCase(), anchor]))
    const headings = [...page.matchAll(/^## (G\d+): /gm)].map(match => match[1]?.toLowerCase())
    expect(headings).toEqual(PROMISES)
  })

  test.each(PROMISES)('says of %s its conditions, what breaks it, and the tests that show it', anchor => {
    const part = partsOf(page).get(anchor) ?? ''
    for (const words of ['- **Conditions.**', '- **What breaks it.**', 'Shown by'])
      expect(part).toContain(words)
    expect(shown.filter(one => one.part === anchor).length).toBeGreaterThan(2)
  })

  test.each([...new Set(shown.map(({ path }) => path))])('the tests that it names in %s are there', path => {
    const complaints = shown
      .filter(one => one.path === path)
      .map(one => whatIsWrong(one, openInRepository))
      .filter(complaint => complaint !== undefined)
    expect(complaints).toEqual([])
  })

  test('has every line of a list of tests in the form that is checked', () => {
    const lists = page.split('\n').filter(line => line.startsWith('- [`'))
    expect(lists).toHaveLength(shown.length)
    const again = new Set(shown.map(({ part, path, name }) => [part, path, name].join('\n')))
    expect(again.size, 'each test once in each part').toBe(shown.length)
  })

  test.each(['README.md', 'ARCHITECTURE.md', 'docs/protocol.md'])('is linked from %s', path => {
    expect(read(path)).toMatch(/\]\((?:docs\/)?guarantees\.md\)/)
  })

  test('is nowhere referred to by an anchor that it does not have', () => {
    const anchors = [...partsOf(page).keys()]
    const files = texts().filter(path => path !== 'test/guarantees.test.ts')
    expect(files).toContain('docs/protocol.md')
    const wrong = files.flatMap(path =>
      [...read(path).matchAll(/guarantees\.md#([\w-]*)/g)]
        .filter(match => !anchors.includes(match[1]!))
        .map(match => `${path} refers to #${match[1]}`),
    )
    expect(wrong).toEqual([])
  })
})

describe('these checks', () => {
  const files: Record<string, string> = {
    'trials/a.test.ts': `
      test('get is fresh', async () => {})
      test.each([['x', 1]])('get is %s', one => {})
      test.for(cases)(
        "get doesn't wait",
        async () => {})
      it('peek isn\\'t \\\`slow\\\`', () => {})
      const one = { name: 'write is fenced', scenario() {} }
      // test is called get is stale
      expect(value, 'get is wrong').toBe(1)`,
    'docs/b.md': '',
  }
  const shown = (label: string, path: string, name: string) => ({ part: 'g1', label, path, name })

  test.each(['get is fresh', 'get is %s', "get doesn't wait", "peek isn't `slow`", 'write is fenced'])(
    'find the test %s',
    name => {
      expect(whatIsWrong(shown('a.test.ts', 'trials/a.test.ts', name), path => files[path])).toBeUndefined()
    },
  )

  test.each([
    ['a.test.ts', 'trials/a.test.ts', 'get is'],
    ['a.test.ts', 'trials/a.test.ts', 'get is stale'],
    ['a.test.ts', 'trials/a.test.ts', 'get is wrong'],
    ['c.test.ts', 'trials/c.test.ts', 'get is fresh'],
    ['b.test.ts', 'trials/a.test.ts', 'get is fresh'],
    ['b.md', 'docs/b.md', 'get is fresh'],
  ])('report %s, %s, %s', (label, path, name) => {
    expect(whatIsWrong(shown(label, path, name), path => files[path])).toBeDefined()
  })

  test('read the page by its parts', () => {
    const page =
      '<a id="g1"></a>\n## G1\n\n- [`a.test.ts`](../trials/a.test.ts): `get is fresh`\n- not this\n'
    expect(shownIn(page)).toEqual([shown('a.test.ts', 'trials/a.test.ts', 'get is fresh')])
  })
})
