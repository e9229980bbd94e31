import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { type RedisServer, startRedis } from '../../../test/redis-servers.ts'
import { embeddedShared } from '../../src/index.ts'
import { installChangeFeed, removeChangeFeed } from '../../src/operate/feed.ts'
import { SimulatedClock } from '../../src/testing/index.ts'
import { openPostgres } from '../postgres/databases.ts'
import { cacheaside } from './command-program.ts'
import { runHere } from './run-here.ts'

const CONFIG = ['--config', join(import.meta.dirname, 'servers.config.ts')]
const EMBEDDED = ['--config', join(import.meta.dirname, 'embedded.config.ts')]
let server: RedisServer
let database: Awaited<ReturnType<typeof openPostgres>>

beforeAll(async () => {
  server = await startRedis({ maxmemory: '100mb', 'maxmemory-policy': 'allkeys-lru' })
  database = await openPostgres()
  vi.stubEnv('CASE_PORT', String(server.port))
  vi.stubEnv('CASE_PREFIX', 'feed:')
  vi.stubEnv('CASE_DATABASE', database.url)
})
beforeEach(async () => {
  await database.reset()
  await database.sql('CREATE TABLE spell (id int PRIMARY KEY)')
})
afterAll(async () => {
  vi.unstubAllEnvs()
  await database.close()
  await server.stop()
})

const run = (...args: string[]) => runHere([...args, ...CONFIG])
const isInstalled = async () => {
  const [found] = await database.sql(`SELECT to_regnamespace('cacheaside') IS NOT NULL AS yes`)
  return found!.yes
}

describe('cacheaside feed', () => {
  test('status exits with 1 and says what to do where there is no feed', async () => {
    const { code, out, err } = await run('feed', 'status')
    expect(out).toBe(
      'the change feed in the schema cacheaside: not there\nNOT_INSTALLED: there is no change feed in the schema cacheaside: run installFeed, cacheaside feed install, or the script of feedMigrationSql\n',
    )
    expect([code, err]).toEqual([1, ''])
  })

  test('install and remove refuse with 2 where nobody can be asked, and do nothing', async () => {
    for (const name of ['install', 'remove']) {
      const { code, out, err } = await run('feed', name)
      expect(err).toMatch(
        new RegExp(
          `^cacheaside: nothing was done[^\\n]+ add --yes to ${name} the change feed in the schema cacheaside, [^\\n]+\\n$`,
        ),
      )
      expect([code, out]).toEqual([2, ''])
      expect(await isInstalled()).toBe(false)
    }
  })

  test('install --print shows the script, and runs nothing', async () => {
    const { code, out } = await run('feed', 'install', '--print')
    expect(out).toContain('CREATE SCHEMA IF NOT EXISTS "cacheaside"')
    expect([code, await isInstalled()]).toEqual([0, false])
  })

  test('install, status and remove do what they say, asked or with --yes', async () => {
    const installed = await runHere(['feed', 'install', ...CONFIG], { answer: 'yes' })
    expect(installed.asked).toEqual([
      expect.stringMatching(/^install the change feed in the schema cacheaside, which watches spell: /),
    ])
    expect(installed).toMatchObject({
      code: 0,
      out: 'the change feed in the schema cacheaside watches spell\n',
      err: '',
    })
    await database.sql('DELETE FROM cacheaside.outbox; INSERT INTO spell VALUES (4)')
    const status = await run('feed', 'status')
    expect(status.out).toMatch(
      /^ {2}watches spell \(id\)\n {2}1 of at most 100000 changes wait, the oldest for \d/m,
    )
    expect(status.out).toMatch(/^NOT_READ: no cache has ever read the outbox/m)
    expect(status.code).toBe(1)
    const json = JSON.parse((await run('feed', 'status', '--json')).out)
    expect(json).toMatchObject({ installed: true, outbox: { rows: 1, byTable: { spell: 1 } } })
    const explained = await run('explain', 'spell', '4')
    expect(explained.out).toMatch(/^ {2}the feed +change \d+ of spell has waited in the outbox for \d/m)
    const removed = await run('feed', 'remove', '--yes', '--json')
    expect(JSON.parse(removed.out)).toEqual({ done: 'feed remove', schema: 'cacheaside' })
    expect([removed.code, await isInstalled()]).toEqual([0, false])
  })

  test.each<[string, string[], string]>([
    [
      'no word',
      ['feed'],
      'expected one of status, install, remove after feed, got nothing (--help tells more)',
    ],
    [
      'another word',
      ['feed', 'drop'],
      'expected one of status, install, remove after feed, got drop (--help tells more)',
    ],
  ])('exits with 2 and one line for %s', async (_name, args, message) => {
    expect(await run(...args)).toMatchObject({ code: 2, out: '', err: `cacheaside: ${message}\n` })
  })

  test('exits with 2 where the file names no feed, and no migration', async () => {
    const status = await runHere(['feed', 'status', ...EMBEDDED])
    expect(status).toMatchObject({
      code: 2,
      err: expect.stringContaining('there is no change feed here'),
    })
    const install = await runHere(['feed', 'install', '--yes', ...EMBEDDED])
    expect(install).toMatchObject({
      code: 2,
      err: expect.stringContaining('expected migration to be what installFeed is given'),
    })
  })

  test.each([
    ['install', installChangeFeed],
    ['remove', removeChangeFeed],
  ])(
    '%s ends if the database falls silent, at once or later, or at an interruption',
    async (_name, migrate) => {
      const shared = embeddedShared({ maxBytes: 1e6 })
      const clock = new SimulatedClock()
      const stop = new AbortController()
      const ended = async (answers: number, end: () => unknown) => {
        let left = answers
        const sql = () => (left-- > 0 ? Promise.resolve() : new Promise(() => {}))
        const migration = { sql, tables: ['spell'] }
        const options = { shared, keyspaces: [], migration, clock, signal: stop.signal, timeoutMs: 1_000 }
        const saying = migrate(options).catch((error: Error) => error.message)
        await vi.waitFor(() => expect([left, clock.pendingTimers]).toEqual([-1, 1]))
        await end()
        return saying
      }
      expect(await ended(0, () => clock.advance(1_000))).toBe('the database did not answer within 1000 ms')
      expect(await ended(1, () => clock.advance(61_000))).toBe(
        'the database did not answer within 61000 ms: it may have been done or not, and may be repeated',
      )
      expect(await ended(1, () => stop.abort(new Error('interrupted')))).toBe('interrupted')
    },
  )

  test('exits with 2 and no password where the database lets nobody in', async () => {
    vi.stubEnv('CASE_DATABASE', 'postgres://me:sesame@127.0.0.1:1/none')
    const { code, out, err } = await run('feed', 'status')
    vi.stubEnv('CASE_DATABASE', database.url)
    expect(err).toMatch(/^cacheaside: [^\n]*ECONNREFUSED[^\n]*\n$/)
    expect(out + err).not.toContain('sesame')
    expect(code).toBe(2)
  })
})

