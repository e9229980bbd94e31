import { type ChildProcess, spawn } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { argumentsFor } from '../../test/programs.ts'
import { DataFolderError, openDataFolder } from '../src/database/data-folder.ts'

const root = mkdtempSync(join(tmpdir(), 'spellbook-folder-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))

let folder = ''
let tests = 0
beforeEach(() => {
  folder = join(root, String(tests++))
})

describe('openDataFolder', () => {
  test('makes the folder, and lets nobody else in until it is released', async () => {
    const held = await openDataFolder(join(folder, 'a/b'))
    expect(held.isNew).toBe(true)
    await expect(openDataFolder(join(folder, 'a/b'))).rejects.toThrow(DataFolderError)
    await expect(openDataFolder(join(folder, 'a/b'))).rejects.toThrow('is in use by another process')
    held.release()
    held.release()
    const next = await openDataFolder(join(folder, 'a/b'))
    next.release()
  })

  test('knows the folder by any of its names', async () => {
    mkdirSync(folder)
    symlinkSync(folder, `${folder}-too`)
    const held = await openDataFolder(`${folder}/`)
    await expect(openDataFolder(`${folder}-too`)).rejects.toThrow('is in use')
    await expect(openDataFolder(`${folder}/../${folder.split('/').at(-1)}`)).rejects.toThrow('is in use')
    held.release()
  })

  test.each(['/proc/spellbook/data', '/dev/null/data'])('refuses %s, where no folder can be', async path => {
    await expect(openDataFolder(path)).rejects.toThrow(`the data folder ${path} cannot be made`)
  })

  test('refuses a folder that holds something else, and changes nothing in it', async () => {
    mkdirSync(folder)
    writeFileSync(join(folder, 'letter.txt'), 'dear diary')
    await expect(openDataFolder(folder)).rejects.toThrow('holds something else than a database')
    expect(readdirSync(folder)).toEqual(['letter.txt'])
  })

  test('refuses a folder in which it cannot write what it needs, by its name', async () => {
    mkdirSync(folder)
    writeFileSync(join(folder, '.spellbook'), '')
    await expect(openDataFolder(folder)).rejects.toThrow(DataFolderError)
    await expect(openDataFolder(folder)).rejects.toThrow(`the data folder ${folder} cannot be used: EEXIST`)
  })

  test('refuses what is not a folder', async () => {
    writeFileSync(folder, '')
    await expect(openDataFolder(folder)).rejects.toThrow(DataFolderError)
  })

  test('removes what an interrupted first start left, and nothing that was complete', async () => {
    const first = await openDataFolder(folder)
    mkdirSync(join(folder, 'base'))
    writeFileSync(join(folder, 'PG_VERSION'), '18')
    first.release()

    const second = await openDataFolder(folder)
    expect(second.isNew).toBe(true)
    expect(existsSync(join(folder, 'base'))).toBe(false)
    mkdirSync(join(folder, 'base'))
    writeFileSync(join(folder, 'PG_VERSION'), '18')
    await second.complete()
    second.release()

    const third = await openDataFolder(folder)
    expect(third.isNew).toBe(false)
    expect(existsSync(join(folder, 'base'))).toBe(true)
    third.release()
  })

  test('takes a folder whose path is longer than a socket can have, or says so', async () => {
    const long = join(folder, 'x'.repeat(100))
    const opened = await openDataFolder(long).catch(error => error)
    expect(opened).toBeInstanceOf(DataFolderError)
    expect(opened.message).toContain('too long')
    expect(opened.message).toContain(long)
  })

  test('leaves no more than one lock and one socket behind, however often it is opened', async () => {
    for (let i = 0; i < 20; i++) {
      const held = await openDataFolder(folder)
      await held.complete()
      held.release()
    }
    const held = await openDataFolder(folder)
    expect(readdirSync(join(folder, '.spellbook')).length).toBeLessThanOrEqual(3)
    held.release()
  })

  test('never lets two in, though many fight over it and those who hold it are killed', async () => {
    const program = argumentsFor('spellbook/test/data-folder-fighter.ts')
    const rounds = { entered: 0, killed: 0, violations: 0 }
    const fighters = new Set<ChildProcess>()
    const fight = (lives: number): Promise<void> =>
      new Promise((resolve, reject) => {
        const fighter = spawn(process.execPath, [...program, folder], {
          stdio: ['ignore', 'pipe', 'inherit'],
        })
        fighters.add(fighter)
        fighter.stdout.setEncoding('utf8').on('data', (text: string) => {
          rounds.entered += text.split('entered').length - 1
          rounds.violations += text.split('violation').length - 1
        })
        fighter.on('exit', (code, signal) => {
          fighters.delete(fighter)
          if (signal === 'SIGKILL') rounds.killed++
          else if (code !== 0) return reject(new Error(`a fighter ended with ${code ?? signal}`))
          resolve(lives > 1 ? fight(lives - 1) : undefined)
        })
      })
    await Promise.all([fight(4), fight(4), fight(4), fight(4)])
    expect(rounds.violations).toBe(0)
    expect(rounds.entered).toBeGreaterThan(30)
    expect(rounds.killed).toBeGreaterThan(0)
    expect(fighters.size).toBe(0)
    // The last word of the last process inside.
    expect(readFileSync(join(folder, 'inside'), 'utf8')).toBe('')
  })
})
