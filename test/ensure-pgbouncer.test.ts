import { spawnSync } from 'node:child_process'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, inject, test } from 'vitest'
import { ensurePgBouncer } from './ensure-pgbouncer.ts'
import { type MachineOptions, machine } from './machine.ts'

const PGBOUNCER = 'PgBouncer 1.18.0'

test('ensurePgBouncer finds one on the PATH, and installs nothing', async () => {
  const { surroundings, folder, kept, ran } = await machine({ pgbouncer: PGBOUNCER, 'apt-get': '' })
  expect(ensurePgBouncer(surroundings, kept)).toBe(join(folder, 'pgbouncer'))
  expect(ran).toEqual([])
})

test('ensurePgBouncer takes what PGBOUNCER names', async () => {
  const { folder } = await machine({ other: PGBOUNCER })
  const env = { PGBOUNCER: join(folder, 'other') }
  const { surroundings, kept } = await machine({ pgbouncer: 'hello' }, { env })
  expect(ensurePgBouncer(surroundings, kept)).toBe(env.PGBOUNCER)
})

test("ensurePgBouncer only downloads Debian's package, which would start a service", async () => {
  const { surroundings, kept, ran } = await machine({ 'apt-get': '' }, { isRoot: true })
  expect(() => ensurePgBouncer(surroundings, kept)).toThrow('apt-get has brought no pgbouncer; install')
  expect(ran).toEqual([
    'apt-get update -qq',
    `apt-get install -y -qq --no-install-recommends --download-only -o Dir::Cache::archives=${kept} pgbouncer`,
  ])
  expect(await readdir(kept)).toEqual(['partial'])
})

test('ensurePgBouncer has other package managers install it', async () => {
  const { surroundings, kept, ran } = await machine({ apk: '' }, { isRoot: true })
  expect(() => ensurePgBouncer(surroundings, kept)).toThrow('apk has brought no pgbouncer')
  expect(ran).toEqual(['apk add --no-cache pgbouncer'])
})

test.each<[string, MachineOptions, RegExp]>([
  ['it is told not to', { noInstall: true, isRoot: true }, /may not be installed; install PgBouncer/],
  ['the environment says so', { env: { CACHEASIDE_NO_INSTALL: '1' }, isRoot: true }, /may not be installed/],
  ['it has no right to', {}, /nor the right to install it/],
])('ensurePgBouncer installs nothing if %s', async (_name, options, message) => {
  const { surroundings, kept, ran } = await machine({ 'apt-get': '' }, options)
  expect(() => ensurePgBouncer(surroundings, kept)).toThrow(message)
  expect(ran).toEqual([])
})

test('ensurePgBouncer refuses another program', async () => {
  const { surroundings, kept } = await machine({ pgbouncer: 'hello' })
  expect(() => ensurePgBouncer(surroundings, kept)).toThrow('is no pgbouncer: it says hello')
})

test('ensurePgBouncer finds one that runs on this machine', () => {
  const found = inject('pgbouncer')
  if ('problem' in found) throw new Error(found.problem)
  expect(spawnSync(found.path, ['--version'], { encoding: 'utf8' }).stdout).toMatch(/^PgBouncer \d/)
})
