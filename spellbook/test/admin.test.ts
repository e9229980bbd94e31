import { answerInquiries, printableJson } from 'cacheaside/operate'
import type { FastifyInstance, InjectOptions } from 'fastify'
import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { PATIENCE } from '../../test/patience.ts'
import { type RedisServer, startRedis } from '../../test/redis-servers.ts'
import { createDatabase, sharedPostgresUrl } from '../../test/services.ts'
import { operatedCache } from '../src/admin/operated.ts'
import { createApp } from '../src/app.ts'
import type { CacheConfig } from '../src/config.ts'
import type { Database } from '../src/database/database.ts'
import { openPGlite } from '../src/database/pglite.ts'
import { openPostgres } from '../src/database/postgres.ts'
import { isLoopbackHost } from '../src/http/hosts.ts'
import { installChangeFeed, migrate } from '../src/migrations.ts'
import { parseRedisUrl, type RedisServers } from '../src/redis-url.ts'
import { openSharedStore } from '../src/shared-store.ts'
import { cachedSpells, uncachedSpells } from '../src/spells.ts'
import { CACHE } from './harness.ts'

const TOKEN = 'abracadabra-of-sixteen'
const silent = pino({ level: 'silent' })

interface Served {
  readonly app: FastifyInstance
  ask(
    method: InjectOptions['method'],
    url: string,
    more?: Omit<InjectOptions, 'method' | 'url'>,
  ): Promise<Answer>
  close(): Promise<void>
}
interface Answer {
  readonly status: number
  readonly headers: Record<string, unknown>
  // biome-ignore lint/suspicious/noExplicitAny: whatever the route tells, compared by the test.
  readonly body: any
}

/** Spellbook with `/admin`, in this process. Requests come from the loopback, unless they say otherwise. */
async function serve(database: Database, config: CacheConfig, adminToken?: string): Promise<Served> {
  const shared = await openSharedStore(config.shared, silent)
  const spells = await cachedSpells(database, shared, config, undefined, silent)
  const cache = spells.cache!
  if (shared.answer !== undefined) answerInquiries(cache, { name: 'this one' })
  const { close, ...operated } = operatedCache(database, shared, config)
  const administered = { cache, operated: { ...operated, graceMs: 50 } }
  const app = await createApp({
    log: silent,
    service: () => ({ spells, ping: () => database.query('select 1'), administered }),
    ...(adminToken === undefined ? {} : { adminToken }),
  })
  return {
    app,
    ask: (method, url, more = {}) => inject(app, method, url, more),
    async close() {
      await app.close()
      await close()
      await spells.close()
      await shared.close()
    },
  }
}

async function inject(
  app: FastifyInstance,
  method: InjectOptions['method'],
  url: string,
  more: Omit<InjectOptions, 'method' | 'url'>,
): Promise<Answer> {
  const { statusCode, headers, payload } = await app.inject({ method: method!, url, ...more })
  return { status: statusCode, headers, body: payload === '' ? undefined : JSON.parse(payload) }
}

let redis: RedisServer
let postgres: Database
let pglite: Database
beforeAll(async () => {
  redis = await startRedis()
  const url = await createDatabase(sharedPostgresUrl())
  postgres = openPostgres({ kind: 'postgres', url, poolMax: 6, timeoutMs: 5_000 }, () => {})
  pglite = await openPGlite({ kind: 'pglite', folder: undefined })
  for (const database of [postgres, pglite]) await migrate(database)
})
afterAll(async () => {
  await pglite.close()
  await postgres.close()
  await redis.stop()
})

const onRedis = (): CacheConfig => ({
  ...CACHE,
  feed: true,
  shared: { kind: 'redis', ...(parseRedisUrl(redis.url) as RedisServers), policy: undefined },
})

async function served(adminToken?: string): Promise<Served> {
  const made = await serve(pglite, CACHE, adminToken)
  onTestFinished(() => made.close())
  return made
}

