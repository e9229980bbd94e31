import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { pino } from 'pino'
import { describe, expect, onTestFinished, test } from 'vitest'
import { type AppOptions, createApp } from '../src/app.ts'
import type { Spells } from '../src/spells.ts'
import { dial, statuses } from './dial.ts'

/** What is open to the same: to those who may ask, none of them has anything to tell here (404). */
const GUARDED = ['/admin/stats', '/metrics', '/live', '/laboratory/state']
const TOKEN = 'abracadabra-of-sixteen'

async function serve(options: Pick<AppOptions, 'adminToken' | 'trustedProxies'> = {}) {
  const log = pino({ level: 'silent' })
  const app = await createApp({
    log,
    service: () => ({ spells: {} as Spells, ping: async () => {} }),
    ...options,
  })
  onTestFinished(() => app.close())
  return app
}

/** The statuses of all of them, asked for by a request of this version with these fields. */
async function askAll(app: FastifyInstance, version: string, fields: readonly string[]): Promise<number[]> {
  if (!app.server.listening) await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const answers = GUARDED.map(async path => {
    const { socket, heard } = await dial(port)
    socket.end(
      `GET ${path} HTTP/${version}\r\nHost: localhost:3000\r\n${fields.map(each => `${each}\r\n`).join('')}\r\n`,
    )
    return statuses(await heard)
  })
  return (await Promise.all(answers)).flat()
}

describe('without an ADMIN_TOKEN', () => {
  test.each<[string, string[]]>([
    ['curl', ['User-Agent: curl/8.5.0', 'Accept: */*']],
    ['Prometheus', ['Accept-Encoding: gzip', 'X-Prometheus-Scrape-Timeout-Seconds: 10']],
    ['fetch in Node', ['connection: keep-alive', 'sec-fetch-mode: cors', 'accept-language: *']],
    [
      'a script of its own page',
      ['Connection: Keep-Alive', 'Sec-Fetch-Site: same-origin', 'X-Requested-With: fetch'],
    ],
  ])('this machine is let in by %s', async (_who, fields) => {
    expect(await askAll(await serve(), '1.1', fields)).toEqual([404, 404, 404, 404])
  })

  test.each<[string, string, string[]]>([
    ['nginx with proxy_pass and nothing else', '1.0', ['Connection: close']],
    ['a client of HTTP/1.0 behind what adds nothing', '1.0', ['Connection: keep-alive']],
    ['nginx by HTTP/1.1', '1.1', ['Connection: close']],
    ['nginx as it is set up for WebSockets', '1.1', ['Connection: upgrade']],
    ['nginx with a name for the client', '1.1', ['X-Real-IP: 203.0.113.9']],
    ['nginx with a scheme', '1.1', ['X-Scheme: https']],
    ['Apache', '1.1', ['X-Forwarded-Server: spells.example', 'Connection: Keep-Alive']],
    ['Apache that says only its own name', '1.1', ['Via: 1.1 spells.example']],
    ['HAProxy with its option', '1.1', ['X-Forwarded-For: 203.0.113.9']],
    ['Caddy', '1.1', ['X-Forwarded-Proto: https']],
    ['Traefik', '1.1', ['X-Forwarded-Port: 443']],
    ['Envoy', '1.1', ['X-Request-Id: 1', 'X-Envoy-External-Address: 203.0.113.9']],
    ['what goes by RFC 7239', '1.1', ['Forwarded: for=203.0.113.9']],
    ['a network that delivers content', '1.1', ['CDN-Loop: cloudflare']],
    ['a tunnel', '1.1', ['CF-Connecting-IP: 203.0.113.9']],
    ['a gateway', '1.1', ['True-Client-IP: 203.0.113.9']],
  ])('strangers are not let in by %s', async (_what, version, fields) => {
    expect(await askAll(await serve(), version, fields)).toEqual([403, 403, 403, 403])
  })

  test('nobody is let in where there are TRUSTED_PROXIES', async () => {
    const app = await serve({ trustedProxies: ['127.0.0.1'] })
    expect(await askAll(app, '1.1', [])).toEqual([403, 403, 403, 403])
  })
})

describe('wrong tokens', () => {
  const ask = async (
    app: FastifyInstance,
    token: string,
    headers: Record<string, string>,
    url = GUARDED[0]!,
  ) => {
    const { statusCode } = await app.inject({
      url,
      headers: { ...headers, authorization: `Bearer ${token}` },
    })
    return statusCode
  }

  test('are counted together, for all that the token opens', async () => {
    const app = await serve({ adminToken: TOKEN })
    for (let n = 0; n < 10; n++) expect(await ask(app, `wrong${n}`, {}, GUARDED[n % 4])).toBe(401)
    for (const url of GUARDED)
      for (const token of ['wrong', TOKEN]) expect(await ask(app, token, {}, url)).toBe(429)
  })

  test('are counted by the client for whom a trusted proxy asks', async () => {
    const app = await serve({ adminToken: TOKEN, trustedProxies: ['127.0.0.1'] })
    const from = (address: string) => ({ 'x-forwarded-for': address })
    for (let n = 0; n < 10; n++) expect(await ask(app, `wrong${n}`, from('203.0.113.9'))).toBe(401)
    expect(await ask(app, TOKEN, from('203.0.113.9'))).toBe(429)
    expect(await ask(app, TOKEN, from('198.51.100.7'))).toBe(404)
    expect(await ask(app, TOKEN, {})).toBe(404)
    // What the client itself has written stands further to the left.
    expect(await ask(app, TOKEN, from('198.51.100.7, 203.0.113.9'))).toBe(429)
    // Some proxies add the port, which is another one for each connection.
    expect(await ask(app, TOKEN, from('203.0.113.9:5000'))).toBe(429)
  })

  test.each([
    ['2001:db8:1:2::', '2001:db8:1:3::1', (n: number) => `2001:db8:1:2:${n + 1}::${n}`],
    ['2001:db8::5:0:0:1', '2001:db8:0:1::1', (n: number) => `2001:DB8:0:0::${n}`],
    ['::ffff:192.0.2.1', '::ffff:192.0.2.2', () => '::ffff:192.0.2.1'],
  ])('are counted by the first half of an IPv6 address: %s, not %s', async (own, other, nth) => {
    const app = await serve({ adminToken: TOKEN })
    const from = (remoteAddress: string, token: string) =>
      app.inject({ url: GUARDED[0]!, remoteAddress, headers: { authorization: `Bearer ${token}` } })
    for (let n = 0; n < 10; n++) expect((await from(nth(n), 'wrong')).statusCode).toBe(401)
    expect((await from(own, TOKEN)).statusCode).toBe(429)
    expect((await from(other, TOKEN)).statusCode).toBe(404)
  })
})
