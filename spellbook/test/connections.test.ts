import { once } from 'node:events'
import type { AddressInfo, Socket } from 'node:net'
import { networkInterfaces } from 'node:os'
import { gate } from 'cacheaside/testing'
import type { FastifyInstance } from 'fastify'
import { pino } from 'pino'
import { afterEach, describe, expect, test } from 'vitest'
import { PATIENCE } from '../../test/patience.ts'
import { problem } from '../src/api.ts'
import { createApp, LIMITS, type Service } from '../src/app.ts'
import { ConditionError } from '../src/changes.ts'
import { type ConnectionLimits, Connections } from '../src/http/connections.ts'
import { FastPath } from '../src/http/fast-path.ts'
import { HitLog } from '../src/http/hit-log.ts'
import type { Spells } from '../src/spells.ts'
import { dial, statuses } from './dial.ts'
import { written } from './harness.ts'

const GET = 'GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n'
const READY = 'GET /health/ready HTTP/1.1\r\nhost: x\r\n\r\n'
/** Leaves all requests to Node and to the server. */
const CLOSED = new FastPath(new HitLog(pino({ level: 'silent' })), () => false)
const SPELL = { id: 1, name: 'Spark', damage: 1, created_at: '', updated_at: '' }

let app: FastifyInstance
afterEach(() => app.close())

/** An application that listens at `127.0.0.1`, and at these addresses. */
async function listening(
  alsoAt: readonly string[] = [],
  service?: Service,
  limits: Partial<ConnectionLimits> = {},
  said: string[] = [],
): Promise<number> {
  const log = pino({ level: 'warn' }, { write: (line: string) => void said.push(line) })
  app = await createApp({ log, service: () => service, alsoAt, limits })
  await app.listen({ port: 0, host: '127.0.0.1' })
  return (app.server.address() as AddressInfo).port
}

/** A service whose `ping` waits until it is let go, and counts how often it was begun. */
function held() {
  let open = () => {}
  const gate = new Promise<void>(resolve => {
    open = resolve
  })
  let begun = 0
  const ping = async () => {
    begun++
    await gate
  }
  const service: Service = { spells: {} as Spells, ping }
  return { service, open: () => open(), begun: () => begun }
}

/** How many requests the server has taken from its connections so far. */
function countRequests(): () => number {
  let count = 0
  app.server.on('request', () => count++)
  return () => count
}

describe('a connection', () => {
  test('has its requests answered one after the other, however they are sent', async () => {
    const order: string[] = []
    const ping = async () => {
      order.push('begun')
      for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate)
      order.push('done')
    }
    const port = await listening([], { spells: {} as Spells, ping })
    const { socket, heard } = await dial(port)
    const ready = 'GET /health/ready HTTP/1.1\r\nhost: x\r\n'
    socket.write(`${ready}\r\n${ready}\r\n${ready}connection: close\r\n\r\n`)
    expect((await heard).match(/HTTP\/1\.1 200 OK/g)).toHaveLength(3)
    expect(order).toEqual(['begun', 'done', 'begun', 'done', 'begun', 'done'])
  })
})

