/**
 * The lab stays outside: its libraries are installed by `npm run lab` only, and nothing of ours depends on it. That it
 * works is shown by running it; here is what can be seen without its install.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import { expect, test } from 'vitest'

const ROOT = join(import.meta.dirname, '..')
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8')
const adapters = readdirSync(join(ROOT, 'lab/adapters')).map(file => file.replace(/\.ts$/, ''))
/** Those that are tried with tags, and with nothing else. */
const tagged = adapters.filter(name => read(`lab/adapters/${name}.ts`).includes('hasTags: true'))

/** The lines of a lock that say from where something is fetched; links to folders beside it do not. */
function urlsIn(lock: string): string[] {
  return lock.split('\n').filter(line => /"resolved": "(?!\.\.\/|[\w-]+")|"resolved": "\w+:/.test(line))
}

/** The modules of these folders, by paths from the root, without what is installed or built there. */
function modulesIn(...folders: string[]): string[] {
  return folders.flatMap(folder =>
    readdirSync(join(ROOT, folder), { withFileTypes: true }).flatMap(entry => {
      const path = `${folder}/${entry.name}`
      if (entry.isDirectory()) return /^(node_modules|dist|\..*)$/.test(entry.name) ? [] : modulesIn(path)
      return entry.name.endsWith('.ts') ? [path] : []
    }),
  )
}

/** Whether a module imports something of the lab, by a path or by a name. */
function importsTheLab(path: string, text: string): boolean {
  return [...text.matchAll(/\b(?:from|import)\s*\(?\s*['"]([^'"\n]+)['"]/g)].some(([, specifier = '']) => {
    if (!specifier.startsWith('.')) return specifier.startsWith('cacheaside-lab')
    return posix.join(posix.dirname(path), specifier).startsWith('lab/')
  })
}

test('npm ci at the root installs nothing of the lab', () => {
  const { workspaces } = JSON.parse(read('package.json')) as { workspaces: string[] }
  expect(workspaces).not.toContain('lab')
  const { packages } = JSON.parse(read('package-lock.json')) as { packages: Record<string, unknown> }
  const { dependencies } = JSON.parse(read('lab/package.json')) as { dependencies: Record<string, string> }
  const ours = ['cacheaside', 'drizzle-orm', 'ioredis', 'pg', 'redis']
  const others = Object.keys(dependencies).filter(name => !ours.includes(name))
  expect(others.length).toBeGreaterThan(8)
  expect(others.filter(name => packages[`node_modules/${name}`] !== undefined)).toEqual([])
  expect(Object.keys(packages).filter(path => path.startsWith('lab'))).toEqual([])
})

test('the lab has a lock of its own, which names no registry', () => {
  const lock = read('lab/package-lock.json')
  const { packages } = JSON.parse(lock) as {
    packages: Record<string, { integrity?: string; link?: boolean }>
  }
  const installed = Object.entries(packages).filter(([path]) => /(^|\/)node_modules\//.test(path))
  expect(installed.length).toBeGreaterThan(50)
  expect(installed.filter(([, { integrity, link }]) => integrity === undefined && link !== true)).toEqual([])
  expect(urlsIn(lock)).toEqual([])
})

test('a URL in a lock is found', () => {
  expect(urlsIn('      "resolved": "https://registry.example/a/-/a-1.0.0.tgz",')).toHaveLength(1)
  expect(urlsIn('      "resolved": "../cacheaside",\n      "url": "https://example.com/fund"')).toEqual([])
})

test('no module of ours imports the lab', () => {
  const modules = modulesIn('cacheaside', 'spellbook', 'examples', 'lesson', 'trials', 'test')
  expect(modules.length).toBeGreaterThan(100)
  // This one plants such imports below.
  const others = modules.filter(path => path !== 'test/lab.test.ts')
  expect(others.filter(path => importsTheLab(path, read(path)))).toEqual([])
})

test('an import of the lab is found', () => {
  expect(importsTheLab('cacheaside/src/read.ts', `import { a } from '../../lab/stage.ts'`)).toBe(true)
  expect(importsTheLab('trials/a.ts', `await import('../lab/adapters/bentocache.ts')`)).toBe(true)
  expect(importsTheLab('trials/a.ts', `import { a } from './labour.ts'`)).toBe(false)
})

test('the lab imports the library by its name', () => {
  const modules = modulesIn('lab')
  const targets = modules.flatMap(path =>
    [...read(path).matchAll(/from '(\.[^'\n]+)'/g)].map(([, to = '']) => posix.join(posix.dirname(path), to)),
  )
  expect(targets.length).toBeGreaterThan(50)
  expect(targets.filter(target => !/^(lab|test|trials)\//.test(target))).toEqual([])
  expect(modules.filter(path => /from 'cacheaside\/(src|dist)/.test(read(path)))).toEqual([])
})

test('the table has a row for every adapter, and a cell for every trial of it', () => {
  const blocks = read('docs/lab.md').split('## Run it')[0]!.split('\n\n')
  const [counts = '', facts = '', tags = ''] = blocks.filter(block => block.startsWith('|'))
  const trials = [...read('docs/lab.md').matchAll(/^### ([\w-]+)$/gm)].map(([, id]) => id as string)
  expect(adapters.length).toBeGreaterThan(12)
  expect(trials.length).toBeGreaterThan(12)
  expect(tagged.length).toBeGreaterThan(5)
  for (const block of [counts, facts, tags]) {
    const [head = '', , ...lines] = block.split('\n')
    const named = lines.map(line => line.match(/\(\.\.\/lab\/adapters\/([\w-]+)\.ts\)/)?.[1])
    const expected = adapters.filter(name => tagged.includes(name) === (block === tags))
    expect(named.sort()).toEqual(expected.sort())
    expect(block).not.toContain('not run')
    expect(lines.filter(line => line.split(' | ').length !== head.split(' | ').length)).toEqual([])
    expect(trials.filter(id => head.includes(`(#${id})`)).length).toBeGreaterThan(3)
  }
  expect(trials.filter(id => !(counts + facts + tags).includes(`(#${id})`))).toEqual([])
  expect(existsSync(join(ROOT, 'docs/lab.svg'))).toBe(true)
})

test('in the table the control and ours with all levels are never stale, and cache-aside by hand is', () => {
  const { rows } = JSON.parse(read('docs/lab.json')) as {
    rows: Record<string, { cells: Record<string, { outcome: { kind: string; bad?: number } }> }>
  }
  const bad = (name: string) =>
    Object.entries(rows[name]!.cells).filter(([, { outcome }]) => (outcome.bad ?? 0) > 0)
  expect(bad('no-cache')).toEqual([])
  expect(bad('plain-ioredis').map(([trial]) => trial)).toEqual(
    expect.arrayContaining(['stale-set', 'killed-writer', 'foreign-change', 'old-snapshot']),
  )
  expect(bad('cacheaside-feed')).toEqual([])
  expect(bad('tags-no-cache')).toEqual([])
  expect(bad('tags-plain-sets').map(([trial]) => trial)).toEqual(
    expect.arrayContaining(['tag-in-load', 'late-tag', 'stamp-evicted', 'row-moves', 'torn-pair']),
  )
  expect(bad('tags-cacheaside-feed')).toEqual([])
})
