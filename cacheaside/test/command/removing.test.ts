import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { PATIENCE } from '../../../test/patience.ts'
import { type RedisServer, startRedis } from '../../../test/redis-servers.ts'
import { createCache } from '../../src/index.ts'
import { IOREDIS } from '../redis/clients.ts'
import { openStore } from '../redis/harness.ts'
import { cacheaside } from './command-program.ts'
import { runHere } from './run-here.ts'

const CONFIG = ['--config', join(import.meta.dirname, 'servers.config.ts')]
const EMBEDDED = ['--config', join(import.meta.dirname, 'embedded.config.ts')]
let server: RedisServer
let prefixes = 0

beforeAll(async () => {
  server = await startRedis()
})
afterAll(() => server.stop())

/** A process that has the spells 1 and 2 in the store and in L1, and counts its loads. */
async function reading() {
  const prefix = `removing${++prefixes}:`
  vi.stubEnv('CASE_PORT', String(server.port))
  vi.stubEnv('CASE_PREFIX', prefix)
  onTestFinished(() => void vi.unstubAllEnvs())
  const cache = createCache({
    shared: openStore({ client: IOREDIS.single(server.port), prefix }),
    local: { maxEntries: 100 },
  })
  onTestFinished(() => cache.close())
  let loads = 0
  const spells = cache.keyspace('spell', { load: async (id: number) => ++loads && id * 10 })
  await vi.waitFor(async () => {
    await spells.getMany([1, 2])
    expect([spells.peek(1), spells.peek(2)]).toEqual([{ value: 10 }, { value: 20 }])
  }, PATIENCE)
  const registers = async () => {
    const keys = ((await server.command('KEYS', `${prefix}*`)) as string[]).sort()
    return Promise.all(keys.map(async key => [key.slice(prefix.length), await server.command('GET', key)]))
  }
  return { cache, spells, registers }
}

/** What needs a yes: the command, what is removed, and what is asked. */
const CHANGES: [string[], string, RegExp][] = [
  [
    ['invalidate', 'spell', '1'],
    'spell:1',
    /^invalidate spell:1 in redis: its next reader loads it\. Do it\? \[y\/N\] $/,
  ],
  [
    ['flush', 'spell'],
    '@generation:spell',
    /^flush spell in redis: every value of it .*\. Do it\? \[y\/N\] $/,
  ],
]

describe.each(CHANGES)('cacheaside %j', (args, changed, question) => {
  test('refuses with 2 and one line where nobody can be asked, and changes nothing', async () => {
    const { registers } = await reading()
    const before = await registers()
    const { code, out, err } = await runHere([...args, ...CONFIG])
    expect(err).toMatch(
      /^cacheaside: nothing was done, because there is no terminal to ask at: add --yes to (invalidate|flush) [^\n]+\n$/,
    )
    expect([code, out, await registers()]).toEqual([2, '', before])
  })

  test('asks at a terminal, and takes nothing but yes for a yes', async () => {
    const { registers } = await reading()
    const before = await registers()
    for (const answer of ['', 'n', 'yeah', 'no']) {
      const { code, out, err, asked } = await runHere([...args, ...CONFIG], { answer })
      expect(asked).toEqual([expect.stringMatching(question)])
      expect([code, out, err]).toEqual([2, '', 'cacheaside: nothing was done\n'])
    }
    expect(await registers()).toEqual(before)
  })

  test('removes it from the store and from the L1 of every process, and nothing else', async () => {
    const { spells, registers } = await reading()
    const before = new Map((await registers()) as [string, string][])
    const { code, out, err } = await runHere([...args, ...CONFIG], { answer: ' Y ' })
    expect([code, err]).toEqual([0, ''])
    expect(out).toMatch(/^spell(:1 is invalidated| has a new generation)/)
    const after = new Map((await registers()) as [string, string][])
    const differing = [...before.keys()].filter(key => before.get(key) !== after.get(key))
    expect(differing).toEqual([changed])
    await vi.waitFor(() => expect(spells.peek(1)).toBeUndefined(), PATIENCE)
    expect(spells.peek(2)).toEqual(changed === 'spell:1' ? { value: 20 } : undefined)
  })

  test('does it without asking with --yes, and tells programs what was done', async () => {
    await reading()
    const { code, out, asked } = await runHere([...args, ...CONFIG, '--yes', '--json'], { answer: 'n' })
    expect(JSON.parse(out)).toMatchObject({ done: args[0], store: 'redis' })
    expect([code, asked]).toEqual([0, []])
  })

  test('refuses an embedded store, which no other process has', async () => {
    const { code, err } = await runHere([...args, ...EMBEDDED, '--yes'])
    expect(err).toMatch(/^cacheaside: the store is embedded: it lives in the process that has made it/)
    expect(code).toBe(2)
  })

  test('exits with 2 and one reason where the store does not answer', async () => {
    vi.stubEnv('CASE_PORT', '1')
    onTestFinished(() => void vi.unstubAllEnvs())
    const { code, out, err } = await runHere([...args, ...CONFIG, '--yes'])
    expect(err).toMatch(/^cacheaside: [^\n]*(ECONNREFUSED|not connected|did not answer)[^\n]*\n$/)
    expect([code, out]).toEqual([2, ''])
  })
})

