import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { PATIENCE } from '../../../test/patience.ts'
import { type RedisServer, startRedis } from '../../../test/redis-servers.ts'
import { createCache } from '../../src/index.ts'
import { answerInquiries } from '../../src/operate/index.ts'
import { IOREDIS } from '../redis/clients.ts'
import { openStore } from '../redis/harness.ts'
import { runHere } from './run-here.ts'

const CONFIG = ['--config', join(import.meta.dirname, 'servers.config.ts')]
const EMBEDDED = ['--config', join(import.meta.dirname, 'embedded.config.ts')]
let server: RedisServer

beforeAll(async () => {
  server = await startRedis()
  vi.stubEnv('CASE_PORT', String(server.port))
  vi.stubEnv('CASE_PREFIX', 'watched:')
})
afterAll(async () => {
  vi.unstubAllEnvs()
  await server.stop()
})

/** A process that answers, and reads spell 1 all the time. */
function reading() {
  const shared = openStore({ client: IOREDIS.single(server.port), prefix: 'watched:' })
  const cache = createCache({
    shared,
    local: { maxEntries: 10 },
    logger: { info() {}, warn() {}, error() {} },
  })
  answerInquiries(cache, { name: 'Anna' })
  const spells = cache.keyspace('spell', { load: async (id: number) => id })
  let isOver = false
  const work = (async () => {
    while (!isOver) {
      await spells.get(1)
      await new Promise(resolve => setImmediate(resolve))
    }
  })()
  onTestFinished(async () => {
    isOver = true
    await work
    await cache.close()
  })
}

describe('cacheaside top', () => {
  test('exits with 2 and says what to do where no process answers', async () => {
    const { code, out, err } = await runHere(['top', '--seconds', '1', ...CONFIG])
    expect(err).toMatch(
      /^cacheaside: no process has answered: each that is to tell of its reads calls answerInquiries/,
    )
    expect([code, out]).toEqual([2, ''])
  })

  test('tells programs once, and people until they have seen enough', async () => {
    reading()
    await vi.waitFor(async () => {
      const { code, out } = await runHere(['top', '--seconds', '1', '--limit', '3', '--json', ...CONFIG])
      expect(code).toBe(0)
      expect(JSON.parse(out)).toMatchObject({ processes: ['Anna'], keys: [{ key: 'spell:1', error: 0 }] })
    }, PATIENCE)
    const stop = new AbortController()
    let shown = ''
    const { code } = await runHere(['top', '--seconds', '1', ...CONFIG], {
      isTerminal: true,
      signal: stop.signal,
      out: text => {
        shown += text
        if (shown.split('reads per second in Anna').length > 2) stop.abort(new Error('enough'))
      },
    })
    expect(shown).toMatch(
      /^\d+\.\d reads per second in Anna\n *reads\/s +or +of all +local +shared +origin +key\n *\d+\.\d +100 % .+ % +spell:1\n/,
    )
    expect(code).toBe(0)
  })

  test('exits with 2 on an embedded store, which no other process has', async () => {
    const { code, err } = await runHere(['top', ...EMBEDDED])
    expect(err).toBe(
      'cacheaside: expected shared to be a store that carries questions to other processes, got "embedded"\n',
    )
    expect(code).toBe(2)
  })
})

describe('cacheaside stats', () => {
  test('counts what is stored, with what processes say, and changes nothing', async () => {
    reading()
    const registers = async () => [
      ((await server.command('KEYS', 'watched:*')) as string[]).sort(),
      await server.command('GET', 'watched:spell:1'),
    ]
    await vi.waitFor(async () => expect((await registers())[1]).toMatch(/^V/), PATIENCE)
    const before = await registers()
    const { code, out, err } = await vi.waitFor(async () => {
      const ran = await runHere(['stats', ...CONFIG])
      expect(ran.out).toContain('Anna: ')
      return ran
    }, PATIENCE)
    expect(await registers()).toEqual(before)
    expect(out).toMatch(/^in redis\n {2}127\.0\.0\.1:\d+: \d+\.\d MiB, no limit, noeviction\n/)
    expect(out).toMatch(/^spell +1 +1 +1 +0 +0 +0 +0 +0 +\d+$/m)
    expect(out).toMatch(/^wizard +0 +0 /m)
    expect(out).toMatch(
      /^Anna: \d+ flights, 0 invalidations that wait\n +reads +local +shared +origin\nspell +\d+ /m,
    )
    expect([code, err]).toEqual([0, ''])
    const json = await runHere(['stats', '--json', '--sample', '1', ...CONFIG])
    expect(JSON.parse(json.out)).toMatchObject({
      store: 'redis',
      nodes: [{ role: 'primary' }],
      keyspaces: { spell: { registers: 1, sampled: 1 } },
    })
  })

  test('says where no process answers, and where none could', async () => {
    const alone = await runHere(['stats', ...CONFIG])
    expect(alone.out).toMatch(/^note: no process has answered: /m)
    const embedded = await runHere(['stats', ...EMBEDDED])
    expect(embedded.out).toMatch(/^note: this store is embedded/m)
    expect([alone.code, embedded.code]).toEqual([0, 0])
  })
})