describe('/admin without an ADMIN_TOKEN', () => {
  const EXPLAIN = '/admin/explain?keyspace=spell&id=4'

  test.each(['localhost', 'localhost:3000', '127.0.0.1:3000', '[::1]:3000', '127.9.9.9'])(
    'is open to this machine by the name %s',
    async host => {
      const { ask } = await served()
      expect((await ask('GET', EXPLAIN, { headers: { host } })).status).toBe(200)
    },
  )

  test.each<[string, Record<string, string>, string | undefined]>([
    ['by the name of another site, as after DNS rebinding', { host: 'evil.example' }, undefined],
    ['by the name of another site with a port', { host: 'evil.example:3000' }, undefined],
    ['by a name that begins as the loopback does', { host: 'localhost.evil.example' }, undefined],
    ['by an address of another machine', { host: '10.0.0.7:3000' }, undefined],
    ['from another machine', { host: 'localhost' }, '10.0.0.7'],
    ['from another machine by IPv6', { host: 'localhost' }, '2001:db8::1'],
    ['through a proxy on this machine', { host: 'localhost', 'x-forwarded-for': '10.0.0.7' }, undefined],
    ['through another one', { host: 'localhost', forwarded: 'for=10.0.0.7' }, undefined],
    ['from a page of another site', { host: 'localhost', origin: 'https://evil.example' }, undefined],
    ['from a page of another port', { host: 'localhost:3000', origin: 'http://localhost:8080' }, undefined],
    ['from a frame, which says nothing of itself', { host: 'localhost', origin: 'null' }, undefined],
    [
      'from an image on a page of another site',
      { host: 'localhost', 'sec-fetch-site': 'cross-site' },
      undefined,
    ],
  ])('is closed %s', async (_name, headers, remoteAddress) => {
    const { ask } = await served()
    for (const [method, url, payload] of [
      ['GET', EXPLAIN, undefined],
      ['POST', '/admin/flush', { keyspace: 'spell' }],
      ['DELETE', '/admin/feed', undefined],
    ] as const) {
      const answer = await ask(method, url, {
        headers,
        ...(remoteAddress === undefined ? {} : { remoteAddress }),
        ...(payload === undefined ? {} : { payload }),
      })
      expect([400, 403]).toContain(answer.status)
      expect(answer.body.detail).not.toMatch(/generation/)
    }
  })

  test('is closed to a token that somebody brings along', async () => {
    const { ask } = await served()
    const headers = { host: 'spells.example', authorization: 'Bearer undefined' }
    expect((await ask('GET', EXPLAIN, { headers, remoteAddress: '10.0.0.7' })).status).toBe(403)
  })

  test("is open to Spellbook's own page", async () => {
    const { ask } = await served()
    const headers = {
      host: 'localhost:3000',
      origin: 'http://localhost:3000',
      'sec-fetch-site': 'same-origin',
    }
    expect((await ask('GET', EXPLAIN, { headers })).status).toBe(200)
  })
})

describe('isLoopbackHost', () => {
  test.each<[string, boolean]>([
    ['localhost', true],
    ['LOCALHOST:3000', true],
    ['localhost.', true],
    ['127.0.0.1:80', true],
    ['[::1]:3000', true],
    ['[::ffff:127.0.0.1]', true],
    ['', false],
    [':3000', false],
    ['localhost.evil.example', false],
    ['127.0.0.1.evil.example', false],
    ['0.0.0.0', false],
    ['localhost@evil.example', false],
    ['evil.example/localhost', false],
  ])('of %j is %s', (host, expected) => {
    expect(isLoopbackHost(host)).toBe(expected)
  })
})

