import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { PATIENCE } from '../../../test/patience.ts'
import { type RedisServer, startRedis } from '../../../test/redis-servers.ts'
import { createCache } from '../../src/index.ts'
import { redisShared } from '../../src/redis/index.ts'
import { IOREDIS } from '../redis/clients.ts'
import { cacheaside } from './command-program.ts'
import { runHere } from './run-here.ts'

const CONFIG = ['--config', join(import.meta.dirname, 'servers.config.ts')]
const EMBEDDED = ['--config', join(import.meta.dirname, 'embedded.config.ts')]
const PREFIX = 'explained:'
const PASSWORD = 'open sesame'
let server: RedisServer

beforeAll(async () => {
  server = await startRedis()
  await server.command('CONFIG', 'SET', 'requirepass', PASSWORD)
  vi.stubEnv('CASE_PORT', String(server.port))
  vi.stubEnv('CASE_PREFIX', PREFIX)
  vi.stubEnv('CASE_PASSWORD', encodeURIComponent(PASSWORD))
  const client = IOREDIS.single(server.port, { password: PASSWORD })
  const shared = redisShared({ client, prefix: PREFIX, onWarning: () => {} })
  const cache = createCache({ shared })
  const spells = cache.keyspace('spell', { load: async (id: number) => id * 11 })
  await vi.waitFor(async () => {
    await spells.get(1)
    expect((await spells.read(1)).from).toBe('shared')
  }, PATIENCE)
  await cache.close()
})
afterAll(async () => {
  vi.unstubAllEnvs()
  await server.stop()
})

describe('cacheaside explain', () => {
  test('tells people what is stored, what a reader gets, and why', async () => {
    const { code, out, err } = await runHere(['explain', 'spell', '1', ...CONFIG])
    expect(out).toMatch(/^spell:1 in redis\n {2}register +a value of 2 characters, stored \d/)
    expect(out).toMatch(/^ {2}a reader +gets it from the store: it is fresh$/m)
    expect(out).not.toContain('text:')
    expect([code, err]).toEqual([0, ''])
  })

  test('tells programs the same', async () => {
    const { code, out } = await runHere(['explain', 'spell', '2', '--json', ...CONFIG])
    expect(JSON.parse(out)).toMatchObject({
      store: 'redis',
      key: 'spell:2',
      register: { state: 'absent' },
      readers: { plain: { from: 'origin', why: 'missing' } },
    })
    expect(code).toBe(0)
  })

  test('exits with 1 where the origin holds something else, and shows the text if it is asked for', async () => {
    const { code, out } = await runHere(['explain', 'spell', '1', '--origin', '--value', ...CONFIG])
    expect(out).toMatch(/^ {2}the origin +holds something else/m)
    expect(out).toMatch(/^ +text: 11$/m)
    expect(code).toBe(1)
  })

  test('says of an embedded store that no other process is seen', async () => {
    const { code, out } = await runHere(['explain', 'spell', '1', ...EMBEDDED])
    expect(out).toMatch(/^note: this store is embedded/m)
    expect(code).toBe(0)
  })

  test.each<[string, string[], string]>([
    ['no id', ['explain', 'spell'], 'expected KEYSPACE ID... after explain, got spell (--help tells more)'],
    ['an id that there cannot be', ['explain', 'spell', 'four'], '"four" is no id of spell'],
    [
      'an unknown keyspace',
      ['explain', 'spel', '4'],
      'expected the keyspace to be one of spell, wizard, got "spel"',
    ],
    [
      'an option of another command',
      ['explain', 'spell', '4', '--rate', '3'],
      'explain has no option --rate (--help tells more)',
    ],
  ])('exits with 2 and one line for %s', async (_name, args, message) => {
    expect(await runHere([...args, ...CONFIG])).toMatchObject({
      code: 2,
      out: '',
      err: `cacheaside: ${message}\n`,
    })
  })

  test.each(['wrong', 'wr0ng'])('shows no password where the login fails', async word => {
    vi.stubEnv('CASE_PASSWORD', word)
    const { code, out, err } = await runHere(['explain', 'spell', '1', ...CONFIG])
    vi.stubEnv('CASE_PASSWORD', encodeURIComponent(PASSWORD))
    expect(err).toMatch(/^cacheaside: [^\n]*WRONGPASS[^\n]*\n$/)
    expect(out + err).not.toContain(word)
    expect(code).toBe(2)
  })
})

describe('cacheaside --help', () => {
  test('lists the commands, and what each knows', async () => {
    const all = await runHere(['--help'])
    for (const name of [
      'explain KEYSPACE ID...',
      'invalidate KEYSPACE|TAGS ID...',
      'flush KEYSPACE',
      'verify',
    ])
      expect(all.out).toContain(`  ${name}`)
    const one = await runHere(['flush', '--help'])
    expect(one.out).toMatch(/^usage: cacheaside flush KEYSPACE\|TAGS --config FILE/)
    expect(one.out).toContain('--yes')
    expect(one.out).not.toContain('--rate')
    expect([all.code, one.code]).toEqual([0, 0])
  })

  test('works as a program', async () => {
    const { code, out } = await cacheaside(['explain', '--help'])
    expect(out).toMatch(/^usage: cacheaside explain KEYSPACE ID\.\.\. --config FILE/)
    expect(code).toBe(0)
  })
})
