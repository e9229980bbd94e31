import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { markedToken } from 'cacheaside/store'
import pg from 'pg'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { PATIENCE } from '../../test/patience.ts'
import { argumentsFor, builtFile } from '../../test/programs.ts'
import { type RedisServer, startRedis } from '../../test/redis-servers.ts'
import { createDatabase, sharedPostgresUrl } from '../../test/services.ts'
import { endPrograms, type Program, REPOSITORY, startProgram } from './program.ts'

const ends: (() => Promise<unknown>)[] = []
afterEach(async () => {
  await endPrograms()
  for (const end of ends.splice(0).reverse()) await end()
})

/** What a Spellbook and its audit are told. */
type Variables = Record<'DATABASE_URL' | 'REDIS_URL', string>

async function openServers(): Promise<{ redis: RedisServer; psql: pg.Client; env: Variables }> {
  const redis = await startRedis()
  ends.push(() => redis.stop())
  const env = { DATABASE_URL: await createDatabase(sharedPostgresUrl()), REDIS_URL: redis.url }
  const psql = new pg.Client({ connectionString: env.DATABASE_URL })
  await psql.connect()
  ends.push(() => psql.end())
  return { redis, psql, env }
}

const TOKEN = 'A'.repeat(16)

/** The register of one key, as it is under another. */
const under = (key: string, text: string): string =>
  `V${markedToken(key, TOKEN)}${text.slice(1 + TOKEN.length)}`

/** A Spellbook that serves. */
async function serve(env: Variables) {
  const program = startProgram({ env })
  const { url, pid } = await program.ready()
  // When it opens it gives every keyspace a new generation.
  await program.logged('the change feed is open')
  const ask = async (method: string, path: string, body?: object) => {
    const headers = { 'content-type': 'application/json' }
    const response = await fetch(url + path, { method, ...(body && { body: JSON.stringify(body), headers }) })
    await response.text()
    return { status: response.status, cache: response.headers.get('cache-status') ?? '' }
  }
  /** Asks until the answer comes from the cache. */
  const hit = (path: string) =>
    vi.waitFor(async () => expect((await ask('GET', path)).cache).toMatch(/^spellbook; hit/), PATIENCE)
  return { program, pid, ask, hit }
}

const SPELL_PATHS = [1, 2, 3, 4, 5, 6, 7, 8].map(id => `/spells/${id}`)

async function end({ program, pid }: { program: Program; pid: number }): Promise<void> {
  process.kill(pid, 'SIGTERM')
  expect((await program.exit).code).toBe(0)
}

const NPM = ['npm', 'run', '--silent', 'verify', '--workspace', 'spellbook', '--']
/** What npm runs, without the share of npm and of tsx in the time. */
const NODE = [
  process.execPath,
  ...[...argumentsFor('cacheaside/src/bin/cacheaside.ts'), 'verify'],
  ...['--config', builtFile('spellbook/verify.config.ts')],
]

/** How an audit ended, and what it wrote. */
interface Ran {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

/** Audits with these variables and none of the machine's own. */
function verify(env: Partial<Variables>, args: readonly string[], program = NODE): Promise<Ran> {
  const { PATH = '', HOME = '' } = process.env
  const [command, ...first] = program
  const child = spawn(command!, [...first, ...args], { cwd: REPOSITORY, env: { PATH, HOME, ...env } })
  let [out, err] = ['', '']
  child.stdout.setEncoding('utf8').on('data', text => {
    out += text
  })
  child.stderr.setEncoding('utf8').on('data', text => {
    err += text
  })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', code => resolve({ code, out, err }))
  })
}

async function verifyAsJson(env: Variables, ...args: string[]) {
  const { code, out, err } = await verify(env, ['--json', ...args])
  expect(err).toBe('')
  const report = JSON.parse(out)
  const findings = (report.findings as { kind: string; key: string; reason?: string }[])
    .map(({ kind, key, reason = '' }) => `${kind} ${key} ${reason}`.trim())
    .sort()
  return { code, report, findings }
}

