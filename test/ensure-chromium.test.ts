import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { ensureChromium } from './ensure-chromium.ts'
import { type Surroundings, whichIn } from './ensure-redis-server.ts'

const CHROMIUM = 'Chromium 150.0.7871.46 built on Debian GNU/Linux 12'

async function put(path: string, prints: string) {
  await writeFile(path, `#!/bin/sh\necho '${prints}'\n`)
  await chmod(path, 0o755)
}

/** A machine on which only these programs exist; a program is what it prints. */
async function machine(programs: Record<string, string>, options: Partial<Surroundings> = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'cacheaside-machine-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  for (const [name, prints] of Object.entries(programs)) await put(join(folder, name), prints)
  const ran: string[] = []
  const surroundings: Surroundings = {
    env: {},
    noInstall: false,
    isRoot: true,
    which: name => whichIn(folder, name),
    run: (command, args) => {
      ran.push([command, ...args].join(' '))
      return command !== 'sudo'
    },
    say: () => {},
    ...options,
  }
  return { surroundings, folder, ran }
}

test('ensureChromium finds one on the PATH, by any of its names, and installs nothing', async () => {
  const { surroundings, folder, ran } = await machine({
    'google-chrome': 'Google Chrome 150.0.1',
    'apt-get': '',
  })
  expect(ensureChromium(surroundings)).toBe(join(folder, 'google-chrome'))
  expect(ran).toEqual([])
})

test('ensureChromium takes what CHROMIUM names, and says if that is something else', async () => {
  const { surroundings, folder } = await machine({ other: CHROMIUM, hello: 'hello' })
  const named = (name: string) => ({ ...surroundings, env: { CHROMIUM: join(folder, name) } })
  expect(ensureChromium(named('other'))).toBe(join(folder, 'other'))
  expect(() => ensureChromium(named('hello'))).toThrow('is no Chromium: it calls itself hello')
  expect(() => ensureChromium(named('none'))).toThrow('cannot be run')
})

test('ensureChromium gets it from the package manager', async () => {
  const { surroundings, folder } = await machine({ 'apt-get': '' })
  const ran: string[] = []
  const run = (command: string, args: readonly string[]) => {
    ran.push([command, ...args].join(' '))
    return true
  }
  const later = () => (ran.length < 2 ? undefined : process.execPath)
  const which = (name: string) => (name === 'chromium' ? later() : whichIn(folder, name))
  // It has come, and turns out to be something else: so it was looked for again.
  expect(() => ensureChromium({ ...surroundings, run, which })).toThrow('is no Chromium')
  expect(ran).toEqual([
    'apt-get update -qq',
    'apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core',
  ])
})

test('ensureChromium says in one line what is missing where it may install nothing', async () => {
  const programs = { 'apt-get': '' }
  for (const [options, what] of [
    [{ noInstall: true }, 'it may not be installed'],
    [{ env: { CACHEASIDE_NO_INSTALL: '1' } }, 'it may not be installed'],
    [{ isRoot: false }, 'nor the right to install it'],
    [{ which: () => undefined }, 'nor a known package manager'],
  ] as const) {
    const { surroundings, ran } = await machine(programs, options)
    expect(() => ensureChromium(surroundings)).toThrow(what)
    expect(ran.filter(line => !line.startsWith('sudo'))).toEqual([])
  }
})
