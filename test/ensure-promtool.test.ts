import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ensurePromtool } from './ensure-promtool.ts'
import { type MachineOptions, machine, putProgram } from './machine.ts'

const PROMTOOL = 'promtool, version 2.42.0'

test('ensurePromtool finds one on the PATH, and installs nothing', async () => {
  const { surroundings, folder, kept, ran } = await machine({ promtool: PROMTOOL, 'apt-get': '' })
  expect(ensurePromtool(surroundings, kept)).toBe(join(folder, 'promtool'))
  expect(ran).toEqual([])
})

test('ensurePromtool takes what PROMTOOL names, and says if that is something else', async () => {
  const { surroundings, folder, kept } = await machine({ other: PROMTOOL, hello: 'hello' })
  const named = (name: string) => ({ ...surroundings, env: { PROMTOOL: join(folder, name) } })
  expect(ensurePromtool(named('other'), kept)).toBe(join(folder, 'other'))
  expect(() => ensurePromtool(named('hello'), kept)).toThrow('is no promtool: it calls itself hello')
  expect(() => ensurePromtool(named('none'), kept)).toThrow('cannot be run')
})

test("ensurePromtool only downloads Debian's package, which would start a service, and needs no rights for it", async () => {
  const { surroundings, kept, ran } = await machine({ 'apt-get': '' })
  expect(() => ensurePromtool(surroundings, kept)).toThrow('apt-get has brought no promtool')
  expect(ran).toEqual([`sh -c cd "$0" && apt-get download -qq prometheus ${kept}`])
  const root = await machine({ 'apt-get': '' }, { isRoot: true })
  expect(() => ensurePromtool(root.surroundings, root.kept)).toThrow('apt-get has brought no promtool')
  expect(root.ran[0]).toBe('apt-get update -qq')
})

test('ensurePromtool downloads once', async () => {
  const { surroundings, kept, ran } = await machine({ 'apt-get': '' })
  await mkdir(join(kept, 'usr/bin'), { recursive: true })
  await putProgram(join(kept, 'usr/bin/promtool'), PROMTOOL)
  expect(ensurePromtool(surroundings, kept)).toBe(join(kept, 'usr/bin/promtool'))
  expect(ran).toEqual([])
})

test.each<[string, Record<string, string>, MachineOptions, string]>([
  ['may not', { 'apt-get': '' }, { noInstall: true }, 'and it may not be installed; install Prometheus'],
  ['may not', { brew: '' }, { env: { CACHEASIDE_NO_INSTALL: '1' } }, 'and it may not be installed'],
  ['knows no package manager', {}, {}, 'nor a known package manager'],
  ['has no rights', { dnf: '' }, {}, 'nor the right to install it'],
])('ensurePromtool says what to do if it %s', async (_, programs, options, message) => {
  const { surroundings, kept } = await machine(programs, options)
  expect(() => ensurePromtool(surroundings, kept)).toThrow(message)
})
