import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { ensurePromtool } from './ensure-promtool.ts'
import { type Surroundings, whichIn } from './ensure-redis-server.ts'

const PROMTOOL = 'promtool, version 2.42.0'

async function put(path: string, prints: string) {
  await writeFile(path, `#!/bin/sh\necho '${prints}'\n`)
  await chmod(path, 0o755)
}

/** A machine on which only these programs exist; a program is what it prints. */
async function machine(programs: Record<string, string>, options: Partial<Surroundings> = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'cacheaside-machine-'))
  const kept = await mkdtemp(join(tmpdir(), 'cacheaside-promtool-'))
  for (const path of [folder, kept]) onTestFinished(() => rm(path, { recursive: true }))
  for (const [name, prints] of Object.entries(programs)) await put(join(folder, name), prints)
  const ran: string[] = []
  const surroundings: Surroundings = {
    env: {},
    noInstall: false,
    isRoot: false,
    which: name => whichIn(folder, name),
    run: (command, args) => {
      ran.push([command, ...args].join(' '))
      return command !== 'sudo'
    },
    say: () => {},
    ...options,
  }
  return { surroundings, folder, kept, ran }
}

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
  await put(join(kept, 'usr/bin/promtool'), PROMTOOL)
  expect(ensurePromtool(surroundings, kept)).toBe(join(kept, 'usr/bin/promtool'))
  expect(ran).toEqual([])
})

test.each<[string, Record<string, string>, Partial<Surroundings>, string]>([
  ['may not', { 'apt-get': '' }, { noInstall: true }, 'and it may not be installed; install Prometheus'],
  ['may not', { brew: '' }, { env: { CACHEASIDE_NO_INSTALL: '1' } }, 'and it may not be installed'],
  ['knows no package manager', {}, {}, 'nor a known package manager'],
  ['has no rights', { dnf: '' }, {}, 'nor the right to install it'],
])('ensurePromtool says what to do if it %s', async (_, programs, options, message) => {
  const { surroundings, kept } = await machine(programs, options)
  expect(() => ensurePromtool(surroundings, kept)).toThrow(message)
})