describe('a client that asks without waiting', () => {
  test('has no more requests parsed than fit in a KiB while one is answered, and gets every answer', async () => {
    const { service, open, begun } = held()
    const port = await listening([], service)
    const parsed = countRequests()
    const { socket, heard } = await dial(port)
    const least = 'GET /health/ready HTTP/1.1\r\nhost:\r\n\r\n'
    const times = 600
    socket.write(least.repeat(times) + READY.replace('\r\n\r\n', '\r\nconnection: close\r\n\r\n'))
    await expect.poll(begun, PATIENCE).toBe(1)
    // Another connection's answer comes after what had been read by then.
    const other = await dial(port)
    other.socket.end(GET)
    await other.heard
    expect(parsed() - 1).toBeLessThanOrEqual(1 + Math.ceil(1024 / least.length))
    open()
    expect(statuses(await heard)).toEqual(Array(times + 1).fill(200))
  })

  test('and never reads is not read from either, and is ended after a time', async () => {
    const port = await listening([], held().service, { takingMs: 300 })
    const parsed = countRequests()
    const { socket } = await dial(port)
    socket.pause()
    const times = 4_000
    // Its answer is some kilobytes long.
    socket.write('GET /styles/base.css HTTP/1.1\r\nhost: x\r\nconnection: keep-alive\r\n\r\n'.repeat(times))
    await once(app.server, 'request')
    const open = () =>
      new Promise<number>(resolve => app.server.getConnections((_error, count) => resolve(count)))
    await expect.poll(open, PATIENCE).toBe(0)
    expect(parsed()).toBeLessThan(times)
    socket.destroy()
  })

  test('has nothing begun behind an answer that ends the connection', async () => {
    const { service, open, begun } = held()
    const port = await listening([], service)
    const { socket, heard } = await dial(port)
    socket.write(`${READY.replace('host: x', 'host: x\r\nconnection: close')}${READY}`)
    socket.write('GET /health/ready HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n')
    open()
    expect(statuses(await heard)).toEqual([200])
    const second = await dial(port)
    second.socket.write('GET / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n')
    second.socket.write(READY)
    expect(statuses(await second.heard)).toEqual([501])
    expect(begun()).toBe(1)
  })

  test('and leaves has no further request begun', async () => {
    const { service, open, begun } = held()
    const port = await listening([], service)
    const { socket } = await dial(port)
    socket.write(READY.repeat(5))
    await expect.poll(begun, PATIENCE).toBe(1)
    const [served] = [...(await socketsOf())]
    socket.resetAndDestroy()
    open()
    await expect.poll(() => served!.destroyed, PATIENCE).toBe(true)
    expect(begun()).toBe(1)
  })

  test('is told of what cannot be parsed behind the answers to what came before it', async () => {
    const { service, open, begun } = held()
    const port = await listening([], service)
    const { socket, heard } = await dial(port)
    socket.write(`${READY}${READY}SUMMON demon\r\n\r\n${READY}`)
    await expect.poll(begun, PATIENCE).toBe(1)
    open()
    expect(statuses(await heard)).toEqual([200, 200, 400])
  })

  test('is told of what cannot be parsed also if it has closed its side since', async () => {
    const { service, open } = held()
    const port = await listening([], service)
    const connected = once(app.server, 'connection') as Promise<[Socket]>
    const { socket, heard } = await dial(port)
    const [served] = await connected
    socket.end(`${READY}SUMMON demon\r\n\r\n`)
    await once(served, 'end')
    open()
    expect(statuses(await heard)).toEqual([200, 400])
  })

  test('is told of a body that cannot be parsed instead of its request being answered', async () => {
    const { service, open } = held()
    const port = await listening([], service)
    const { socket, heard } = await dial(port)
    const post = 'POST /spells HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n'
    socket.write(`${GET.replace('live', 'ready')}${post}transfer-encoding: chunked\r\n\r\nnonsense\r\n`)
    open()
    expect(statuses(await heard)).toEqual([200, 400])
  })
})

/** The server's ends of all connections. */
async function socketsOf(): Promise<Set<Socket>> {
  const sockets = new Set<Socket>()
  app.server.on('request', ({ socket }) => sockets.add(socket))
  const { socket, heard } = await dial((app.server.address() as AddressInfo).port)
  socket.end(GET)
  await heard
  return sockets
}

