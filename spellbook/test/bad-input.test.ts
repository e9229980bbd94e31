import { type AddressInfo, connect } from 'node:net'
import fc from 'fast-check'
import type { InjectOptions } from 'fastify'
import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { createDatabase, sharedPostgresUrl } from '../../test/services.ts'
import { type Problem, problem, type Spell } from '../src/api.ts'
import { createApp, type Service } from '../src/app.ts'
import type { Database } from '../src/database/database.ts'
import { openPostgres } from '../src/database/postgres.ts'
import { migrate } from '../src/migrations.ts'
import { CACHE, type Harness, openSpells, serve } from './harness.ts'

let database: Database
let harness: Harness

beforeAll(async () => {
  const url = await createDatabase(sharedPostgresUrl())
  database = openPostgres({ kind: 'postgres', url, poolMax: 4, timeoutMs: 5_000 }, () => {})
  await migrate(database)
  harness = await serve(database)
})
afterAll(async () => {
  await harness.close()
  await database.close()
})

const count = async () =>
  Number((await database.query<{ n: number }>('select count(*) as n from spell'))[0]!.n)

/** Sends a request that must be refused, without effect, and answers with the problem. */
async function refused(status: number, request: InjectOptions): Promise<Problem> {
  const before = await count()
  const response = await harness.app.inject(request)
  expect(response.statusCode).toBe(status)
  expect(response.headers['content-type']).toMatch(/^application\/problem\+json/)
  expect(response.headers['x-content-type-options']).toBe('nosniff')
  const told = problem.parse(response.json())
  expect(told).toMatchObject({ type: 'about:blank', status, title: expect.stringMatching(/\w/) })
  expect(told.instance).toBe(request.url)
  expect(await count()).toBe(before)
  return told
}

const JSON_TYPE = { 'content-type': 'application/json' }
const where = (told: Problem) => told.errors?.map(({ pointer, parameter }) => pointer ?? parameter).sort()

