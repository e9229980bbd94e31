import { once } from 'node:events'
import { createServer, get, IncomingMessage, ServerResponse } from 'node:http'
import { type AddressInfo, Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { type Cache, createCache, embeddedShared, type Why } from 'cacheaside'
import { gate } from 'cacheaside/testing'
import { pino } from 'pino'
import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { createApp } from '../src/app.ts'
import { Latencies } from '../src/live/latencies.ts'
import { LiveReads } from '../src/live/live-reads.ts'
import { ReadRecorder } from '../src/live/read-recorder.ts'
import { Viewers } from '../src/live/viewers.ts'
import type { Batch, Hello, Lane } from '../src/live/wire.ts'

/** A cache over a table of damages, whose load waits for what the test puts in its way; and what is recorded of it. */
function recorded(local = false) {
  const table = new Map([['4', 40]])
  let wait = (): Promise<unknown> => Promise.resolve()
  const recorder = new ReadRecorder(() => cache.stats().now.loads)
  const cache: Cache = createCache({
    shared: embeddedShared({ maxBytes: 2 ** 20 }),
    fill: 'blocking',
    onEvent: event => recorder.hear(event),
    ...(local ? { local: { maxBytes: 2 ** 20 } } : {}),
  })
  const spells = cache.keyspace('spell', {
    load: async (id: string) => {
      const damage = table.get(id)
      await wait()
      return damage
    },
    ttlMs: 60_000,
  })
  onTestFinished(() => cache.close())
  const told = () => {
    recorder.takeNews()
    return recorder.hello(undefined)
  }
  return {
    cache,
    recorder,
    spells,
    table,
    waitFor: (put: () => Promise<unknown>) => {
      wait = put
    },
    /** Until then a read joins the flight that has just answered. */
    landed: () => vi.waitFor(() => expect(cache.stats().now.flights).toBe(0)),
    /** All that has happened, as a viewer who comes now is told. */
    told,
    last: () => told().lanes.at(-1) as Lane,
  }
}

const MISS = {
  type: 'read',
  keyspace: 'spell',
  key: 'spell:4',
  id: 7,
  flight: 7,
  joined: false,
  durationMs: 3,
  outcome: 'answered',
  from: 'origin',
  why: 'missing',
  sharedMs: 1,
  loadMs: 2,
  absent: false,
} as const

describe('ReadRecorder', () => {
  test('tells a miss from a hit, what each step took, and that there is no such row', async () => {
    const { spells, last, landed } = recorded()
    await spells.get('4')
    await landed()
    expect(last()).toMatchObject({
      number: 1,
      key: 'spell:4',
      outcome: 'answered',
      from: 'origin',
      why: 'missing',
      fill: 'accepted',
    })
    expect(last().totalMs).toBeGreaterThanOrEqual(last().loadMs!)
    await spells.get('4')
    expect(last()).toMatchObject({ number: 2, from: 'shared', why: 'fresh', loadMs: 0 })
    expect(last()).not.toHaveProperty('fill')
    await spells.get('5')
    expect(last()).toMatchObject({ from: 'origin', absent: true })
  })

  test('tells a hit in L1', async () => {
    const { spells, last } = recorded(true)
    await spells.get('4')
    await spells.get('4')
    expect(last()).toMatchObject({ from: 'local', why: 'fresh', totalMs: 0 })
  })

  test('tells who joined a flight, once the flight has ended', async () => {
    const { spells, told, waitFor } = recorded()
    const query = gate()
    waitFor(() => query.wait())
    const reads = [spells.get('4'), spells.get('4')]
    await query.reached
    query.open()
    await Promise.all(reads)
    const { lanes } = told()
    expect(lanes.map(({ joined, fill }) => [joined, fill])).toEqual([
      [undefined, 'accepted'],
      [true, undefined],
    ])
  })

  test('tells that a fill was refused because a write has overtaken it, and that a read met the guard', async () => {
    const { spells, recorder, table, told, waitFor } = recorded()
    const query = gate()
    waitFor(() => query.wait())
    const reading = spells.get('4')
    await query.reached
    waitFor(() => Promise.resolve())
    await spells.write('4', async () => {
      table.set('4', 41)
      await spells.get('4', { consistency: 'strong' })
    })
    query.open()
    await reading
    const { lanes } = told()
    expect(lanes.map(({ why, fill }) => [why, fill])).toEqual([
      ['guarded', undefined],
      ['missing', 'refused'],
    ])
    recorder.tick()
    expect(told().samples.at(-1)).toMatchObject({
      hits: 0,
      misses: 1,
      bypasses: 1,
      failed: 0,
      hitP50: null,
    })
  })

  test('tells of a read that failed, and nothing of its error', async () => {
    const { spells, last, waitFor } = recorded()
    waitFor(() => Promise.reject(new Error('password=secret')))
    await expect(spells.get('4')).rejects.toThrow()
    expect(last()).toMatchObject({ outcome: 'failed', key: 'spell:4' })
    expect(JSON.stringify(last())).not.toContain('secret')
  })

  test('counts as bypasses what the page calls so', async () => {
    // By its address: the compiler takes the modules of the page apart from these.
    const page = await import(new URL('../web/source.js', import.meta.url).href)
    for (const why of Object.keys(page.REASONS) as Why[]) {
      const recorder = new ReadRecorder(() => 0)
      recorder.hear({ ...MISS, why })
      recorder.tick()
      const { bypasses, misses } = recorder.takeNews().samples[0]!
      expect.soft([bypasses, misses], why).toEqual(page.BYPASSES.has(why) ? [1, 0] : [0, 1])
    }
  })

  test('remembers fifty reads, and tells of many at once only the last', async () => {
    const { spells, recorder } = recorded()
    for (let i = 0; i < 70; i++) await spells.get(`${i}`)
    const batch = recorder.takeNews()
    expect([batch.reads, batch.count, batch.lanes.length, batch.lanes.at(-1)?.number]).toEqual([
      70, 70, 25, 70,
    ])
    expect(recorder.hasNews).toBe(false)
    const hello = recorder.hello(10)
    expect([hello.lanes.length, hello.lanes[0]?.number, hello.lost]).toEqual([50, 21, 10])
    expect(recorder.hello(65)).toMatchObject({ reads: 70, lost: 0, lanes: { length: 5 } })
  })

  test('tells a fill that came after the read was told, by the number of the read', async () => {
    const { recorder } = recorded()
    recorder.hear(MISS)
    expect(recorder.takeNews().lanes[0]).not.toHaveProperty('fill')
    recorder.hear({
      type: 'fill',
      keyspace: 'spell',
      key: 'spell:4',
      outcome: 'refused',
      flight: 7,
      durationMs: 1.5,
    })
    expect(recorder.takeNews()).toMatchObject({
      count: 0,
      lanes: [],
      fills: [{ number: 1, fill: 'refused', fillMs: 1.5 }],
    })
  })

  test('greets with what was told, and goes on from there: nothing twice, and nothing left out', async () => {
    const { spells, recorder } = recorded()
    for (const id of ['1', '2']) await spells.get(id)
    recorder.tick()
    recorder.takeNews()
    for (const id of ['3', '4']) await spells.get(id)
    recorder.tick()
    const hello = recorder.hello(1)
    const batch = recorder.takeNews()
    expect(hello).toMatchObject({ reads: 2, lost: 0, lanes: [{ number: 2 }], samples: [{ misses: 2 }] })
    expect(batch).toMatchObject({
      reads: 4,
      count: 2,
      lanes: [{ number: 3 }, { number: 4 }],
      samples: [{ misses: 2 }],
    })
    expect(hello.samples).not.toContain(batch.samples[0])
  })

  test('says nothing of seconds in which nothing happens', () => {
    const { recorder } = recorded()
    recorder.tick()
    recorder.takeNews()
    recorder.tick()
    expect(recorder.hasNews).toBe(false)
  })
})

test('Latencies are those of the last seconds, to two digits', () => {
  const latencies = new Latencies(2)
  for (let i = 1; i <= 100; i++) latencies.record(i)
  const { p50, p99 } = latencies.percentiles()
  expect(p50).toBeCloseTo(50, -0.5)
  expect(p99).toBeCloseTo(99, -0.5)
  latencies.next()
  for (let i = 0; i < 3; i++) latencies.record(1_000_000)
  expect(latencies.percentiles().p99).toBeGreaterThan(59_000)
  latencies.next()
  latencies.next()
  expect(latencies.percentiles()).toEqual({ p50: undefined, p99: undefined })
})

/** What came over a connection, as `event: data`. */
async function* events(response: IncomingMessage) {
  let text = ''
  for await (const chunk of response.setEncoding('utf8')) {
    text += chunk
    for (let end = text.indexOf('\n\n'); end !== -1; end = text.indexOf('\n\n')) {
      const lines = text.slice(0, end).split('\n')
      text = text.slice(end + 2)
      const field = (name: string) => lines.find(line => line.startsWith(`${name}: `))?.slice(name.length + 2)
      yield { event: field('event'), id: field('id'), data: field('data'), comment: lines.includes(':') }
    }
  }
}

const open = async (url: string, headers = {}) =>
  (
    await once(get(url, { headers: { connection: 'keep-alive', ...headers }, agent: false }), 'response')
  )[0] as IncomingMessage

describe('Viewers', () => {
  const LIMITS = { maxViewers: 2, takingMs: 200, heartbeatMs: 40 }

  /** Viewers behind a port of their own, who watch as soon as they come. */
  async function serveViewers(limits: Partial<typeof LIMITS> = {}) {
    const viewers = new Viewers({ ...LIMITS, ...limits })
    const responses: ServerResponse[] = []
    const server = createServer((_request, response) => {
      responses.push(response)
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      viewers.add(response, 'event: hello\ndata: 0\n\n')
    })
    await once(server.listen(0, '127.0.0.1'), 'listening')
    onTestFinished(() => {
      viewers.close()
      server.closeAllConnections()
      server.close()
    })
    return { viewers, responses, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
  }

  test('lose what comes while they take nothing, and are told how much; memory is bounded', async () => {
    const { viewers, responses, url } = await serveViewers({ takingMs: 60_000 })
    const slow = await open(url)
    slow.pause()
    const bytes = Buffer.from(`event: batch\ndata: ${'x'.repeat(100_000)}\n\n`)
    const told = 400
    for (let i = 0; i < told; i++) {
      await viewers.tell({ bytes, reads: 3 })
      await new Promise(resolve => setImmediate(resolve))
    }
    // 40 MB were told. What the system's own buffers do not hold is not kept here.
    expect(responses[0]!.writableLength).toBeLessThan(3 * bytes.length)
    let batches = 0
    for await (const { event, data } of events(slow)) {
      if (event === 'batch') batches++
      if (event === 'lost') {
        expect(Number(data)).toBeGreaterThan(0)
        expect(Number(data)).toBeLessThanOrEqual(3 * told)
        break
      }
      if (responses[0]!.writableNeedDrain === false) await viewers.tell({ bytes, reads: 3 })
    }
    expect(batches).toBeGreaterThan(0)
  })

  test('are ended if they take nothing for too long, and get signs of life otherwise', async () => {
    const { viewers, url } = await serveViewers()
    const awake = await open(url)
    const stuck = await open(url)
    stuck.pause()
    expect([viewers.size, viewers.isFull]).toEqual([2, true])
    const bytes = Buffer.from(`data: ${'x'.repeat(100_000)}\n\n`)
    const comments: boolean[] = []
    const reading = (async () => {
      for await (const { comment } of events(awake)) if (comment && comments.push(comment) > 2) break
    })()
    await vi.waitFor(async () => {
      await viewers.tell({ bytes, reads: 1 })
      expect(viewers.size).toBeLessThan(2)
    }, 10_000)
    await reading
    expect(comments.length).toBeGreaterThan(2)
  })

  test('are not told what their greeting says already, also if they come while the others are told', async () => {
    const viewers = new Viewers({ maxViewers: 200, takingMs: 60_000, heartbeatMs: 60_000 })
    onTestFinished(() => viewers.close())
    const come = () => {
      const response = new ServerResponse(new IncomingMessage(new Socket()))
      viewers.add(response, 'event: hello\ndata: 0\n\n')
      return vi.spyOn(response, 'write')
    }
    const before = Array.from({ length: 120 }, come)
    const telling = viewers.tell({ bytes: Buffer.from('event: batch\ndata: 0\n\n'), reads: 1 })
    const meanwhile = come()
    await telling
    expect(before.every(written => written.mock.calls.length === 1)).toBe(true)
    expect(meanwhile).not.toHaveBeenCalled()
  })

  test('are ended if they close their side, also if they have before their turn came', async () => {
    const viewers = new Viewers(LIMITS)
    onTestFinished(() => viewers.close())
    const come = () =>
      new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() }).resume() as Socket
    const [early, late] = [come(), come()]
    const watch = (socket: Socket) => {
      const response = new ServerResponse(new IncomingMessage(socket))
      response.assignSocket(socket)
      viewers.add(response, 'event: hello\ndata: 0\n\n')
    }
    const close = (socket: Socket) => {
      socket.push(null)
      return once(socket, 'end')
    }
    watch(late)
    await Promise.all([close(early), close(late)])
    watch(early)
    expect([early.destroyed, late.destroyed]).toEqual([true, true])
  })

  test('are ended at once if they come after the end', async () => {
    const { viewers, url } = await serveViewers()
    viewers.close()
    const heard: (string | undefined)[] = []
    for await (const { event } of events(await open(url))) heard.push(event)
    expect([heard, viewers.size]).toEqual([['hello'], 0])
  })
})

