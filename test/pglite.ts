/**
 * PGlites for tests. To make a database takes 1 s of a core, and to copy it a quarter of that. So one empty database is made in a
 * run, when the first test asks for it, and tests begin with copies.
 */
import { execFile } from 'node:child_process'
import { cp, mkdtemp, readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { PGlite } from '@electric-sql/pglite'
import { inject } from 'vitest'
import { LIFTOFF } from './programs.ts'
import { exited, startCleaner } from './redis-servers.ts'

/** Where the empty database of a run can be asked for, or why there is none. */
export type SharedPGlite = { readonly port: number } | { readonly problem: string }

/** The empty database. */
interface Empty {
  readonly folder: string
  readonly archive: string
}

declare module 'vitest' {
  interface ProvidedContext {
    pglite: SharedPGlite
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

/** In a process of its own. */
async function make(root: string): Promise<Empty> {
  const made = { folder: join(root, 'data'), archive: join(root, 'data.tar') }
  const args = [LIFTOFF, '--input-type=module', '--eval', SCRIPT, made.folder, made.archive]
  await promisify(execFile)(process.execPath, args, { cwd: import.meta.dirname })
  return made
}

/**
 * Offers an empty database to all test files: the first that asks has it made. Called by the global setup.
 *
 * @returns what the test files are told, and what removes the database.
 */
export async function offerPGlite(): Promise<{ shared: SharedPGlite; end(): Promise<void> }> {
  const root = await mkdtemp(join(tmpdir(), 'cacheaside-pglite-'))
  // A run that is killed leaves nothing behind, either.
  const cleaner = await startCleaner(root)
  let making: Promise<Empty | { readonly problem: string }> | undefined
  const server = createServer(async (_request, response) => {
    making ??= make(root).catch((error: Error) => ({ problem: error.message }))
    response.setHeader('connection', 'close').end(JSON.stringify(await making))
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return {
    shared: { port: (server.address() as AddressInfo).port },
    async end() {
      await new Promise(resolve => server.close(resolve))
      await making
      cleaner.stdin?.end()
      await exited(cleaner)
    },
  }
}

async function found(): Promise<Empty> {
  const shared = inject('pglite')
  if ('problem' in shared) throw new Error(shared.problem)
  const told = (await (await fetch(`http://127.0.0.1:${shared.port}`)).json()) as Empty | { problem: string }
  if ('problem' in told) throw new Error(told.problem)
  return told
}

let read: Promise<Blob> | undefined

/** A new PGlite in memory with an empty database. The caller closes it. */
export async function emptyPGlite(): Promise<PGlite> {
  read ??= found()
    .then(({ archive }) => readFile(archive))
    .then(bytes => new Blob([bytes]))
  return PGlite.create({ loadDataDir: await read })
}

/** Puts an empty database into a folder. It is not the first start any more that a Spellbook has there. */
export async function makeEmptyFolder(path: string): Promise<void> {
  const { folder } = await found()
  await cp(folder, path, { recursive: true })
}