describe('/admin with an ADMIN_TOKEN', () => {
  const bearer = (token: string) => ({
    headers: { host: 'spells.example', authorization: `Bearer ${token}` },
  })

  test('is open to all who have it, from any place, and to nobody else', async () => {
    const { ask } = await served(TOKEN)
    const remoteAddress = '10.0.0.7'
    expect(await ask('GET', '/admin/stats', { ...bearer(TOKEN), remoteAddress })).toMatchObject({
      status: 200,
    })
    for (const more of [
      {},
      bearer(`${TOKEN}x`),
      bearer(TOKEN.slice(1)),
      { headers: { authorization: TOKEN } },
    ]) {
      const { status, headers, body } = await ask('GET', '/admin/stats', { ...more, remoteAddress })
      expect([status, headers['www-authenticate']]).toEqual([401, 'Bearer'])
      expect(JSON.stringify(body)).not.toContain(TOKEN)
    }
  })

  test('asks this machine for it as well, since a proxy may run here', async () => {
    const { ask } = await served(TOKEN)
    expect((await ask('GET', '/admin/stats', { headers: { host: 'localhost' } })).status).toBe(401)
  })

  test('judges no more than ten wrong tokens a minute from one address, and goes on judging others', async () => {
    vi.spyOn(performance, 'now').mockReturnValue(1_000)
    onTestFinished(() => void vi.restoreAllMocks())
    const { ask } = await served(TOKEN)
    const from = (remoteAddress: string, token: string) =>
      ask('GET', '/admin/feed', { ...bearer(token), remoteAddress })
    for (let i = 0; i < 10; i++) expect((await from('10.0.0.7', `wrong${i}`)).status).toBe(401)
    for (const token of ['wrong', TOKEN])
      expect(await from('10.0.0.7', token)).toMatchObject({ status: 429, headers: { 'retry-after': '60' } })
    expect((await from('10.0.0.8', TOKEN)).status).not.toBe(429)
    vi.spyOn(performance, 'now').mockReturnValue(61_001)
    expect((await from('10.0.0.7', TOKEN)).status).not.toBe(429)
  })

  test('is closed to a page of another site that has it', async () => {
    const { ask } = await served(TOKEN)
    const { headers } = bearer(TOKEN)
    expect(
      await ask('GET', '/admin/stats', { headers: { ...headers, origin: 'https://evil.example' } }),
    ).toMatchObject({
      status: 403,
    })
  })
})

