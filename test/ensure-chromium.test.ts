import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ensureChromium } from './ensure-chromium.ts'
import { machine } from './machine.ts'

const CHROMIUM = 'Chromium 150.0.7871.46 built on Debian GNU/Linux 12'

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
  const brings = { chromium: CHROMIUM }
  const { surroundings, folder, ran } = await machine({ 'apt-get': '' }, { brings, isRoot: true })
  expect(ensureChromium(surroundings)).toBe(join(folder, 'chromium'))
  expect(ran).toEqual([
    'apt-get update -qq',
    'apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core',
  ])
})

test('ensureChromium says in one line what is missing where it may install nothing', async () => {
  const programs = { 'apt-get': '' }
  for (const [options, what] of [
    [{ noInstall: true, isRoot: true }, 'it may not be installed'],
    [{ env: { CACHEASIDE_NO_INSTALL: '1' }, isRoot: true }, 'it may not be installed'],
    [{}, 'nor the right to install it'],
    [{ which: () => undefined }, 'nor a known package manager'],
  ] as const) {
    const { surroundings, ran } = await machine(programs, options)
    expect(() => ensureChromium(surroundings)).toThrow(what)
    expect(ran.filter(line => !line.startsWith('sudo'))).toEqual([])
  }
})