describe('GET /live', () => {
  const ends: (() => Promise<unknown>)[] = []
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end()
  })

  async function serve(options: { adminToken?: string; maxViewers?: number; none?: true } = {}) {
    const { cache, spells, landed } = recorded()
    const live = options.none ? undefined : new LiveReads(cache, false, options.maxViewers ?? 10)
    const service = {
      spells: undefined as never,
      ping: async () => {},
      ...(live === undefined ? {} : { live }),
    }
    const app = await createApp({
      log: pino({ level: 'silent' }),
      service: () => service,
      ...(options.adminToken === undefined ? {} : { adminToken: options.adminToken }),
    })
    const url = await app.listen({ port: 0, host: '127.0.0.1' })
    ends.push(() => app.close())
    return { app, live: live!, spells, landed, url: `${url}/live` }
  }

  /** The next event of this kind. */
  async function next<T>(
    from: AsyncGenerator<{ event: string | undefined; id: string | undefined; data: string | undefined }>,
    kind: string,
  ) {
    for (;;) {
      const { value } = await from.next()
      if (value === undefined) throw new Error('the connection has ended')
      if (value.event === kind) return { id: value.id!, data: JSON.parse(value.data!) as T }
    }
  }

  test('tells what has been, then what happens; one who comes back misses nothing', async () => {
    const { live, spells, landed, url } = await serve()
    await spells.get('4')
    await landed()
    const response = await open(url)
    expect(response.headers).toMatchObject({
      'content-type': 'text/event-stream',
      'cache-control': 'no-store',
      connection: 'close',
      'x-content-type-options': 'nosniff',
    })
    const first = events(response)
    const hello = await next<Hello>(first, 'hello')
    expect(hello.data).toMatchObject({
      reads: 1,
      hasLocal: false,
      lost: 0,
      lanes: [{ number: 1, why: 'missing' }],
    })
    await spells.get('4')
    const batch = await next<Batch>(first, 'batch')
    expect(batch.data).toMatchObject({ reads: 2, count: 1, lanes: [{ number: 2, from: 'shared' }] })
    response.destroy()
    await vi.waitFor(() => expect(live.viewers.size).toBe(0))
    await spells.get('5')
    const again = await next<Hello>(events(await open(url, { 'last-event-id': batch.id })), 'hello')
    expect(again.data).toMatchObject({ reads: 3, lost: 0, lanes: [{ number: 3, absent: true }] })
    // Another process counts from zero: nothing is known of what was told.
    const other = await next<Hello>(events(await open(url, { 'last-event-id': '00000000-2' })), 'hello')
    expect(other.data.lanes).toHaveLength(3)
  })

  test('makes each message once for all viewers, and a viewer who leaves ends nothing', async () => {
    const { live, spells, url } = await serve()
    const responses = await Promise.all(Array.from({ length: 5 }, () => open(url)))
    const streams = responses.map(events)
    for (const stream of streams) await next(stream, 'hello')
    const told = vi.spyOn(live.viewers, 'tell')
    responses[0]!.destroy()
    await spells.get('4')
    const batches = await Promise.all(streams.slice(1).map(stream => next<Batch>(stream, 'batch')))
    expect(batches.map(({ id }) => id)).toEqual(Array(4).fill(batches[0]!.id))
    expect(told).toHaveBeenCalledTimes(1)
  })

  test('is closed to others than this machine, to other sites, and without the token where there is one', async () => {
    const { app, url } = await serve()
    const at = (headers: Record<string, string>) => app.inject({ url: '/live', headers })
    expect((await at({ host: 'spells.example' })).statusCode).toBe(403)
    expect((await at({ host: 'localhost', 'x-forwarded-for': '192.0.2.1' })).statusCode).toBe(403)
    expect((await at({ host: 'localhost', origin: 'https://other.example' })).statusCode).toBe(403)
    expect((await open(url)).statusCode).toBe(200)
    const guarded = await serve({ adminToken: 'abracadabra' })
    expect((await open(guarded.url)).statusCode).toBe(401)
    expect((await open(guarded.url, { authorization: 'Bearer abracadabra' })).statusCode).toBe(200)
  })

  test('refuses more viewers than may watch, and is not there without a cache', async () => {
    const { live, url } = await serve({ maxViewers: 1 })
    const response = await open(url)
    const refused = await open(url)
    expect(refused.statusCode).toBe(503)
    expect(refused.headers).toMatchObject({
      'retry-after': '10',
      'cache-status': 'spellbook; detail=viewers-full',
    })
    response.destroy()
    await vi.waitFor(() => expect(live.viewers.size).toBe(0))
    expect((await open(url)).statusCode).toBe(200)
    expect((await open((await serve({ none: true })).url)).statusCode).toBe(404)
  })

  test('ends its viewers at once when the application closes', async () => {
    const { app, url } = await serve()
    const response = await open(url)
    const ended = once(response.resume(), 'end')
    const began = performance.now()
    await app.close()
    await ended
    // Open answers are otherwise waited for, for eight seconds.
    expect(performance.now() - began).toBeLessThan(4_000)
  })
})
