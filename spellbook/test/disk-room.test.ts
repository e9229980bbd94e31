import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { PATIENCE } from '../../test/patience.ts'
import { DataFolderError } from '../src/database/data-folder.ts'
import { DatabaseAwayError } from '../src/database/database.ts'
import { openPGlite } from '../src/database/pglite.ts'
import { migrate } from '../src/migrations.ts'
import { serve } from './harness.ts'

const MIB = 2 ** 20

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'spellbook-disk-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

it('a database is not begun on a disk without room for it', async () => {
  const opening = openPGlite({ kind: 'pglite', folder: newFolder() }, undefined, async () => 71 * MIB)
  await expect(opening).rejects.toThrow(DataFolderError)
  await expect(opening).rejects.toThrow(/has 71 MiB free; the database needs 72 MiB$/)
})

it('a disk that fills up stops the writes and not the reads, until there is room again', async () => {
  let free = 100 * MIB
  const database = await openPGlite({ kind: 'pglite', folder: newFolder() }, undefined, async () => free)
  onTestFinished(() => database.close())
  await migrate(database)
  const { app } = await serve(database)
  onTestFinished(() => app.close())
  const put = async () => {
    const { statusCode, headers } = await app.inject({
      method: 'PUT',
      url: '/spells/1',
      payload: { damage: 31 },
    })
    return [statusCode, headers['retry-after']]
  }
  free = 24 * MIB - 1
  await expect.poll(put, PATIENCE).toEqual([503, '2'])
  const post = await app.inject({ method: 'POST', url: '/spells', payload: { name: 'Spark', damage: 1 } })
  expect(post.statusCode).toBe(503)
  expect((await app.inject('/spells/1')).json()).toMatchObject({ name: 'Fireball' })
  expect((await app.inject('/health/ready')).statusCode).toBe(200)
  await expect(database.transaction(async () => {})).rejects.toThrow(DatabaseAwayError)
  free = 24 * MIB
  await expect.poll(put, PATIENCE).toEqual([200, undefined])
})