describe('npm run verify', () => {
  test('finds nothing in a Spellbook that was written to, but what nobody has read since', async () => {
    const { env } = await openServers()
    const one = await serve(env)
    await one.ask('POST', '/wizards', { name: 'Merlin' })
    for (const id of [1, 4]) await one.ask('PUT', `/wizards/1/spells/${id}`)
    for (const path of [...SPELL_PATHS, '/spells', '/spells?after=3', '/spells/99', '/wizards/1', '/wizards'])
      await one.hit(path)
    const before = await verifyAsJson(env)
    expect(before).toMatchObject({ code: 0, findings: [] })
    const asDocumented = await verify(env, ['--keyspace', 'spell'], NPM)
    expect(asDocumented.out).toMatch(
      /^looked at 9 registers in redis within [\s\S]*\n0 stale of 9 checked\n$/,
    )
    expect(asDocumented.code).toBe(0)
    expect(before.report).toMatchObject({
      store: 'redis',
      // Two lists, two spells in a book.
      total: { checked: 13, equal: 13, skipped: { stamp: 4 } },
      keyspaces: {
        spell: { equal: 9 },
        'spell-page': { equal: 2 },
        wizard: { equal: 1 },
        'wizard-page': { equal: 1 },
      },
    })
    await one.ask('PUT', '/spells/4', { damage: 41 })
    // The change feed may invalidate the spell once more after it was read again.
    await vi.waitFor(async () => {
      for (const path of ['/spells/4', '/spells']) await one.hit(path)
      const after = await verifyAsJson(env)
      expect(after).toMatchObject({
        code: 0,
        findings: ['orphaned spell-page:3:20 tag', 'orphaned wizard:1 tag'],
      })
      expect(after.report.total).toMatchObject({ checked: 13, equal: 11, orphaned: 2 })
    }, PATIENCE)
    await end(one)
  })

  test('finds exactly what was planted: stale, corrupt and orphaned entries', async () => {
    const { redis, env } = await openServers()
    const one = await serve(env)
    await one.ask('POST', '/wizards', { name: 'Merlin' })
    await one.ask('PUT', '/wizards/1/spells/1')
    for (const path of [...SPELL_PATHS, '/spells', '/wizards/1', '/wizards']) await one.hit(path)
    const stored = async (key: string) => String(await redis.command('GET', key))
    const four = await stored('spell:4')
    await redis.command('SET', 'spell:4', four.replace('"damage":40', '"damage":41'))
    await redis.command('SET', 'spell:99', under('spell:99', four.replace('"id":4', '"id":99')))
    await redis.command('SET', 'spell:5', (await stored('spell:5')).replace('"damage"', '"harm"'))
    await redis.command('SET', 'spell:6', (await stored('spell:6')).slice(0, -1))
    await redis.command('SET', 'spell:7', 'fireworks')
    const generation = await stored('@generation:spell')
    await redis.command(
      'SET',
      'spell:8',
      (await stored('spell:8')).replace(generation, generation.toLowerCase().replace(/^./, '_')),
    )
    await redis.command('SET', 'spell:abc', under('spell:abc', four))
    for (const key of ['spell-page:0:20', 'wizard-page:0:20'])
      await redis.command('SET', key, (await stored(key)).replace(/Fireball|Merlin/, 'Snowball'))
    await redis.command('DEL', 'shown:1')
    await redis.command('SET', '@generation:witch', markedToken('witch', TOKEN))
    await redis.command('SET', 'witch:1', under('witch:1', four))
    await redis.command('SET', 'session:1', 'of another program')
    const { code, report, findings } = await verifyAsJson(env)
    expect(findings).toEqual([
      'orphaned spell:8 generation',
      'orphaned spell:abc id',
      'orphaned witch:1 keyspace',
      'orphaned wizard:1 tag',
      'stale spell-page:0:20',
      'stale spell:4',
      'stale spell:99',
      'stale wizard-page:0:20',
      'unreadable spell:5 schema',
      'unreadable spell:6 codec',
      'unreadable spell:7 register',
    ])
    expect(report).toMatchObject({ total: { stale: 4, unreadable: 3, orphaned: 4, equal: 3 }, foreign: 1 })
    expect(code).toBe(1)
    expect(await stored('spell:7')).toBe('fireworks')
    await end(one)
  })

  test('finds what psql changed while no process ran, how far behind it is, and the change that waits for one', async () => {
    const { psql, env } = await openServers()
    const one = await serve(env)
    for (const path of SPELL_PATHS) await one.hit(path)
    await end(one)
    await psql.query("update spell set damage = 41, updated_at = updated_at + interval '90 s' where id = 4")
    await psql.query('delete from spell where id = 5')
    const { code, report, findings } = await verifyAsJson(env)
    expect(findings).toEqual(['stale spell:4', 'stale spell:5'])
    expect(report.findings).toEqual(
      expect.arrayContaining([
        expect.objectContaining({
          key: 'spell:4',
          behind: expect.objectContaining({ by: 90_000, unit: 'ms' }),
          change: { id: expect.any(String), table: 'spell', ageMs: expect.any(Number) },
        }),
        expect.objectContaining({
          key: 'spell:5',
          absent: 'origin',
          change: expect.objectContaining({ table: 'spell' }),
        }),
      ]),
    )
    expect(code).toBe(1)
    const two = await serve(env)
    await vi.waitFor(async () => expect((await verifyAsJson(env)).code).toBe(0), PATIENCE)
    await end(two)
  })

  test('accuses nobody while two processes and psql write', async () => {
    const { psql, env } = await openServers()
    const both = await Promise.all([serve(env), serve(env)])
    for (let i = 0; i < 40; i++) await both[0].ask('POST', '/spells', { name: `Spark ${i}`, damage: i })
    await both[0].ask('POST', '/wizards', { name: 'Merlin' })
    let isOver = false
    let writes = 0
    const write = async ({ ask }: (typeof both)[0], first: number) => {
      for (let i = first; !isOver; i++, writes++) {
        const path = `/spells/${1 + (i % 48)}`
        expect((await ask('PUT', path, { damage: i })).status).toBe(200)
        await ask(i % 2 === 0 ? 'PUT' : 'DELETE', `/wizards/1${path}`)
        const others = ['/spells', `/spells/${1 + ((i * 5) % 48)}`, '/wizards/1', '/wizards']
        await Promise.all([path, ...others].map(it => ask('GET', it)))
      }
    }
    const byHand = async () => {
      for (let i = 0; !isOver; i++) {
        const id = 1 + (i % 48)
        await psql.query('update spell set damage = damage + 1 where id = $1', [id])
        writes++
        await both[i % 2]!.ask('GET', `/spells/${id}`)
      }
    }
    const working = [...both.map((one, i) => write(one, i * 20)), byHand()]
    let checked = 0
    try {
      // Values that change while they are looked at are not compared: as many audits as it takes to compare some.
      for (let audits = 0; audits < 3 || checked < 10; audits++) {
        const { code, report, findings } = await verifyAsJson(env, '--rate', '5000', '--grace', '4000')
        expect(findings.filter(finding => !/^orphaned (spell-page|wizard):\S+ tag$/.test(finding))).toEqual(
          [],
        )
        expect(code).toBe(0)
        checked += report.keyspaces.spell.checked
      }
    } finally {
      isOver = true
      await Promise.all(working)
    }
    expect(writes).toBeGreaterThan(100)
    for (const one of both) await end(one)
  })

  test('says in one line why it cannot be done, without a password, and exits with 2', async () => {
    const { env } = await openServers()
    const secret = createHash('sha256').update(env.REDIS_URL).digest('hex').slice(0, 12)
    const tries: [Partial<Variables>, RegExp][] = [
      [{}, /^cacheaside: expected the DATABASE_URL and the REDIS_URL that Spellbook runs with: [^\n]+\n$/],
      [
        { ...env, REDIS_URL: `redis://u:${secret}@127.0.0.1:1` },
        /^cacheaside: no connection to 127\.0\.0\.1:1: [^\n]+\n$/,
      ],
      [
        { ...env, REDIS_URL: env.REDIS_URL.replace('//', `//u:${secret}@`) },
        /^cacheaside: [^\n]*WRONGPASS[^\n]*\n$/,
      ],
    ]
    for (const [variables, line] of tries) {
      const { code, out, err } = await verify(variables, [])
      expect(err).toMatch(line)
      expect(err).not.toContain(secret)
      expect([code, out]).toEqual([2, ''])
    }
    const one = await serve(env)
    await one.hit('/spells/4')
    const away = env.DATABASE_URL.replace(/:\d+\//, ':1/')
    const { code, err } = await verify({ ...env, DATABASE_URL: away }, [])
    expect(err).toMatch(/^cacheaside: the origin cannot be read: the database does not answer: [^\n]+\n$/)
    expect(code).toBe(2)
    await end(one)
  })
})
