import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'

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
const MUTANTS = join(import.meta.dirname, '../../.mutants')
const ENTRANCES = [
  'index.ts',
  'testing/plantable-shared.ts',
  'memory/embedded-shared.ts',
  'base/clock.ts',
] as const
/** An import or re-export of a module of the library; those of types alone vanish when it runs. */
const IMPORT = /((?:import|export)\s(type\s)?[^'"]*?from\s*)'(\.[^']+)'/g

/** The library as it is shipped. */
export const shipped = (): Promise<Library> => libraryIn(SOURCE)

async function libraryIn(folder: string): Promise<Library> {
  const [index, plantable, embedded, clock] = await Promise.all(
    ENTRANCES.map(file => import(/* @vite-ignore */ pathToFileURL(join(folder, file)).href)),
  )
  const { EmbeddedStore, registersFor } = embedded
  return {
    createCache: index.createCache,
    plantableShared: plantable.plantableShared,
    registersFor,
    embeddedStore: registers => new EmbeddedStore(registers),
    clockOver: clock.clockOver,
  }
}

/**
 * Makes copies of the library in which something has been taken out. The copies lie in a folder of this run's own,
 * so that two runs at once do not meet.
 */
export class Nursery {
  readonly #folder: string
  readonly #sources = new Map<string, string>()
  #made = 0

  constructor() {
    mkdirSync(MUTANTS, { recursive: true })
    this.#folder = mkdtempSync(join(MUTANTS, 'run-'))
    for (const file of readdirSync(SOURCE, { recursive: true, encoding: 'utf8' }))
      if (file.endsWith('.ts')) this.#sources.set(file, readFileSync(join(SOURCE, file), 'utf8'))
  }

  /**
   * The library with these patches. Copied are the patched files and what imports them; the rest is the original.
   *
   * @throws Error if the text of a patch is not there exactly once, saying where it is: then the code has changed, and
   *   the patch takes nothing out any more, or it could take out the wrong thing.
   */
  async breed(patches: readonly Patch[]): Promise<Library> {
    const folder = join(this.#folder, String(++this.#made))
    const patched = patchedSources(this.#sources, patches)
    const copied = this.#withImporters([...patched.keys(), ...ENTRANCES])
    for (const file of copied) {
      const path = join(folder, file)
      mkdirSync(dirname(path), { recursive: true })
      writeFileSync(path, leadingBack(patched.get(file) ?? this.#sources.get(file)!, file, path, copied))
    }
    return libraryIn(folder)
  }

  /** These files and all that import them, directly or through others. */
  #withImporters(files: readonly string[]): Set<string> {
    const found = new Set(files)
    for (const wanted of found) {
      for (const [file, text] of this.#sources)
        for (const [, , type, path] of text.matchAll(IMPORT))
          if (type === undefined && join(dirname(file), path!) === wanted) found.add(file)
    }
    return found
  }

  /** Removes the copies. */
  close(): void {
    rmSync(this.#folder, { recursive: true, force: true })
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

/** The text of a copy, in which what is not copied is imported from the original. */
function leadingBack(text: string, file: string, copy: string, copied: ReadonlySet<string>): string {
  return text.replace(IMPORT, (whole, before: string, _type, path: string) =>
    copied.has(join(dirname(file), path))
      ? whole
      : `${before}'${relative(dirname(copy), resolve(SOURCE, dirname(file), path))}'`,
  )
}