describe('a client that has left', () => {
  test('has its read given up, without a word in the log', async () => {
    let given: AbortSignal | undefined
    const find: Spells['find'] = (_id, signal) => {
      given = signal
      return new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason)))
    }
    const said: string[] = []
    const port = await listening([], { spells: { find } as Spells, ping: async () => {} }, {}, said)
    const { socket } = await dial(port)
    socket.write('GET /spells/1 HTTP/1.1\r\nhost: x\r\n\r\n')
    await expect.poll(() => given?.aborted, PATIENCE).toBe(false)
    socket.resetAndDestroy()
    await expect.poll(() => given?.aborted, PATIENCE).toBe(true)
    await app.close()
    expect(said).toEqual([])
  })

  test('has its write made', async () => {
    let done = false
    let begun = false
    let open = () => {}
    const gate = new Promise<void>(resolve => {
      open = resolve
    })
    const create: Spells['create'] = async () => {
      begun = true
      await gate
      done = true
      return written(SPELL)
    }
    const port = await listening([], { spells: { create } as Spells, ping: async () => {} })
    const { socket } = await dial(port)
    const body = '{"name":"x","damage":1}'
    socket.write(
      `POST /spells HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    )
    await expect.poll(() => begun, PATIENCE).toBe(true)
    socket.resetAndDestroy()
    await once(socket, 'close')
    open()
    await expect.poll(() => done, PATIENCE).toBe(true)
  })
})

describe('a client that has closed its side', () => {
  test('is answered all that it has asked, and then the connection ends', async () => {
    const { service, open, begun } = held()
    const port = await listening([], service)
    const { socket, heard } = await dial(port)
    socket.end(`${READY}${GET}${READY}`)
    await expect.poll(begun, PATIENCE).toBe(1)
    open()
    expect(statuses(await heard)).toEqual([200, 200, 200])
  })
})

describe('a body that nobody reads', () => {
  test('is not taken from the kernel while its request is answered, and does not end the connection', async () => {
    const { service, open, begun } = held()
    const port = await listening([], service)
    let served: Socket | undefined
    app.server.once('request', request => {
      served = request.socket
    })
    const { socket, heard } = await dial(port)
    const size = 2 ** 25
    socket.write(READY.replace('host: x', `host: x\r\ncontent-length: ${size}`))
    socket.write(Buffer.alloc(size))
    socket.end(GET)
    await expect.poll(begun, PATIENCE).toBe(1)
    // Answers on other connections come after what would have been read by then.
    for (let i = 0; i < 5; i++) {
      const other = await dial(port)
      other.socket.end(GET)
      await other.heard
    }
    expect(served!.bytesRead).toBeLessThan(2 ** 18)
    open()
    expect(statuses(await heard)).toEqual([200, 200])
  })

  test('is taken as soon as somebody reads it', async () => {
    const reading = gate()
    const server = new Connections(LIMITS, CLOSED).serve({}, async (request, response) => {
      await reading.wait()
      let size = 0
      for await (const chunk of request) size += chunk.length
      response.end(String(size))
    })
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const size = 2 ** 20
    const { port } = server.address() as AddressInfo
    const answer = fetch(`http://127.0.0.1:${port}`, { method: 'POST', body: Buffer.alloc(size) })
    await reading.reached
    reading.open()
    expect(await (await answer).text()).toBe(String(size))
    server.closeAllConnections()
    await once(server.close(), 'close')
  })
})

describe('the number of connections', () => {
  test('is bounded: one more takes the place of the one that was idle for longest', async () => {
    const port = await listening([], undefined, { maxConnections: 3 })
    const idle = [await dial(port), await dial(port), await dial(port)]
    idle[0]!.socket.write(GET)
    await once(idle[0]!.socket, 'data')
    const fourth = await dial(port)
    fourth.socket.write(GET)
    await once(fourth.socket, 'data')
    expect(await idle[1]!.heard).toBe('')
    for (const { socket } of [idle[0]!, idle[2]!, fourth]) {
      socket.write(GET)
      await once(socket, 'data')
    }
  })

  test('is bounded: a body that has not arrived makes room, the longest silent first, and what is worked on stays', async () => {
    const { service, open, begun } = held()
    const said: string[] = []
    const port = await listening([], service, { maxConnections: 3 }, said)
    const ends: Socket[] = []
    app.server.on('connection', end => ends.push(end))
    const parsed = countRequests()
    const busy = await dial(port)
    busy.socket.end(READY)
    const head =
      'POST /spells HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{'
    const halves = [await dial(port), await dial(port)]
    for (const [n, { socket }] of halves.entries()) {
      socket.write(head)
      await expect.poll(() => parsed() - n, PATIENCE).toBe(2)
    }
    halves[0]!.socket.write('"')
    await expect.poll(() => ends[1]!.bytesRead, PATIENCE).toBe(head.length + 1)
    for (const evicted of [halves[1]!, halves[0]!]) {
      const next = await dial(port)
      next.socket.write(GET)
      await once(next.socket, 'data')
      expect(await evicted.heard).toBe('')
    }
    expect(begun()).toBe(1)
    open()
    expect(statuses(await busy.heard)).toEqual([200])
    await app.close()
    expect(said).toEqual([])
  })

  test('is bounded: an answer that is not taken for a second makes room', async () => {
    const port = await listening([], held().service, { maxConnections: 1, takingMs: 600_000 })
    const connected = once(app.server, 'connection') as Promise<[Socket]>
    const { socket } = await dial(port)
    const [served] = await connected
    socket.pause()
    socket.write('GET /styles/base.css HTTP/1.1\r\nhost: x\r\nconnection: keep-alive\r\n\r\n'.repeat(4_000))
    let before = 0
    const isStuck = () => {
      const { writableLength, bytesWritten } = served
      const isSame = bytesWritten === before
      before = bytesWritten
      return writableLength > 0 && isSame
    }
    await expect.poll(isStuck, PATIENCE).toBe(true)
    const ask = async () => {
      const other = await dial(port)
      other.socket.end(GET)
      return statuses(await other.heard)
    }
    await expect.poll(ask, PATIENCE).toEqual([200])
    socket.destroy()
  })

  test('is bounded: where none is idle the new one is refused', async () => {
    const { service, open, begun } = held()
    const port = await listening([], service, { maxConnections: 2 })
    const busy = [await dial(port), await dial(port)]
    for (const { socket } of busy) socket.end(READY)
    await expect.poll(begun, PATIENCE).toBe(2)
    expect(await (await dial(port)).heard).toBe('')
    open()
    for (const { heard } of busy) expect(statuses(await heard)).toEqual([200])
  })
})