describe('a body', () => {
  test.each<[string, unknown, string[]]>([
    ['no object but null', null, ['#']],
    ['no object but a list', [], ['#']],
    ['no object but a text', 'x', ['#']],
    ['nothing in it', {}, ['#/damage', '#/name']],
    ['no name', { damage: 1 }, ['#/name']],
    ['no damage', { name: 'x' }, ['#/damage']],
    ['an unknown field', { name: 'x', damage: 1, id: 7 }, ['#/id']],
    [
      'unknown fields with strange names',
      { name: 'x', damage: 1, 'a/b~c d': 1, '': 2 },
      ['#/', '#/a~1b~0c%20d'],
    ],
    ['a damage that is a text', { name: 'x', damage: '31' }, ['#/damage']],
    ['a damage that is null', { name: 'x', damage: null }, ['#/damage']],
    ['a damage that is true', { name: 'x', damage: true }, ['#/damage']],
    ['a damage that is a list', { name: 'x', damage: [1] }, ['#/damage']],
    ['a damage with a fraction', { name: 'x', damage: 1.5 }, ['#/damage']],
    ['a damage above an int4', { name: 'x', damage: 2_147_483_648 }, ['#/damage']],
    ['a damage below an int4', { name: 'x', damage: -2_147_483_649 }, ['#/damage']],
    ['a name that is a number', { name: 7, damage: 1 }, ['#/name']],
    ['a name that is null', { name: null, damage: 1 }, ['#/name']],
    ['an empty name', { name: '', damage: 1 }, ['#/name']],
    ['a name of 256 characters', { name: 'x'.repeat(256), damage: 1 }, ['#/name']],
    ['a name of 256 surrogate pairs', { name: '🔥'.repeat(256), damage: 1 }, ['#/name']],
    ['a name with a NUL', { name: 'a\0', damage: 1 }, ['#/name']],
    ['a name that begins with a byte order mark', { name: '\ufeffx', damage: 1 }, ['#/name']],
    ['a name with half a character', { name: '\udc00', damage: 1 }, ['#/name']],
  ])('with %s is refused, and told where', async (_what, body, pointers) => {
    const payload = JSON.stringify(body)
    const told = await refused(400, { method: 'POST', url: '/spells', payload, headers: JSON_TYPE })
    expect(where(told)).toEqual(pointers)
    // In words for the client, and not of the validator.
    expect(told.errors?.filter(({ detail }) => !/^(must be|is not known here$)/.test(detail))).toEqual([])
  })

  test.each(['/spells', '/wizards'])(
    'that is missing is refused by %s, and told what it must be',
    async url => {
      for (const headers of [{}, JSON_TYPE]) {
        const told = await refused(400, { method: 'POST', url, headers })
        expect(told.errors).toEqual([{ detail: 'must be a JSON object', pointer: '#' }])
      }
    },
  )

  test.each<[string, unknown, string[]]>([
    ['nothing to change', {}, ['#/damage']],
    ['only a name', { name: 'x' }, ['#/damage']],
    ['a name that is null', { damage: 1, name: null }, ['#/name']],
    ['an unknown field', { damage: 1, Name: 'x' }, ['#/Name']],
  ])('of a change with %s is refused, and told where', async (_what, body, pointers) => {
    const told = await refused(400, { method: 'PUT', url: '/spells/1', payload: body as object })
    expect(where(told)).toEqual(pointers)
  })

  test.each([
    ['broken off', '{"name":"x","damage":'],
    ['JavaScript', "{name:'x',damage:1}"],
    ['two values', '{"name":"x","damage":1}{}'],
    ['a number that overflows', '{"name":"x","damage":1e999}'],
    ['nothing but blanks', '   '],
    ['thousands of brackets', '['.repeat(8000)],
  ])('that is %s is refused', async (_what, payload) => {
    await refused(400, { method: 'POST', url: '/spells', payload, headers: JSON_TYPE })
  })

  test.each([
    ['__proto__', '{"name":"x","damage":1,"__proto__":{"admin":true}}'],
    ['__proto__', '{"name":"x","damage":1,"\\u005f_proto__":{}}'],
    ['constructor', '{"name":"x","damage":1,"constructor":{"prototype":{"admin":true}}}'],
  ])('that has the field %s is refused as with any that is not known', async (field, payload) => {
    for (const [method, url] of [
      ['POST', '/spells'],
      ['PUT', '/spells/1'],
    ] as const)
      expect(where(await refused(400, { method, url, payload, headers: JSON_TYPE }))).toEqual([`#/${field}`])
    expect(({} as Record<string, unknown>).admin).toBeUndefined()
  })

  test.each(['{"x":1}', '[]', '{}', 'null'])('of %s is refused where none is taken', async payload => {
    for (const [method, url] of [
      ['PUT', '/wizards/1/spells/1'],
      ['DELETE', '/wizards/1/spells/1'],
      ['DELETE', '/wizards/1'],
      ['DELETE', '/spells/1'],
    ] as const) {
      const told = await refused(400, { method, url, payload, headers: JSON_TYPE })
      expect(told.detail).toBe('No body is taken here.')
    }
  })

  test('that is too large, or no JSON, is refused as the description says also where none is taken', async () => {
    const { paths } = (await harness.app.inject('/openapi.json')).json()
    const large = { payload: 'x'.repeat(40_000), headers: JSON_TYPE }
    const text = { payload: 'x', headers: { 'content-type': 'text/plain' } }
    for (const [path, url] of [
      ['/spells/{id}', '/spells/1'],
      ['/wizards/{id}', '/wizards/1'],
      ['/wizards/{id}/spells/{spell_id}', '/wizards/1/spells/1'],
    ] as const) {
      await refused(413, { method: 'DELETE', url, ...large })
      await refused(415, { method: 'DELETE', url, ...text })
      expect(Object.keys(paths[path].delete.responses)).toEqual(expect.arrayContaining(['413', '415']))
    }
  })

  test('that is not UTF-8 is refused, not changed', async () => {
    const payload = Buffer.concat([
      Buffer.from('{"name":"'),
      Buffer.from([0xff, 0xc3]),
      Buffer.from('","damage":1}'),
    ])
    const told = await refused(400, { method: 'POST', url: '/spells', payload, headers: JSON_TYPE })
    expect(told.detail).toBe('The body is not UTF-8.')
  })

  test('that says a field twice counts the last, as JSON readers do, and is checked as it counts', async () => {
    const post = (payload: string) =>
      harness.app.inject({ method: 'POST', url: '/spells', payload, headers: JSON_TYPE })
    const kept = await post('{"name":"x","damage":"no","damage":2}')
    expect([kept.statusCode, kept.json<Spell>().damage]).toEqual([201, 2])
    expect((await post('{"name":"x","damage":2,"damage":"no"}')).statusCode).toBe(400)
  })

  test.each(['POST', 'PUT'] as const)('missing from a %s is refused', async method => {
    const url = method === 'POST' ? '/spells' : '/spells/1'
    await refused(400, { method, url })
    await refused(400, { method, url, headers: JSON_TYPE })
  })

  test.each([
    ['text/plain', '{"name":"x","damage":1}'],
    ['application/x-www-form-urlencoded', 'name=x&damage=1'],
    ['application/jsonp', '{"name":"x","damage":1}'],
    ['nonsense', '{"name":"x","damage":1}'],
  ])('of the type %s is refused', async (type, payload) => {
    const told = await refused(415, {
      method: 'POST',
      url: '/spells',
      payload,
      headers: { 'content-type': type },
    })
    expect(told.detail).toContain('application/json')
  })

  test('that is compressed, or says so, is refused', async () => {
    const payload = '{"name":"x","damage":1}'
    for (const encoding of ['gzip', 'br', 'gzip, identity'])
      await refused(415, {
        method: 'POST',
        url: '/spells',
        payload,
        headers: { ...JSON_TYPE, 'content-encoding': encoding },
      })
  })

  test('without a type is refused', async () => {
    await refused(415, { method: 'POST', url: '/spells', payload: '{"name":"x","damage":1}' })
  })

  test('of more than 16 KiB is refused', async () => {
    const payload = JSON.stringify({ name: 'x'.repeat(16 * 1024), damage: 1 })
    await refused(413, { method: 'POST', url: '/spells', payload, headers: JSON_TYPE })
  })
})

