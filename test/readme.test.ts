/**
 * The documents hold what they say: the README's program is one that runs, links lead somewhere, commands exist,
 * and the index of decisions is complete.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import pg from 'pg'
import { describe, expect, test } from 'vitest'
import { startRedis } from './redis-servers.ts'
import { createDatabase, sharedPostgresUrl } from './services.ts'

const ROOT = join(import.meta.dirname, '..')
const DECISIONS = 'docs/decisions'
const DECISION_PARTS = ['Context', 'Decision', 'Consequences', 'Rejected', 'Would reopen if']

const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8')

/** Every document of the repository, by its path from the root. */
function documents(folder = ROOT): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap(entry => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) {
      const foreign = ['node_modules', 'dist', 'data'].includes(entry.name) || entry.name.startsWith('.')
      return foreign ? [] : documents(path)
    }
    return entry.name.endsWith('.md') ? [relative(ROOT, path)] : []
  })
}

const FENCED = /^( *)(`{3,}|~{3,})([^\n]*)\n([\s\S]*?)^\1\2 *$/gm
const SPAN = /`[^`\n]+`/g

const withoutCode = (text: string): string => text.replace(FENCED, '').replace(SPAN, '')
const withoutMarkup = (text: string): string =>
  text.replace(/!?\[([^\]]*)\]\([^)]*\)/g, '$1').replace(/<[^>]*>|[`*]/g, '')

/** The names a link can jump to: those that GitHub gives to headings, and explicit ones. */
function anchors(text: string): Set<string> {
  const prose = text.replace(FENCED, '')
  const names = new Set(
    [...prose.matchAll(/<\w+[^>]*\s(?:id|name)="([^"]+)"/g)].map(match => match[1] as string),
  )
  for (const [, heading = ''] of prose.matchAll(/^#{1,6} +(.+?) *#* *$/gm)) {
    const slug = withoutMarkup(heading)
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\p{M}_ -]/gu, '')
      .replaceAll(' ', '-')
    let name = slug
    for (let copy = 1; names.has(name); copy++) name = `${slug}-${copy}`
    names.add(name)
  }
  return names
}

/** Where a document's links lead, in Markdown, reference and HTML form. */
function linksOf(text: string): string[] {
  const forms = [
    /\]\(\s*<?([^)>\s]+)[^)]*\)/g,
    /^ {0,3}\[[^\]]+\]:\s*<?([^>\s]+)/gm,
    /\b(?:href|src)="([^"]+)"/g,
  ]
  return forms.flatMap(form => [...withoutCode(text).matchAll(form)].map(match => match[1] as string))
}

/** Whether a link inside the repository leads somewhere. `open` gives a file's text, undefined if there is none. */
function resolves(link: string, from: string, open: (path: string) => string | undefined): boolean {
  if (/^[a-z][a-z0-9+.-]*:/i.test(link)) return true
  const [path = '', anchor] = decodeURIComponent(link).split('#')
  const target = path === '' ? from : path.startsWith('/') ? path.slice(1) : join(dirname(from), path)
  const text = open(target)
  if (text === undefined) return false
  return anchor === undefined || !target.endsWith('.md') || anchors(text).has(anchor)
}

function openInRepository(path: string): string | undefined {
  const place = join(ROOT, path)
  if (relative(ROOT, place).startsWith('..') || !existsSync(place)) return undefined
  return path.endsWith('.md') ? read(path) : ''
}

/** The TypeScript in a document, with the example that it names after the language: three backticks, `ts`, a path. */
function quotedCode(text: string): { readonly path: string | undefined; readonly code: string }[] {
  return [...text.matchAll(FENCED)].flatMap(match => {
    const [language, path] = (match[3] ?? '').trim().split(/\s+/)
    return language === 'ts' ? [{ path, code: match[4] ?? '' }] : []
  })
}

/** Whether these lines stand in a file one after the other, as they are or all indented by the same. */
function isExcerpt(code: string, file: string): boolean {
  const wanted = code.trimEnd().split('\n')
  const lines = file.split('\n')
  return lines.some((line, at) => {
    const indent = line.slice(0, line.length - wanted[0]!.length)
    const indented = wanted.map(one => (one === '' ? '' : indent + one))
    return /^ *$/.test(indent) && indented.every((one, i) => one === lines[at + i])
  })
}

const IMPORT = /^import (?:type )?(.+) from '([^']+)'.*\n/gm

const withoutImports = (code: string): string => code.replace(IMPORT, '').trimStart()

/** What a piece of code imports, one name with its module after the other; `{ a, b }` are two. */
function importsOf(code: string): string[] {
  return [...code.matchAll(IMPORT)].flatMap(([, names = '', from]) =>
    names.split(',').map(name => `${name.replace(/[{}]|\btype\b/g, '').trim()} from ${from}`),
  )
}

/** The npm commands in a document's code, each from its verb on. */
function npmCommands(text: string): string[] {
  const blocks = [...text.matchAll(FENCED)].map(match => match[4]?.replace(/(^|\s)#.*$/gm, '') ?? '')
  const spans = text.replace(FENCED, '').match(SPAN) ?? []
  const commands = [...blocks, ...spans].flatMap(piece => [...piece.matchAll(/\bnpm +([^`&|;\n]+)/g)])
  return commands.map(match => match[1]?.trim() ?? '')
}

