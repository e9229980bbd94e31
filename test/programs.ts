/**
 * The programs that tests start again and again, and what they load by its path. Before the tests they are made into a few files:
 * then a start takes 0.6 s of a core instead of 1.3 s by way of tsx. What several of them use is in a file of its own, so that
 * it is loaded once in one process. Packages are not in it: they are imported from where they are installed.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { type BuildOptions, build, type Plugin } from 'esbuild'
import { inject } from 'vitest'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const PROGRAMS = [
  'cacheaside/src/bin/cacheaside.ts',
  'spellbook/src/main.ts',
  'spellbook/test/data-folder-fighter.ts',
  'spellbook/verify.config.ts',
  'trials/worker.ts',
] as const

/** A program, by its path below the folder of the repository. */
export type ProgramPath = (typeof PROGRAMS)[number]

/** The files of the programs, or why there are none. */
export type BuiltPrograms = Readonly<Record<ProgramPath, string>> | { readonly problem: string }

declare module 'vitest' {
  interface ProvidedContext {
    programs: BuiltPrograms
  }
}

/** The file that a program was made into. */
export function builtFile(path: ProgramPath): string {
  const programs = inject('programs')
  if ('problem' in programs) throw new Error(programs.problem)
  return programs[path]
}

/** How Node is to run a program: the arguments of its command line. */
export const argumentsFor = (path: ProgramPath): [option: string, file: string] => [LIFTOFF, builtFile(path)]

/** WebAssembly, as which PGlite comes, is compiled in one quick pass, and not once more for long runs. */
export const LIFTOFF = '--liftoff-only'

/** Makes all programs from the sources as they are now. Called by the global setup. */
export async function buildPrograms(): Promise<{
  files: BuiltPrograms
  again(): Promise<void>
  end(): void
}> {
  const folder = mkdtempSync(join(ROOT, 'node_modules/.programs-'))
  const names = PROGRAMS.map(path => ({ path, name: path.replaceAll('/', '-').replace(/\.ts$/, '') }))
  const files = Object.fromEntries(
    names.map(({ path, name }) => [path, join(folder, `${name}.mjs`)]),
  ) as Record<ProgramPath, string>
  const again = () =>
    bundle({
      entryPoints: names.map(({ path, name }) => ({ in: join(ROOT, path), out: name })),
      outdir: folder,
      outExtension: { '.js': '.mjs' },
      splitting: true,
    })
  const end = () => rmSync(folder, { recursive: true, force: true })
  try {
    await again()
  } catch (error) {
    end()
    throw error
  }
  return { files, again, end }
}

/**
 * Makes a script of a test into one file: a start takes 0.2 s of a core instead of 0.8 s. It imports the library by its name.
 *
 * @param outfile - In a folder below that of the repository, where its packages are found.
 */
export async function buildScript(contents: string, outfile: string): Promise<void> {
  await bundle({ stdin: { contents, resolveDir: ROOT }, outfile })
}

async function bundle(what: BuildOptions): Promise<void> {
  await build({
    ...what,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    conditions: ['source'],
    keepNames: true,
    logLevel: 'silent',
    plugins: [fromItsPlace],
  })
}

/** Leaves packages out, and has each module find its files as if it still lay where its source is. */
const fromItsPlace: Plugin = {
  name: 'from its place',
  setup({ onLoad, onResolve }) {
    onResolve({ filter: /^[^./]/ }, ({ path, kind }) => {
      if (kind === 'entry-point' || path.split('/')[0] === 'cacheaside') return undefined
      return { path, external: true }
    })
    onLoad({ filter: /\.ts$/ }, ({ path }) => {
      const text = readFileSync(path, 'utf8').replaceAll(
        'import.meta.url',
        JSON.stringify(pathToFileURL(path).href),
      )
      if (text.includes('import.meta'))
        throw new Error(`${basename(path)} asks import.meta for more than its url`)
      return { contents: text, loader: 'ts' }
    })
  },
}
