import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { compileFunction } from 'node:vm'
import { stop, transform } from 'esbuild'

/** What a scenario uses of the library: as it is shipped, or a mutant of it. */
export interface Library {
  readonly createCache: typeof import('../../src/index.ts')['createCache']
  readonly plantableShared: typeof import('../../src/testing/plantable-shared.ts')['plantableShared']
  readonly registersFor: typeof import('../../src/memory/embedded-shared.ts')['registersFor']
  /** Makes an embedded store over given registers. */
  readonly embeddedStore: (
    registers: ConstructorParameters<
      typeof import('../../src/memory/embedded-shared.ts')['EmbeddedStore']
    >[0],
  ) => import('../../src/memory/embedded-shared.ts').EmbeddedStore
  readonly clockOver: typeof import('../../src/base/clock.ts')['clockOver']
}

/**
 * One change to the library: the text to be found, which must be in exactly one place of all its files, and what takes
 * its place. It names no file, so that code may move from one file to another.
 */
export type Patch = readonly [find: string, replace: string]

const SOURCE = join(import.meta.dirname, '../../src')
const ENTRANCES = [
  'index.ts',
  'testing/plantable-shared.ts',
  'memory/embedded-shared.ts',
  'base/clock.ts',
] as const
/** An import of another module of the library, in what esbuild makes of it. */
const REQUIRE = /\brequire\("(\.[^"]+)"\)/g

/** Loads a module of the library, named by its path below the folder of the sources. */
type Load = (file: string) => Promise<object>

/** The library as it is shipped. */
export const shipped = (): Promise<Library> => libraryFrom(original)

const original: Load = file => import(/* @vite-ignore */ pathToFileURL(join(SOURCE, file)).href)

async function libraryFrom(load: Load): Promise<Library> {
  const modules: Partial<Library & typeof import('../../src/memory/embedded-shared.ts')> = {}
  for (const file of ENTRANCES) Object.assign(modules, await load(file))
  const { createCache, plantableShared, EmbeddedStore, registersFor, clockOver } = modules as Required<
    typeof modules
  >
  return {
    createCache,
    plantableShared,
    registersFor,
    embeddedStore: registers => new EmbeddedStore(registers),
    clockOver,
  }
}

/** A module as a function of what it imports. */
interface Compiled {
  /** The modules of the library that it imports when it runs, as it names them. */
  readonly imports: readonly string[]
  /** Runs it, and answers with what it exports. */
  readonly run: (required: ReadonlyMap<string, object>) => object
}

/**
 * Makes copies of the library in which something has been taken out. A copy lies in memory: each text of a module is
 * compiled once, and runs once for each copy.
 */
export class Nursery {
  readonly #sources = new Map<string, string>()
  /** By the file and its text. */
  readonly #compiled = new Map<string, Promise<Compiled>>()

  constructor() {
    for (const file of readdirSync(SOURCE, { recursive: true, encoding: 'utf8' }))
      if (file.endsWith('.ts')) this.#sources.set(file, readFileSync(join(SOURCE, file), 'utf8'))
  }

  /**
   * The library with these patches. Copied are the patched files, the entrances and what imports them; the rest is the
   * original.
   *
   * @throws Error if the text of a patch is not there exactly once, saying where it is: then the code has changed, and
   *   the patch takes nothing out any more, or it could take out the wrong thing.
   */
  async breed(patches: readonly Patch[]): Promise<Library> {
    const patched = patchedSources(this.#sources, patches)
    const copies = new Set<string>([...patched.keys(), ...ENTRANCES])
    const loaded = new Map<string, object>()
    const load: Load = async file => {
      const known = loaded.get(file)
      if (known !== undefined) return known
      const { imports, run } = await this.#compile(file, patched.get(file) ?? this.#sources.get(file)!)
      const required = new Map<string, object>()
      for (const path of imports) {
        const imported = join(dirname(file), path)
        required.set(path, await load(imported))
        if (copies.has(imported)) copies.add(file)
      }
      const module = copies.has(file) ? run(required) : await original(file)
      loaded.set(file, module)
      return module
    }
    return libraryFrom(load)
  }

  #compile(file: string, text: string): Promise<Compiled> {
    const key = `${file}\n${text}`
    const compiled = this.#compiled.get(key) ?? compile(file, text)
    this.#compiled.set(key, compiled)
    return compiled
  }

  /** Ends the compiler's process. */
  close(): void {
    void stop()
  }
}

/**
 * The files that these patches change, with their new texts. A later patch sees what an earlier one has written.
 *
 * @throws Error if the text of a patch is not there exactly once in all files together.
 */
export function patchedSources(
  sources: ReadonlyMap<string, string>,
  patches: readonly Patch[],
): Map<string, string> {
  const patched = new Map<string, string>()
  for (const [find, replace] of patches) {
    const places = [...sources.keys()]
      .map(file => ({ file, parts: (patched.get(file) ?? sources.get(file)!).split(find) }))
      .filter(({ parts }) => parts.length > 1)
    const [place] = places
    if (place === undefined) throw new Error(`the text to be patched is in no file: ${find}`)
    if (places.length > 1 || place.parts.length > 2) {
      const where = places.map(({ file, parts }) => `${parts.length - 1} times in ${file}`).join(', ')
      throw new Error(`the text to be patched must be there once, and is there ${where}: ${find}`)
    }
    patched.set(place.file, place.parts.join(replace))
  }
  return patched
}

async function compile(file: string, text: string): Promise<Compiled> {
  const { code } = await transform(text, { loader: 'ts', format: 'cjs', target: 'node20', sourcefile: file })
  const main = compileFunction(code, ['module', 'require'], { filename: join(SOURCE, file) })
  return {
    imports: [...code.matchAll(REQUIRE)].map(([, path]) => path!),
    run(required) {
      const module = { exports: {} }
      main(module, (path: string) => required.get(path))
      return module.exports
    },
  }
}
