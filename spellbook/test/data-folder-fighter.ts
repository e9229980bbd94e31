/**
 * A process that wants the folder: it tries again and again to take it, from several places at once, and looks whether
 * anybody else is in there when it is. Mostly it leaves; sometimes it is killed in there, as by `kill -9`.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DataFolderError, openDataFolder } from '../src/database/data-folder.ts'

const [, , folder = ''] = process.argv
const inside = join(folder, 'inside')
const ATTEMPTS = 150

/** A few turns of the event loop, so that the attempts do not keep step. */
async function dawdle(): Promise<void> {
  for (let i = Math.floor(Math.random() * 10); i > 0; i--) await new Promise(setImmediate)
}

async function attempt(): Promise<void> {
  await dawdle()
  const held = await openDataFolder(folder).catch(error => {
    if (error instanceof DataFolderError && error.message.includes('in use')) return undefined
    throw error
  })
  if (held === undefined) return
  const me = `${process.pid} ${Math.random()}`
  process.stdout.write('entered\n')
  writeFileSync(join(folder, 'PG_VERSION'), '18')
  await held.complete()
  writeFileSync(inside, me)
  for (let i = 0; i < 20; i++) {
    await new Promise(setImmediate)
    if (readFileSync(inside, 'utf8') !== me) process.stdout.write('violation\n')
  }
  writeFileSync(inside, '')
  if (Math.random() < 0.05) process.kill(process.pid, 'SIGKILL')
  held.release()
}

async function fight(): Promise<void> {
  for (let i = 0; i < ATTEMPTS; i++) await attempt()
}

await Promise.all([fight(), fight(), fight()])
