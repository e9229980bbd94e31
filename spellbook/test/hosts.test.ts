import { type AddressInfo, connect } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { pino } from 'pino'
import { afterEach, describe, expect, test } from 'vitest'
import { problem } from '../src/api.ts'
import { createApp } from '../src/app.ts'
import { servedHosts } from '../src/http/hosts.ts'
import { isLoopback } from '../src/http/loopback.ts'
import type { Spells } from '../src/spells.ts'
import { written } from './harness.ts'

const opened: FastifyInstance[] = []
afterEach(() => Promise.all(opened.splice(0).map(app => app.close())))

const changed: string[] = []
const spells = {
  delete: async (id: string) => {
    changed.push(id)
    return written(true)
  },
} as Partial<Spells> as Spells

/** Says something to a Spellbook that may be asked for by these names, and answers with the status. */
async function ask(said: string, hosts: readonly string[] | 'any' = []): Promise<number> {
  const service = { spells, ping: async () => {} }
  const app = await createApp({
    log: pino({ level: 'silent' }),
    service: () => service,
    ...(hosts === 'any' ? {} : { hosts }),
  })
  opened.push(app)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const heard = await new Promise<string>((resolve, reject) => {
    let text = ''
    const socket = connect(port, '127.0.0.1', () => socket.end(said))
    socket.setEncoding('utf8').on('data', data => {
      text += data
    })
    socket.on('end', () => resolve(text)).on('error', reject)
  })
  const [head, body] = heard.split('\r\n\r\n', 2)
  const status = Number(head!.split(' ')[1])
  if (status >= 400) {
    expect(head).toContain('content-security-policy: ')
    expect(problem.parse(JSON.parse(body!)).status).toBe(status)
  }
  return status
}

const get = (host: string, target = '/health/live') => `GET ${target} HTTP/1.1\r\nHost: ${host}\r\n\r\n`
const remove = (host: string, origin: string) =>
  `DELETE /spells/1 HTTP/1.1\r\nHost: ${host}\r\nOrigin: ${origin}\r\n\r\n`