describe('a path', () => {
  test.each([
    '0',
    '-1',
    '+1',
    '01',
    '1.0',
    '1e3',
    '0x1',
    'abc',
    '%201',
    '1%20',
    '%0a1',
    '1_0',
    '0b1',
    '0o1',
    '%EF%BC%91',
    '%F0%9D%9F%8F',
    '%2B1',
    '%31.0',
    '%2531',
    '1;',
    '1,2',
    '%00',
    '1%00',
    '%D9%A1',
    '9223372036854775808',
    '99999999999999999999',
    '1'.repeat(300),
    'null',
    '__proto__',
    "1'--",
    '',
  ])('with the id "%s" is refused', async id => {
    for (const method of ['GET', 'DELETE'] as const) {
      const told = await refused(400, { method, url: `/spells/${id}` })
      expect(where(told)).toEqual(['id'])
    }
  })

  test('reaches a row by one text only, however that is encoded, and it is cached under that', async () => {
    const keys: string[] = []
    const spells = await openSpells(database, CACHE, event => {
      if (event.type === 'read' && event.keyspace === 'spell') keys.push(event.key)
    })
    const app = await createApp({
      log: pino({ level: 'silent' }),
      service: () => ({ spells, ping: async () => {} }),
    })
    for (const url of ['/spells/4', '/spells/%34']) expect((await app.inject(url)).json().id).toBe(4)
    expect(keys).toEqual(['spell:4', 'spell:4'])
    const near = fc.string({
      unit: fc.constantFrom(...'4', '0', '+', '-', ' ', '.', 'e', 'x', '٤', '４', '\t', '_'),
      maxLength: 4,
    })
    // `.` and `..` lead to another path before anybody sees an id.
    const ids = near.filter(id => id !== '.' && id !== '..')
    await fc.assert(
      fc.asyncProperty(ids, async id => {
        const { statusCode } = await app.inject(`/spells/${encodeURIComponent(id)}`)
        expect(statusCode).toBe(id === '4' ? 200 : /^[1-9][0-9]*$/.test(id) ? 404 : 400)
      }),
      { numRuns: 200 },
    )
    expect(keys.filter(key => !/^spell:[1-9][0-9]*$/.test(key))).toEqual([])
    await app.close()
    await spells.close()
  })

  test('that is badly encoded is refused', async () => {
    for (const url of ['/spells/%', '/spells/%zz', '/spells/%c3']) await refused(400, { method: 'GET', url })
  })

  test.each(['/nothing', '/spells/1/2', '/Spells', '/spells/1/', '//spells', '/spellsX'])(
    'of %s leads nowhere',
    async url => {
      await refused(404, { method: 'GET', url })
    },
  )

  test.each([
    ['PATCH', '/spells/1', 'GET, HEAD, PUT, DELETE'],
    ['POST', '/spells/1', 'GET, HEAD, PUT, DELETE'],
    ['OPTIONS', '/spells/1', 'GET, HEAD, PUT, DELETE'],
    ['DELETE', '/spells?limit=1', 'GET, HEAD, POST'],
    ['PROPFIND', '/spells', 'GET, HEAD, POST'],
    ['POST', '/health/live', 'GET, HEAD'],
    ['DELETE', '/', 'GET, HEAD'],
    ['QUERY', '/spells', 'GET, HEAD, POST'],
  ])('asked by %s for %s is told what it has: %s', async (method, url, allow) => {
    const request = { method: method as 'GET', url }
    await refused(405, request)
    expect((await harness.app.inject(request)).headers.allow).toBe(allow)
    await refused(405, { ...request, payload: 'x', headers: { 'content-type': 'text/plain' } })
    await refused(405, { ...request, payload: '{', headers: JSON_TYPE })
  })
})

