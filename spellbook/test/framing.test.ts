import { once } from 'node:events'
import type { AddressInfo, Socket } from 'node:net'
import { pino } from 'pino'
import { describe, expect, onTestFinished, test } from 'vitest'
import { PATIENCE } from '../../test/patience.ts'
import { createApp } from '../src/app.ts'
import type { Spells } from '../src/spells.ts'
import { dial, statuses } from './dial.ts'
import { written } from './harness.ts'

const SPELL = { id: 1, name: 'Spark', damage: 1, created_at: '', updated_at: '' }
const HOST = 'Host: localhost\r\n'
const H2C = 'Connection: Upgrade\r\nUpgrade: h2c\r\n'
const DELETE = `DELETE /spells/7 HTTP/1.1\r\n${HOST}\r\n`
const NEW = '{"name":"a","damage":1}'

const get = (id: number, fields = '') => `GET /spells/${id} HTTP/1.1\r\n${HOST}${fields}\r\n`
const post = (fields: string) =>
  `POST /spells HTTP/1.1\r\n${HOST}Content-Type: application/json\r\n${fields}\r\n`
const withLength = (body: string) => `Content-Length: ${body.length}\r\n`
const CHUNKED = 'Transfer-Encoding: chunked\r\n'
const inChunks = (body: string) => `${body.length.toString(16)}\r\n${body}\r\n0\r\n`

/** An application in this process, and what was done with its spells. */
async function serve(arrivingMs = 30_000) {
  const done: string[] = []
  const timings = { totalMs: 0, sharedMs: 0, loadMs: 0 }
  const spells = {
    find: async (id: string) => {
      done.push(`find ${id}`)
      return { value: { ...SPELL, id: Number(id) }, from: 'origin', why: 'absent', timings }
    },
    create: async () => {
      done.push('create')
      return written(SPELL)
    },
    delete: async (id: string) => {
      done.push(`delete ${id}`)
      return written(true)
    },
  } as unknown as Spells
  const log = pino({ level: 'silent' })
  const service = () => ({ spells, ping: async () => {} })
  const app = await createApp({ log, service, limits: { arrivingMs } })
  onTestFinished(() => app.close())
  await app.listen({ port: 0, host: '127.0.0.1' })
  return { app, done, port: (app.server.address() as AddressInfo).port }
}

/** Says each part when the server has read those before it, and tells what was answered and done. */
async function say(...parts: string[]) {
  const { app, done, port } = await serve()
  const connected = once(app.server, 'connection') as Promise<[Socket]>
  const { socket, heard } = await dial(port)
  const [served] = await connected
  let said = 0
  for (const part of parts) {
    socket.write(part)
    said += part.length
    await expect.poll(() => served.destroyed || served.bytesRead >= said, PATIENCE).toBe(true)
  }
  socket.end()
  const text = await heard
  return { answers: statuses(text), done, isClosing: /^connection: close\r$/im.test(text) }
}

