/**
 * Modules that import each other can only be read together. So no module imports itself through others, by a type
 * either. The simulation and the model can be read from the bottom, in the layers that their documents list.
 */
import { readFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import { expect, test } from 'vitest'
import { importsOf, modulesIn, ROOT } from './imports.ts'

const WITHOUT_CIRCLES = [
  'cacheaside/src',
  'cacheaside/simulation',
  'cacheaside/model',
  'spellbook/src',
  'lesson',
]

/** Which of these modules each of them imports. */
function importsAmong(modules: ReadonlyMap<string, string>): Map<string, string[]> {
  const among = new Map<string, string[]>()
  for (const [path, text] of modules) {
    const targets = importsOf(text).map(specifier => posix.join(posix.dirname(path), specifier))
    among.set(
      path,
      targets.filter(target => modules.has(target)),
    )
  }
  return among
}

/** What a module imports, directly or through others. */
function reachedFrom(path: string, imports: ReadonlyMap<string, readonly string[]>): Set<string> {
  const reached = new Set(imports.get(path))
  // The set grows while it is gone through.
  for (const next of reached) for (const target of imports.get(next)!) reached.add(target)
  return reached
}

/** The groups of modules that import each other, each in the order of the names. */
function circlesIn(modules: ReadonlyMap<string, string>): string[][] {
  const imports = importsAmong(modules)
  const reached = new Map([...modules.keys()].map(path => [path, reachedFrom(path, imports)]))
  const inCircle = [...modules.keys()].filter(path => reached.get(path)!.has(path)).sort()
  const circles = inCircle.map(path =>
    inCircle.filter(other => reached.get(path)!.has(other) && reached.get(other)!.has(path)),
  )
  return circles.filter(([first], i) => first === inCircle[i])
}

/** The layers under the heading *Layers* of a document, the lowest first: names of files. */
function layersIn(page: string): string[][] {
  const section = /^## Layers\n([\s\S]*?)(?=^## )/m.exec(page)?.[1] ?? ''
  const items = section.split(/^\d+\. /m).slice(1)
  return items.map(item => [...item.matchAll(/`([\w-]+\.ts)`/g)].map(match => match[1] as string))
}

/** What these modules, which lie in one folder, do that their layers do not say. */
function layerBreaches(modules: ReadonlyMap<string, string>, layers: readonly string[][]): string[] {
  const layerOf = (path: string) => layers.findIndex(names => names.includes(posix.basename(path)))
  const found: string[] = []
  const missing = [...modules.keys()].filter(path => layerOf(path) < 0)
  found.push(...missing.map(path => `${path} is in no layer`))
  const names = [...modules.keys()].map(path => posix.basename(path))
  const gone = layers.flat().filter(name => !names.includes(name))
  found.push(...gone.map(name => `there is no ${name}`))
  for (const [path, targets] of importsAmong(modules))
    for (const target of targets)
      if (!missing.includes(path) && layerOf(target) >= layerOf(path))
        found.push(`${path} imports ${target}, which is not below it`)
  return found
}

test.each(WITHOUT_CIRCLES)('no module of %s imports itself through others', folder => {
  const modules = modulesIn(folder)
  expect(modules.size).toBeGreaterThan(5)
  expect(circlesIn(modules)).toEqual([])
})

test.each([
  ['cacheaside/simulation', 'docs/simulation.md'],
  ['cacheaside/model', 'docs/model.md'],
])('each module of %s imports only from the layers below it, as %s lists them', (folder, page) => {
  const modules = new Map([...modulesIn(folder)].filter(([path]) => !path.endsWith('.test.ts')))
  const layers = layersIn(readFileSync(join(ROOT, page), 'utf8'))
  expect(layers.length).toBeGreaterThan(3)
  expect(layerBreaches(modules, layers)).toEqual([])
})

const texts = (files: Readonly<Record<string, string>>) => new Map(Object.entries(files))

test.each([
  ['of a value and a type', `import { b } from './b.ts'`, `import type { A } from './a.ts'`],
  ['of two types', `import type { B } from './b.ts'`, `import { type A } from './a.ts'`],
  ['through a re-export', `export * from './b.ts'`, `import {\n  a,\n} from "./a.ts"`],
  ['through an import at run time', `const b = await import('./b.ts')`, `import './a.ts'`],
  ['through the type of a module', `type B = import('./b.ts').B`, `import './a.ts'`],
])('a planted circle is reported: %s', (_, a, b) => {
  expect(circlesIn(texts({ 'x/a.ts': a, 'x/b.ts': b, 'x/c.ts': `import './a.ts'` }))).toEqual([
    ['x/a.ts', 'x/b.ts'],
  ])
})

test('a planted circle through three folders is reported, and another one apart from it', () => {
  const modules = texts({
    'x/a.ts': `import './y/b.ts'`,
    'x/y/b.ts': `import type { C } from '../z/c.ts'`,
    'x/z/c.ts': `import type { A } from '../a.ts'`,
    'x/d.ts': `import './a.ts'\nimport './e.ts'`,
    'x/e.ts': `import './d.ts'`,
  })
  expect(circlesIn(modules)).toEqual([
    ['x/a.ts', 'x/y/b.ts', 'x/z/c.ts'],
    ['x/d.ts', 'x/e.ts'],
  ])
})

test('modules that share what they import, or name each other in comments only, are no circle', () => {
  const modules = texts({
    'x/a.ts': `import './b.ts'\nimport './c.ts'`,
    'x/b.ts': `import './c.ts'`,
    'x/c.ts': `// import './a.ts'\nimport { d } from 'd'`,
  })
  expect(circlesIn(modules)).toEqual([])
})

test.each([
  [`1. \`a.ts\`\n2. \`b.ts\``, ['x/a.ts imports x/b.ts, which is not below it']],
  [`1. \`a.ts\`, \`b.ts\``, ['x/a.ts imports x/b.ts, which is not below it']],
  [`1. \`b.ts\``, ['x/a.ts is in no layer']],
  [`1. \`b.ts\`\n2. \`a.ts\`, \`c.ts\``, ['there is no c.ts']],
  [`1. \`b.ts\`: one\n2. \`a.ts\`: two`, []],
])('a breach of the planted layers %j is reported: %j', (list, breaches) => {
  const modules = texts({ 'x/a.ts': `import type { B } from './b.ts'`, 'x/b.ts': '' })
  expect(layerBreaches(modules, layersIn(`## Layers\n\n${list}\n\n## Then\n`))).toEqual(breaches)
})