describe('a request', () => {
  test.each([
    ['head', 'GET / HTTP/1.1\r\nhost'],
    [
      'body',
      'POST /spells HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{',
    ],
  ])('is refused soon after the time for its %s is over', async (_what, said) => {
    const port = await listening([], held().service, { arrivingMs: 300 })
    const { socket, heard } = await dial(port)
    socket.write(said)
    // Node looks every half minute where nothing is said.
    expect(app.server).toMatchObject({ connectionsCheckingInterval: 30 })
    expect(statuses(await heard)).toEqual([408])
  })

  test('may take no longer to arrive as a whole than its head may', async () => {
    await listening()
    // Where the head may take longer than the whole, Node takes each limit for the other.
    const { headersTimeout, requestTimeout } = app.server
    expect({ headersTimeout, requestTimeout }).toEqual({ headersTimeout: 30_000, requestTimeout: 30_000 })
  })
})

describe('a shutdown', () => {
  test('answers what had been sent on a kept connection when nobody had read it yet', async () => {
    const port = await listening()
    const { socket, heard } = await dial(port)
    socket.write(GET)
    await once(socket, 'data')
    // Both in one turn: it is in the kernel's hands when the closing begins, and nobody here has read it.
    socket.write(GET)
    await app.close()
    const answers = (await heard).split(/(?=HTTP\/1\.1 )/)
    expect(answers.map(answer => answer.split('\r\n', 1)[0])).toEqual(['HTTP/1.1 200 OK', 'HTTP/1.1 200 OK'])
    expect(answers[1]).toMatch(/^connection: close\r$/im)
  })

  test('answers what had been sent on a new connection when nobody had read it yet', async () => {
    const port = await listening()
    const { socket, heard } = await dial(port)
    socket.write(GET)
    await app.close()
    expect(await heard).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
  })

  test('takes no new connection while the old ones are listened to', async () => {
    const port = await listening()
    const closing = app.close()
    await expect
      .poll(() =>
        dial(port).then(
          () => 'taken',
          error => error.code,
        ),
      )
      .toBe('ECONNREFUSED')
    await closing
  })
})

describe('a second address', () => {
  const hasIPv6 = Object.values(networkInterfaces()).some(all =>
    all?.some(({ address }) => address === '::1'),
  )
  const second = hasIPv6 ? '::1' : '127.0.0.2'

  test('is listened at on the same port, in the same way', async () => {
    const port = await listening([second])
    for (const [said, status] of [
      ['SUMMON demon\r\n\r\n', 400],
      ['GET / HTTP/1.1\r\nhost: x\r\nexpect: wonders\r\n\r\n', 417],
    ] as const) {
      const { socket, heard } = await dial(port, second)
      socket.write(said)
      const [head, body] = (await heard).split('\r\n\r\n', 2)
      expect(head).toContain('content-type: application/problem+json')
      expect(problem.parse(JSON.parse(body!)).status).toBe(status)
    }
  })

  test('is closed in the same way', async () => {
    const port = await listening([second])
    const { socket, heard } = await dial(port, second)
    socket.write(GET)
    const silent = await dial(port, second)
    await app.close()
    expect(await heard).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
    expect(await silent.heard).toBe('')
    await expect(dial(port, second)).rejects.toThrow('ECONNREFUSED')
  })

  test('that is taken, or not here, is left out', async () => {
    const port = await listening(['127.0.0.1', '192.0.2.1'])
    const { socket, heard } = await dial(port)
    socket.end(GET)
    expect(await heard).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
  })
})

