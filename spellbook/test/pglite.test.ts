import { mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { DataFolderError } from '../src/database/data-folder.ts'
import { openPGlite } from '../src/database/pglite.ts'
import { databaseSuite } from './database-suite.ts'

databaseSuite('PGlite', () => openPGlite({ kind: 'pglite', folder: undefined }))

test('a folder whose database is damaged is refused by its name, with what to do, and opens when it is mended', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'spellbook-damaged-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const open = () => openPGlite({ kind: 'pglite', folder })
  await (await open()).close()
  const log = readdirSync(join(folder, 'pg_wal')).find(name => /^[\dA-F]{24}$/.test(name))!
  for (const path of ['global/pg_control', `pg_wal/${log}`, 'PG_VERSION'].map(name => join(folder, name))) {
    renameSync(path, `${path}.whole`)
    writeFileSync(path, Buffer.alloc(path.endsWith('pg_control') ? 0 : 100, 0xab))
    const error = await open().catch(error => error)
    expect(error).toBeInstanceOf(DataFolderError)
    expect(error.message).toContain(
      `the database in the data folder ${folder} cannot be opened, and may be damaged (`,
    )
    expect(error.message).toMatch(
      /\): restore a copy of the folder, or remove it to start with an empty one$/,
    )
    renameSync(`${path}.whole`, path)
  }
  await (await open()).close()
})