describe('a query', () => {
  /** An application with all that operators ask for, none of which may be reached. */
  const forOperators = () => {
    const service = {
      spells: {},
      live: { close() {} },
      administered: {},
      laboratory: {},
    } as unknown as Service
    return createApp({ log: pino({ level: 'silent' }), service: () => service })
  }

  test.each([
    ['limit=0', 'limit'],
    ['limit=101', 'limit'],
    ['limit=-1', 'limit'],
    ['limit=1.5', 'limit'],
    ['limit=01', 'limit'],
    ['limit=', 'limit'],
    ['limit=1e1', 'limit'],
    ['limit=%201', 'limit'],
    ['limit=1&limit=2', 'limit'],
    ['after=-1', 'after'],
    ['after=00', 'after'],
    ['after=x', 'after'],
    ['after=9223372036854775808', 'after'],
    ['page=2', 'page'],
    ['__proto__=1', '__proto__'],
  ])('of %s is refused, and told which part', async (query, parameter) => {
    const told = await refused(400, { method: 'GET', url: `/spells?${query}` })
    expect(where(told)).toEqual([parameter])
  })

  test.each<[method: 'GET' | 'POST' | 'PUT' | 'DELETE', url: string]>([
    ['GET', '/spells/1'],
    ['GET', '/spells/999'],
    ['PUT', '/spells/1'],
    ['DELETE', '/spells/1'],
    ['POST', '/spells'],
    ['GET', '/health/live'],
    ['GET', '/health/ready'],
  ])('is refused where there is none to give: %s %s', async (method, path) => {
    const payload = method === 'PUT' || method === 'POST' ? { payload: { name: 'x', damage: 1 } } : {}
    const told = await refused(400, { method, url: `${path}?force=1&force=2&x`, ...payload })
    expect(where(told)).toEqual(['force', 'x'])
    if (method !== 'GET') return
    const head = await harness.app.inject({ method: 'HEAD', url: `${path}?force` })
    expect(head.statusCode).toBe(400)
  })

  test.each<[method: 'GET' | 'POST' | 'PUT' | 'DELETE', url: string]>([
    ['GET', '/live'],
    ['GET', '/admin/doctor'],
    ['GET', '/admin/feed'],
    ['PUT', '/admin/feed'],
    ['DELETE', '/admin/feed'],
    ['POST', '/admin/invalidate'],
    ['POST', '/admin/flush'],
    ['GET', '/laboratory/state'],
    ['POST', '/laboratory/settings'],
    ['POST', '/laboratory/reset'],
    ['POST', '/laboratory/experiments'],
  ])('is refused where an operator asks for what takes none: %s %s', async (method, path) => {
    const bodies: Record<string, object> = {
      '/admin/invalidate': { keyspace: 'spell', id: '4' },
      '/admin/flush': { keyspace: 'spell' },
      '/laboratory/settings': { ttlMs: 5_000 },
      '/laboratory/reset': {},
      '/laboratory/experiments': { name: 'crowd' },
    }
    const payload = bodies[path] === undefined ? {} : { payload: bodies[path] }
    const app = await forOperators()
    onTestFinished(() => app.close())
    const told = await app.inject({ method, url: `${path}?force=1`, ...payload })
    expect(told.statusCode).toBe(400)
    expect(problem.parse(told.json())).toMatchObject({ title: 'Bad Request' })
  })

  test('may be appended to what is not of the API, as those do who pass links on or ask past a cache', async () => {
    for (const path of ['/', '/styles/base.css', '/openapi.json'])
      expect((await harness.app.inject({ method: 'GET', url: `${path}?from=a-friend` })).statusCode).toBe(200)
  })
})

