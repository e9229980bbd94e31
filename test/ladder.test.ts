/**
 * The import ladder: which folder may import which. A rung imports only from the rungs it names, so that a reader
 * who knows the ones below never has to look up, and a store or feed can be replaced without touching the rest.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import { expect, test } from 'vitest'
import { code, importsOf, modulesIn, ROOT } from './imports.ts'

const LIBRARY = 'cacheaside/src/'

/** The files directly in the library's folder, which tell the story: options, read, write, keyspace, cache. */
const STORY = 'the story'
const ANY = '*'

/** What each folder of the library may import besides itself: other folders, packages of npm, modules of Node. */
const LADDER: Readonly<Record<string, readonly string[]>> = {
  base: [],
  eviction: ['base'],
  local: ['base', 'eviction'],
  shared: ['base'],
  feed: ['base'],
  memory: ['base', 'shared', 'eviction'],
  redis: ['base', 'shared'],
  postgres: ['base', 'feed', 'shared', STORY],
  testing: ['base', 'shared', 'feed', 'memory', 'node:'],
  verify: ['base', 'shared', 'feed', STORY, 'node:'],
  telemetry: ['base', STORY],
  prometheus: ['base', 'telemetry', STORY, 'npm:prom-client'],
  opentelemetry: ['base', 'telemetry', STORY, 'npm:@opentelemetry/api'],
  operate: ['base', 'shared', 'feed', 'postgres', 'redis', 'verify', STORY],
  command: ['base', 'shared', 'operate', 'postgres', 'verify', 'node:'],
  bin: ['base', 'command', 'node:'],
  [STORY]: ['base', 'local', 'shared', 'feed'],
  index: [ANY],
}

/** Rungs of which a folder may import only types: its code must not depend on them. */
const TYPES_ONLY: Readonly<Record<string, readonly string[]>> = { postgres: ['shared', STORY] }

/** Where time, timers and chance come from: a simulation that missed one of them could not be replayed. */
const CLOCK_WORDS = [
  'Date.now',
  'new Date()',
  'performance.now',
  'process.hrtime',
  'setTimeout',
  'setInterval',
  'setImmediate',
  'AbortSignal.timeout',
  'Math.random',
  'getRandomValues',
  'randomUUID',
  'randomBytes',
]
const CLOCK_USERS = ['cacheaside/src/base/clock.ts', 'cacheaside/src/testing/']

/** Where the core asks the runtime for modules at run time: a bundle for another runtime would else need them. */
const BUILTIN_WORD = 'getBuiltinModule'
const BUILTIN_USER = 'cacheaside/src/base/runtime.ts'

const VAGUE_FOLDERS = ['utils', 'common', 'helpers', 'types']

/** The rung on which a path of the library stands. */
function rungOf(path: string): string {
  const [first = '', ...rest] = path.slice(LIBRARY.length).split('/')
  if (rest.length > 0) return first
  return first === 'index.ts' ? 'index' : STORY
}

