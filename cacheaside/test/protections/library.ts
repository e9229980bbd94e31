import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'

/** What a scenario uses of the library: as it is shipped, or a mutant of it. */
export interface Library {
  readonly createCache: typeof import('../../src/index.ts')['createCache']
  readonly plantableShared: typeof import('../../src/testing/plantable-shared.ts')['plantableShared']
}

/**
 * One change to one file under `src`: the text to be found, which must be there exactly once, and what takes its
 * place.
 */
export type Patch = readonly [file: string, find: string, replace: string]

const SOURCE = join(import.meta.dirname, '../../src')
const MUTANTS = join(import.meta.dirname, '../../.mutants')

/** The library as it is shipped. */
export const shipped = (): Promise<Library> => libraryIn(SOURCE)

/** The library whose sources are in this folder. */
async function libraryIn(folder: string): Promise<Library> {
  const load = (file: string) => import(/* @vite-ignore */ pathToFileURL(join(folder, file)).href)
  const { createCache } = await load('index.ts')
  const { plantableShared } = await load('testing/plantable-shared.ts')
  return { createCache, plantableShared }
}

/** A place for the mutants of one run; two runs at once do not meet. */
export class Nursery {
  readonly #folder: string
  #born = 0

  constructor() {
    mkdirSync(MUTANTS, { recursive: true })
    this.#folder = mkdtempSync(join(MUTANTS, 'run-'))
  }

  /**
   * A copy of the sources with these patches.
   *
   * @throws Error if the text of a patch is not there exactly once: the code has moved on, and the patch takes
   *   nothing out any more.
   */
  async breed(patches: readonly Patch[]): Promise<Library> {
    const folder = join(this.#folder, String(++this.#born))
    cpSync(SOURCE, folder, { recursive: true })
    for (const [file, find, replace] of patches) {
      const path = join(folder, file)
      const parts = readFileSync(path, 'utf8').split(find)
      if (parts.length !== 2)
        throw new Error(`${file} has ${parts.length - 1} of what the patch replaces, not 1: ${find}`)
      writeFileSync(path, parts.join(replace))
    }
    return libraryIn(folder)
  }

  /** Removes what was bred. */
  close(): void {
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

export { dirname }
