/**
 * PGlites for tests. To make a database takes 1 s of a core, and to copy it a quarter of that. So the global setup makes an empty
 * one, and tests begin with copies.
 */
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { cp, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { PGlite } from '@electric-sql/pglite'
import { inject } from 'vitest'
import { LIFTOFF } from './programs.ts'

/** What the global setup hands to the tests: where the empty database is, or why there is none. */
export type EmptyPGlite = { readonly folder: string; readonly archive: string } | { readonly problem: string }

declare module 'vitest' {
  interface ProvidedContext {
    pglite: EmptyPGlite
  }
}

/** Makes a database in a folder, and an archive of it. */
const SCRIPT = `
import { writeFile } from 'node:fs/promises'
import { PGlite } from '@electric-sql/pglite'
const [folder, archive] = process.argv.slice(1)
const pglite = await PGlite.create(folder)
await writeFile(archive, new Uint8Array(await (await pglite.dumpDataDir('none')).arrayBuffer()))
await pglite.close()`

/** Makes the database that tests copy, in a process of its own. Called by the global setup. */
export async function makeEmptyPGlite(): Promise<{ made: EmptyPGlite; end(): void }> {
  const root = mkdtempSync(join(tmpdir(), 'cacheaside-pglite-'))
  const end = () => rmSync(root, { recursive: true, force: true })
  const made = { folder: join(root, 'data'), archive: join(root, 'data.tar') }
  const args = [LIFTOFF, '--input-type=module', '--eval', SCRIPT, made.folder, made.archive]
  try {
    await promisify(execFile)(process.execPath, args, { cwd: import.meta.dirname })
    return { made, end }
  } catch (error) {
    end()
    throw error
  }
}

function found(): Exclude<EmptyPGlite, { problem: string }> {
  const empty = inject('pglite')
  if ('problem' in empty) throw new Error(empty.problem)
  return empty
}

let read: Promise<Blob> | undefined

/** A new PGlite in memory with an empty database. The caller closes it. */
export async function emptyPGlite(): Promise<PGlite> {
  read ??= readFile(found().archive).then(bytes => new Blob([bytes]))
  return PGlite.create({ loadDataDir: await read })
}

/** Puts an empty database into a folder. It is not the first start any more that a Spellbook has there. */
export async function makeEmptyFolder(path: string): Promise<void> {
  await cp(found().folder, path, { recursive: true })
}
