import type * as fs from 'node:fs/promises'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gate } from 'cacheaside/testing'
import { expect, test, vi } from 'vitest'
import { openDataFolder } from '../src/database/data-folder.ts'

/** Where the next one to create a link stops, just before it does. */
const hook = vi.hoisted(() => ({ beforeLink: undefined as (() => Promise<void>) | undefined }))

vi.mock('node:fs/promises', async importOriginal => {
  const real = await importOriginal<typeof fs>()
  const symlink: typeof real.symlink = async (...link) => {
    const wait = hook.beforeLink
    hook.beforeLink = undefined
    await wait?.()
    return real.symlink(...link)
  }
  return { ...real, symlink }
})

test('openDataFolder does not let in one whose number was used, ended and tidied away while it hesitated', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'spellbook-race-'))
  const linking = gate()
  hook.beforeLink = () => linking.wait()
  // 1. A finds no lock, and is about to create lock-1.
  const slow = openDataFolder(folder)
  await linking.reached
  // 2. B takes lock-1 and leaves; 3. C takes lock-2, and tidies lock-1 away.
  const first = await openDataFolder(folder)
  first.release()
  const second = await openDataFolder(folder)
  expect((await readdir(join(folder, '.spellbook'))).filter(name => name.startsWith('lock-'))).toEqual([
    'lock-2',
  ])
  // 4. A creates lock-1, for which there is room again. Only its second look tells it that C is in.
  linking.open()
  await expect(slow).rejects.toThrow('is in use by another process')
  expect((await readdir(join(folder, '.spellbook'))).filter(name => name.startsWith('lock-'))).toEqual([
    'lock-2',
  ])
  second.release()
  const third = await openDataFolder(folder)
  third.release()
  await rm(folder, { recursive: true })
})
