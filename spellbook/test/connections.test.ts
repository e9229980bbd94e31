import { once } from 'node:events'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { networkInterfaces } from 'node:os'
import type { FastifyInstance } from 'fastify'
import { pino } from 'pino'
import { afterEach, describe, expect, test } from 'vitest'
import { problem } from '../src/api.ts'
import { createApp, type Service } from '../src/app.ts'
import type { Spells } from '../src/spells.ts'

const GET = 'GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n'

let app: FastifyInstance
afterEach(() => app.close())

/** An application that listens at `127.0.0.1`, and at these addresses. */
async function listening(alsoAt: readonly string[] = [], service?: Service): Promise<number> {
  app = await createApp({ log: pino({ level: 'silent' }), service: () => service, alsoAt })
  await app.listen({ port: 0, host: '127.0.0.1' })
  return (app.server.address() as AddressInfo).port
}

/** A connection, and all that is heard on it until it is closed. */
async function dial(
  port: number,
  address = '127.0.0.1',
): Promise<{ socket: Socket; heard: Promise<string> }> {
  const socket = connect(port, address)
  let text = ''
  socket.setEncoding('utf8').on('data', data => {
    text += data
  })
  const heard = new Promise<string>(resolve => {
    socket.on('close', () => resolve(text)).on('error', () => {})
  })
  await once(socket, 'connect')
  return { socket, heard }
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

describe('a request', () => {
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