describe('a Spellbook on the loopback', () => {
  test.each([
    'localhost',
    'localhost:3000',
    'LocalHost:1',
    'localhost.',
    'localhost.:3000',
    '127.0.0.1',
    '127.0.0.1:3000',
    '127.8.8.8',
    '[::1]',
    '[::1]:3000',
    '[0:0:0:0:0:0:0:1]',
    '[::ffff:127.0.0.1]:3000',
    '',
  ])('answers a request for the host "%s"', async host => {
    expect(await ask(get(host))).toBe(200)
  })

  test.each([
    'evil.example',
    'evil.example:3000',
    'localhost.evil.example',
    'evil-localhost',
    'xlocalhost',
    '127.0.0.1.evil.example',
    '128.0.0.1',
    '192.168.1.2:3000',
    '[::2]',
    '[::1',
    '[fe80::1]',
    '[::ffff:10.0.0.1]',
    '0.0.0.0',
    '%6cocalhost..',
    'a',
  ])('answers none for the host "%s"', async host => {
    expect(await ask(get(host))).toBeGreaterThanOrEqual(400)
    expect(await ask(`DELETE /spells/1 HTTP/1.1\r\nHost: ${host}\r\n\r\n`)).toBeGreaterThanOrEqual(400)
    expect(changed).toEqual([])
  })

  test('says so with 421', async () => {
    expect(await ask(get('evil.example'))).toBe(421)
  })

  test.each([
    ['GET http://localhost:3000/health/live HTTP/1.1\r\nHost: localhost:3000\r\n\r\n', 200],
    ['GET HTTP://LOCALHOST/openapi.json?x HTTP/1.1\r\nHost: evil.example\r\n\r\n', 200],
    ['GET http://evil.example/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n', 421],
    ['GET http://me@localhost/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n', 400],
    ['GET http://localhost HTTP/1.1\r\nHost: localhost\r\n\r\n', 200],
    ['GET ftp://localhost/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n', 400],
  ])('counts the host of the target where it has one: %j', async (said, status) => {
    expect(await ask(said)).toBe(status)
  })

  test.each([
    ['GET /health/live HTTP/1.0\r\n\r\n', 200],
    ['GET /health/live HTTP/1.0\r\nHost: evil.example\r\n\r\n', 421],
    ['GET /health/live HTTP/1.1\r\n\r\n', 400],
    ['GET /health/live HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n', 400],
    ['GET /health/live HTTP/1.1\r\nHost: localhost\r\nhost: evil.example\r\n\r\n', 400],
    ['GET /health/live HTTP/1.1\r\nHost: localhost, evil.example\r\n\r\n', 400],
  ])('takes one host, which only HTTP/1.0 may leave out: %j', async (said, status) => {
    expect(await ask(said)).toBe(status)
  })

  test.each([
    ['localhost:3000', 'http://localhost:3000'],
    ['localhost', 'http://localhost'],
    ['localhost', 'https://localhost'],
    ['LOCALHOST:80', 'http://localhost'],
    ['[::1]:3000', 'http://[::1]:3000'],
  ])('lets its own page change something: at %s from %s', async (host, origin) => {
    expect(await ask(remove(host, origin))).toBe(204)
    expect(changed.splice(0)).toEqual(['1'])
  })

  test.each([
    ['localhost:3000', 'http://evil.example'],
    ['localhost:3000', 'http://localhost:3001'],
    ['localhost:3000', 'http://localhost'],
    ['localhost:3000', 'http://127.0.0.1:3000'],
    ['localhost:3000', 'null'],
    ['localhost:3000', 'file://'],
    ['localhost:3000', ''],
    ['', 'http://localhost:3000'],
  ])('lets no page of another site change anything: at "%s" from "%s"', async (host, origin) => {
    expect(await ask(remove(host, origin))).toBe(403)
    expect(changed).toEqual([])
  })

  test('lets the page of another site ask, for it cannot read the answer', async () => {
    expect(
      await ask('GET /health/live HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\r\n'),
    ).toBe(200)
  })

  test('may be given names by which it is asked for, and whose pages may change something', async () => {
    const names = ['Spells.example', '10.0.0.7']
    for (const host of ['spells.example', 'SPELLS.example.:8080', '10.0.0.7:3000', 'localhost'])
      expect(await ask(get(host), names)).toBe(200)
    expect(await ask(get('www.spells.example'), names)).toBe(421)
    expect(await ask(remove('localhost:3000', 'https://spells.example'), names)).toBe(204)
    expect(await ask(remove('spells.example', 'https://evil.example'), names)).toBe(403)
    changed.splice(0)
  })
})

test('a Spellbook that others reach is asked for by any name', async () => {
  expect(await ask(get('spells.example'), 'any')).toBe(200)
})

describe('the names', () => {
  test.each([
    ['localhost', undefined, []],
    ['127.0.0.1', undefined, []],
    ['::1', undefined, []],
    ['0.0.0.0', undefined, undefined],
    ['::', undefined, undefined],
    ['192.0.2.1', undefined, undefined],
    ['nowhere.invalid', undefined, undefined],
    ['0.0.0.0', ['spells.example'], ['spells.example']],
    ['localhost', ['spells.example'], ['spells.example']],
    ['localhost', 'any', undefined],
  ] as const)('where it listens at %s and ALLOWED_HOSTS is %s are %s', async (host, allowedHosts, names) => {
    expect(await servedHosts({ host, allowedHosts })).toEqual(names)
  })
})

test('the addresses of the loopback are known in every form', () => {
  for (const address of ['127.0.0.1', '127.255.0.3', '::1', '0:0:0:0:0:0:0:1', '::ffff:127.0.0.1'])
    expect(isLoopback(address)).toBe(true)
  for (const address of ['128.0.0.1', '::', '::2', '::ffff:10.0.0.1', 'localhost', ''])
    expect(isLoopback(address)).toBe(false)
})