const NPM_ITSELF = ['ci', 'install', 'pack', 'exec']
const FOLDER_FLAG = /(?:^|\s)(?:-w|--workspace|--prefix)[ =](\S+)/

/** Whether npm would find what a command asks for. `scriptsOf` gives the names of a folder's scripts. */
function isKnown(command: string, scriptsOf: (folder: string) => string[]): boolean {
  const [forNpm = ''] = command.split(' -- ')
  const folder = FOLDER_FLAG.exec(forNpm)?.[1] ?? '.'
  const words = forNpm.replace(FOLDER_FLAG, ' ').split(/\s+/)
  const [verb = '', script = ''] = words.filter(word => word !== '' && !word.startsWith('-'))
  return NPM_ITSELF.includes(verb) || scriptsOf(folder).includes(verb === 'run' ? script : verb)
}

const scriptsIn = (folder: string): string[] =>
  Object.keys(JSON.parse(read(join(folder, 'package.json'))).scripts ?? {})

/** Programs of `examples` that are started, and have no tests of their own. */
const PROGRAMS = ['quickstart.ts', 'on-servers.ts']

/** What the comments beside an example's `console.log` say that it prints. */
const promisedBy = (example: string): string[] =>
  [...read(`examples/${example}`).matchAll(/console\.log\(.*\) \/\/ (.+)$/gm)].map(match => match[1]!)

const run = (example: string, env: NodeJS.ProcessEnv = process.env) =>
  spawnSync(process.execPath, ['--conditions=source', '--import', 'tsx', `examples/${example}`], {
    cwd: ROOT,
    env,
    encoding: 'utf8',
  })

describe('README', () => {
  test.each(['README.md', 'cacheaside/README.md'])(
    'the first program of %s is the quickstart example',
    path => {
      expect(quotedCode(read(path))[0]).toEqual({
        path: 'examples/quickstart.ts',
        code: read('examples/quickstart.ts'),
      })
    },
  )

  test('the quickstart example prints what the comments beside its console.log say', () => {
    const promised = promisedBy('quickstart.ts')
    const { status, stdout, stderr } = run('quickstart.ts')
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(promised.length).toBeGreaterThan(0)
    // A comment may go on after the printed text, behind a comma.
    const printed = stdout.trimEnd().split('\n')
    const kept = promised.map((promise, i) => (promise.startsWith(`${printed[i]},`) ? printed[i] : promise))
    expect(printed).toEqual(kept)
  })

  test('the example on servers prints what the comments beside its console.log say', async () => {
    const databaseUrl = await createDatabase(sharedPostgresUrl())
    const client = new pg.Client({ connectionString: databaseUrl })
    await client.connect()
    await client.query('CREATE TABLE spell (id int PRIMARY KEY, damage int NOT NULL)')
    await client.query('INSERT INTO spell VALUES (4, 40)')
    await client.end()
    const redis = await startRedis()
    const { status, stdout, stderr } = run('on-servers.ts', {
      ...process.env,
      DATABASE_URL: databaseUrl,
      REDIS_URL: redis.url,
    })
    await redis.stop()
    expect(status, stderr).toBe(0)
    expect(stdout.trimEnd().split('\n')).toEqual(promisedBy('on-servers.ts'))
  })

  test.each(['README.md', 'cacheaside/README.md'])('%s shows the example on servers as it runs', path => {
    const [quote] = quotedCode(read(path)).filter(one => one.path === 'examples/on-servers.ts')
    expect(quote?.code).toBe(read('examples/on-servers.ts'))
  })

  test.each(['npm ci && npm start', 'npm ci && npm test'])('shows the command %s', command => {
    expect(read('README.md')).toContain(command)
  })
})

test.each(documents())('the links of %s lead somewhere', path => {
  expect(linksOf(read(path)).filter(link => !resolves(link, path, openInRepository))).toEqual([])
})

test.each(['README.md', 'CONTRIBUTING.md'])('the npm commands of %s exist', path => {
  const commands = npmCommands(read(path))
  expect(commands).toContain('test')
  expect(commands.filter(command => !isKnown(command, scriptsIn))).toEqual([])
})

const WITH_CODE = documents().filter(path => quotedCode(read(path)).length > 0)

test.each(WITH_CODE)('the code of %s is copied from examples, which are compiled', path => {
  for (const { path: example = '', code } of quotedCode(read(path))) {
    expect.soft(example, code).toMatch(/^examples\/(shown\/)?[\w.-]+\.ts$/)
    const file = openInRepository(example) === undefined ? '' : read(example)
    expect.soft(isExcerpt(withoutImports(code), file), code).toBe(true)
    expect.soft(importsOf(code).filter(name => !importsOf(file).includes(name))).toEqual([])
  }
})

