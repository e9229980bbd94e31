import { spawnSync } from 'node:child_process'
import { readlink } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ensureRedisServer } from './ensure-redis-server.ts'
import { machine } from './machine.ts'

const REDIS = 'Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64'
const OLD = 'Redis server v=6.2.7 sha=00000000:0'
const VALKEY = 'Valkey server v=8.1.0 sha=00000000:0'

test('ensureRedisServer finds one on the PATH, and installs nothing', async () => {
  const { surroundings, folder, ran } = await machine(
    { 'redis-server': REDIS, 'apt-get': '' },
    { isRoot: true },
  )
  expect(ensureRedisServer(surroundings)).toBe(join(folder, 'redis-server'))
  expect(ran).toEqual([])
})

test('ensureRedisServer takes Valkey for Redis', async () => {
  const { surroundings, folder } = await machine({ 'valkey-server': VALKEY })
  expect(ensureRedisServer(surroundings)).toBe(join(folder, 'valkey-server'))
})

test('ensureRedisServer takes what REDIS_SERVER names', async () => {
  const { folder } = await machine({ other: REDIS })
  const { surroundings } = await machine(
    { 'redis-server': OLD },
    { env: { REDIS_SERVER: join(folder, 'other') } },
  )
  expect(ensureRedisServer(surroundings)).toBe(join(folder, 'other'))
})

test("ensureRedisServer calls Debian's redis-check-rdb by the server's name", async () => {
  const { surroundings, folder } = await machine({ 'redis-check-rdb': REDIS })
  const path = ensureRedisServer(surroundings)
  expect(path).toMatch(/redis-server$/)
  expect(await readlink(path)).toBe(join(folder, 'redis-check-rdb'))
})

test.each([
  ['root', { isRoot: true }, ''],
  ['who may become root without a password', { sudo: true }, 'sudo -n '],
])('ensureRedisServer installs redis-tools for %s, and says so', async (_who, rights, prefix) => {
  const programs = { 'apt-get': '', sudo: '' }
  const brings = { 'redis-check-rdb': REDIS }
  const { surroundings, ran, said } = await machine(programs, { ...rights, brings })
  expect(ensureRedisServer(surroundings)).toMatch(/redis-server$/)
  const steps = [
    `${prefix}apt-get update -qq`,
    `${prefix}apt-get install -y -qq --no-install-recommends redis-tools`,
  ]
  expect(ran.filter(line => line !== 'sudo -n true')).toEqual(steps)
  expect(said).toEqual(steps.map(step => `No redis-server here: ${step}`))
})

test.each([
  ['it is told not to', { noInstall: true, isRoot: true }, /may not be installed; install Redis 7/],
  ['the environment says so', { env: { CACHEASIDE_NO_INSTALL: '1' }, isRoot: true }, /may not be installed/],
  ['it has no right to', {}, /nor the right to install it; install Redis 7/],
])('ensureRedisServer installs nothing if %s', async (_name, options, message) => {
  const { surroundings, ran } = await machine({ 'apt-get': '', sudo: '' }, options)
  expect(() => ensureRedisServer(surroundings)).toThrow(message)
  expect(ran.filter(line => line.includes('apt-get'))).toEqual([])
})

test.each([
  ['no package manager is known', {}, /nor a known package manager/],
  ['the installation brings nothing', { 'apt-get': '' }, /apt-get has brought no redis-server/],
])('ensureRedisServer ends with one line if %s', async (_name, programs, message) => {
  const { surroundings } = await machine(programs as Record<string, string>, { isRoot: true })
  expect(() => ensureRedisServer(surroundings)).toThrow(message)
})

test.each([
  ['too old', OLD, /too old \(v=6\.2\.7\)/],
  ['another program', 'hello', /is no redis-server: it calls itself hello/],
])('ensureRedisServer refuses what is %s', async (_name, prints, message) => {
  const { surroundings } = await machine({ 'redis-server': prints })
  expect(() => ensureRedisServer(surroundings)).toThrow(message)
})

test('ensureRedisServer finds a server that runs on this machine', () => {
  const path = ensureRedisServer()
  expect(spawnSync(path, ['--version'], { encoding: 'utf8' }).stdout).toMatch(/server v=/)
})
