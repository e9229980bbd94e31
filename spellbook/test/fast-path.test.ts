import { once } from 'node:events'
import type { AddressInfo, Socket } from 'node:net'
import { gate } from 'cacheaside/testing'
import fc from 'fast-check'
import { pino } from 'pino'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { PATIENCE } from '../../test/patience.ts'
import { createApp, type Service } from '../src/app.ts'
import type { LoadLimits } from '../src/http/load-limits.ts'
import type { Answer, Spells } from '../src/spells.ts'
import { dial, statuses } from './dial.ts'
import { written } from './harness.ts'

const HOST = 'Host: localhost\r\n'
const get = (path: string, fields = '') => `GET ${path} HTTP/1.1\r\n${HOST}${fields}\r\n`
const put = (id: string, body: string) =>
  `PUT /spells/${id} HTTP/1.1\r\n${HOST}Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`
const LAST = get('/health/live', 'Connection: close\r\n')
const TIMES = { created_at: '2026-01-01T00:00:00.000Z', updated_at: '2026-01-01T00:00:00.000Z' }

/** Ids with a fate of their own. All others are hits. */
const ABSENT = '404'
const FROM_DATABASE = '77'
const SLOW = '99'
const LARGE = '100'

interface Served {
  readonly level?: string
  readonly load?: LoadLimits
  readonly takingMs?: number
  readonly maxConnections?: number
}

/** Spellbook with spells that are always in the cache, and what has happened to it. */
async function serve({ level = 'silent', load = {}, ...limits }: Served = {}) {
  const damages = new Map<string, number>()
  const slow = gate()
  const found: string[] = []
  let isReady = true
  const find = async (id: string, signal?: AbortSignal): Promise<Answer<unknown>> => {
    found.push(id)
    if (id === SLOW) {
      const left = new Promise<never>((_, reject) =>
        signal!.addEventListener('abort', () => {
          found.push('left')
          reject(signal!.reason)
        }),
      )
      await Promise.race([slow.wait(), left])
    }
    const name = id === LARGE ? 'x'.repeat(300_000) : `Spell ${id} \u2728`
    const spell = { id: Number(id), name, damage: damages.get(id) ?? 1, spells: [], ...TIMES }
    const value = id === ABSENT ? undefined : Object.freeze(spell)
    const from = id === FROM_DATABASE ? 'origin' : 'shared'
    const timings = { totalMs: 0.5, sharedMs: 0, loadMs: 0 }
    return { value, from, why: 'fresh', kept: true, joined: false, ageMs: 5_000, ttlMs: 10_000, timings }
  }
  const update = async (id: string, { damage }: { damage: number }) => {
    damages.set(id, damage)
    return written({ id: Number(id), name: 'x', damage, ...TIMES })
  }
  const service: Service = {
    spells: { find, update, wizards: { find } } as unknown as Spells,
    ping: async () => {},
  }
  const log = pino({ level }, { write: () => {} })
  const app = await createApp({
    log,
    service: () => (isReady ? service : undefined),
    hosts: [],
    load,
    limits,
  })
  onTestFinished(() => app.close())
  let parsed = 0
  app.server.on('request', () => parsed++)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  return {
    app,
    port,
    found,
    slow,
    parsed: () => parsed,
    end: () => {
      isReady = false
    },
  }
}

/** A connection that sends a piece at a time, each when the one before it was answered. */
async function client(port: number) {
  const { socket, heard } = await dial(port)
  let text = ''
  socket.on('data', data => {
    text += data
  })
  const answers = () => text.split(/(?=HTTP\/1\.1 \d)/).filter(each => each !== '')
  const isWhole = (answer: string, hasBody: boolean) => {
    const [head = '', body] = answer.split('\r\n\r\n')
    const length = hasBody ? Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0) : 0
    return body !== undefined && Buffer.byteLength(body) >= length
  }
  return {
    socket,
    heard,
    answers,
    ask: async (...pieces: string[]) => {
      const before = answers().length
      for (const piece of pieces) {
        socket.write(piece)
        await new Promise(setImmediate)
      }
      const hasBody = !pieces[0]!.startsWith('HEAD')
      const isAnswered = () => answers().length > before && isWhole(answers().at(-1)!, hasBody)
      await expect.poll(isAnswered, PATIENCE).toBe(true)
      return answers().at(-1)!
    },
  }
}

