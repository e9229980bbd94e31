import { spawnSync } from 'node:child_process'
import { chmod, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, inject, onTestFinished, test } from 'vitest'
import { ensurePgBouncer } from './ensure-pgbouncer.ts'
import { type Surroundings, whichIn } from './ensure-redis-server.ts'

/** A machine on which only these programs exist; a program is what it prints. */
async function machine(programs: Record<string, string>, options: Partial<Surroundings> = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'cacheaside-machine-'))
  const packages = await mkdtemp(join(tmpdir(), 'cacheaside-packages-'))
  for (const path of [folder, packages]) onTestFinished(() => rm(path, { recursive: true }))
  for (const [name, prints] of Object.entries(programs)) {
    await writeFile(join(folder, name), `#!/bin/sh\necho '${prints}'\n`)
    await chmod(join(folder, name), 0o755)
  }
  const ran: string[] = []
  const surroundings: Surroundings = {
    env: {},
    noInstall: false,
    isRoot: false,
    which: name => whichIn(folder, name),
    run: (command, args) => {
      ran.push([command, ...args].join(' '))
      return true
    },
    say: () => {},
    ...options,
  }
  return { surroundings, folder, packages, ran }
}

const PGBOUNCER = 'PgBouncer 1.18.0'

test('ensurePgBouncer finds one on the PATH, and installs nothing', async () => {
  const { surroundings, folder, packages, ran } = await machine({ pgbouncer: PGBOUNCER, 'apt-get': '' })
  expect(ensurePgBouncer(surroundings, packages)).toBe(join(folder, 'pgbouncer'))
  expect(ran).toEqual([])
})

test('ensurePgBouncer takes what PGBOUNCER names', async () => {
  const { folder } = await machine({ other: PGBOUNCER })
  const env = { PGBOUNCER: join(folder, 'other') }
  const { surroundings, packages } = await machine({ pgbouncer: 'hello' }, { env })
  expect(ensurePgBouncer(surroundings, packages)).toBe(env.PGBOUNCER)
})

test("ensurePgBouncer only downloads Debian's package, which would start a service", async () => {
  const { surroundings, packages, ran } = await machine({ 'apt-get': '' }, { isRoot: true })
  expect(() => ensurePgBouncer(surroundings, packages)).toThrow('apt-get has brought no pgbouncer; install')
  expect(ran).toEqual([
    'apt-get update -qq',
    `apt-get install -y -qq --no-install-recommends --download-only -o Dir::Cache::archives=${packages} pgbouncer`,
  ])
  expect(await readdir(packages)).toEqual(['partial'])
})

test('ensurePgBouncer has other package managers install it', async () => {
  const { surroundings, packages, ran } = await machine({ apk: '' }, { isRoot: true })
  expect(() => ensurePgBouncer(surroundings, packages)).toThrow('apk has brought no pgbouncer')
  expect(ran).toEqual(['apk add --no-cache pgbouncer'])
})

test.each<[string, Partial<Surroundings>, RegExp]>([
  ['it is told not to', { noInstall: true, isRoot: true }, /may not be installed; install PgBouncer/],
  ['the environment says so', { env: { CACHEASIDE_NO_INSTALL: '1' }, isRoot: true }, /may not be installed/],
  ['it has no right to', {}, /nor the right to install it/],
])('ensurePgBouncer installs nothing if %s', async (_name, options, message) => {
  const { surroundings, packages, ran } = await machine({ 'apt-get': '' }, options)
  expect(() => ensurePgBouncer(surroundings, packages)).toThrow(message)
  expect(ran).toEqual([])
})

test('ensurePgBouncer refuses another program', async () => {
  const { surroundings, packages } = await machine({ pgbouncer: 'hello' })
  expect(() => ensurePgBouncer(surroundings, packages)).toThrow('is no pgbouncer: it says hello')
})

test('ensurePgBouncer finds one that runs on this machine', () => {
  const found = inject('pgbouncer')
  if ('problem' in found) throw new Error(found.problem)
  expect(spawnSync(found.path, ['--version'], { encoding: 'utf8' }).stdout).toMatch(/^PgBouncer \d/)
})