test('every example that is only compiled is shown by a document, or imported by one that is', () => {
  const shown = WITH_CODE.flatMap(path => quotedCode(read(path))).map(({ path }) => path)
  const names = readdirSync(join(ROOT, 'examples/shown')).map(name => `examples/shown/${name}`)
  const imported = names.flatMap(name =>
    importsOf(read(name)).map(one => one.replace(/^.* from \.\//, 'examples/shown/')),
  )
  expect(names.filter(name => ![...shown, ...imported].includes(name))).toEqual([])
})

test('every example is run by the tests: it is one, is imported by one, or is a program that they start', () => {
  const names = readdirSync(join(ROOT, 'examples')).filter(name => name !== 'shown')
  const tests = names.filter(name => name.endsWith('.test.ts'))
  const imported = tests.flatMap(name =>
    [...read(`examples/${name}`).matchAll(/from '\.\/([^']+)'/g)].map(match => match[1]),
  )
  expect(tests.length).toBeGreaterThan(0)
  expect(names.filter(name => ![...tests, ...imported, ...PROGRAMS].includes(name))).toEqual([])
})

describe('decisions', () => {
  const files = readdirSync(join(ROOT, DECISIONS)).filter(name => name !== 'README.md')

  test('the index lists every decision under its title, and nothing else', () => {
    const titles = files.sort().map(name => {
      const [number, title] = /^# (\d{4}) (.+)$/m.exec(read(join(DECISIONS, name)))?.slice(1) ?? []
      return `- [${number}](${name}) ${title}`
    })
    const [, index = ''] = read(join(DECISIONS, 'README.md')).split('## Index\n\n')
    expect(index.trim().split('\n')).toEqual(titles)
  })

  test('every decision has its own number and every part of the form', () => {
    const numbers = files.map(name => /^(\d{4})-[a-z0-9-]+\.md$/.exec(name)?.[1])
    expect(numbers).not.toContain(undefined)
    expect(new Set(numbers).size).toBe(files.length)
    for (const name of files) {
      const headings = [...read(join(DECISIONS, name)).matchAll(/^## (.+)$/gm)].map(match => match[1])
      expect.soft(headings, name).toEqual(DECISION_PARTS)
    }
  })
})

describe('these checks', () => {
  const files: Record<string, string> = {
    'README.md':
      '# Top\n\n## What *it* does: `get(4)`, fast\n\n```sh\n# not a heading\n```\n\n## Top\n\n<a id="here"></a>',
    'docs/a.md': '# A',
    'docs/b.ts': '',
  }
  const open = (path: string) => files[path]

  test.each([
    'https://example.org/nowhere',
    'mailto:a@example.org',
    'docs/a.md',
    './docs/a.md#a',
    '/docs/a.md',
    'docs/b.ts#L4',
    '#top',
    '#top-1',
    '#here',
    '#what-it-does-get4-fast',
  ])('accept the link %s', link => {
    expect(resolves(link, 'README.md', open)).toBe(true)
  })

  test.each(['docs/c.md', '../README.md', 'docs/a.md#b', '#not-a-heading', '#top-2'])(
    'report the link %s',
    link => {
      expect(resolves(link, 'README.md', open)).toBe(false)
    },
  )

  test('find links in every form, and none in code', () => {
    const text =
      '[![badge](a.svg)](b.md) [c](<c.md> "title")\n[ref]: d.md\n<img src="e.png">\n`[x](f.md)`\n```md\n[y](g.md)\n```\n'
    expect(linksOf(text).sort()).toEqual(['a.svg', 'b.md', 'c.md', 'd.md', 'e.png'])
  })

  test('find TypeScript with the example it is copied from', () => {
    const text = '```ts examples/a.ts\nlet a\n```\n```ts\nlet b\n```\n```sh\nls\n```\n'
    expect(quotedCode(text)).toEqual([
      { path: 'examples/a.ts', code: 'let a\n' },
      { path: undefined, code: 'let b\n' },
    ])
  })

  test.each([
    ['a()\nb()\n', true],
    ['if (b) {\n  c()\n\n  d()\n', true],
    ['a()\nc()\n', false],
    ['if (b) {\nc()\n', false],
    ['a(', false],
    ['nowhere()', false],
  ])('take %j for an excerpt: %s', (code, isOne) => {
    expect(isExcerpt(code, 'a()\nb()\n  if (b) {\n    c()\n\n    d()\n  }\n')).toBe(isOne)
  })

  test('find npm commands in code, and none in prose', () => {
    const text = 'npm run prose and `npm run a`\n```sh\nnpm ci && npm run b -- c # npm is loud\n```\n'
    expect(npmCommands(text)).toEqual(['ci', 'run b -- c', 'run a'])
  })

  test.each([
    ['test', true],
    ['run test', true],
    ['run test -- --workspace other', true],
    ['install', true],
    ['run build --workspace member', true],
    ['--prefix member run build', true],
    ['run build', false],
    ['run test --workspace member', false],
    ['start', false],
    ['run', false],
  ])('take "npm %s" for a command that exists: %s', (command, known) => {
    const scripts: Record<string, string[]> = { '.': ['test'], member: ['build'] }
    expect(isKnown(command, folder => scripts[folder] ?? [])).toBe(known)
  })
})