describe('what no route answers', () => {
  /** Says something, and answers with the status, the headers and the body. */
  async function say(port: number, said: string) {
    const { socket, heard } = await dial(port)
    socket.end(said)
    const [head = '', body = ''] = (await heard).split('\r\n\r\n')
    const [line = '', ...fields] = head.split('\r\n')
    const headers = new Map(
      fields.map(field => [field.split(': ')[0]!.toLowerCase(), field.slice(field.indexOf(': ') + 2)]),
    )
    return { status: Number(line.split(' ')[1]), headers, body }
  }

  test.each([
    ['SUMMON demon\r\n\r\n', 400],
    ['GET / HTTP/1.1\r\nhost: x\r\nbad header\r\n\r\n', 400],
    [`GET / HTTP/1.1\r\nhost: x\r\nx: ${'x'.repeat(20_000)}\r\n\r\n`, 431],
    [`GET /${'x'.repeat(20_000)} HTTP/1.1\r\nhost: x\r\n\r\n`, 431],
    ['GET / HTTP/1.1\r\nhost: x\r\nexpect: wonders\r\n\r\n', 417],
    ['CONNECT x:80 HTTP/1.1\r\nhost: x:80\r\n\r\n', 501],
    ['GET /health/live\r\n\r\n', 505],
    ['GET /health/live HTTP/2.0\r\nhost: x\r\n\r\n', 505],
    ['POST /spells HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n', 501],
    ['POST /spells HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n', 400],
    ['POST /spells HTTP/1.0\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n', 400],
    [
      'POST /spells HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
      400,
    ],
    [
      'POST /spells HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"na',
      400,
    ],
    ['GET /% HTTP/1.1\r\nhost: x\r\n\r\n', 400],
    ['GET * HTTP/1.1\r\nhost: x\r\n\r\n', 400],
    ['GET ftp://x/ HTTP/1.1\r\nhost: x\r\n\r\n', 400],
    ['GET /health/live#x HTTP/1.1\r\nhost: x\r\n\r\n', 400],
  ])('is a problem with all the headers of an answer: %j', async (said, status) => {
    const port = await listening([], held().service)
    const usual = await say(port, 'GET /styles/base.css HTTP/1.1\r\nhost: x\r\n\r\n')
    const answer = await say(port, said)
    expect(answer.status).toBe(status)
    expect(problem.parse(JSON.parse(answer.body)).status).toBe(status)
    expect(answer.headers.get('content-type')).toMatch(/^application\/problem\+json/)
    expect(answer.headers.get('cache-control')).toBe('no-store')
    expect(answer.headers.get('cache-status')).toBe('spellbook; detail=not-asked')
    expect(answer.headers.has('date')).toBe(true)
    const secure = [...usual.headers.keys()].filter(name => /policy|^x-|^origin/.test(name))
    expect(secure.length).toBeGreaterThan(4)
    for (const name of secure) expect(answer.headers.get(name)).toBe(usual.headers.get(name))
  })

  test('is a problem with all of them when a request was too slow to arrive', async () => {
    const port = await listening([], held().service)
    app.server.on('connection', socket =>
      socket.once('data', () =>
        app.server.emit(
          'clientError',
          Object.assign(new Error('too slow'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' }),
          socket,
        ),
      ),
    )
    const { socket, heard } = await dial(port)
    socket.write('GET / HTTP')
    const text = await heard
    expect(text).toMatch(/^HTTP\/1\.1 408 /)
    expect(text).toContain('content-security-policy: ')
    expect(text).toContain('application/problem+json')
  })

  test('may ask what is possible at all', async () => {
    const port = await listening([], held().service)
    for (const target of ['*', 'http://x']) {
      const { status, headers, body } = await say(port, `OPTIONS ${target} HTTP/1.1\r\nhost: x\r\n\r\n`)
      expect([status, body]).toEqual([204, ''])
      expect(headers.get('allow')?.split(', ').sort()).toEqual(['DELETE', 'GET', 'HEAD', 'POST', 'PUT'])
    }
  })

  test('is a request with so many headers that a condition could be hidden among them', async () => {
    const changed: unknown[] = []
    const update: Spells['update'] = async (_id, change, condition) => {
      if (condition?.(SPELL) === false) throw new ConditionError()
      changed.push(change)
      return written(SPELL)
    }
    const port = await listening([], { spells: { update } as Spells, ping: async () => {} })
    const put = (headers: number) =>
      `PUT /spells/1 HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 12\r\n${'a:\r\n'.repeat(headers)}if-match: "1"\r\n\r\n{"damage":1}`
    expect((await say(port, put(900))).status).toBe(412)
    for (const headers of [996, 997, 998, 1_100, 2_000, 3_500])
      expect((await say(port, put(headers))).status).toBe(headers === 996 ? 412 : 431)
    expect(changed).toEqual([])
  })

  test('does not matter for what a client says that it takes: TE', async () => {
    const port = await listening([], held().service)
    expect((await say(port, GET.replace('host: x', 'host: x\r\nTE: gzip, chunked'))).status).toBe(200)
  })
})