describe.each<[string[], object, RegExp, RegExp]>([
  [
    ['invalidate', 'school', 'fire'],
    { done: 'invalidate', tag: 'school:fire' },
    /^invalidate the tag school:fire in redis: every value that depends on it is loaded again by its next reader\. Do it\?/,
    /^the tag school:fire is invalidated in redis, and every process is told\n$/,
  ],
  [
    ['flush', 'school'],
    { done: 'flush', tags: 'school' },
    /^flush all tags school in redis: every value that depends on one of them is loaded again by its next reader\. Do it\?/,
    /^all tags school have a new generation in redis: no value that depends on one of them is found any more\n$/,
  ],
])('cacheaside %j, which are tags', (args, done, question, told) => {
  test('asks, and ends what depends on them in the store and in the L1 of every process', async () => {
    const { cache } = await reading()
    const school = cache.tags<string>('school')
    const burning = cache.keyspace('burning', {
      load: async (id: number) => id,
      tags: () => [school.key('fire')],
    })
    const keep = () =>
      vi.waitFor(async () => {
        await burning.get(1)
        expect(burning.peek(1)).toEqual({ value: 1 })
      }, PATIENCE)
    await keep()
    const refused = await runHere([...args, ...CONFIG])
    expect([refused.code, burning.peek(1)]).toEqual([2, { value: 1 }])
    const { code, out, asked } = await runHere([...args, ...CONFIG], { answer: 'yes' })
    expect([code, asked]).toEqual([0, [expect.stringMatching(question)]])
    expect(out).toMatch(told)
    await vi.waitFor(() => expect(burning.peek(1)).toBeUndefined(), PATIENCE)
    expect((await burning.read(1)).why).toBe('tag')
    const { out: json } = await runHere([...args, ...CONFIG, '--yes', '--json'])
    expect(JSON.parse(json)).toMatchObject({ ...done, store: 'redis' })
  })
})

test('cacheaside invalidate shows an id with control characters escaped', async () => {
  await reading()
  const { code, out } = await runHere(['invalidate', 'school', '\u009b31mred', '--yes', ...CONFIG])
  expect(out).toBe('the tag school:\\u009b31mred is invalidated in redis, and every process is told\n')
  expect(code).toBe(0)
})

test('cacheaside refuses as a program too, without a terminal, and ends', async () => {
  const env = { CASE_PORT: String(server.port), CASE_PREFIX: 'program:' }
  const refused = await cacheaside(['flush', 'spell', '--config', 'servers.config.ts'], env)
  expect(refused.err).toMatch(
    /^cacheaside: nothing was done[^\n]+ add --yes to flush spell in redis: [^\n]+\n$/,
  )
  expect([refused.code, refused.out]).toEqual([2, ''])
  const done = await cacheaside(['flush', 'spell', '--yes', '--config', 'servers.config.ts'], env)
  expect([done.code, done.err]).toEqual([0, ''])
  expect(await server.command('GET', 'program:@generation:spell')).toMatch(/^\./)
})
