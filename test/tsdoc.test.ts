/**
 * Whatever the library exports says what it is: every name of every entry point has its TSDoc. So has every option,
 * and one that can be left out says what happens then.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import { describe, expect, test } from 'vitest'

const ROOT = join(import.meta.dirname, '..')
const LIBRARY = 'cacheaside'

type Open = (path: string) => string

const read: Open = path => readFileSync(join(ROOT, path), 'utf8')

/** An exported name, and the text of the module that declares it. */
interface Exported {
  readonly name: string
  readonly path: string
}

const DECLARATION =
  /^export (?:declare )?(?:abstract )?(?:async )?(?:function\*?|class|interface|type|const|let|enum) (\w+)/gm
const RE_EXPORT = /^export (?:type )?(\{[^}]*\}|\*) from '([^']+)'/gm

const EXPORT_OF_IMPORTED = /^export (\{[^}]*\})$/gm
const IMPORT = /^import (?:type )?(\{[^}]*\}) from '([^']+)'/gm

/** The names in braces. */
const listed = (braces: string): string[] =>
  braces
    .slice(1, -1)
    .split(',')
    .map(part => part.trim().replace(/^type /, ''))
    .filter(part => part !== '')

/** What a module exports that it has imported, as if it were re-exported. */
function throughImports(text: string): [names: string[], specifier: string][] {
  const names = [...text.matchAll(EXPORT_OF_IMPORTED)].flatMap(match => listed(match[1]!))
  return [...text.matchAll(IMPORT)].map(match => [
    listed(match[1]!).filter(name => names.includes(name)),
    match[2]!,
  ])
}

/** Every name that a module exports, and where it is declared. */
function exportsOf(path: string, open: Open): Exported[] {
  const text = open(path)
  const own = [...text.matchAll(DECLARATION)].map(match => ({ name: match[1]!, path }))
  const reExports = [...text.matchAll(RE_EXPORT)].map(
    match => [match[1] === '*' ? undefined : listed(match[1]!), match[2]!] as const,
  )
  const others = [...reExports, ...throughImports(text)].flatMap(([names, specifier]) => {
    if (names?.length === 0) return []
    const all = exportsOf(posix.join(posix.dirname(path), specifier), open)
    return (names ?? all.map(({ name }) => name)).map(name => {
      const found = all.find(one => one.name === name)
      if (found === undefined)
        throw new Error(`${path} re-exports ${name}, which ${specifier} does not export`)
      return found
    })
  })
  return [...own, ...others]
}

/** The comment right before a place in a text, if it is TSDoc; words to the linter may stand in between. */
function docBefore(text: string, at: number): string | undefined {
  const before = text.slice(0, at).replace(/(?:\/\/[^\n]*\n\s*)+$/, '')
  return /\/\*\*(?:(?!\*\/)[\s\S])*\*\/\s*$/.exec(before)?.[0]
}

/** The declarations of a name in its module: a function that is overloaded has several. */
function declarationsOf({ name, path }: Exported, open: Open): { text: string; at: number }[] {
  const text = open(path)
  return [...text.matchAll(DECLARATION)]
    .filter(match => match[1] === name)
    .map(match => ({ text, at: match.index }))
}

/** The options of an interface of options that stands at this place; none for what is something else. */
function optionsOf(text: string, at: number): { name: string; at: number; isOptional: boolean }[] {
  const header = /^export interface \w*Options\b[^{]*\{\n/.exec(text.slice(at))
  if (header === null) return []
  const begin = at + header[0].length
  const body = text.slice(begin, text.indexOf('\n}', begin))
  return [...body.matchAll(/^ {2}(?:readonly )?(\w+)(\??)[:(<]/gm)].map(match => ({
    name: match[1]!,
    at: begin + match.index,
    isOptional: match[2] === '?',
  }))
}

/** What is wrong with the comments of a module's exports, as `path: name …`. */
function undocumented(entry: string, open: Open): string[] {
  const complaints: string[] = []
  for (const exported of exportsOf(entry, open)) {
    for (const { text, at } of declarationsOf(exported, open)) {
      const where = `${exported.path}: ${exported.name}`
      if (docBefore(text, at) === undefined) complaints.push(`${where} has no TSDoc`)
      for (const option of optionsOf(text, at)) {
        const doc = docBefore(text, option.at)
        if (doc === undefined) complaints.push(`${where}.${option.name} has no TSDoc`)
        else if (option.isOptional && !saysWhen(doc))
          complaints.push(`${where}.${option.name} does not say what happens without it`)
      }
    }
  }
  return [...new Set(complaints)]
}

/** Whether the comment of an option has its default, or what leaving it out means. */
const saysWhen = (doc: string): boolean => /@defaultValue|left out|overrides/i.test(doc)

const entries: Record<string, { source: string }> = JSON.parse(read(`${LIBRARY}/package.json`)).exports

describe('every export has TSDoc', () => {
  test.each(Object.entries(entries).filter(([, { source }]) => source !== undefined))(
    'of cacheaside %s',
    (_, { source }) => {
      const entry = posix.join(LIBRARY, source)
      expect(existsSync(join(ROOT, entry))).toBe(true)
      expect(exportsOf(entry, read).length).toBeGreaterThan(3)
      expect(undocumented(entry, read)).toEqual([])
    },
  )
})

describe('these checks', () => {
  const files: Record<string, string> = {
    'a/index.ts': `/** An entry. */\nimport { three } from './b.ts'\nexport { one, type Two } from './b.ts'\nexport { three }\nexport type * from './c.ts'\n`,
    'a/b.ts': `/** One. */\nexport function one() {}\nconst x = 1\nexport interface Two {\n  /** A. */\n  readonly a: number\n}\n/** Not exported. */\nexport const three = 3\n`,
    'a/c.ts': `/** Four. */\n// biome-ignore lint: for a reason\nexport type Four = 4\n/** Five. */\nconst y = 1\nexport async function five() {}\n/** For six. */\nexport interface SixOptions {\n  /** How long. */\n  readonly sixMs?: number\n  /** How often. */\n  readonly count: number\n  readonly name: string\n  /** @defaultValue 1 */\n  readonly more?: number\n}\n`,
  }
  const open: Open = path => files[path]!

  test('follow what is re-exported', () => {
    expect(exportsOf('a/index.ts', open).map(({ name }) => name)).toEqual([
      'one',
      'Two',
      'Four',
      'five',
      'SixOptions',
      'three',
    ])
  })

  test('report names, members and options without what they need, and nothing else', () => {
    expect(undocumented('a/index.ts', open)).toEqual([
      'a/b.ts: Two has no TSDoc',
      'a/c.ts: five has no TSDoc',
      'a/c.ts: SixOptions.sixMs does not say what happens without it',
      'a/c.ts: SixOptions.name has no TSDoc',
    ])
  })
})