/** Whether everything that a module imports from there are types. */
function isOnlyTypes(text: string, specifier: string): boolean {
  const from = [...code(text).matchAll(/\b(import|export)\s+(type\s+)?[^'"]*?from\s*['"]([^'"]+)['"]/g)]
  const all = from.filter(match => match[3] === specifier)
  return all.length > 0 && all.every(match => match[1] === 'import' && match[2] !== undefined)
}

/** Whether a module of the library may import this. */
function mayClimb(path: string, specifier: string, target: string, text: string): boolean {
  const allowed = LADDER[rungOf(path)] ?? []
  if (specifier.startsWith('node:')) return allowed.includes('node:')
  if (!specifier.startsWith('.')) return allowed.includes(`npm:${specifier}`)
  if (!target.startsWith(LIBRARY)) return false
  const rung = rungOf(target)
  if (TYPES_ONLY[rungOf(path)]?.includes(rung) && !isOnlyTypes(text, specifier)) return false
  return rung === rungOf(path) || allowed.includes(rung) || allowed.includes(ANY)
}

/** Whether a module outside the library may import this: the library by its name, as a stranger would. */
function mayImport(path: string, specifier: string, target: string, _text: string): boolean {
  if (!specifier.startsWith('.')) return !/^cacheaside\/(src|dist)\b/.test(specifier)
  const isTest = /\/test\/|\.test\.ts$/.test(path)
  return (
    target.startsWith(posix.join(path.split('/')[0] as string, '/')) || (isTest && target.startsWith('test/'))
  )
}

/** Every breach of the rules in these modules, as `path what`. */
function breaches(modules: ReadonlyMap<string, string>): string[] {
  const found: string[] = []
  for (const [path, text] of modules) {
    const inLibrary = path.startsWith(LIBRARY)
    const vague = path.split('/').find(part => VAGUE_FOLDERS.includes(part))
    if (vague !== undefined) found.push(`${path} lies in a folder called ${vague}`)
    if (inLibrary && LADDER[rungOf(path)] === undefined) found.push(`${path} stands on no rung`)
    for (const specifier of importsOf(text)) {
      const target = posix.join(posix.dirname(path), specifier)
      const allowed = (inLibrary ? mayClimb : mayImport)(path, specifier, target, text)
      if (!allowed) found.push(`${path} imports ${specifier}`)
    }
    if (inLibrary && path !== BUILTIN_USER && code(text).includes(BUILTIN_WORD))
      found.push(`${path} uses ${BUILTIN_WORD}`)
    if (!inLibrary || CLOCK_USERS.some(user => path.startsWith(user))) continue
    const words = CLOCK_WORDS.filter(word => code(text).includes(word))
    found.push(...words.map(word => `${path} uses ${word}`))
  }
  return found
}

test('ARCHITECTURE.md names each file beside the folders of the library once', () => {
  const page = readFileSync(join(ROOT, 'ARCHITECTURE.md'), 'utf8')
  const table = /^The files beside the folders:\n\n([\s\S]*?)\n\n/m.exec(page)?.[1] ?? ''
  const named = [...table.matchAll(/`([\w-]+\.ts)`/g)].map(match => match[1])
  const files = readdirSync(join(ROOT, LIBRARY)).filter(name => name.endsWith('.ts') && name !== 'index.ts')
  expect(named.toSorted()).toEqual(files.toSorted())
})

test('the library climbs its ladder, and only its clock reads the time', () => {
  const modules = modulesIn('cacheaside/src')
  expect(modules.size).toBeGreaterThan(10)
  expect(breaches(modules)).toEqual([])
})

test('the table in ARCHITECTURE.md says of every folder what the ladder says', () => {
  const folders = readdirSync(join(ROOT, LIBRARY), { withFileTypes: true })
    .filter(entry => entry.isDirectory())
    .map(entry => entry.name)
  const table = readFileSync(join(ROOT, 'ARCHITECTURE.md'), 'utf8').matchAll(
    /^\| (?:`(\w+)\/`|the files beside them) \| .* \| (.*) \|$/gm,
  )
  const said = [...table].map(([, rung = STORY, imports = '']) => [
    rung,
    imports.match(/\w+(?=`)/g)?.sort() ?? [],
  ])
  const meant = [...folders, STORY].map(rung => [
    rung,
    LADDER[rung]?.filter(name => folders.includes(name)).sort(),
  ])
  expect(Object.fromEntries(said)).toEqual(Object.fromEntries(meant))
})

test('Spellbook and the examples import the library by its name', () => {
  const modules = modulesIn('spellbook', 'examples')
  expect([...modules.values()].flatMap(importsOf)).toContain('cacheaside')
  expect(breaches(modules)).toEqual([])
})

test('the lesson imports the library by its name', () => {
  const specifiers = [...modulesIn('lesson').values()].flatMap(importsOf)
  expect(specifiers).toContain('cacheaside')
  expect(specifiers.filter(specifier => /\bcacheaside\/(src|dist)\b/.test(specifier))).toEqual([])
})

test.each([
  ['cacheaside/src/base/entry.ts', 'imports ../shared/a.ts', `import { a } from '../shared/a.ts'`],
  ['cacheaside/src/base/entry.ts', 'imports node:fs', `import { readFile } from 'node:fs'`],
  ['cacheaside/src/local/a.ts', 'imports ../shared/a.ts', `import type {\n  A,\n} from '../shared/a.ts'`],
  ['cacheaside/src/shared/a.ts', 'imports ../feed/a.ts', `export * from "../feed/a.ts"`],
  ['cacheaside/src/feed/a.ts', 'imports ../read.ts', `import '../read.ts'`],
  ['cacheaside/src/read.ts', 'imports ./memory/a.ts', `const a = await import('./memory/a.ts')`],
  ['cacheaside/src/read.ts', 'imports ./testing/a.ts', `type A = import('./testing/a.ts').A`],
  ['cacheaside/src/index.ts', 'imports ioredis', `export { Redis } from 'ioredis'`],
  ['cacheaside/src/redis/a.ts', 'imports pg', `import pg from 'pg'`],
  ['cacheaside/src/postgres/a.ts', 'imports ../cache.ts', `import { Cache } from '../cache.ts'`],
  ['cacheaside/src/postgres/a.ts', 'imports ../cache.ts', `export type { Cache } from '../cache.ts'`],
  [
    'cacheaside/src/postgres/a.ts',
    'imports ../cache.ts',
    `import type { A } from './b.ts'\nimport { Cache } from '../cache.ts'`,
  ],
  ['cacheaside/src/memory/a.ts', 'imports ../../test/a.ts', `import { a } from '../../test/a.ts'`],
  ['cacheaside/src/attic/a.ts', 'stands on no rung', ``],
  ['cacheaside/src/base/utils/a.ts', 'lies in a folder called utils', ``],
  ['cacheaside/src/read.ts', 'uses Date.now', `const atMs = Date.now()`],
  ['cacheaside/src/read.ts', 'uses new Date()', `const at = new Date()`],
  ['cacheaside/src/read.ts', 'uses getBuiltinModule', `const fs = process.getBuiltinModule('node:fs')`],
  ['cacheaside/src/local/a.ts', 'uses setTimeout', `const url = 'https://a/' // b\nsetTimeout(a, 1)`],
  [
    'spellbook/src/spells.ts',
    'imports ../../cacheaside/src/a.ts',
    `import { a } from '../../cacheaside/src/a.ts'`,
  ],
  ['spellbook/src/spells.ts', 'imports cacheaside/src/a.ts', `import { a } from 'cacheaside/src/a.ts'`],
  ['spellbook/src/spells.ts', 'imports ../../test/services.ts', `import { a } from '../../test/services.ts'`],
  [
    'examples/quickstart.ts',
    'imports ../cacheaside/src/index.ts',
    `import { a } from '../cacheaside/src/index.ts'`,
  ],
])('a breach planted in %s is reported: %s', (path, report, text) => {
  expect(breaches(new Map([[path, text]]))).toEqual([`${path} ${report}`])
})

test.each([
  ['cacheaside/src/memory/a.ts', `import { a } from '../shared/a.ts'\nimport { b } from './b.ts'`],
  ['cacheaside/src/redis/a.ts', `import type { Fill } from '../shared/shared-store.ts'`],
  [
    'cacheaside/src/postgres/a.ts',
    `import { b } from '../base/b.ts'\nimport type { Cache } from '../cache.ts'\nimport type { Relay } from '../feed/relay.ts'`,
  ],
  ['cacheaside/src/testing/a.ts', `import assert from 'node:assert/strict'`],
  ['cacheaside/src/index.ts', `export { a } from './memory/a.ts'\nexport { b } from './cache.ts'`],
  [
    'cacheaside/src/base/a.ts',
    `/** @example import { a } from '../read.ts' */\n// Date.now() is never called.`,
  ],
  ['cacheaside/src/base/clock.ts', `const atMs = Date.now()`],
  ['spellbook/test/a.test.ts', `import { a } from '../../test/services.ts'\nimport { b } from '../src/b.ts'`],
  ['examples/quickstart.ts', `import { createCache } from 'cacheaside'`],
])('what the rules allow in %s is not reported', (path, text) => {
  expect(breaches(new Map([[path, text]]))).toEqual([])
})