describe('a condition', () => {
  const payload = { damage: 1 }

  test.each<[what: string, headers: Record<string, string>]>([
    ['on a version that nobody was told of', { 'if-match': '"1"' }],
    ['on one of several versions', { 'if-match': '"1", W/"2"' }],
    ['on no condition that is known', { 'if-match': 'x' }],
    ['that there is no such spell', { 'if-none-match': '*' }],
  ])('%s keeps a change from being made', async (_what, headers) => {
    const url = '/spells/1'
    const before = (await harness.ask('GET', url)).json()
    await refused(412, { method: 'PUT', url, payload, headers })
    await refused(412, { method: 'DELETE', url, headers })
    expect((await harness.ask('GET', url)).json()).toEqual(before)
  })

  test('that a spell exists, whichever version of it, is the one that can hold', async () => {
    const headers = { 'if-match': '*', 'if-none-match': '"1"' }
    const { statusCode } = await harness.app.inject({ method: 'PUT', url: '/spells/2', payload, headers })
    expect(statusCode).toBe(200)
    await refused(404, { method: 'PUT', url: '/spells/999', payload, headers })
  })

  test('comes after what is wrong with a request without it', async () => {
    const headers = { 'if-match': '"1"' }
    await refused(400, { method: 'PUT', url: '/spells/one', payload, headers })
    await refused(400, { method: 'PUT', url: '/spells/1', payload: {}, headers })
  })

  test('on a part of a spell is refused: a change is of the whole', async () => {
    const headers = { 'content-range': 'bytes 0-3/10' }
    await refused(400, { method: 'PUT', url: '/spells/1', payload, headers })
  })
})