describe.each([
  ['PGlite and an embedded store', () => serve(pglite, CACHE), 'embedded'],
  [
    'PostgreSQL and Redis',
    // The feed, as it opens, may give keyspaces new generations in the midst of a test.
    () => serve(postgres, { ...onRedis(), feed: false }),
    'redis',
  ],
] as const)('/admin on %s', (_name, open, store) => {
  let spellbook: Served
  beforeAll(async () => {
    spellbook = await open()
    await kept('4')
  })
  afterAll(() => spellbook.close())
  /** Reads a spell until it comes from the cache. */
  const kept = (id: string) =>
    vi.waitFor(async () => {
      const { headers } = await spellbook.ask('GET', `/spells/${id}`)
      expect(headers['cache-status']).toMatch(/hit/)
    }, PATIENCE)
  const explained = async (id: string) =>
    (await spellbook.ask('GET', `/admin/explain?keyspace=spell&id=${id}`)).body

  test('explain tells what is stored, and what a reader gets', async () => {
    await kept('4')
    expect(await explained('4')).toMatchObject({
      store,
      key: 'spell:4',
      register: { state: 'value', mark: 'own' },
      readers: { plain: { from: 'shared', why: 'fresh' } },
    })
    expect(await explained('4')).not.toHaveProperty('register.text')
    const more = await spellbook.ask('GET', '/admin/explain?keyspace=spell&id=4&origin=true&value=true')
    expect(more.body).toMatchObject({
      origin: { kind: 'equal' },
      register: { text: expect.stringContaining('Earthquake') },
    })
    expect(more.headers['cache-control']).toBe('no-store')
    const page = await spellbook.ask('GET', '/admin/explain?keyspace=spell-page&id=0&id=20')
    expect(page.body).toMatchObject({ key: 'spell-page:0:20', register: { state: 'absent' } })
  })

  test('explain tells of the tags of a list, and that it stands with them', async () => {
    await vi.waitFor(async () => {
      const { headers } = await spellbook.ask('GET', '/spells?limit=3')
      expect(headers['cache-status']).toMatch(/hit/)
    }, PATIENCE)
    const page = () => spellbook.ask('GET', '/admin/explain?keyspace=spell-page&id=0&id=3&origin=true')
    const { body } = await page()
    expect(body).toMatchObject({
      register: { state: 'value' },
      readers: { plain: { from: 'shared', why: 'fresh' } },
      origin: { kind: 'equal' },
    })
    expect(body.register.tags).toContainEqual(expect.objectContaining({ name: 'list:spells', now: 'stands' }))
    const change = { payload: { damage: 41 } }
    expect((await spellbook.ask('PUT', '/spells/1', change)).status).toBe(200)
    const after = (await page()).body
    expect(after.register.tags).toContainEqual(expect.objectContaining({ name: 'list:spells', now: 'gone' }))
    expect(after.readers).toMatchObject({ plain: { from: 'origin' } })
  })

  test('invalidate and flush end what is stored', async () => {
    await kept('4')
    await kept('5')
    const invalidated = await spellbook.ask('POST', '/admin/invalidate', {
      payload: { keyspace: 'spell', id: '4' },
    })
    expect(invalidated).toMatchObject({ status: 200, body: { done: 'invalidate', key: 'spell:4' } })
    expect(await explained('4')).toMatchObject({ register: { state: 'absent' } })
    expect(await explained('5')).toMatchObject({ register: { state: 'value' } })
    const flushed = await spellbook.ask('POST', '/admin/flush', { payload: { keyspace: 'spell' } })
    expect(flushed).toMatchObject({ status: 200, body: { done: 'flush', keyspace: 'spell' } })
    expect(await explained('5')).toMatchObject({ readers: { plain: { from: 'origin', why: 'generation' } } })
  })

  test('invalidate and flush end what depends on tags', async () => {
    const end = (path: string, payload: object) => spellbook.ask('POST', `/admin/${path}`, { payload })
    const page = () => spellbook.ask('GET', '/spells?limit=2')
    const standing = () =>
      vi.waitFor(async () => expect((await page()).headers['cache-status']).toMatch(/hit/), PATIENCE)
    await standing()
    expect(await end('invalidate', { tags: 'list', id: 'spells' })).toMatchObject({
      status: 200,
      body: { done: 'invalidate', tag: 'list:spells' },
    })
    expect((await page()).headers['cache-status']).not.toMatch(/hit/)
    await standing()
    expect(await end('flush', { tags: 'list' })).toMatchObject({ status: 200, body: { tags: 'list' } })
    expect((await page()).headers['cache-status']).not.toMatch(/hit/)
    for (const [path, payload] of [
      ['flush', { tags: 'spell' }],
      ['flush', { keyspace: 'list' }],
      ['flush', { keyspace: 'spell', tags: 'list' }],
      ['invalidate', { tags: 'lists', id: 'spells' }],
      ['invalidate', { tags: 'list' }],
    ] as const)
      expect((await end(path, payload)).status).toBe(400)
  })

  test('tells keys in a form that obeys nothing on a terminal', async () => {
    const payload = { tags: 'list', id: '\u202e\u009b2Jx' }
    const { payload: told } = await spellbook.app.inject({
      method: 'POST',
      url: '/admin/invalidate',
      payload,
    })
    expect(told).toBe(printableJson(told))
    expect(JSON.parse(told).tag).toBe(`list:${payload.id}`)
  })

  test('stats, doctor, verify and top tell what the command line tells', async () => {
    await kept('4')
    const stats = await spellbook.ask('GET', '/admin/stats')
    expect(stats.body).toMatchObject({
      store,
      keyspaces: { spell: { isKnown: true } },
      here: { keyspaces: {} },
    })
    const doctor = await spellbook.ask('GET', '/admin/doctor')
    expect(doctor.body).toMatchObject({ store, examined: expect.any(Array), findings: expect.any(Array) })
    const verified = await spellbook.ask('GET', '/admin/verify?keyspace=spell')
    expect(verified.body).toMatchObject({ store, total: { stale: 0 } })
    const counting = spellbook.ask('GET', '/admin/top?seconds=1&limit=3')
    let isOver = false
    void counting.finally(() => {
      isOver = true
    })
    while (!isOver) {
      await spellbook.ask('GET', '/spells/4')
      await new Promise(resolve => setImmediate(resolve))
    }
    expect((await counting).body).toMatchObject({ keys: [{ key: 'spell:4', error: 0 }] })
  })

  test.each<[string, InjectOptions['method'], string, object | undefined, number]>([
    ['an unknown keyspace', 'GET', '/admin/explain?keyspace=witch&id=4', undefined, 400],
    ['what is no id', 'GET', '/admin/explain?keyspace=spell&id=four', undefined, 400],
    ['another text for an id', 'GET', '/admin/explain?keyspace=spell&id=04', undefined, 400],
    [
      'a page that nobody can ask for',
      'GET',
      '/admin/explain?keyspace=spell-page&id=0&id=101',
      undefined,
      400,
    ],
    ['no id', 'GET', '/admin/explain?keyspace=spell', undefined, 400],
    ['two ids at once', 'POST', '/admin/invalidate', { keyspace: 'spell', id: ['4', '5'] }, 400],
    ['an unknown parameter', 'GET', '/admin/explain?keyspace=spell&id=4&all=true', undefined, 400],
    ['a minute of counting', 'GET', '/admin/top?seconds=60', undefined, 400],
    ['no keyspace', 'POST', '/admin/flush', {}, 400],
    ['a method that would do it by a link', 'GET', '/admin/flush', undefined, 405],
    ['what is not there', 'GET', '/admin/secrets', undefined, 404],
  ])('%s is refused', async (_case, method, url, payload, status) => {
    const answer = await spellbook.ask(method, url, payload === undefined ? {} : { payload })
    expect(answer).toMatchObject({ status, body: { status } })
  })

  test('a body that names nothing is told what it may name', async () => {
    const toldOf = async (url: string) => {
      const { body } = await spellbook.ask('POST', url, { payload: { keyspaces: 'spell' } })
      expect(body).toMatchObject({
        detail: 'The request is not as it should be.',
        errors: [{ pointer: '#', detail: expect.stringMatching(/^expected one of/) }],
      })
      return body.errors[0].detail
    }
    expect(await toldOf('/admin/flush')).toContain('expected one of "keyspace" and "tags", with a name')
    expect(await toldOf('/admin/invalidate')).toContain('and "tags", with a name, and "id"')
  })

  test('is no part of the description', async () => {
    const { body } = await spellbook.ask('GET', '/openapi.json')
    expect(Object.keys(body.paths).filter(path => path.startsWith('/admin'))).toEqual([])
  })
})