describe('cacheaside doctor', () => {
  test('exits with 1 where something should be mended, with a verdict in the last line', async () => {
    const { code, out, err } = await run('doctor')
    expect(out).toMatch(/^looked at {2}redis [\d.]+ at 127\.0\.0\.1/)
    expect(out).toMatch(/^bad {8}feed NOT_INSTALLED: /m)
    expect(out).toMatch(/\n\n1 bad, \d to be mended, \d to consider\n$/)
    expect([code, err]).toEqual([1, ''])
  })

  test('tells programs the same, and exits with 0 where there is only advice', async () => {
    const { code, out } = await runHere(['doctor', '--json', '--sample', '5', ...EMBEDDED])
    expect(JSON.parse(out)).toMatchObject({
      store: 'embedded',
      findings: [{ severity: 'advice', area: 'feed', code: 'NO_FEED' }],
    })
    expect(code).toBe(0)
  })

  test('has colours on a terminal that shows them, and nowhere else', async () => {
    const plain = await runHere(['doctor', ...EMBEDDED])
    const colored = await runHere(['doctor', ...EMBEDDED], { hasColor: true, isTerminal: true })
    expect(plain.out).not.toContain('\u001b')
    expect(colored.out).toContain('\u001b[32m0 bad, 0 to be mended, 1 to consider\u001b[39m')
    expect(colored.err).toMatch(/\r\u001b\[K$/)
    const program = await cacheaside(['doctor', '--config', 'embedded.config.ts'], { FORCE_COLOR: '1' })
    expect(program.out).not.toContain('\u001b')
  })
})
