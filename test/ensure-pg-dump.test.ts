import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ensurePgDump } from './ensure-pg-dump.ts'
import { type MachineOptions, machine } from './machine.ts'

const BOTH = { pg_dump: 'pg_dump (PostgreSQL) 16.4', pg_restore: 'pg_restore (PostgreSQL) 16.4' }

test('ensurePgDump finds both programs on the PATH, with their version, and installs nothing', async () => {
  const { surroundings, folder, ran } = await machine({ ...BOTH, 'apt-get': '' }, { isRoot: true })
  expect(ensurePgDump(surroundings)).toEqual({
    pgDump: join(folder, 'pg_dump'),
    pgRestore: join(folder, 'pg_restore'),
    major: 16,
  })
  expect(ran).toEqual([])
})

test('ensurePgDump takes what PG_DUMP names', async () => {
  const { folder } = await machine(BOTH)
  const { surroundings } = await machine({ pg_dump: 'hello' }, { env: { PG_DUMP: join(folder, 'pg_dump') } })
  expect(ensurePgDump(surroundings).pgDump).toBe(join(folder, 'pg_dump'))
})

test("ensurePgDump installs Debian's package of client programs", async () => {
  const { surroundings, ran } = await machine({ 'apt-get': '' }, { isRoot: true, brings: BOTH })
  expect(ensurePgDump(surroundings).major).toBe(16)
  expect(ran).toEqual([
    'apt-get update -qq',
    'apt-get install -y -qq --no-install-recommends postgresql-client',
  ])
})

test.each<[string, MachineOptions, RegExp]>([
  [
    'it is told not to',
    { noInstall: true, isRoot: true },
    /may not be installed; install the client programs/,
  ],
  ['the environment says so', { env: { CACHEASIDE_NO_INSTALL: '1' }, isRoot: true }, /may not be installed/],
  ['it has no right to', {}, /nor the right to install it/],
])('ensurePgDump installs nothing if %s', async (_name, options, message) => {
  const { surroundings, ran } = await machine({ 'apt-get': '' }, options)
  expect(() => ensurePgDump(surroundings)).toThrow(message)
  expect(ran).toEqual([])
})

test.each([
  [{ pg_dump: BOTH.pg_dump, pg_restore: 'hello' }, 'pg_restore is another program: it says hello'],
  [{ pg_dump: BOTH.pg_dump }, 'pg_restore cannot be run'],
])('ensurePgDump refuses other programs: %j', async (programs, message) => {
  const { surroundings } = await machine(programs)
  expect(() => ensurePgDump(surroundings)).toThrow(message)
})
