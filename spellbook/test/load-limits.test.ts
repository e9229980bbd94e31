import type { FastifyInstance } from 'fastify'
import { pino } from 'pino'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { PATIENCE } from '../../test/patience.ts'
import { problem } from '../src/api.ts'
import { createApp } from '../src/app.ts'
import { type LoadLimits, loadLimitsFor } from '../src/http/load-limits.ts'
import type { Spells } from '../src/spells.ts'

const CLIENT = '192.0.2.1'

let app: FastifyInstance
afterEach(() => app?.close())

async function serve(load: LoadLimits, trustedProxies: readonly string[] = []): Promise<void> {
  const found = {
    value: undefined,
    from: 'shared',
    why: 'fresh',
    kept: true,
    joined: false,
    ageMs: 0,
    ttlMs: 1,
  }
  const timings = { totalMs: 0, sharedMs: 0, loadMs: 0 }
  const spells = { find: async () => ({ ...found, timings }) } as unknown as Spells
  app = await createApp({
    log: pino({ level: 'silent' }),
    service: () => ({ spells, ping: async () => {} }),
    load,
    trustedProxies,
  })
}

const ask = (url = '/spells/1', remoteAddress = CLIENT, headers: Record<string, string> = {}) =>
  app.inject({ url, remoteAddress, headers })
const statuses = async (times: number, ...request: Parameters<typeof ask>) => {
  const found: number[] = []
  for (let i = 0; i < times; i++) found.push((await ask(...request)).statusCode)
  return found
}

describe('the rate limit', () => {
  test('refuses what a client sends beyond it with 429, and says when to come again', async () => {
    await serve({ perMinute: 2 })
    expect(await statuses(2)).toEqual([404, 404])
    const refused = await ask()
    expect(refused.statusCode).toBe(429)
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0)
    expect(Number(refused.headers['retry-after'])).toBeLessThanOrEqual(60)
    expect(refused.headers['content-type']).toMatch(/^application\/problem\+json/)
    expect(problem.parse(refused.json()).detail).toBe('A client may send 2 requests in a minute.')
    expect(refused.headers['cache-status']).toBe('spellbook; detail=not-asked')
    // Whatever it asks for, and also where there is nothing.
    expect(await statuses(1, '/openapi.json')).toEqual([429])
    expect(await statuses(1, '/nothing')).toEqual([429])
    expect(await statuses(1, '/spells/1', '192.0.2.2')).toEqual([404])
  })

  test('leaves open what operators ask, and this machine', async () => {
    await serve({ perMinute: 1 })
    expect(await statuses(3, '/health/live')).toEqual([200, 200, 200])
    expect(await statuses(3, '/health/ready')).toEqual([200, 200, 200])
    expect(await statuses(3, '/spells/1', '127.0.0.1')).toEqual([404, 404, 404])
    expect(await statuses(3, '/spells/1', '::1')).toEqual([404, 404, 404])
  })

  test('takes a client at its address, and not at its word', async () => {
    await serve({ perMinute: 1 })
    const lie = (n: number) => ask('/spells/1', CLIENT, { 'x-forwarded-for': `198.51.100.${n}` })
    expect([(await lie(1)).statusCode, (await lie(2)).statusCode]).toEqual([404, 429])
    const loopback = await ask('/spells/1', CLIENT, { 'x-forwarded-for': '127.0.0.1' })
    expect(loopback.statusCode).toBe(429)
  })

  test('tells the clients of a trusted proxy apart, by what the proxy itself has added', async () => {
    await serve({ perMinute: 1 }, ['127.0.0.1', '10.0.0.0/8'])
    const by = (proxy: string, chain: string) => statuses(1, '/spells/1', proxy, { 'x-forwarded-for': chain })
    expect(await by('10.1.2.3', '198.51.100.1')).toEqual([404])
    expect(await by('127.0.0.1', '198.51.100.1')).toEqual([429])
    expect(await by('127.0.0.1', '198.51.100.2')).toEqual([404])
    // What the client itself has written stands further left.
    expect(await by('10.1.2.3', '203.0.113.9, 198.51.100.2')).toEqual([429])
    // Some proxies add the port, which is another one for each connection.
    for (const port of [5000, 5001]) expect(await by('10.1.2.3', `198.51.100.2:${port}`)).toEqual([429])
    expect(await by('10.1.2.3', '[2001:db8::1]:5000')).toEqual([404])
    expect(await by('10.1.2.3', '[2001:db8::2]:5001')).toEqual([429])
    expect(await by('10.1.2.3', '2001:db8::3%a:b:c:d:e:f:g:h')).toEqual([429])
  })

  test('takes the first half of an IPv6 address for one client', async () => {
    await serve({ perMinute: 1 })
    expect(await statuses(1, '/spells/1', '2001:db8:0:1::1')).toEqual([404])
    expect(await statuses(1, '/spells/1', '2001:db8:0:1:ffff::2')).toEqual([429])
    expect(await statuses(1, '/spells/1', '2001:db8:0:2::1')).toEqual([404])
  })

  test('remembers a bounded number of clients, and of those the ones that asked last', async () => {
    await serve({ perMinute: 1, clients: 3 })
    expect(await statuses(2)).toEqual([404, 429])
    for (let n = 2; n < 8; n++) await ask('/spells/1', `192.0.2.${n}`)
    expect(await statuses(1, '/spells/1', '192.0.2.7')).toEqual([429])
    expect(await statuses(1)).toEqual([404])
  })
})

test('while the event loop is late all but operators are refused with 503, and answered again afterwards', async () => {
  await serve({ lateMs: 200 })
  let isBusy = true
  const busy = () => {
    for (const untilMs = performance.now() + 400; performance.now() < untilMs; );
    if (isBusy) setImmediate(busy)
  }
  busy()
  await vi.waitFor(async () => expect(await statuses(1)).toEqual([503]), PATIENCE)
  const refused = await ask('/nothing')
  expect(refused.headers['retry-after']).toBe('2')
  expect(refused.headers['cache-status']).toBe('spellbook; detail=shed')
  expect(problem.parse(refused.json()).status).toBe(503)
  expect(await statuses(1, '/health/live')).toEqual([200])
  isBusy = false
  await vi.waitFor(async () => expect(await statuses(1)).toEqual([404]), PATIENCE)
})

test('limits are those of the configuration, and else there are some only where others can ask', () => {
  const unset = { rateLimit: undefined, shedAboveMs: undefined }
  expect(loadLimitsFor(unset, true)).toEqual({})
  expect(loadLimitsFor(unset, false)).toEqual({ perMinute: 6_000, lateMs: 1_000 })
  expect(loadLimitsFor({ rateLimit: 5, shedAboveMs: 7 }, true)).toEqual({ perMinute: 5, lateMs: 7 })
  expect(loadLimitsFor({ rateLimit: 'off', shedAboveMs: 'off' }, false)).toEqual({})
})