describe('/admin/feed', () => {
  test('tells how the feed is doing, removes it and installs it again', async () => {
    await installChangeFeed(postgres)
    const { ask, close } = await serve(postgres, onRedis())
    onTestFinished(close)
    const status = await ask('GET', '/admin/feed')
    expect(status).toMatchObject({
      status: 200,
      body: {
        installed: true,
        tables: [{ name: 'spell', isMapped: true }, { isMapped: true }, { isMapped: true }],
      },
    })
    expect(await ask('DELETE', '/admin/feed')).toMatchObject({ status: 200, body: { done: 'feed remove' } })
    expect((await ask('GET', '/admin/feed')).body).toMatchObject({ installed: false })
    expect(await ask('PUT', '/admin/feed')).toMatchObject({ status: 200, body: { done: 'feed install' } })
    expect((await ask('GET', '/admin/feed')).body).toMatchObject({ installed: true })
  })

  test('says that there is none where the cache has none', async () => {
    const { ask } = await served()
    expect(await ask('GET', '/admin/feed')).toMatchObject({ status: 400 })
  })
})

test('/admin has nothing to tell where there is no cache', async () => {
  const app = await createApp({
    log: silent,
    service: () => ({ spells: uncachedSpells(pglite), ping: async () => {} }),
  })
  onTestFinished(() => app.close())
  expect(await inject(app, 'GET', '/admin/stats', {})).toMatchObject({ status: 404 })
})

test('/admin answers 503 with a reason and without a secret where Redis is away', async () => {
  const config = onRedis()
  const shared = { ...config.shared, servers: [{ host: '127.0.0.1', port: 1 }], password: 'sesame' }
  const { ask, close } = await serve(postgres, { ...config, shared } as CacheConfig)
  onTestFinished(close)
  const answer = await ask('GET', '/admin/explain?keyspace=spell&id=4')
  expect(answer).toMatchObject({
    status: 503,
    body: { detail: expect.stringMatching(/ECONNREFUSED|not connected/) },
  })
  expect(JSON.stringify(answer.body)).not.toContain('sesame')
})