/** A connection that asks for large answers until one of them is not taken any more. */
async function takingNothing(app: Awaited<ReturnType<typeof serve>>['app'], port: number) {
  const connected = once(app.server, 'connection') as Promise<[Socket]>
  const { socket, heard } = await dial(port)
  const [served] = await connected
  socket.pause()
  const request = get(`/spells/${LARGE}`)
  let asked = 0
  while (served.writableLength === 0) {
    socket.write(request)
    asked++
    await expect.poll(() => served.bytesRead, PATIENCE).toBe(asked * request.length)
    await new Promise(setImmediate)
  }
  return { socket, heard, served, asked }
}

/** An answer without what may differ from one to the next. */
const settled = (answer: string) => answer.replace(/^Date: .*\r\n/m, '')

describe('a hit that is asked for as one before it on the same connection', () => {
  test('has the same answer as by Node and Fastify, and neither has seen the request', async () => {
    const { port, parsed, found } = await serve()
    const { ask } = await client(port)
    const first = await ask(get('/spells/4'))
    expect(parsed()).toBe(1)
    const second = await ask(get('/spells/4'))
    expect(settled(second)).toBe(settled(first))
    expect(second).toMatch(/^Date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r$/m)
    expect(await ask(get('/spells/5'))).toContain('"name":"Spell 5 \u2728"')
    expect(await ask(get('/wizards/6'))).toContain('cache-status: spellbook; hit; ttl=10; detail=shared\r\n')
    expect([parsed(), found]).toEqual([1, ['4', '4', '5', '6']])
  })

  test('shows a change that was sent before it', async () => {
    const { port, parsed } = await serve()
    const { ask } = await client(port)
    await ask(get('/spells/4'))
    expect(await ask(get('/spells/4'))).toContain('"damage":1,')
    await ask(put('4', '{"damage":31}'))
    expect(await ask(get('/spells/4'))).toContain('"damage":31,')
    expect(parsed()).toBe(2)
  })

  test('and whose read takes time waits for it, also if the client has closed its side', async () => {
    const { port, parsed, slow } = await serve()
    const { ask, socket, heard } = await client(port)
    await ask(get('/spells/4'))
    socket.write(get(`/spells/${SLOW}`))
    await slow.reached
    slow.open()
    await expect.poll(parsed, PATIENCE).toBe(1)
    socket.end()
    expect(statuses(await heard)).toEqual([200, 200])
  })

  test.each([
    ['the client closes its side', ''],
    ['the client sends another request', get('/spells/5')],
    ['the client sends a part of another request', 'GET /spells/5 HT'],
    ['the client sends nonsense', 'nonsense\r\n\r\n'],
    ['the application closes', undefined],
  ])('goes to Node and Fastify if %s during its read, which is done once', async (_when, sent) => {
    const { app, port, parsed, slow, found } = await serve()
    const { ask, socket, heard } = await client(port)
    await ask(get('/spells/4'))
    socket.write(get(`/spells/${SLOW}`))
    await slow.reached
    expect(parsed()).toBe(1)
    let closing: Promise<void> | undefined
    if (sent === undefined) closing = app.close()
    else if (sent === '') socket.end()
    else socket.write(sent)
    await expect.poll(parsed, PATIENCE).toBeGreaterThanOrEqual(2)
    slow.open()
    if (sent !== undefined && sent !== '') socket.end()
    const text = await heard
    await closing
    expect(text).toContain(`"id":${SLOW}`)
    expect(statuses(text).slice(0, 2)).toEqual([200, 200])
    expect(found.filter(id => id === SLOW)).toHaveLength(1)
  })

  test('goes to Node and Fastify if its read takes longer than a connection may be idle', async () => {
    const { app, port, slow } = await serve({ takingMs: 300 })
    app.server.keepAliveTimeout = 600
    const { ask } = await client(port)
    await ask(get('/spells/4'))
    const connections = () => new Promise<number>(resolve => app.server.getConnections((_, n) => resolve(n)))
    const answered = ask(get(`/spells/${SLOW}`))
    await slow.reached
    const idle = await client(port)
    await idle.ask(get('/spells/4'))
    await idle.heard
    expect(await connections()).toBe(1)
    slow.open()
    expect(statuses(await answered)).toEqual([200])
  })

  test('has its read given up if the client leaves', async () => {
    const { port, parsed, slow, found } = await serve()
    const { ask, socket } = await client(port)
    await ask(get('/spells/4'))
    socket.write(get(`/spells/${SLOW}`))
    await slow.reached
    socket.resetAndDestroy()
    await expect.poll(() => found, PATIENCE).toContain('left')
    expect(parsed()).toBe(1)
    const other = await client(port)
    expect(statuses(await other.ask(get('/spells/4')))).toEqual([200])
  })

  test('and whose answer is not taken is ended with its connection, after a time', async () => {
    const { app, port, parsed } = await serve({ takingMs: 300 })
    const { socket, served } = await takingNothing(app, port)
    expect([parsed(), served.destroyed]).toEqual([1, false])
    await expect.poll(() => served.destroyed, PATIENCE).toBe(true)
    socket.destroy()
  })

  test('and whose answer is not taken does not make room for another connection at once', async () => {
    const now = vi.spyOn(performance, 'now').mockReturnValue(performance.now())
    onTestFinished(() => now.mockRestore())
    const { app, port } = await serve({ maxConnections: 1 })
    const { socket } = await takingNothing(app, port)
    expect(await (await dial(port)).heard).toBe('')
    socket.destroy()
  })
})