describe('a request that asks for another protocol', () => {
  test.each<[string, string[], number, string]>([
    ['with another one behind it', [get(1, H2C) + get(2)], 200, 'find 1'],
    ['with another one later', [get(1, H2C), get(2)], 200, 'find 1'],
    [
      'with the head of another one behind it',
      [get(1, H2C) + post(withLength(DELETE)), DELETE],
      200,
      'find 1',
    ],
    ['with a body', [get(1, H2C + withLength(DELETE)) + DELETE + get(2)], 200, 'find 1'],
    ['with a body that comes later', [get(1, H2C + withLength(DELETE)), DELETE + get(2)], 200, 'find 1'],
    ['with a body that is read', [post(H2C + withLength(NEW)) + NEW + get(2)], 201, 'create'],
    [
      'with a body in parts',
      [post(H2C + withLength(NEW)), '{"name":', '"a","damage":1}' + get(2)],
      201,
      'create',
    ],
    ['with a body in chunks', [post(H2C + CHUNKED) + inChunks(NEW), `\r\n${get(2)}`], 201, 'create'],
    ['by Proxy-Connection', [get(1, 'Proxy-Connection: Upgrade\r\nUpgrade: x\r\n') + get(2)], 200, 'find 1'],
    ['and does not say so in Connection', [get(1, 'Upgrade: h2c\r\n') + get(2)], 200, 'find 1'],
    ['and names none', [get(1, 'Connection: Upgrade\r\nUpgrade:\r\n') + get(2)], 200, 'find 1'],
  ])('is answered, and nothing behind it is parsed: %s', async (_what, parts, status, only) => {
    expect(await say(...parts)).toEqual({ answers: [status], done: [only], isClosing: true })
  })

  test('is answered behind those before it', async () => {
    const said = await say(get(1) + get(2, H2C) + get(3))
    expect(said).toEqual({ answers: [200, 200], done: ['find 1', 'find 2'], isClosing: true })
  })

  test.each([
    ['at once', [post(H2C + CHUNKED) + `zz\r\n${DELETE}`]],
    ['later', [post(H2C + CHUNKED) + '3\r\n{"n\r\n', `zz\r\n${DELETE}`, DELETE]],
    ['by a chunk that is too long', [post(H2C + CHUNKED) + `3\r\n${DELETE}`]],
  ])(
    'and whose body turns into nonsense %s never arrives, and nothing in it is parsed',
    async (_when, parts) => {
      const { done, port } = await serve(300)
      const { socket, heard } = await dial(port)
      for (const part of parts) socket.write(part)
      expect({ answers: statuses(await heard), done }).toEqual({ answers: [408], done: [] })
    },
  )

  test('only in its trailer does not ask for it', async () => {
    const said = await say(post(CHUNKED) + inChunks(NEW) + `${H2C}\r\n${get(2)}`)
    expect(said).toEqual({ answers: [201, 200], done: ['create', 'find 2'], isClosing: false })
  })
})

describe('what is not taken for a request', () => {
  test.each<[string, string[], number[]]>([
    ['the body of one', [`PATCH /spells HTTP/1.1\r\n${HOST}${withLength(DELETE)}\r\n`, DELETE], [405]],
    [
      'the body of one that expects what cannot be',
      [post(`Expect: w\r\n${withLength(DELETE)}`), DELETE],
      [417],
    ],
    ['what is behind CONNECT', [`CONNECT x:80 HTTP/1.1\r\n${HOST}\r\n${DELETE}`, DELETE], [501]],
    [
      'the preface of HTTP/2, and what is behind it',
      [`PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${DELETE}`, DELETE],
      [400],
    ],
    ['what is behind one of HTTP/1.0', [`GET /nothing HTTP/1.0\r\n${HOST}\r\n${DELETE}`, DELETE], [404]],
  ])('is %s', async (_what, parts, answers) => {
    expect(await say(...parts)).toMatchObject({ answers, done: [] })
  })

  test('is the body of one that waits for 100 Continue, behind another one', async () => {
    const waiting = post(`Expect: 100-continue\r\n${withLength(NEW)}`)
    const { answers, done } = await say(get(1) + waiting, NEW + get(2))
    expect(answers).toEqual([200, 100, 201, 200])
    expect(done).toEqual(['find 1', 'create', 'find 2'])
  })
})

describe('a request that has been answered', () => {
  const chunks = (path: string) =>
    `POST ${path} HTTP/1.1\r\n${HOST}Content-Type: text/plain\r\n${CHUNKED}\r\n3\r\nabc\r\n`

  test.each<[string, string[], number]>([
    ['identity is no coding here', [post('Transfer-Encoding: identity\r\n') + DELETE], 501],
    [
      'identity is no coding here, and the body comes later',
      [post('Transfer-Encoding: identity\r\n'), DELETE],
      501,
    ],
    ['its coding is unknown', [post('Transfer-Encoding: xchunked\r\n') + DELETE], 501],
    [
      'its coding is unknown, and so are its chunks',
      [post('Transfer-Encoding: gzip, chunked\r\n') + DELETE],
      501,
    ],
    ['its kind of body is not taken, and a later chunk is none', [chunks('/spells'), 'zz\r\n'], 415],
    ['it has no route, and a later chunk is none', [chunks('/nothing'), 'zz\r\n'], 404],
    ['it was a read, and a later chunk is none', [get(1, CHUNKED), 'zz\r\n'], 200],
    ['its body has no end', [chunks('/spells')], 415],
  ])('gets no second answer: %s', async (_why, parts, status) => {
    expect((await say(...parts)).answers).toEqual([status])
  })
})