describe('properties', () => {
  const allowed = (given: unknown): boolean => {
    if (typeof given !== 'object' || given === null || Array.isArray(given)) return false
    const { name, damage, ...others } = given as Record<string, unknown>
    const isText = typeof name === 'string' && name.isWellFormed() && !name.startsWith('\ufeff')
    const length = isText ? [...name].length : 0
    const fits = Number.isInteger(damage) && Math.abs(Number(damage) + 0.5) <= 2 ** 31 - 0.5
    return (
      Object.keys(others).length === 0 && length >= 1 && length <= 255 && !String(name).includes('\0') && fits
    )
  }
  const nearlySpell = fc.record(
    {
      name: fc.oneof({ weight: 4, arbitrary: fc.string({ unit: 'binary', maxLength: 300 }) }, fc.jsonValue()),
      damage: fc.oneof({ weight: 4, arbitrary: fc.integer() }, fc.double(), fc.jsonValue()),
    },
    { requiredKeys: ['name'] },
  )
  const body = fc.oneof(
    { weight: 4, arbitrary: nearlySpell },
    fc
      .tuple(nearlySpell, fc.string(), fc.jsonValue())
      .map(([given, key, value]) => ({ ...given, [key]: value })),
    fc.jsonValue(),
  )

  test('POST answers 201 to what is a spell, 400 to any other JSON, and never anything else', async () => {
    let created = 0
    await fc.assert(
      fc.asyncProperty(body, async given => {
        const payload = JSON.stringify(given)
        const response = await harness.app.inject({
          method: 'POST',
          url: '/spells',
          payload,
          headers: JSON_TYPE,
        })
        const sent = JSON.parse(payload)
        expect(response.statusCode).toBe(allowed(sent) ? 201 : 400)
        if (response.statusCode !== 201) return
        created++
        expect(response.json()).toMatchObject({
          name: sent.name,
          damage: sent.damage === 0 ? 0 : sent.damage,
        })
      }),
      { numRuns: 400 },
    )
    expect(created).toBeGreaterThan(20)
  })

  test('POST answers 400 to whatever bytes are no JSON', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async bytes => {
        const response = await harness.app.inject({
          method: 'POST',
          url: '/spells',
          payload: Buffer.from(bytes),
          headers: JSON_TYPE,
        })
        expect(response.statusCode).toBe(400)
        problem.parse(response.json())
      }),
      { numRuns: 200 },
    )
  })

  test('GET answers any path with a problem or a success, and never fails', async () => {
    const part = fc.oneof(fc.webFragments(), fc.constantFrom('spells', '1', '..', '%', '?', 'health', ''))
    await fc.assert(
      fc.asyncProperty(fc.array(part, { maxLength: 4 }), async parts => {
        const response = await harness.app.inject({ method: 'GET', url: '/' + parts.join('/') })
        expect([200, 400, 404]).toContain(response.statusCode)
        if (response.statusCode !== 200) problem.parse(response.json())
      }),
      { numRuns: 300 },
    )
  })
})

describe('what is no HTTP', () => {
  test('is told so, and the connection is closed', async () => {
    await harness.app.listen({ port: 0, host: '127.0.0.1' })
    const { port } = harness.app.server.address() as AddressInfo
    const talk = (said: string) =>
      new Promise<string>((resolve, reject) => {
        let heard = ''
        const socket = connect(port, '127.0.0.1', () => socket.write(said))
        socket.setEncoding('utf8').on('data', text => {
          heard += text
        })
        socket.on('end', () => resolve(heard)).on('error', reject)
      })
    const answers = [
      [await talk('SUMMON demon\r\n\r\n'), 400],
      [await talk(`GET / HTTP/1.1\r\nhost: x\r\nx: ${'x'.repeat(20_000)}\r\n\r\n`), 431],
      [await talk('GET / HTTP/1.1\r\nconnection: close\r\n\r\n'), 400],
      [await talk('GET / HTTP/1.1\r\nhost: x\r\nhost: y\r\nconnection: close\r\n\r\n'), 400],
      [await talk('GET / HTTP/1.1\r\nhost: x y\r\nconnection: close\r\n\r\n'), 400],
      [await talk('GET / HTTP/1.1\r\nhost: x/y\r\nconnection: close\r\n\r\n'), 400],
      [await talk('GET / HTTP/1.1\r\nhost: me@x\r\nconnection: close\r\n\r\n'), 400],
      [await talk('GET / HTTP/1.1\r\nhost: x:port\r\nconnection: close\r\n\r\n'), 400],
      [await talk('GET / HTTP/1.1\r\nhost: x\r\nexpect: wonders\r\n\r\n'), 417],
      [await talk('CONNECT x:80 HTTP/1.1\r\nhost: x:80\r\n\r\n'), 501],
    ] as const
    for (const host of ['', 'x', 'x_y.example:8080', '[::1]:3000', '127.0.0.1:'])
      expect(await talk(`GET / HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n\r\n`)).toMatch(
        /^HTTP\/1.1 200 /,
      )
    for (const [answer, status] of answers) {
      const [head, body] = answer.split('\r\n\r\n', 2)
      expect(head).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
      expect(head).toContain('content-type: application/problem+json')
      expect(problem.parse(JSON.parse(body!)).status).toBe(status)
    }
  })
})