test.each([
  ['without the fast path', 'debug'],
  ['on it', 'silent'],
])(
  'an answer that was made %s is sent as a whole, also if the application closes meanwhile',
  async (_where, level) => {
    const { app, port } = await serve({ level })
    const { socket, heard, asked } = await takingNothing(app, port)
    const idle = await client(port)
    await idle.ask(get('/spells/4'))
    const closing = app.close()
    await idle.heard
    socket.resume()
    const { length } = (await heard).match(/x{300000}","damage":1,"spells":\[\],[^}]*\}/g) ?? []
    expect(length).toBe(asked)
    await closing
  },
)

describe('goes to Node and Fastify:', () => {
  test('what comes before the answer to an earlier request', async () => {
    const { port, parsed, slow } = await serve()
    const { ask, socket, heard } = await client(port)
    await ask(get('/spells/4'))
    socket.write(get(`/spells/${SLOW}`, 'Accept: */*\r\n'))
    await slow.reached
    socket.write(get('/spells/5'))
    await expect.poll(parsed, PATIENCE).toBe(3)
    slow.open()
    socket.end()
    const ids = [...(await heard).matchAll(/"id":(\d+)/g)].map(([, id]) => id)
    expect(ids).toEqual(['4', SLOW, '5'])
  })

  test('what comes behind a part of a message', async () => {
    const { port } = await serve()
    const { ask } = await client(port)
    await ask(get('/spells/4'))
    expect(statuses(await ask('GET', get('/spells/5')))).toEqual([400])
  })

  test.each<[string, string, number]>([
    ['a header that differs', get('/spells/5', 'Accept: */*\r\n'), 200],
    ['another host', get('/spells/5').replace('localhost', 'evil.example'), 421],
    ['no host', 'GET /spells/5 HTTP/1.1\r\n\r\n', 400],
    ['a condition', get('/spells/5', 'If-None-Match: *\r\n'), 304],
    ['HEAD', get('/spells/5').replace('GET', 'HEAD'), 200],
    ['an absent row', get(`/spells/${ABSENT}`), 404],
    ['a read of the database', get(`/spells/${FROM_DATABASE}`), 200],
    ['a malformed id', get('/spells/05'), 400],
    ['an id that is too large', get('/spells/9223372036854775808'), 400],
    ['a query', get('/spells/5?x=1'), 400],
    ['a fragment', get('/spells/5#x'), 400],
    ['an encoded id', get('/spells/%35'), 200],
    ['another path', get('/spells/5/x'), 404],
    ['an absolute target', get('http://localhost/spells/5'), 200],
    ['HTTP/1.0', get('/spells/5').replace('1.1', '1.0'), 200],
    ['a body', get('/spells/5', 'Content-Length: 2\r\n') + '{}', 200],
  ])('%s', async (_what, request, status) => {
    const { port, parsed, found } = await serve()
    const { ask } = await client(port)
    await ask(get('/spells/4'))
    expect(statuses(await ask(request))).toEqual([status])
    expect(parsed()).toBe(2)
    expect(found.length).toBeLessThanOrEqual(2)
  })

  test.each<[string, string]>([
    ['a condition', get('/spells/4', 'If-None-Match: "x"\r\n')],
    ['a body', get('/spells/4', 'Content-Length: 2\r\n') + '{}'],
    ['a body in chunks', get('/spells/4', 'Transfer-Encoding: chunked\r\n') + '0\r\n\r\n'],
    ['a large head', get('/spells/4', `X: ${'x'.repeat(1_000)}\r\n`)],
  ])('a request that is sent again with %s', async (_what, request) => {
    const { port, parsed } = await serve()
    const { ask } = await client(port)
    expect([await ask(request), await ask(request)].flatMap(statuses)).toEqual([200, 200])
    expect(parsed()).toBe(2)
  })

  test('what follows HTTP/1.0 whose fields look like another request', async () => {
    const { port, parsed } = await serve()
    const { ask } = await client(port)
    const old = `GET /spells/4 HTTP/1.0\r\n${HOST}Connection: keep-alive\r\nX: a HTTP/1.1\r\n\r\n`
    await ask(old)
    expect(statuses(await ask('GET /spells/5 HTTP/1.1\r\n\r\n'))).toEqual([400])
    expect(parsed()).toBe(2)
  })

  test('everything on a connection on which a message came in parts, or with another one', async () => {
    for (const parts of [
      ['GET /spells/4 HT', `TP/1.1\r\n${HOST}\r\n`],
      [put('4', '{"damage":1}').slice(0, -12), '{"damage":1}'],
      [get('/spells/4') + get('/spells/4')],
      [`\r\n${get('/spells/4')}\r\n`],
    ]) {
      const { port, parsed } = await serve()
      const { ask, answers } = await client(port)
      await ask(get('/spells/4'))
      await ask(...parts)
      const before = parsed()
      await ask(get('/spells/5'))
      expect(parsed()).toBe(before + 1)
      expect(answers().flatMap(statuses)).toEqual(answers().map(() => 200))
    }
  })

  test.each<[string, Served]>([
    ['clients are limited', { load: { perMinute: 100 } }],
    ['load is shed', { load: { lateMs: 1_000 } }],
    ['durations are logged', { level: 'debug' }],
  ])('everything where %s', async (_where, options) => {
    const { port, parsed } = await serve(options)
    const { ask } = await client(port)
    for (let i = 0; i < 3; i++) expect(statuses(await ask(get('/spells/4')))).toEqual([200])
    expect(parsed()).toBe(3)
  })

  test('everything while there is nothing to serve', async () => {
    const { port, end } = await serve()
    const { ask } = await client(port)
    await ask(get('/spells/4'))
    end()
    expect(statuses(await ask(get('/spells/4')))).toEqual([503])
  })
})

test('what is sent in any pieces has the answers that it has without the fast path', async () => {
  const [fast, slow] = [await serve(), await serve({ level: 'debug' })]
  const message = fc.constantFrom(
    get('/spells/4'),
    get('/spells/4'),
    get('/spells/5'),
    get(`/spells/${ABSENT}`),
    get('/spells/5', 'If-None-Match: *\r\n'),
    get('/spells/5').replace(HOST, 'Host: evil.example\r\n'),
    put('4', '{"damage":3}'),
    put('4', `{"damage":3,"x":"${get('/spells/4')}"}`),
    'GET /spells/5 HTTP/1.1\n\n',
    '\r\n',
    'x',
  )
  const cut = fc.record({ at: fc.array(fc.nat(120), { maxLength: 2 }), joins: fc.boolean() })
  const pieces = fc.array(fc.tuple(message, cut), { minLength: 1, maxLength: 7 }).map(parts => {
    const cuts: string[] = []
    for (const [text, { at, joins }] of parts) {
      let rest = text
      for (const end of at) {
        cuts.push(rest.slice(0, end))
        rest = rest.slice(end)
      }
      if (joins && cuts.length > 0) cuts.push(cuts.pop()! + rest)
      else cuts.push(rest)
    }
    return cuts.filter(piece => piece !== '')
  })
  const hear = async ({ app, port }: Awaited<ReturnType<typeof serve>>, sent: readonly string[]) => {
    const connected = once(app.server, 'connection') as Promise<[Socket]>
    const { socket, heard } = await dial(port)
    const [served] = await connected
    socket.setNoDelay()
    let said = 0
    for (const piece of [...sent, LAST]) {
      if (socket.writable) socket.write(piece)
      said += piece.length
      await vi.waitUntil(() => served.destroyed || served.bytesRead >= said, { ...PATIENCE, interval: 1 })
    }
    socket.end()
    return (await heard).replace(
      /^Date: .*\r\n|^(server-timing|content-length): .*\r\n|"instance":"[^"]*",?/gim,
      '',
    )
  }
  await fc.assert(
    fc.asyncProperty(pieces, async sent => {
      const [one, other] = await Promise.all([hear(fast, sent), hear(slow, sent)])
      expect(one).toBe(other)
    }),
    // What is drawn may never ask for the same hit twice in a row.
    { numRuns: 80, examples: [[Array.from({ length: 4 }, () => get('/spells/4'))]] },
  )
  expect(fast.parsed()).toBeLessThan(slow.parsed())
}, 60_000)
