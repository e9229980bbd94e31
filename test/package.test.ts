/**
 * The library as a stranger gets it: packed, installed from the tarball into an empty folder, imported by plain
 * Node, and compiled against by strict TypeScript.
 */
import { type SpawnSyncReturns, spawnSync } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'

const ROOT = join(import.meta.dirname, '..')

interface Manifest {
  readonly exports: Record<string, Record<string, string>>
  readonly dependencies?: Record<string, string>
  readonly peerDependencies?: Record<string, string>
  readonly peerDependenciesMeta?: Record<string, { optional?: boolean }>
}

let folder = ''
let consumer = ''
/** Paths inside the tarball. */
let packed: string[] = []
let manifest: Manifest = { exports: {} }

/** Runs a program without what npm and Vitest put into the environment of their own children. */
function run(cwd: string, command: string, ...args: string[]): SpawnSyncReturns<string> {
  const inherited = Object.entries(process.env).filter(
    ([name]) => !/^(npm_|vitest|node_options|node_env)/i.test(name),
  )
  return spawnSync(command, args, { cwd, encoding: 'utf8', env: Object.fromEntries(inherited) })
}

function succeed(cwd: string, command: string, ...args: string[]): string {
  const { status, stdout, stderr, error } = run(cwd, command, ...args)
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${error ?? stdout + stderr}`)
  return stdout
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cacheaside-package-'))
  // A copy is built, so that what an earlier build left behind cannot stand in for a file that is missing.
  const source = join(folder, 'source')
  await mkdir(source)
  await cp(join(ROOT, 'cacheaside'), join(source, 'cacheaside'), {
    recursive: true,
    filter: path => !['dist', 'node_modules'].includes(basename(path)),
  })
  await cp(join(ROOT, 'tsconfig.json'), join(source, 'tsconfig.json'))
  await symlink(join(ROOT, 'node_modules'), join(source, 'node_modules'))
  succeed(join(source, 'cacheaside'), 'npm', 'pack', '--pack-destination', folder)
  const tarball = (await readdir(folder)).find(name => name.endsWith('.tgz')) ?? ''

  consumer = join(folder, 'consumer')
  await mkdir(consumer)
  await writeFile(join(consumer, 'package.json'), '{ "private": true, "type": "module" }')
  succeed(consumer, 'npm', 'install', join(folder, tarball), '--offline', '--no-audit', '--no-fund')
  const listing = succeed(folder, 'tar', '-tzf', tarball).trim().split('\n')
  packed = listing.map(path => path.replace(/^package\//, '')).filter(path => !path.endsWith('/'))
  manifest = JSON.parse(await readFile(join(consumer, 'node_modules/cacheaside/package.json'), 'utf8'))
})

afterAll(async () => {
  await rm(folder, { recursive: true, force: true })
})

test('the tarball holds the build, the sources it was made from, and nothing else', () => {
  const others = packed.filter(path => !/^(dist|src)\/|^(package\.json|README\.md|LICENSE)$/.test(path))
  expect(others).toEqual([])
  expect(packed.filter(path => /\.test\.|(^|\/)(test|bench|simulation)\//.test(path))).toEqual([])
  const modules = packed
    .filter(path => path.startsWith('src/'))
    .map(path => path.slice(4).replace(/\.ts$/, ''))
  const built = modules.flatMap(name =>
    ['js', 'js.map', 'd.ts', 'd.ts.map'].map(end => `dist/${name}.${end}`),
  )
  expect(modules.length).toBeGreaterThan(1)
  expect(packed.filter(path => path.startsWith('dist/')).sort()).toEqual(built.sort())
})

test('the tarball tells nobody in which folder it was built', async () => {
  const traces: string[] = []
  for (const path of packed) {
    const text = await readFile(join(consumer, 'node_modules/cacheaside', path), 'utf8')
    const found = [ROOT, folder, 'file:///', '/home/', '/Users/'].filter(place => text.includes(place))
    if (found.length > 0) traces.push(`${path}: ${found.join(', ')}`)
  }
  expect(traces).toEqual([])
})

test('every target of exports is in the tarball', () => {
  const targets = Object.values(manifest.exports).flatMap(conditions => Object.values(conditions))
  expect(targets.length).toBeGreaterThan(1)
  expect(targets.filter(target => !packed.includes(target.replace('./', '')))).toEqual([])
})

test('the published types name no buffer of a typed array, which TypeScript before 5.7 does not know', async () => {
  const declarations = Object.values(manifest.exports).map(({ types = '' }) => types.replace('./', ''))
  const reached = new Set(declarations)
  const found: string[] = []
  for (const path of reached) {
    const text = await readFile(join(consumer, 'node_modules/cacheaside', path), 'utf8')
    for (const [, specifier = ''] of text.matchAll(/(?:from|import\()\s*['"](\.[^'"]+)\.[jt]s['"]/g))
      reached.add(join(dirname(path), `${specifier}.d.ts`))
    found.push(...[...text.matchAll(/\b\w+\d(?:Clamped)?Array</g)].map(([name]) => `${path}: ${name}`))
  }
  expect(reached.size).toBeGreaterThan(2 * declarations.length)
  expect(found).toEqual([])
})

test('the installed package brings no other package with it', async () => {
  expect(manifest.dependencies ?? {}).toEqual({})
  const peers = Object.keys(manifest.peerDependencies ?? {})
  expect(peers.filter(name => manifest.peerDependenciesMeta?.[name]?.optional !== true)).toEqual([])
  const installed = await readdir(join(consumer, 'node_modules'))
  expect(installed.filter(name => !name.startsWith('.'))).toEqual(['cacheaside'])
})

/** Entry points that import a package of others. Their users have it. */
const NEEDING: Record<string, string> = {
  'cacheaside/opentelemetry': '@opentelemetry/api',
  'cacheaside/prometheus': 'prom-client',
}

test.each(Object.entries(NEEDING))(
  '%s is imported where %s is, and otherwise asks for it',
  async (name, peer) => {
    expect(manifest.peerDependenciesMeta?.[peer]).toEqual({ optional: true })
    const program = `import(${JSON.stringify(name)}).then(
    names => console.log(Object.keys(names).length > 0),
    ({ code, message }) => console.log(code, message.includes(${JSON.stringify(`'${peer}'`)})))`
    await writeFile(join(consumer, 'import.js'), program)
    expect(succeed(consumer, process.execPath, 'import.js')).toBe('ERR_MODULE_NOT_FOUND true\n')
    const place = join(consumer, 'node_modules', peer)
    await mkdir(dirname(place), { recursive: true })
    await symlink(join(ROOT, 'node_modules', peer), place)
    try {
      expect(succeed(consumer, process.execPath, 'import.js')).toBe('true\n')
    } finally {
      await rm(join(consumer, 'node_modules', peer.split('/')[0]!), { recursive: true })
    }
  },
)

test('every other entry point is imported by plain Node', async () => {
  const names = Object.keys(manifest.exports)
    .map(path => path.replace('.', 'cacheaside'))
    .filter(name => NEEDING[name] === undefined)
  const program = `
    for (const name of ${JSON.stringify(names)}) {
      const count = Object.keys(await import(name)).length
      console.log(name, count > 0 ? 'exports something' : 'is empty')
    }`
  await writeFile(join(consumer, 'imports.js'), program)
  expect(succeed(consumer, process.execPath, 'imports.js').trim().split('\n')).toEqual(
    names.map(name => `${name} exports something`),
  )
})

test('a program reads, writes and closes, and Node then exits by itself', async () => {
  const program = `
    import { CacheError, createCache } from 'cacheaside'
    let loads = 0
    const cache = createCache()
    const spells = cache.keyspace('spell', {
      load: async id => ({ id, name: 'Fireball', loads: ++loads }),
      ttlMs: 60_000,
    })
    console.log(JSON.stringify(await spells.get(4)))
    console.log(JSON.stringify((await spells.write(4, async () => 1)).value))
    console.log(JSON.stringify(await spells.get(4)))
    await cache.close()
    await spells.get(4).catch(error => console.log(error instanceof CacheError, error.code))`
  await writeFile(join(consumer, 'program.js'), program)
  expect(succeed(consumer, process.execPath, 'program.js').trim().split('\n')).toEqual([
    '{"id":4,"name":"Fireball","loads":1}',
    '1',
    '{"id":4,"name":"Fireball","loads":2}',
    'true CLOSED',
  ])
})

/** Runs `npx cacheaside verify`. What npm itself has to say about the machine that it runs on is left out. */
function audit(...args: string[]) {
  const { status, stdout, stderr } = run(consumer, 'npx', '--offline', 'cacheaside', 'verify', ...args)
  return { status, stdout, stderr: stderr.replace(/^npm .*\n/gm, '') }
}

/** A file for `cacheaside verify`, whose store holds a spell that was changed behind its back. */
const AUDIT = `
import { createCache, embeddedShared } from 'cacheaside'
import { auditedKeyspace } from 'cacheaside/verify'
const shared = embeddedShared()
const cache = createCache({ shared })
let damage = 30
const spells = cache.keyspace('spell', { load: async id => damage })
await spells.getMany([4, 5])
await spells.write(4, () => { damage = 31 })
await spells.get(4)
await cache.close()
export default { shared, graceMs: 20, keyspaces: [auditedKeyspace('spell', { load: async id => damage })] }
`

test('npx cacheaside verify runs from the tarball, and its exit code tells what it found', async () => {
  await writeFile(join(consumer, 'audit.mjs'), AUDIT)
  const stale = audit('--config', 'audit.mjs', '--json')
  expect(stale.stderr).toBe('')
  expect(JSON.parse(stale.stdout)).toMatchObject({
    total: { checked: 2, equal: 1, stale: 1 },
    findings: [{ kind: 'stale', key: 'spell:5' }],
  })
  expect(stale.status).toBe(1)
  await writeFile(join(consumer, 'clean.mjs'), AUDIT.replace('damage = 31', 'damage = 30'))
  const clean = audit('--config', 'clean.mjs')
  expect([clean.stdout.split('\n').at(-2), clean.stderr, clean.status]).toEqual([
    '0 stale of 2 checked',
    '',
    0,
  ])
  const misused = audit()
  expect([misused.stdout, misused.stderr, misused.status]).toEqual([
    '',
    'cacheaside: expected --config FILE (--help tells more)\n',
    2,
  ])
})

test.each([
  ['config.json', '{}', 'config.json is no module of JavaScript or TypeScript, as its name ends'],
  ['half.mjs', 'export default {', 'half.mjs: Unexpected end of input'],
])('npx cacheaside verify names the file that Node cannot read: %s', async (name, text, message) => {
  await writeFile(join(consumer, name), text)
  const { stdout, stderr, status } = audit('--config', name)
  expect([stdout, stderr, status]).toEqual(['', `cacheaside: ${message}\n`, 2])
})

test('npx cacheaside verify reads TypeScript where Node does, and otherwise says what is missing', async () => {
  await writeFile(join(consumer, 'audit.ts'), AUDIT.replace('let damage', 'let damage: number'))
  const { stdout, stderr, status } = audit('--config', 'audit.ts')
  const nodeReadsIt = (process.features as { typescript?: unknown }).typescript === 'strip'
  expect([stdout.split('\n').at(-2), stderr, status]).toEqual(
    nodeReadsIt
      ? ['1 stale of 2 checked', '', 1]
      : [
          undefined,
          'cacheaside: to read audit.ts, either install tsx beside it or use Node 22.18 or newer\n',
          2,
        ],
  )
  // With tsx beside it, any Node does, and reads what is not only types.
  await writeFile(join(consumer, 'enum.ts'), `enum Kind { spell }\n${AUDIT}`)
  await symlink(join(ROOT, 'node_modules/tsx'), join(consumer, 'node_modules/tsx'))
  try {
    const withTsx = audit('--config', 'enum.ts')
    expect([withTsx.stdout.split('\n').at(-2), withTsx.stderr, withTsx.status]).toEqual([
      '1 stale of 2 checked',
      '',
      1,
    ])
  } finally {
    await rm(join(consumer, 'node_modules/tsx'))
  }
})

const TYPED_PROGRAM = `
import { CacheError, createCache, embeddedShared } from 'cacheaside'
import { SimulatedClock } from 'cacheaside/testing'
import { auditedKeyspace, startSampling, verify } from 'cacheaside/verify'

interface Spell {
  readonly id: number
  readonly name: string
}

const cache = createCache({ shared: embeddedShared() })
const spells = cache.keyspace('spell', {
  load: async (id: number): Promise<Spell | undefined> => ({ id, name: 'Fireball' }),
  ttlMs: 60_000,
})
export const name: string | undefined = (await spells.get(4))?.name
export const several: string | undefined = (await spells.getMany([4])).get(4)?.name
export const written: number = (await spells.write(4, async () => 1)).value
export const code: string = new CacheError('CLOSED', 'closed').code
export const nowMs: number = new SimulatedClock().nowMs()
const load = async (id: number): Promise<Spell | undefined> => ({ id, name: 'Fireball' })
const audited = auditedKeyspace('spell', { load, idFromKey: ([id]) => Number(id), versionOf: spell => spell.name })
export const stale: number = (await verify({ shared: embeddedShared(), keyspaces: [audited] })).total.stale
await startSampling(cache, { keyspaces: [audited] }).stop()
await cache.close()
`

/** What readers get of what a loader returns: the same type by the same name, unless a class says what it becomes. */
const VALUES_PROGRAM = `
import { type Codec, createCache, type Keyspace, type Kept, type StandardSchema } from 'cacheaside'
import { auditedKeyspace } from 'cacheaside/verify'

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const same = <A, B>(yes: Same<A, B>) => yes

declare class Decimal { private readonly digits: string; plus(other: Decimal): Decimal; toJSON(): string }
declare class Money { readonly cents: number; add(other: Money): Money; toJSON(): { cents: number } }
declare class Entity { private readonly secret: number; id: number; greet(): string }
interface Spell { readonly id: number; name: string; at?: Date; tags: readonly string[] }
interface Comment { at: Date; parent: Comment | null; replies: Comment[]; byName: Map<string, Comment>; all: ReadonlySet<Comment> }
interface Part { readonly parts: readonly Part[]; price: Decimal; old?: Decimal | null }
interface Chain<T> { value: T; next: Chain<T> | undefined }
type Json = string | number | boolean | null | Json[] | { [name: string]: Json }
type SpellId = string & { readonly brand: 'SpellId' }
type Sum = Decimal | Sum[]

same<Kept<Spell>, Spell>(true)
same<Kept<Comment>, Comment>(true)
same<Kept<Chain<Date>>, Chain<Date>>(true)
same<Kept<Json>, Json>(true)
same<Kept<SpellId>, SpellId>(true)
same<Kept<'a' | 1 | 2n | null | undefined | boolean>, 'a' | 1 | 2n | null | undefined | boolean>(true)
same<Kept<readonly [number, Date, ...string[]]>, readonly [number, Date, ...string[]]>(true)
same<Kept<any>, any>(true)
same<Kept<unknown>, unknown>(true)
same<Kept<never>, never>(true)
same<Kept<object>, object>(true)
same<Kept<Record<string, unknown>>, Record<string, unknown>>(true)
same<Kept<Error>, Error>(true)
same<Kept<Map<string, Set<RegExp>>>, Map<string, Set<RegExp>>>(true)
same<Kept<Uint8Array>, Uint8Array>(true)
same<Kept<Entity>, Entity>(true)
same<Kept<() => void>, () => void>(true)
same<Kept<Decimal>, string>(true)
same<Kept<Money>, { cents: number }>(true)
same<Kept<{ sum: Money }>['sum'], { cents: number }>(true)
same<Kept<Part>['old'], string | null | undefined>(true)
same<Kept<Part>['parts'][number]['parts'][number]['price'], string>(true)
same<Kept<Chain<Decimal>>['value'], string>(true)
same<Kept<[number, Decimal]>, [number, string]>(true)
same<Kept<readonly Decimal[]>, readonly string[]>(true)
same<Kept<Map<Decimal, number>>, Map<string, number>>(true)
same<Kept<Set<Money>>, Set<{ cents: number }>>(true)
same<Kept<{ a: Decimal } | Spell | undefined>, { a: string } | Spell | undefined>(true)
export const sums: Kept<Sum> = ['1', ['2']]

const cache = createCache()
const rows = cache.keyspace('row', { load: async (id: number) => ({ id, at: new Date(), price: {} as Decimal }) })
export const at: Date = (await rows.get(4))!.at
export const price: string = (await rows.get(4))!.price
export const peeked: string = rows.peek(4)!.value!.price
export const batched: string = (await rows.getMany([4])).get(4)!.price
export const read: string = (await rows.read(4)).value!.price
await rows.write(4, async () => ({ id: 4, at: new Date(), price: {} as Decimal }), { writeThrough: true })
await rows.write(4, async ({ guard }) => {
  await guard(rows.key(5))
  return { id: 4, at: new Date(), price: {} as Decimal }
}, { writeThrough: true })
rows.entry(4, { id: 4, at: new Date(), price: {} as Decimal })

export const spells: Keyspace<number, Spell> = cache.keyspace<number, Spell>('spell', { load: async () => undefined })
export const inferred: Keyspace<number, Spell> = cache.keyspace('inferred', {
  load: async (_: number): Promise<Spell | undefined> => undefined,
})
export const mapped: string | undefined = await cache
  .keyspace('mapped', { loadMany: async (ids: readonly number[]) => new Map(ids.map(id => [id, String(id)])) })
  .get(4)

declare const toNumbers: Codec<{ at: Date }, { at: number }>
const coded = cache.keyspace('coded', { load: async (_: number) => ({ at: new Date() }), codec: toNumbers })
export const ms: number = (await coded.get(4))!.at
declare const schema: StandardSchema<{ year: number }>
const checked = cache.keyspace('checked', { load: async (_: number) => ({ year: '1970' }), schema })
export const year: number = (await checked.get(4))!.year
const both = cache.keyspace('both', { load: async (_: number) => ({ at: new Date() }), codec: toNumbers, schema })
export const third: number = (await both.get(4))!.year

/** A keyspace for rows of any type: what it answers with is not known to be another type, nor the same. */
function rowsOf<V>(name: string, load: (id: number) => Promise<V | undefined>): Keyspace<number, Kept<V>, V> {
  return cache.keyspace(name, { load })
}
export const generic: Spell | undefined = await rowsOf<Spell>('generic', async () => undefined).get(4)
auditedKeyspace('row', {
  load: async (id: number) => ({ id, price: {} as Decimal, at: new Date() }),
  idFromKey: ([id]) => Number(id),
  versionOf: row => (row.price.startsWith('1') ? row.at : undefined),
})
`

const WRONG_VALUES = {
  'an instance of a class that comes back as text': `export const mistake: Decimal = (await rows.get(4))!.price`,
  'a text in place of the instance that is written through': `rows.entry(4, { id: 4, at: new Date(), price: '1' })`,
  'a text in place of the instance, of a function that guards': `await rows.write(4, async ({ guard }) => { await guard(); return { id: 4, at: new Date(), price: '1' } }, { writeThrough: true })`,
  'a keyspace of what is loaded, where it answers with something else': `export const mistake: Keyspace<number, { price: Decimal }> = cache.keyspace('x', { load: async (_: number) => ({ price: {} as Decimal }) })`,
  'a keyspace of anything else than what is loaded': `export const mistake: Keyspace<number, { name: string }> = cache.keyspace('x', { load: async (_: number) => ({ price: 4 }) })`,
  'what is loaded in place of what the codec makes of it': `export const mistake: Date = (await coded.get(4))!.at`,
  'what is loaded in place of what the schema makes of it': `export const mistake: string = (await checked.get(4))!.year`,
  'a codec for other values than those that are loaded': `cache.keyspace('x', { load: async (_: number) => ({ at: 'now' }), codec: toNumbers })`,
}

const MISTAKES = {
  'an id of another type': `await spells.get('four')`,
  'an id of another type among several': `await spells.getMany([4, 'four'])`,
  'an id of another type in a write': `await spells.write('four', async () => 1)`,
  'a value taken for another type': `export const mistake: number = (await spells.get(4))!.name`,
  'an absent row forgotten': `export const mistake: string = (await spells.get(4)).name`,
  'a written value taken for another type': `export const mistake: string = (await spells.write(4, async () => 1)).value`,
  'a misspelt option': `cache.keyspace('other', { load: async (id: number) => id, ttlms: 1 })`,
  'ids that are no texts, and no way back to them': `auditedKeyspace('spell', { load })`,
  'a version of a field that does not exist': `auditedKeyspace('spell', { load, idFromKey: ([id]) => Number(id), versionOf: spell => spell.nmae })`,
  'an error code that does not exist': `new CacheError('CLOSE', 'closed')`,
}

/** Type-checks a program as strictly as TypeScript can, the published declarations included. */
async function compile(program: string, compilerOptions: Record<string, unknown>): Promise<string> {
  await writeFile(join(consumer, 'program.ts'), program)
  const strictest = { strict: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true }
  const config = {
    compilerOptions: {
      ...strictest,
      skipLibCheck: false,
      noEmit: true,
      target: 'es2022',
      ...compilerOptions,
    },
    files: ['program.ts'],
  }
  await writeFile(join(consumer, 'tsconfig.json'), JSON.stringify(config))
  const { stdout, stderr } = run(consumer, join(ROOT, 'node_modules/.bin/tsc'), '--project', consumer)
  return stdout + stderr
}

const NODE_TYPES = { types: ['node'], typeRoots: [join(ROOT, 'node_modules/@types')] }

test.each([
  ['Node, with its types', { module: 'nodenext', lib: ['es2022'], ...NODE_TYPES }],
  ['a bundler, with the types of a browser', { module: 'esnext', moduleResolution: 'bundler', types: [] }],
])('the published types compile for %s', async (_name, compilerOptions) => {
  expect(await compile(TYPED_PROGRAM, compilerOptions)).toBe('')
  expect(await compile(VALUES_PROGRAM, compilerOptions)).toBe('')
})

test.each([
  ['', TYPED_PROGRAM, MISTAKES],
  [' about values', VALUES_PROGRAM, WRONG_VALUES],
])('the published types reject mistakes%s', async (_, program, mistakes: Record<string, string>) => {
  const lines = Object.values(mistakes).map(line => `{ ${line.replace('export ', '')} }`)
  const output = await compile(program + lines.join('\n'), { module: 'nodenext', ...NODE_TYPES })
  const refused = [...output.matchAll(/program\.ts\((\d+),/g)].map(match => Number(match[1]))
  const firstMistake = program.split('\n').length
  expect(refused.filter(line => line < firstMistake)).toEqual([])
  const accepted = Object.keys(mistakes).filter((_, index) => !refused.includes(firstMistake + index))
  expect(accepted).toEqual([])
  expect(output, 'types are named as the program names them').not.toContain('NoInfer')
})
